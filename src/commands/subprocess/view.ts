import type * as Events from "../../services/host/Events.js"
import { isFailed, type JobEvent, type JobOutputEvent } from "../../services/job/JobEvents.js"
import * as Durations from "../../services/text/Durations.js"
import * as Printable from "../../services/text/Printable.js"
import * as RawText from "../../services/text/RawText.js"
import * as Sizes from "../../services/text/Sizes.js"
import * as LinePrefix from "../kernel/LinePrefix.js"
import * as Reporter from "../kernel/Reporter.js"

/** What `aio subprocess` reports. */
export type Event =
  | JobEvent
  | Extract<typeof Events.Subprocess.Type, { readonly event: "planned" | "submitted" }>

/** Settings of {@link make}. */
export interface Settings {
  /** The label and a TAB before each line of output. */
  readonly tag: boolean
  /** Whether results go to a terminal: then no item reaches it with control characters. */
  readonly interactive: boolean
  /** Whether jobs run elsewhere, and start without an event at that time. */
  readonly remote?: boolean
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
}

/** The width of the progress bar, in columns. */
const width = 20

/** The view of jobs; `expect` gives it the number of all jobs, for the progress. */
export const make = ({ interactive, now, remote, tag }: Settings) => {
  const open = new Map<string, { open: boolean }>()
  const running = new Set<number>()
  const begun = now()
  let all: number | undefined
  let ended = 0
  let failed = 0

  const safe = (text: string) => (interactive ? Printable.line(text) : text)
  const tagged = ({ bytes, index, label, stream }: JobOutputEvent) => {
    const key = `${index} ${stream}`
    const state = open.get(key) ?? { open: false }
    const shown = LinePrefix.before(bytes, RawText.encode(`${safe(label)}\t`), state)
    if (state.open) open.set(key, state)
    else open.delete(key)
    return shown
  }

  const show = (event: Event): Reporter.Shown | undefined => {
    switch (event.event) {
      case "submitted":
        return { note: Reporter.submitted(event) }
      case "planned":
        return { bytes: RawText.encode(`${safe(event.name)}\n`) }
      case "started":
        running.add(event.index)
        return undefined
      case "output": {
        const bytes = tag ? tagged(event) : event.bytes
        return event.stream === "stdout" ? { bytes } : { errors: bytes }
      }
      case "retrying":
        running.delete(event.index)
        return { note: Reporter.retrying(event) }
      case "finished":
        ended++
        running.delete(event.index)
        for (const stream of ["stdout", "stderr"]) open.delete(`${event.index} ${stream}`)
        if (event.status === "cancelled") return { note: Reporter.failed(event) }
        if (!isFailed(event)) return undefined
        failed++
        return { failure: Reporter.failed(event) }
      case "lingering":
        return { note: Reporter.lingering(event) }
      case "waiting":
        return {
          note:
            event.for === "load"
              ? `waiting: the load is ${event.value.toFixed(2)}`
              : `waiting: ${Sizes.formatSize(event.value)} of memory is free`
        }
      case "summary": {
        const { halted, slowest } = event
        const longest =
          slowest &&
          `${Durations.formatDuration(slowest.duration)}  ${Printable.line(Reporter.brief(slowest.name))}`
        return {
          summary: Reporter.summary("jobs", event, [
            ["halted", halted],
            ["slowest", longest]
          ])
        }
      }
    }
  }

  const live = (columns: number): ReadonlyArray<string> => {
    const spent = now() - begun
    const left =
      all === undefined || ended === 0 || ended >= all
        ? ""
        : `, ${Durations.formatDuration((spent / ended) * (all - ended))} left`
    const line = `${ended}${all === undefined ? "" : ` of ${all}`} done, ${failed} failed${remote === true ? "" : `, ${running.size} running`}${left}`
    if (!all || line.length + width + 1 > columns) return [line]
    // A file can have more items than when it was counted.
    const done = Math.min(width, Math.round((ended / all) * width))
    return [`${"━".repeat(done)}${" ".repeat(width - done)} ${line}`]
  }

  return {
    view: { show, live, ticks: true, json: Reporter.withText() } satisfies Reporter.View<Event>,
    expect: (jobs: number | undefined) => {
      all = jobs
    }
  }
}
