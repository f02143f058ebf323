import { Effect, Fiber, Layer } from "effect"
import * as Run from "../programs/Run.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import * as Modules from "../services/source/Modules.js"
import * as ProgramFile from "../services/source/ProgramFile.js"
import * as Deadline from "../services/task/Deadline.js"
import { formatGiven } from "../services/text/Durations.js"
import { guarded } from "../services/text/Foreign.js"
import * as Command from "./kernel/Command.js"
import * as Flag from "./kernel/Flag.js"
import * as Flags from "./kernel/Flags.js"
import * as OwnProcess from "./kernel/OwnProcess.js"
import * as Timestamps from "./kernel/Timestamps.js"
import * as WatchLoop from "./kernel/WatchLoop.js"

const inOneLine = (error: unknown) =>
  guarded(() => error instanceof Modules.ModuleError, false)
    ? new UsageError({ message: `aio run: ${(error as Modules.ModuleError).message}` })
    : error

// Loaded only for program files, in parallel with them: the example starts faster without.
const nodeServices = Effect.promise(() => import("./kernel/NodeServices.js")).pipe(
  Effect.map(({ layer }) => layer)
)

const flags = {
  timeout: Flag.withText(
    Flags.timeout,
    "cancel the program after this long, like 500ms or 5m, and exit with 124"
  ),
  ...Timestamps.flags,
  ...WatchLoop.flags,
  json: Flag.withText(Flags.json, "reports of --watch-loop as NDJSON on stderr; stdout is the program's")
}

/** `FILE#EXPORT`; a `#` in the name of an existing file needs no escape as long as an export follows the last one. */
const target = (word: string): readonly [path: string, name: string | undefined] => {
  const hash = word.lastIndexOf("#")
  return hash <= 0 ? [word, undefined] : [word.slice(0, hash), word.slice(hash + 1)]
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
      ["run --watch-loop hello.ts", "report what blocks the event loop for longer than 100 ms"],
      ["run --virtual --timestamps hello.ts", "the same in virtual time, with the time before each line"]
    ]
  },
  (config, { operands: [word, ...given] }) =>
    Effect.gen(function* () {
      if (word === undefined || word === "")
        return yield* Command.usage("no file is given; expected FILE or FILE#EXPORT")
      const [path, name] = target(word)
      if (name === "") return yield* Command.usage(`'${word}' names no export; expected FILE#EXPORT`)
      process.argv = [process.argv[0]!, path, ...(given[0] === "--" ? given.slice(1) : given)]
      const services = yield* Effect.fork(nodeServices)
      const program = yield* Effect.mapError(ProgramFile.load(path, name), inOneLine)
      const run = Effect.mapError(program, inOneLine).pipe(Effect.provide(yield* Fiber.join(services)))
      const { timeout } = config
      const message = `aio run: timed out after ${formatGiven(timeout ?? 0)}`
      const within =
        timeout === undefined
          ? run
          : Deadline.timeout(run, {
              limit: timeout,
              late: { reason: message, origin: "process" },
              onTimeout: () => new ExitError({ exitCode: codes.timedOut, message })
            })
      return yield* WatchLoop.watched("aio run", Timestamps.timed(within, config), config)
    }).pipe(Effect.provide(Layer.merge(Modules.layer, OwnProcess.guarded))),
  {
    example: {
      run: (config) => Timestamps.timed(Run.example, config),
      flags: ["virtual", "timestamps", "timeout"],
      instead: "write a FILE"
    }
  }
)
