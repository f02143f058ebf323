import { Effect, Either, Fiber, Logger, LogLevel } from "effect"
import * as Run from "../programs/Run.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import type * as Modules from "../services/source/Modules.js"
import * as Deadline from "../services/task/Deadline.js"
import { notDoneIn } from "../services/text/Durations.js"
import { guarded } from "../services/text/Foreign.js"
import * as Command from "./kernel/Command.js"
import * as EnvFile from "./kernel/EnvFile.js"
import * as Flag from "./kernel/Flag.js"
import * as Flags from "./kernel/Flags.js"
import * as OwnProcess from "./kernel/OwnProcess.js"
import * as Timestamps from "./kernel/Timestamps.js"
import * as Values from "./kernel/Values.js"
import * as WatchLoop from "./kernel/WatchLoop.js"
import * as Report from "./run/report.js"
import * as Watched from "./run/watched.js"

const inOneLine =
  ({ ModuleError }: typeof Modules) =>
  (error: unknown) =>
    guarded(() => error instanceof ModuleError, false)
      ? new UsageError({ message: `aio run: ${(error as Modules.ModuleError).message}` })
      : error

// Loaded only for program files, services in parallel with them: the example starts faster without.
const nodeServices = Effect.promise(() => import("./kernel/NodeServices.js")).pipe(
  Effect.map(({ layer }) => layer)
)
const sources = Effect.promise(() =>
  Promise.all([import("../services/source/Modules.js"), import("../services/source/ProgramFile.js")])
)

const watching = Effect.promise(() =>
  Promise.all([import("./run/watch.js"), import("./kernel/ProcessServices.js")])
)

const levels = {
  trace: LogLevel.Trace,
  debug: LogLevel.Debug,
  info: LogLevel.Info,
  warning: LogLevel.Warning,
  error: LogLevel.Error,
  none: LogLevel.None
}

const watch = Flag.values("watch", {
  value: "PATH",
  bare: ".",
  text: "run again after a change of FILE, of PATH, or of a source file below the folder PATH (.)",
  parse: Values.text("a file or a folder")
})

const flags = {
  timeout: Flag.withText(
    Flags.timeout,
    "cancel the program after this long, like 500ms or 5m, and exit with 124"
  ),
  envFile: Flags.envFile,
  watch,
  logLevel: Flag.choice("log-level", Object.keys(levels) as ReadonlyArray<keyof typeof levels>, {
    text: "the least level of Effect's log that is shown",
    default: "info"
  }),
  ...Timestamps.flags,
  ...WatchLoop.flags,
  json: Flag.withText(
    Flags.json,
    "the start and the end of the program, and the reports of --watch-loop, as NDJSON events on stderr; stdout is the program's"
  )
}

export const command = Command.make(
  "run",
  {
    summary: "run an Effect program from a file, with signals, exit codes, virtual time",
    usage: ["[OPTIONS] FILE[#EXPORT] [ARG...]"],
    operands: "list",
    arguments: [
      ["FILE", "a .ts, .mts, .cts, .tsx, .js, .mjs or .cjs file"],
      ["EXPORT", "the export to run; default: default, then main"],
      ["ARG", "words for the program, in its process.argv, whatever they begin with"]
    ],
    flags,
    examples: [
      ["run hello.ts", "run the default export of a file"],
      ["run --log-level debug hello.ts", "show Effect.logDebug too"],
      ["run --watch-loop hello.ts", "report what blocks the event loop for longer than 100 ms"],
      ["run --virtual --timestamps hello.ts", "the same in virtual time, with the time before each line"]
    ]
  },
  (config, { operands: [word, ...given] }) =>
    Effect.gen(function* () {
      if (word === undefined || word === "")
        return yield* Command.usage("no file is given; expected FILE or FILE#EXPORT")
      const { file: path, name } = yield* Either.mapLeft(Values.moduleExport(word), Command.usage)
      const isChild = Watched.isChild()
      if (config.watch.length > 0 && !isChild) {
        const [watch, services] = yield* watching
        return yield* Effect.provide(
          watch.run([path, ...config.watch, ...config.envFile], config),
          services.layer
        )
      }
      for (const [name, value] of Object.entries(yield* EnvFile.read(config.envFile)))
        process.env[name] = value
      process.argv = [process.argv[0]!, path, ...(given[0] === "--" ? given.slice(1) : given)]
      const services = yield* Effect.fork(nodeServices)
      const [modules, ProgramFile] = yield* sources
      const program = yield* ProgramFile.load(path, name).pipe(
        Effect.mapError(inOneLine(modules)),
        Effect.provide(modules.layer)
      )
      const run = Effect.mapError(program, inOneLine(modules)).pipe(
        Logger.withMinimumLogLevel(levels[config.logLevel ?? "info"]),
        Effect.provide(yield* Fiber.join(services))
      )
      const { timeout } = config
      const message = `aio run: ${notDoneIn(timeout ?? 0)}`
      const within =
        timeout === undefined
          ? run
          : Deadline.timeout(run, {
              limit: timeout,
              late: { reason: message, origin: "process" },
              onTimeout: () => new ExitError({ exitCode: codes.timedOut, message })
            })
      const timed = WatchLoop.watched("aio run", Timestamps.timed(within, config), config)
      return yield* config.json ? Report.events(word, timed) : timed
    }).pipe(Effect.provide(OwnProcess.guarded)),
  {
    example: {
      run: (config) => Timestamps.timed(Run.example, config),
      flags: ["virtual", "timestamps", "timeout"],
      instead: "write a FILE"
    }
  }
)
