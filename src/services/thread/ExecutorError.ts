import { Data, type Duration } from "effect"
import { notDoneIn } from "../text/Durations.js"
import type { Thrown } from "./internal/task.js"

const labelled = (thrown: Thrown) =>
  thrown.name === "" ? thrown.message : `${thrown.name}: ${thrown.message}`

export type { Thrown } from "./internal/task.js"

/**
 * The job threw, or its promise was rejected.
 *
 * @since 0.1.0
 * @category errors
 */
export class JobFailed extends Data.TaggedError("JobFailed")<{
  readonly job: string
  /**
   * What the job threw: `name`, `message` and `stack` as they were on its thread; `value` is the thrown value itself,
   * or an error's own fields (`code`, for instance), as far as they can be cloned.
   */
  readonly thrown: Thrown
  /** Whether the function was shipped as source; default false. */
  readonly shipped?: boolean | undefined
}> {
  /** The name that a shipped function refers to and that was not shipped with it. */
  get missing(): string | undefined {
    return this.shipped === true && this.thrown.name === "ReferenceError"
      ? /^(\S+) is not defined$/.exec(this.thrown.message)?.[1]
      : undefined
  }
  override get message() {
    const hint =
      this.missing === undefined ? "" : "; a job sees its arguments and nothing of where it was written"
    return `job ${this.job} failed: ${labelled(this.thrown)}${hint}`
  }
}

/**
 * Why a thread (or process) ended under its job. `"exit"`: the job called `process.exit`; `"signal"`: a signal ended
 * the process; `"memory"`: its heap was full; `"uncaught"`: an error outside of the job's promise; `"start"`: no thread
 * could be started; `"closed"`: the executor's scope was closed.
 *
 * @since 0.1.0
 * @category models
 */
export type CrashReason = "exit" | "signal" | "memory" | "uncaught" | "start" | "closed"

/**
 * The thread (or process) ended under the job. Other jobs, running or queued, are not affected.
 *
 * @since 0.1.0
 * @category errors
 */
export class WorkerCrashed extends Data.TaggedError("WorkerCrashed")<{
  readonly job: string
  readonly reason: CrashReason
  readonly detail: string
  /** The stack on the thread, if there was one. */
  readonly remoteStack?: string | undefined
}> {
  override get message() {
    return this.reason === "start"
      ? `job ${this.job} has no thread: ${this.detail}`
      : `the thread of job ${this.job} ended under it: ${this.detail}`
  }
}

/**
 * The job ran for longer than its timeout. Its thread is free again, or has been terminated.
 *
 * @since 0.1.0
 * @category errors
 */
export class JobTimedOut extends Data.TaggedError("JobTimedOut")<{
  readonly job: string
  readonly after: Duration.Duration
}> {
  override get message() {
    return `job ${this.job} was ${notDoneIn(this.after)}`
  }
}

/**
 * The function, its arguments, its context or its result cannot cross from thread to thread.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotSerializable extends Data.TaggedError("NotSerializable")<{
  readonly job: string
  readonly part: "function" | "arguments" | "result" | "context"
  /** Where in the part, and why. */
  readonly detail: string
}> {
  override get message() {
    return `the ${this.part} of job ${this.job} cannot cross to another thread: ${this.detail}`
  }
}

/**
 * The queue of the executor is full: `maxQueue` jobs wait for a thread.
 *
 * @since 0.1.0
 * @category errors
 */
export class QueueFull extends Data.TaggedError("QueueFull")<{
  readonly job: string
  readonly maxQueue: number
}> {
  override get message() {
    return `job ${this.job} is refused: ${this.maxQueue} jobs are queued already, and maxQueue is ${this.maxQueue}`
  }
}

/**
 * The executor of a cluster does not run the job: no runner has its code, or the store has failed. Or the Schemas of a
 * `TypedJob` and of its module do not match.
 *
 * @since 0.1.0
 * @category errors
 */
export class JobRefused extends Data.TaggedError("JobRefused")<{
  readonly job: string
  readonly reason: string
}> {
  override get message() {
    return `job ${this.job} is refused: ${this.reason}`
  }
}

/**
 * How a job fails.
 *
 * @since 0.1.0
 * @category errors
 */
export type ExecutorError = JobFailed | WorkerCrashed | JobTimedOut | NotSerializable | QueueFull | JobRefused
