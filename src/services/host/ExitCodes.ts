import { Data } from "effect"

/** The exit codes that every part of `aio` uses. Signals add theirs: 128 plus the signal's number. */
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

/** The exit code of what was cancelled for this reason: a signal's name has its own, else it has failed. */
export const cancelled = (reason: string): number =>
  reason.startsWith("SIG") && Object.hasOwn(codes, reason) ? codes[reason as "SIGINT"] : codes.failed

/** Whether a failure may end the process with it: a whole number from 1 to 255. */
export const isFailureCode = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 255

/**
 * Ends the program with `exitCode` (what is no whole number from 1 to 255 counts as 1). An empty message prints nothing: for a command whose report has already told
 * what failed.
 */
export class ExitError extends Data.TaggedError("ExitError")<{
  readonly exitCode: number
  readonly message: string
}> {}

/** Bad input: one line that names the input, what was wrong and what would be right. Exit code 2. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {
  readonly exitCode = codes.usage
}
