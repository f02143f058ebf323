import type { DateTime } from "effect"
import type * as ScheduledRuns from "../../services/supervision/ScheduledRuns.js"
import * as Durations from "../../services/text/Durations.js"
import * as CivilTime from "../../services/time/CivilTime.js"
import * as LinePrefix from "../kernel/LinePrefix.js"
import * as Reporter from "../kernel/Reporter.js"

/** Marks a time that a clock change has moved. */
export const moved = (skipped: string | undefined): string =>
  skipped === undefined ? "" : `  moved from ${skipped}`

/** A time in an event of `--json`. */
export const timeFields = (at: number, skipped: string | undefined, zone: DateTime.TimeZone) => ({
  at: CivilTime.format(at, zone),
  ...(skipped === undefined ? {} : { movedFrom: skipped })
})

/** The event of `--json`: times as ISO 8601, output as text. */
const wire = (zone: DateTime.TimeZone) => {
  const withText = Reporter.withText()
  return (event: ScheduledRuns.RunEvent): object | ReadonlyArray<object> => {
    switch (event.event) {
      case "scheduled":
      case "started": {
        const { at, skipped, ...fields } = event
        return { ...fields, ...timeFields(at, skipped, zone) }
      }
      case "skipped":
        return {
          ...event,
          at: CivilTime.format(event.at, zone),
          until: CivilTime.format(event.until, zone)
        }
      default:
        return withText(event)
    }
  }
}

/** Output as it comes; notes on the next run, and a summary of a series. `now` is the wall clock. */
export const make = (options: {
  readonly zone: DateTime.TimeZone
  readonly repeated: boolean
  /** Puts the time before each line of output. */
  readonly timestamps: boolean
  readonly now: () => number
}): Reporter.View<ScheduledRuns.RunEvent> => {
  const { now, repeated, timestamps, zone } = options
  let first = true
  const lines = { stdout: { open: false }, stderr: { open: false } }
  const stamped = ({
    bytes,
    stream
  }: {
    readonly bytes: Uint8Array
    readonly stream: "stdout" | "stderr"
  }) =>
    timestamps
      ? LinePrefix.before(bytes, Buffer.from(`${CivilTime.format(now(), zone)} `), lines[stream])
      : bytes
  return {
    json: wire(zone),
    show: (event) => {
      switch (event.event) {
        case "scheduled": {
          if (!first && event.skipped === undefined) return undefined
          const begin = repeated && first ? "first at " : "at "
          first = false
          const left = Durations.formatDuration(Math.max(0, event.at - now()))
          return {
            note: `${event.name}: ${begin}${CivilTime.format(event.at, zone)}, in ${left}${moved(event.skipped)}`
          }
        }
        case "started":
          return undefined
        case "output":
          return event.stream === "stdout" ? { bytes: stamped(event) } : { errors: stamped(event) }
        case "retrying":
          return { note: Reporter.retrying(event) }
        case "lingering":
          return { note: Reporter.lingering(event) }
        case "finished": {
          const name = repeated ? `run ${event.index} of ${event.name}` : event.name
          return event.status === "succeeded" ? undefined : { failure: Reporter.failed({ ...event, name }) }
        }
        case "skipped": {
          const until =
            event.count === 1 ? "" : ` to ${CivilTime.format(event.until, zone)}, ${event.count} runs`
          return { note: `Skipped (${event.reason}): ${CivilTime.format(event.at, zone)}${until}` }
        }
        case "summary":
          return repeated ? { summary: Reporter.summary("runs", event) } : undefined
      }
    }
  }
}
