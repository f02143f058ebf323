import type * as Events from "../host/Events.js"

type OnTheWire = typeof Events.Subprocess.Type
type Event<Name extends OnTheWire["event"]> = Extract<OnTheWire, { readonly event: Name }>

/**
 * An event of a job, as `aio subprocess --json` prints it, but for output: that is bytes here. `index` is the job's number
 * in the input, from 1; `name` is the job's key. Milliseconds are rounded to microseconds.
 *
 * @since 0.1.0
 * @category events
 */
export type JobEvent =
  | Exclude<OnTheWire, { readonly event: "submitted" | "planned" | "output" }>
  | JobOutputEvent

/**
 * Whole lines of a job's output, unless a line is longer than 1 MiB; at the job's end the rest.
 *
 * @since 0.1.0
 * @category events
 */
export interface JobOutputEvent {
  readonly event: "output"
  readonly index: number
  readonly name: string
  /** The prefix of its lines. */
  readonly label: string
  readonly stream: "stdout" | "stderr"
  readonly bytes: Uint8Array
}

/**
 * A job has ended and is not tried again, or was not run at all (`skipped`). `duration` and `exitCode` are those of the
 * last attempt: 124, 126 or 127 if it timed out or there was no process. `usage` is there if the platform reports it, in
 * milliseconds and bytes. `reason` says why the job did not succeed.
 *
 * @since 0.1.0
 * @category models
 */
export type JobFinished = Event<"finished">

/**
 * Whether the event is the end of a job that failed or timed out.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isFailed = (
  event: JobEvent
): event is JobFinished & { readonly status: "failed" | "timed_out" } =>
  event.event === "finished" && (event.status === "failed" || event.status === "timed_out")

/**
 * No job starts for now; `value` is the load, or the bytes of free memory, that holds them back.
 *
 * @since 0.1.0
 * @category models
 */
export type JobsWaiting = Event<"waiting">

/**
 * The last event unless the run itself fails: how many jobs ended in which way, and why the remaining ones were given up
 * (`halted`). `exitCode` is 128 plus the signal's number if a signal stopped the run; 0 if no job failed, or if enough
 * jobs succeeded for a `halt` on success; 124, 126 or 127 if all failures are of that kind (timed out, cannot be run, not
 * found); else 1.
 *
 * @since 0.1.0
 * @category models
 */
export type JobsSummary = Event<"summary">
