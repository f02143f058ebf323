import { Cause, Effect, Exit } from "effect"
import * as Output from "../../src/services/host/Output.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import type * as TaskGroup from "../../src/services/task/TaskGroup.js"

// What the cases share. A case is a module whose default export is a program that prints one event a line, as the
// Python file of the same name does. It runs in virtual time, unless it says `export const clock = "live"` because it
// waits for something real.

/** What the module of a case exports. */
export interface Case {
  readonly default: Effect.Effect<unknown, unknown, Output.Output>
  readonly clock?: "live"
}

/** Prints one event, its words set apart by blanks as Python's `print` does it. */
export const say = (...words: ReadonlyArray<unknown>): Effect.Effect<void, never, Output.Output> =>
  Output.print(words.join(" "))

/** As Python writes a truth. */
export const truth = (value: boolean): string => (value ? "True" : "False")

/** Whether a task ended by cancellation alone (`Task.cancelled`). */
export const wasCancelled = (task: TaskGroup.Task<unknown, unknown>) =>
  Effect.map(task.status, (status) => truth(status === "cancelled"))

/** What went wrong, in the words of the error. */
export const failure = (cause: Cause.Cause<unknown>): unknown => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : error
}

/** The result of an exit, or what it failed with. */
export const outcome = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isSuccess(exit) ? exit.value : `failed: ${failure(exit.cause)}`

/** The words of the first cancellation in an exit. */
export const reason = (exit: Exit.Exit<unknown, unknown>): string | undefined =>
  Cancellation.fromExit(exit)[0]?.reason
