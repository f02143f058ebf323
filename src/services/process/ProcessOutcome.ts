import { constants } from "node:os"
import { type Duration, Either, Option } from "effect"
import { codes } from "../host/ExitCodes.js"

/**
 * The resource usage of a process and of the children that it waited for.
 *
 * @since 0.1.0
 * @category models
 */
export interface Usage {
  /** Processor time. */
  readonly user: Duration.Duration
  readonly system: Duration.Duration
  /** The highest memory use of any one of them, in bytes. */
  readonly peakMemory: number
}

/**
 * How a process ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exited {
  /** Its exit code; 128 plus the signal's number when a signal ended it, as shells report it. */
  readonly exitCode: number
  readonly signal: NodeJS.Signals | undefined
  /** From its start until it had ended and both pipes were closed, by the monotonic clock. */
  readonly duration: Duration.Duration
  /** If the backend reports it: `posix_spawn` does, `node:child_process` does not. */
  readonly usage: Option.Option<Usage>
  /** The machine where it ran, if `Processes` is that of other machines. */
  readonly host?: string | undefined
}

/**
 * The end and the output of a process.
 *
 * @since 0.1.0
 * @category models
 */
export interface Result extends Exited {
  /** Its output, byte for byte; empty if the stream was inherited. */
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  /** Whether the output is incomplete; only with `onTooLarge: "truncate"`. */
  readonly truncated: boolean
}

/**
 * The end as text: `exit code 3`, `ended by SIGTERM`.
 *
 * @since 0.1.0
 * @category formatting
 */
export const howEnded = ({ exitCode, signal }: Pick<Exited, "exitCode" | "signal">): string =>
  signal === undefined ? `exit code ${exitCode}` : `ended by ${signal}`

/**
 * The exit code as shells report it: 128 plus the number of the signal that ended the process.
 *
 * @since 0.1.0
 * @category functions
 */
export const exitCodeOf = (code: number | null, signal: NodeJS.Signals | null): number =>
  code ?? 128 + constants.signals[signal!]

/**
 * The outcome of a command, in one shape with or without a process.
 *
 * @since 0.1.0
 * @category models
 */
export interface ProcessOutcome {
  /** That of the process; if it timed out or was not started, 124, 126, 127 or 1 for the reason. */
  readonly exitCode: number
  /** The exit code of a program in which only this failed: that of the reason, but 1 for any process that ran. */
  readonly failureCode: number
  readonly signal: NodeJS.Signals | undefined
  readonly usage: Option.Option<Usage>
  /** As in {@link Exited}. */
  readonly host?: string | undefined
  /** Why it failed; undefined if it succeeded. */
  readonly detail: string | undefined
}

/** A reason why a command did not run to its own end; a `ProcessError` is one. */
interface Failure {
  readonly message: string
  /** The message without the command's name. */
  readonly reason?: string | undefined
  readonly exitCode?: number | undefined
}

/**
 * The outcome of a process that has ended: a failure unless its exit code is 0.
 *
 * @since 0.1.0
 * @category constructors
 */
export const ofExited = (exited: Exited): ProcessOutcome => ({
  exitCode: exited.exitCode,
  failureCode: codes.failed,
  signal: exited.signal,
  usage: exited.usage,
  host: exited.host,
  detail: exited.exitCode === 0 ? undefined : howEnded(exited)
})

/**
 * The outcome of a command that failed to run: the exit code of its error, else 1.
 *
 * @since 0.1.0
 * @category constructors
 */
export const ofError = ({ exitCode = codes.failed, message, reason = message }: Failure): ProcessOutcome => ({
  exitCode,
  failureCode: exitCode,
  signal: undefined,
  usage: Option.none(),
  detail: reason
})

/**
 * The outcome of a command, from how its process has ended or why there was none.
 *
 * @since 0.1.0
 * @category constructors
 */
export const of: (ended: Either.Either<Exited, Failure>) => ProcessOutcome = Either.match({
  onLeft: ofError,
  onRight: ofExited
})
