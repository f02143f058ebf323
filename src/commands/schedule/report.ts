import { Clock, type DateTime, Effect } from "effect"
import * as Output from "../../services/host/Output.js"
import type * as ScheduledRuns from "../../services/supervision/ScheduledRuns.js"
import * as Durations from "../../services/text/Durations.js"
import * as Plural from "../../services/text/Plural.js"
import * as CivilTime from "../../services/time/CivilTime.js"

/** Marks a time that a clock change has moved. */
export const moved = (skipped: string | undefined): string =>
  skipped === undefined ? "" : `  moved from ${skipped}`

/** A time in an event of `--json`. */
export const timeFields = (at: number, skipped: string | undefined, zone: DateTime.TimeZone) => ({
  at: CivilTime.format(at, zone),
  ...(skipped === undefined ? {} : { movedFrom: skipped })
})

/** Draws the events of `ScheduledRuns.run`: as NDJSON, or the output on stdout and notes on stderr. */
export const make = (
  line: string,
  options: {
    readonly zone: DateTime.TimeZone
    readonly repeated: boolean
    readonly json: boolean
    readonly quiet: boolean
  }
) =>
  Effect.map(Output.Output, (output) => {
    const { json, quiet, repeated, zone } = options
    const decoders = new Map<string, InstanceType<typeof TextDecoder>>()
    const note = (text: string) => (quiet ? Effect.void : output.note(text))
    const which = (run: number) => (repeated ? `run ${run}: ` : "")
    let first = true
    const asJson = (event: ScheduledRuns.RunEvent): object => {
      const { event: _, ...fields } = event
      switch (event.event) {
        case "scheduled":
          return timeFields(event.at, event.skipped, zone)
        case "started":
          return { run: event.run, ...timeFields(event.at, event.skipped, zone), command: line }
        case "output": {
          const key = `${event.run} ${event.stream}`
          const decoder = decoders.get(key) ?? new TextDecoder()
          decoders.set(key, decoder)
          return { run: event.run, stream: event.stream, text: decoder.decode(event.bytes, { stream: true }) }
        }
        case "skipped":
          return {
            ...fields,
            at: CivilTime.format(event.at, zone),
            until: CivilTime.format(event.until, zone)
          }
        default:
          return fields
      }
    }
    return (event: ScheduledRuns.RunEvent): Effect.Effect<void> => {
      if (json) {
        const print = output.print(Output.eventLine(event.event, asJson(event)))
        return event.event === "output" ? Effect.zipRight(print, output.drained) : print
      }
      switch (event.event) {
        case "scheduled": {
          const shown = first || event.skipped !== undefined
          const begin = repeated && first ? "first at " : "at "
          first = false
          return shown
            ? Effect.flatMap(Clock.currentTimeMillis, (now) =>
                note(
                  `${line}: ${begin}${CivilTime.format(event.at, zone)}, in ${Durations.formatDuration(Math.max(0, event.at - now))}${moved(event.skipped)}`
                )
              )
            : Effect.void
        }
        case "started":
          return Effect.void
        case "output":
          return Effect.zipRight(
            event.stream === "stdout" ? output.write(event.bytes) : output.writeError(event.bytes),
            output.drained
          )
        case "finished":
          return event.detail === undefined
            ? Effect.void
            : note(
                `${event.outcome === "cancelled" ? "Cancelled" : "Failed"} (${which(event.run)}${event.detail}): ${line}`
              )
        case "skipped": {
          const until =
            event.count === 1 ? "" : ` to ${CivilTime.format(event.until, zone)}, ${event.count} runs`
          return note(`Skipped (${event.reason}): ${CivilTime.format(event.at, zone)}${until}`)
        }
        case "summary": {
          const { cancelled, elapsed, failed, runs, skipped } = event
          const parts = [
            Plural.plural(runs, "run"),
            ...(failed > 0 ? [`${failed} failed`] : []),
            ...(cancelled > 0 ? [`${cancelled} cancelled`] : []),
            ...(skipped > 0 ? [`${skipped} skipped`] : [])
          ]
          return repeated ? note(`${parts.join(", ")} in ${Durations.formatDuration(elapsed)}`) : Effect.void
        }
      }
    }
  })
