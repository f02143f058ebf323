import * as EventLine from "../../services/host/EventLine.js"
import * as Failures from "../../services/host/Failures.js"
import * as Durations from "../../services/text/Durations.js"
import type * as MapJobs from "../../services/thread/MapJobs.js"
import * as Reporter from "../kernel/Reporter.js"

/** What the console of a job has written. */
export interface JobOutput {
  readonly event: "output"
  readonly stream: "stdout" | "stderr"
  readonly text: string
}

const short = (ms: number): string =>
  ms < 10 ? `${Number(ms.toPrecision(2))} ms` : Durations.formatDuration(ms)

const times = ({ p50, p95, p99 }: MapJobs.Quantiles) =>
  `p50 ${short(p50)}, p95 ${short(p95)}, p99 ${short(p99)}`

/** A line per result; failures with the place in the source; `total` is the number of items, if known. */
export const make = (options: {
  readonly cwd: string
  readonly total: number | undefined
  readonly now: () => number
}): Reporter.View<MapJobs.ItemEvent | JobOutput | Reporter.Submitted> => {
  const begun = options.now()
  let done = 0
  let failed = 0
  return {
    json: (event) => {
      if (event.event !== "finished" || event.value === undefined) return event
      const { value, ...fields } = event
      return EventLine.encodeWith(fields, value as string)
    },
    live: () => {
      const rate = (done * 1000) / Math.max(1, options.now() - begun)
      const all = options.total === undefined ? "" : ` of ${options.total}`
      return [`${done}${all} done, ${failed} failed, ${rate.toFixed(rate < 10 ? 1 : 0)} a second`]
    },
    show: (event) => {
      switch (event.event) {
        case "submitted":
          return { note: Reporter.submitted(event) }
        case "output":
          return { failure: event.text }
        case "summary": {
          const rows = [["run", times(event.run)] as const, ["wait", times(event.wait)] as const]
          return { summary: Reporter.summary("items", event, event.run.p99 > 0 ? rows : []) }
        }
        case "finished": {
          done++
          if (event.status === "succeeded") {
            return event.value === undefined ? undefined : { bytes: `${event.value}\n` }
          }
          failed++
          const thrown = event.stack === undefined ? undefined : Failures.place(event.stack, options.cwd)
          const reason = `${event.reason}${thrown === undefined ? "" : ` (${thrown})`}`
          // The reason of a bad item begins with its place.
          const from = event.error === "BadInput" || event.place === event.name ? undefined : event.place
          const name = from === undefined ? event.name : `${Reporter.brief(event.name)} (${from})`
          return { failure: Reporter.failed({ ...event, name, reason }) }
        }
      }
    }
  }
}
