import { constants } from "node:os"
import { Data } from "effect"

/**
 * The exit codes of `aio`. A signal's code is 128 plus its number.
 *
 * @since 0.1.0
 * @category constants
 */
export const codes = {
  ok: 0,
  failed: 1,
  usage: 2,
  /** Continuity that cannot be proved, with `--on-gap fail`. */
  gap: 3,
  timedOut: 124,
  cannotRun: 126,
  notFound: 127,
  SIGHUP: 129,
  SIGINT: 130,
  SIGPIPE: 141,
  SIGTERM: 143
} as const

/**
 * The exit code of a task that was cancelled for this reason: that of the signal which the reason names, else 1.
 *
 * @since 0.1.0
 * @category functions
 */
export const cancelled = (reason: string): number =>
  reason.startsWith("SIG") && Object.hasOwn(codes, reason) ? codes[reason as "SIGINT"] : codes.failed

const ofAll: ReadonlyArray<number> = [codes.timedOut, codes.cannotRun, codes.notFound]

/**
 * The exit code of many tasks, from the codes of those that failed: 0 without a failure; 124, 126 or 127 if all failures
 * have that same code; else 1. If a signal stopped the run, 128 plus its number, whatever failed before; another
 * reason to stop is a failure.
 *
 * @example
 * ```ts
 * import * as ExitCodes from "effect-asyncio/services/ExitCodes"
 *
 * // [0, 124, 1, 130]
 * export const found = [
 *   ExitCodes.ofMany([]),
 *   ExitCodes.ofMany([124, 124]),
 *   ExitCodes.ofMany([124, 3]),
 *   ExitCodes.ofMany([124], "SIGINT")
 * ]
 * ```
 *
 * @since 0.1.0
 * @category functions
 */
export const ofMany = (failures: Iterable<number>, stopped?: string): number => {
  const signal = stopped === undefined ? undefined : constants.signals[stopped as NodeJS.Signals]
  if (signal !== undefined) return 128 + signal
  const [first, ...others] = new Set(failures)
  if (first === undefined) return stopped === undefined ? codes.ok : codes.failed
  return others.length === 0 && ofAll.includes(first) ? first : codes.failed
}

/**
 * Whether the value may be the exit code of a failure: a whole number from 1 to 255.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isFailureCode = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 255

/**
 * Ends the program with `exitCode`; a value that is not a whole number from 1 to 255 counts as 1. An empty message prints
 * nothing: for a command that has already reported its failures.
 *
 * @since 0.1.0
 * @category errors
 */
export class ExitError extends Data.TaggedError("ExitError")<{
  readonly exitCode: number
  readonly message: string
}> {}

/**
 * Bad input: one line that names the input, what is wrong with it and what is accepted. Exit code 2.
 *
 * @since 0.1.0
 * @category errors
 */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {
  readonly exitCode = codes.usage
}
