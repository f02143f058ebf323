import * as Command from "@effect/platform/Command"
import { Effect } from "effect"
import * as Output from "../services/host/Output.js"
import * as CommandText from "../services/process/CommandText.js"
import type { ProcessError } from "../services/process/ProcessError.js"
import * as Processes from "../services/process/Processes.js"
import type { Result } from "../services/process/ProcessOutcome.js"
import * as Gather from "../services/task/Gather.js"

/**
 * Settings of {@link runAll}.
 *
 * @since 0.1.0
 * @category options
 */
export interface RunAllOptions extends Processes.RunOptions {
  /** How many commands run at once; default `"unbounded"`. */
  readonly concurrency?: number | "unbounded" | undefined
  /** The effect of one command's failure on the others; default `"cancel"`. */
  readonly onFailure?: "cancel" | "continue" | undefined
}

/**
 * Runs commands at once and returns their results in input order. A command fails as `Processes.run` does; an exit code other
 * than 0 is a failure only with `check`. Fails with the first failure, once the others are cancelled and gone (`"cancel"`)
 * or done (`"continue"`).
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import * as Subprocess from "effect-asyncio/programs/Subprocess"
 *
 * export const program = Subprocess.runAll(
 *   ["a.png", "b.png"].map((file) => Command.make("gzip", "--keep", file)),
 *   { concurrency: 4, check: true, grace: "2 seconds" }
 * )
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const runAll = (
  commands: Iterable<Command.Command>,
  options: RunAllOptions = {}
): Effect.Effect<ReadonlyArray<Result>, ProcessError, Processes.Processes> => {
  const { concurrency, onFailure, ...each } = options
  return Gather.gather(
    Array.from(commands, (command) => Processes.run(command, each)),
    { concurrency, onFailure, name: "subprocess" }
  )
}

// #region example
const runCommand = Effect.fn("Subprocess.runCommand")(function* (...words: [string, ...Array<string>]) {
  const command = Command.make(...words)
  yield* Output.print(`Executing: ${CommandText.commandLine(command)}`)
  const { stdout } = yield* Processes.run(command)
  yield* Output.print(new TextDecoder().decode(stdout))
})

/**
 * The guide's Subprocess: two commands at once. Prints `Executing: sleep 1` and `Executing: echo hello`, then the
 * output of each when it has ended, with an additional line end: `hello` and an empty line, an empty line after a second.
 *
 * @since 0.1.0
 * @category examples
 */
export const example: Effect.Effect<void, ProcessError, Output.Output | Processes.Processes> = Effect.asVoid(
  Gather.gather([runCommand("sleep", "1"), runCommand("echo", "hello")])
)
// #endregion
