import { type Cause, Data, type Duration } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Causes from "../task/Causes.js"
import { notDoneIn } from "../text/Durations.js"
import { formatSize } from "../text/Sizes.js"
import { howEnded, type Result } from "./ProcessOutcome.js"

/**
 * No program of this name is on the PATH, or at this path. Exit code 127.
 *
 * @since 0.1.0
 * @category errors
 */
export class CommandNotFound extends Data.TaggedError("CommandNotFound")<{ readonly command: string }> {
  readonly exitCode = codes.notFound
  override get message() {
    return `cannot run ${this.command}: command not found`
  }
}

/**
 * The program exists and cannot be run: no permission, not an executable file, or its interpreter is missing. Exit
 * code 126.
 *
 * @since 0.1.0
 * @category errors
 */
export class CommandNotExecutable extends Data.TaggedError("CommandNotExecutable")<{
  readonly command: string
  readonly detail: string
}> {
  readonly exitCode = codes.cannotRun
  override get message() {
    return `cannot run ${this.command}: ${this.detail}`
  }
}

/**
 * The process could not be started: its folder does not exist, its arguments are too long, … Exit code 126.
 *
 * @since 0.1.0
 * @category errors
 */
export class CommandNotStarted extends Data.TaggedError("CommandNotStarted")<{
  readonly command: string
  readonly detail: string
}> {
  readonly exitCode = codes.cannotRun
  override get message() {
    return `cannot start ${this.command}: ${this.detail}`
  }
}

/**
 * The process has ended, and how is unknown: another part of the program that waits for children of any pid has reaped
 * it.
 *
 * @since 0.1.0
 * @category errors
 */
export class CommandLost extends Data.TaggedError("CommandLost")<{
  readonly command: string
  readonly detail: string
}> {
  override get message() {
    return `${this.command} was lost: ${this.detail}`
  }
}

/**
 * With `check`: the process ended with an exit code other than 0, or by a signal.
 *
 * @since 0.1.0
 * @category errors
 */
export class CommandFailed extends Data.TaggedError("CommandFailed")<{
  readonly command: string
  readonly result: Result
}> {
  override get message() {
    const last = new TextDecoder().decode(this.result.stderr.subarray(-1000)).trimEnd().split("\n").at(-1)
    return `${this.command} failed: ${howEnded(this.result)}${last ? `: ${last}` : ""}`
  }
}

/**
 * The process wrote more than the limit, and was cancelled.
 *
 * @since 0.1.0
 * @category errors
 */
export class OutputTooLarge extends Data.TaggedError("OutputTooLarge")<{
  readonly command: string
  readonly stream: "stdout" | "stderr"
  /** In bytes. */
  readonly limit: number
}> {
  override get message() {
    return `${this.command} wrote more than ${formatSize(this.limit)} to ${this.stream}; allow more or let it write to a file`
  }
}

/**
 * The process ran longer than its timeout, and was cancelled. Exit code 124.
 *
 * @since 0.1.0
 * @category errors
 */
export class CommandTimedOut extends Data.TaggedError("CommandTimedOut")<{
  readonly command: string
  readonly after: Duration.Duration
}> {
  readonly exitCode = codes.timedOut
  /** The message without the command, for an event that names it. */
  get reason() {
    return notDoneIn(this.after)
  }
  override get message() {
    return `${this.command} was ${this.reason}`
  }
}

/**
 * The stream that feeds the process's stdin failed, and the process was cancelled.
 *
 * @since 0.1.0
 * @category errors
 */
export class InputFailed extends Data.TaggedError("InputFailed")<{
  readonly command: string
  readonly cause: Cause.Cause<unknown>
}> {
  override get message() {
    return `the input of ${this.command} failed: ${Causes.headline(this.cause)}`
  }
}

/**
 * Why a command did not run to its end, or did not end as asked.
 *
 * @since 0.1.0
 * @category errors
 */
export type ProcessError =
  | CommandNotFound
  | CommandNotExecutable
  | CommandNotStarted
  | CommandLost
  | CommandFailed
  | CommandTimedOut
  | OutputTooLarge
  | InputFailed
