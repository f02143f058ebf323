import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Effect, Fiber, Option } from "effect"
import * as Run from "../programs/Run.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import * as Modules from "../services/source/Modules.js"
import * as ProgramFile from "../services/source/ProgramFile.js"
import * as Deadline from "../services/task/Deadline.js"
import { formatGiven } from "../services/text/Durations.js"
import { guarded } from "../services/text/Foreign.js"
import { Rest } from "./kernel/Cli.js"
import * as Timestamps from "./kernel/Timestamps.js"
import * as Values from "./kernel/Values.js"

const usage = (message: string) => new UsageError({ message: `aio run: ${message}` })

const inOneLine = (error: unknown) =>
  guarded(() => error instanceof Modules.ModuleError, false)
    ? usage((error as Modules.ModuleError).message)
    : error

// Loaded only for program files, in parallel with them: the example starts faster without.
const nodeServices = Effect.promise(() => import("./kernel/NodeServices.js")).pipe(
  Effect.map(({ layer }) => layer)
)

const file = Args.text({ name: "file" }).pipe(
  Args.withDescription("a .ts, .mts, .cts, .tsx, .js, .mjs or .cjs file; default: the guide's hello"),
  Args.optional
)
const exportName = Args.text({ name: "export" }).pipe(
  Args.withDescription("the export to run; default: default, then main"),
  Args.optional
)
const words = Args.text({ name: "-- arg" }).pipe(
  Args.withDescription("words for the program, in its process.argv"),
  Args.repeated
)
const timeout = Values.duration("timeout").pipe(
  Options.withDescription("cancel the program after this long (500ms, 90s, 5m, 1h) and exit with 124"),
  Options.optional
)

const options = { file, exportName, words, timeout, ...Timestamps.options }

export const command = Command.make("run", options, (config) =>
  Effect.gen(function* () {
    const { words: rest } = yield* Rest
    const own = [...Option.toArray(config.file), ...Option.toArray(config.exportName), ...config.words]
    const [path, name, extra] = own.length === 0 ? rest.slice(0, 1) : own
    const argv = own.length === 0 ? rest.slice(1) : rest
    if (extra !== undefined) {
      return yield* usage(`unexpected '${extra}'; arguments of the program go after --`)
    }
    if (path === undefined) return yield* Timestamps.timed(Run.example, config)
    process.argv = [process.argv[0]!, path, ...argv]
    const services = yield* Effect.fork(nodeServices)
    const program = yield* Effect.mapError(ProgramFile.load(path, name), inOneLine)
    const run = Effect.mapError(program, inOneLine).pipe(Effect.provide(yield* Fiber.join(services)))
    const within = Option.match(config.timeout, {
      onNone: () => run,
      onSome: (duration) =>
        Deadline.timeout(run, {
          limit: duration,
          late: { reason: `timed out after ${formatGiven(duration)}`, origin: "aio run" },
          onTimeout: () =>
            new ExitError({
              exitCode: codes.timedOut,
              message: `aio run: timed out after ${formatGiven(duration)}`
            })
        })
    })
    return yield* Timestamps.timed(within, config)
  }).pipe(Effect.provide(Modules.layer))
).pipe(Command.withDescription("run the guide's hello, or an Effect program from a file"))
