import { extname, resolve } from "node:path"
import * as Platform from "@effect/platform/Command"
import { Effect, Fiber, Stream } from "effect"
import * as Output from "../../services/host/Output.js"
import * as Processes from "../../services/process/Processes.js"
import * as ProcessOutcome from "../../services/process/ProcessOutcome.js"
import * as Changes from "../kernel/Changes.js"
import { variable } from "./watched.js"

// aio run --watch: this process starts `aio run` again, as a child, after each change.

const sources = new Set([".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx"])

/**
 * Runs the words of this process's command line until it is interrupted: again after each change of one of the files, or of
 * a source file below one of the folders.
 */
export const run = (paths: ReadonlyArray<string>, { json }: { readonly json: boolean }) =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const processes = yield* Processes.Processes
    const note = (text: string) => (json ? Effect.void : output.note(`aio run: ${text}`))
    const files = new Set(paths.map((path) => resolve(path)))
    const { changed } = yield* Changes.watch(paths, (path) => files.has(path) || sources.has(extname(path)))
    const command = Platform.make(process.execPath, ...process.execArgv, ...process.argv.slice(1)).pipe(
      Platform.env({ [variable]: "1" }),
      // The child is no foreground process of a terminal, which would stop it at its first read.
      Platform.stdin(process.stdin.isTTY ? Stream.empty : "inherit"),
      Platform.stdout("inherit"),
      Platform.stderr("inherit")
    )
    const once = Effect.scoped(Effect.flatMap(processes.start(command), ({ exit }) => exit)).pipe(
      Effect.matchEffect({
        onSuccess: (exited) => note(`ended with ${ProcessOutcome.howEnded(exited)}; waiting for a change`),
        onFailure: (error) => output.note(`aio run: ${error.message}`)
      })
    )
    while (true) {
      const running = yield* Effect.fork(once)
      const what = yield* changed
      yield* note(`${what}; starting again`)
      yield* Fiber.interrupt(running)
    }
  }).pipe(Effect.scoped)
