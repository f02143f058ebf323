/**
 * An event of a job. `seq` is the job's number in the input, from 1; `command` is the job's key.
 *
 * @since 0.1.0
 * @category events
 */
export type JobEvent =
  | {
      readonly event: "started"
      readonly seq: number
      readonly slot: number
      readonly pid: number
      readonly command: string
      readonly attempt: number
    }
  | JobOutputEvent
  | {
      readonly event: "retried"
      readonly seq: number
      readonly command: string
      /** The attempt that follows, after `delay` milliseconds. */
      readonly attempt: number
      readonly delay: number
      readonly detail: string
    }
  | JobFinished
  | {
      readonly event: "skipped"
      readonly seq: number
      readonly command: string
      readonly why: "done" | "halted"
    }
  | { readonly event: "cancelled"; readonly seq: number; readonly command: string; readonly reason: string }
  /** The job was asked to end and still runs; it is killed after `left` milliseconds. */
  | { readonly event: "lingering"; readonly seq: number; readonly command: string; readonly left: number }
  | JobsWaiting
  | JobsSummary

/**
 * Whole lines of a job's output, unless a line is longer than 1 MiB; at the job's end the rest.
 *
 * @since 0.1.0
 * @category events
 */
export interface JobOutputEvent {
  readonly event: "output"
  readonly seq: number
  readonly label: string
  readonly stream: "stdout" | "stderr"
  readonly bytes: Uint8Array
}

/**
 * A job has ended and is not tried again.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobFinished {
  readonly event: "finished"
  readonly seq: number
  readonly command: string
  readonly ok: boolean
  /** That of the last attempt; 124, 126 or 127 if it timed out or there was no process. */
  readonly exitCode: number
  readonly signal?: NodeJS.Signals | undefined
  /** Milliseconds of the last attempt. */
  readonly runtime: number
  /** Milliseconds, and bytes, if the platform reports them. */
  readonly usage?: { readonly user: number; readonly system: number; readonly peakMemory: number } | undefined
  /** Why the job failed. */
  readonly detail?: string | undefined
}

/**
 * Whether the event is the end of a job that failed.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isFailed = (event: JobEvent): event is JobFinished => event.event === "finished" && !event.ok

/**
 * No job starts for now; `value` is the load, or the bytes of free memory, that holds them back.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobsWaiting {
  readonly event: "waiting"
  readonly for: "load" | "memory"
  readonly value: number
}

/**
 * The last event unless the run itself fails: the outcome of all jobs.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobsSummary {
  readonly event: "summary"
  readonly ok: number
  readonly failed: number
  readonly skipped: number
  readonly cancelled: number
  /** Milliseconds. */
  readonly elapsed: number
  readonly slowest?: { readonly seq: number; readonly command: string; readonly runtime: number } | undefined
  /** Why the remaining jobs were given up. */
  readonly halted?: string | undefined
  /**
   * 0 if no job failed; 124, 126 or 127 if all failures are of that kind (timed out, cannot be run, not found); else 1.
   * If the run was stopped and no job failed: 128 plus the signal's number, or 1.
   */
  readonly exitCode: number
}
