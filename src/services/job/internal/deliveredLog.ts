import { Effect } from "effect"
import type * as JobLog from "../JobLog.js"

/**
 * A job log that writes an entry only when the events before it have been delivered, so that `--resume` reruns jobs whose
 * output was lost.
 */
export interface DeliveredLog {
  readonly wasDone: JobLog.JobLog["wasDone"]
  /** A job has ended; its last output is among the first `events` events. */
  readonly ended: (entry: JobLog.Entry, events: number) => void
  /** Further events have been delivered: logs the jobs whose output is among them. */
  readonly delivered: (events: number) => Effect.Effect<void, JobLog.JobLogError>
  /** No further event follows: logs the remaining jobs. */
  readonly rest: Effect.Effect<void, JobLog.JobLogError>
}

/** Makes a delivered log over a job log. */
export const make = (log: JobLog.JobLog): DeliveredLog => {
  const ended: Array<{ readonly entry: JobLog.Entry; readonly events: number }> = []
  let delivered = 0
  const append = (count: number) =>
    Effect.forEach(ended.splice(0, count), ({ entry }) => log.append(entry), { discard: true })
  return {
    wasDone: log.wasDone,
    ended: (entry, events) => void ended.push({ entry, events }),
    delivered: (events) =>
      Effect.suspend(() => {
        delivered += events
        const later = ended.findIndex((one) => one.events > delivered)
        return append(later < 0 ? ended.length : later)
      }),
    rest: Effect.suspend(() => append(ended.length))
  }
}
