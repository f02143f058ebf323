import { codes } from "../../services/host/ExitCodes.js"
import type * as RecordRun from "../../services/record/RecordRun.js"
import * as RecordWriter from "../../services/record/RecordWriter.js"
import * as Plural from "../../services/text/Plural.js"
import * as Reporter from "../kernel/Reporter.js"

export interface Settings {
  /** The name of a record, by its line. */
  readonly place: (line: number) => string
  /** The end of a result. */
  readonly end: string
  /** The header of a table with its end, once, when it is known. */
  readonly header?: (() => string | undefined) | undefined
  /** With `fail` a gap is the error that ends the run. */
  readonly onGap: "warn" | "fail" | undefined
  /** The time in milliseconds. */
  readonly now: () => number
}

/** The view of a run. */
export const make = ({ end, header, now, onGap, place }: Settings): Reporter.View<RecordRun.RunEvent> => {
  const write = RecordWriter.make(end)
  const begun = now()
  let records = 0
  let failed = 0
  const show = (event: RecordRun.RunEvent): Reporter.Shown | undefined => {
    switch (event.event) {
      case "results":
        records += event.records
        return { bytes: write(event.outcomes) }
      case "finished": {
        const line = Reporter.failed({ ...event, name: place(event.line) })
        if (event.status === "cancelled") return { note: line }
        records++
        failed++
        return { failure: line }
      }
      case "retrying":
        return { note: Reporter.retrying({ ...event, name: place(event.line) }) }
      case "output":
        return { errors: event.bytes }
      case "gap":
        return onGap === "fail" ? undefined : { failure: `${event.path}: ${event.reason}` }
      case "waiting":
        return { note: `waiting for ${event.path}: ${event.reason}` }
      case "refused":
        return undefined // the line of the error that ends the run
      case "summary":
        if (event.exitCode === codes.usage || event.exitCode === codes.gap) return undefined
        return { summary: Reporter.summary("records", event, [["results", `${event.results}`]]) }
    }
  }
  return {
    // Before the first event with which a position can be saved: a run that resumes writes no header.
    show: (event) => {
      const shown = show(event)
      const isDue = event.event === "results" || event.event === "finished" || shown?.summary !== undefined
      const head = isDue ? header?.() : undefined
      return head === undefined ? shown : { ...shown, bytes: [head, ...[shown?.bytes ?? []].flat()] }
    },
    live: () => [
      `${Plural.plural(records, "record")}, ${failed} failed, ${Math.round((records * 1000) / Math.max(1, now() - begun))}/s`
    ],
    json: (event) => {
      if (event.event === "results") return new Reporter.Lines(RecordWriter.events(event.outcomes))
      if (event.event === "refused") {
        const { reason, ...record } = event
        return { ...record, event: "finished", status: "failed", reason }
      }
      return Reporter.asText(event)
    }
  }
}
