import { Effect } from "effect"
import * as Output from "../../services/host/Output.js"
import type { JobEvent, JobOutputEvent, JobsSummary } from "../../services/job/JobEvents.js"
import * as Durations from "../../services/text/Durations.js"
import * as RawText from "../../services/text/RawText.js"
import * as Sizes from "../../services/text/Sizes.js"
import * as LinePrefix from "../kernel/LinePrefix.js"
import * as Screen from "../kernel/Screen.js"

/** The beginning and the end of a long text. */
const brief = (text: string): string =>
  text.length <= 240 ? text : `${text.slice(0, 120)} … ${text.slice(-100)}`

const table = (summary: JobsSummary): string => {
  const { cancelled, elapsed, failed, halted, ok, skipped, slowest } = summary
  const rows = [
    [
      "jobs",
      `${ok} ok, ${failed} failed, ${skipped} skipped${cancelled > 0 ? `, ${cancelled} cancelled` : ""}`
    ],
    ...(halted === undefined ? [] : [["halted", halted]]),
    ["time", Durations.formatDuration(elapsed)],
    ...(slowest === undefined
      ? []
      : [["slowest", `${Durations.formatDuration(slowest.runtime)}  ${brief(slowest.command)}`]])
  ]
  return rows.map(([name, value]) => `${name!.padEnd(8)}  ${value}`).join("\n")
}

/** The width of the progress bar, in columns. */
const width = 20

/** Settings of {@link make}. */
export interface Settings {
  readonly json: boolean
  readonly quiet: boolean
  /** The label and a TAB before each line of output. */
  readonly tag: boolean
  readonly progress: boolean
  /** The number of jobs, if known. */
  readonly total: number | undefined
}

/**
 * Draws the events of jobs: output to stdout and stderr, notes to stderr, progress on a terminal, or all as NDJSON.
 * Returns undefined if an event writes nothing.
 */
export const make = (settings: Settings) =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const screen =
      settings.progress && output.stderr.interactive && !settings.json ? yield* Screen.make : undefined
    const open = new Map<string, { open: boolean }>()
    const begun = performance.now()
    let ended = 0
    let failed = 0
    const running = new Set<number>()
    const show = (): void => {
      if (screen === undefined) return
      const all = settings.total
      const spent = performance.now() - begun
      const left =
        all === undefined || ended === 0
          ? ""
          : `, ${Durations.formatDuration((spent / ended) * (all - ended))} left`
      const done = all === undefined ? 0 : Math.round((ended / all) * width)
      const bar = all === undefined ? "" : `${"━".repeat(done)}${" ".repeat(width - done)} `
      screen.show([
        `${bar}${ended}${all === undefined ? "" : ` of ${all}`} done, ${failed} failed, ${running.size} running${left}`
      ])
    }
    const write = ({ bytes, label, seq, stream }: JobOutputEvent) => {
      const key = `${seq} ${stream}`
      const state = open.get(key) ?? { open: false }
      const shown = settings.tag ? LinePrefix.before(bytes, RawText.encode(`${label}\t`), state) : bytes
      if (state.open) open.set(key, state)
      else open.delete(key)
      // Results and progress share one screen: output goes above the progress.
      if (screen !== undefined && (stream === "stderr" || output.stdout.interactive)) {
        return Effect.sync(() => screen.write(shown))
      }
      return stream === "stdout" ? output.write(shown) : output.writeError(shown)
    }
    const note = (line: string) =>
      settings.quiet
        ? Effect.void
        : screen === undefined
          ? output.note(line)
          : Effect.sync(() => screen.log(line))
    const json = (event: JobEvent) => {
      const { event: name, ...fields } = event
      return output.print(
        Output.eventLine(
          name,
          event.event === "output"
            ? { seq: event.seq, stream: event.stream, text: new TextDecoder().decode(event.bytes) }
            : fields
        )
      )
    }
    return (event: JobEvent): Effect.Effect<void> | undefined => {
      if (settings.json) return json(event)
      switch (event.event) {
        case "started":
          running.add(event.seq)
          show()
          return undefined
        case "output":
          return write(event)
        case "retried":
          running.delete(event.seq)
          return note(`${brief(event.command)}: ${brief(event.detail)}; attempt ${event.attempt}`)
        case "finished":
          running.delete(event.seq)
          ended++
          open.delete(`${event.seq} stdout`)
          open.delete(`${event.seq} stderr`)
          if (!event.ok) failed++
          show()
          return event.ok ? undefined : note(`Failed (${brief(event.detail ?? "")}): ${brief(event.command)}`)
        case "cancelled":
          running.delete(event.seq)
          show()
          return note(`Cancelled (${event.reason}): ${brief(event.command)}`)
        case "skipped":
          ended++
          return undefined
        case "lingering":
          return note(
            `waiting for ${brief(event.command)}, which is killed in ${Durations.formatDuration(event.left)}`
          )
        case "waiting":
          return note(
            event.for === "load"
              ? `waiting: the load is ${event.value.toFixed(2)}`
              : `waiting: ${Sizes.formatSize(event.value)} of memory is free`
          )
        case "summary":
          return note(table(event))
      }
    }
  })
