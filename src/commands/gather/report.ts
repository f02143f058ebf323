import { Effect } from "effect"
import type * as Downloads from "../../services/download/Downloads.js"
import * as Output from "../../services/host/Output.js"
import { formatDuration } from "../../services/text/Durations.js"
import { plural } from "../../services/text/Plural.js"
import { formatSize } from "../../services/text/Sizes.js"
import * as Screen from "../kernel/Screen.js"

// How `aio gather` draws its events.

/** How a run ended, for a reader: the summary as a table, and how to continue. */
const table = (
  summary: Downloads.Summary,
  {
    again,
    first,
    stopped
  }: { readonly again: string | undefined; readonly first: string | undefined; readonly stopped: boolean }
): string => {
  const {
    bytes,
    causes,
    elapsed,
    failed,
    finished,
    kept = { files: 0, bytes: 0 },
    retries,
    skipped
  } = summary
  const { cancelled = 0, ...reasons } = causes
  const files = [
    `${finished} downloaded`,
    ...(skipped > 0 ? [`${skipped} skipped`] : []),
    ...(failed > cancelled ? [`${failed - cancelled} failed`] : []),
    ...(cancelled > 0 ? [`${cancelled} cancelled`] : [])
  ]
  const rows = [
    ["files", files.join(", ")],
    ["bytes", formatSize(bytes)],
    ["time", formatDuration(elapsed)],
    ["throughput", `${formatSize(Math.round(bytes / Math.max(elapsed / 1000, 0.001)))}/s`],
    ["retries", String(retries)]
  ]
  const why = Object.entries(reasons).map(([cause, times]) => `${cause} ${times}`)
  if (why.length > 0) rows.push(["failures", why.join(", ")])
  if (again !== undefined && (kept.files > 0 || stopped)) {
    const size = kept.files === 0 ? "" : `, ${formatSize(kept.bytes)}`
    const parts = `${plural(kept.files, "partial file")}${size}`
    rows.push(["kept", `${parts}; run the same command again to continue${again}`])
  }
  const there =
    skipped === 0 ? "" : skipped === 1 ? `${first} already exists\n` : `${skipped} files already exist\n`
  return there + rows.map(([name, value]) => `${name!.padEnd(10)}  ${value}`).join("\n")
}

const barWidth = 20

/** A line for the whole, and one for each active transfer, at most as wide as the terminal. */
const progressLines = (
  whole: string,
  transfers: Iterable<{
    readonly label: string
    readonly received: number
    readonly total: number | undefined
  }>
): ReadonlyArray<string> => {
  const columns = (process.stderr.columns || 80) - 1
  const lines = [whole]
  for (const { label, received, total } of transfers) {
    const amount =
      total === undefined ? formatSize(received) : `${formatSize(received)} of ${formatSize(total)}`
    const share = total === undefined || total === 0 ? 0 : Math.min(1, received / total)
    const done = Math.round(share * barWidth)
    const bar = columns < 60 ? "" : `${"━".repeat(done)}${" ".repeat(barWidth - done)} `
    const room = Math.max(8, Math.min(40, columns - bar.length - amount.length - 1))
    const name = label.length <= room ? label : `…${label.slice(label.length - room + 1)}`
    lines.push(`${bar}${name.padEnd(room)} ${amount}`)
  }
  return lines
}

/** Most notes about odd responses that are reported, each once. */
const mostOdd = 100

/** Prints events: lines, with progress below them on a terminal, or NDJSON. Events of one chunk are one write. */
export const make = (options: {
  readonly json: boolean
  readonly quiet: boolean
  readonly collect: boolean
  /** The end of the line that says how to continue; undefined when the run cannot be continued. */
  readonly again: (summary: Downloads.Summary) => string | undefined
  /** The signal that has ended the downloads. */
  readonly stopped: () => string | undefined
}) =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const screen =
      output.stderr.interactive && !options.quiet && !options.json ? yield* Screen.make : undefined
    const shared = screen !== undefined && output.stdout.interactive // one screen for results and progress
    const label = (url: string) => url.slice(url.lastIndexOf("/", url.length - 2) + 1)
    const under = new Map<number, { label: string; received: number; total: number | undefined }>()
    let finished = 0
    let failed = 0
    let bytes = 0
    let first: string | undefined // of the files that already exist
    const odd = new Set<string>()
    const note = (text: string) =>
      screen === undefined ? output.note(text) : Effect.sync(() => screen.log(text))
    const handle = (events: Iterable<Downloads.DownloadEvent>) => {
      let results = ""
      let notes = ""
      for (const event of events) {
        if (options.json) {
          const { event: name, ...fields } = event
          results += `${Output.eventLine(name, fields)}\n`
          continue
        }
        switch (event.event) {
          case "progress":
            under.set(event.index, {
              label: label(event.url),
              received: event.received,
              total: event.total
            })
            break
          case "note":
            if (!options.quiet) notes += `${event.url}: ${event.detail}\n`
            break
          case "retried":
            under.delete(event.index)
            if (!options.quiet) {
              notes += `${event.url}: ${event.detail}; attempt ${event.attempt} in ${formatDuration(event.delay)}\n`
            }
            break
          case "finished":
            under.delete(event.index)
            if (event.skipped) first ??= event.path
            else {
              finished++
              bytes += event.size
              results += `Downloaded ${event.url}, size ${event.size}\n`
              if (event.note !== undefined && !options.quiet && odd.size < mostOdd && !odd.has(event.note)) {
                odd.add(event.note)
                notes += `${event.url}: ${event.note}\n`
              }
            }
            break
          case "failed":
            under.delete(event.index)
            failed++
            // A transfer that a signal cancelled has not failed; the summary counts it.
            if (event.reason === "cancelled" && options.stopped() !== undefined) break
            if (options.collect) results += `Failed ${event.url}, ${event.detail}\n`
            else notes += `Failed ${event.url}: ${event.detail}\n`
            break
        }
      }
      screen?.show(
        progressLines(`${finished} downloaded, ${failed} failed, ${formatSize(bytes)}`, under.values())
      )
      if (shared) {
        if (results + notes !== "") screen.log((results + notes).trimEnd())
        return Effect.void
      }
      const write = results === "" ? Effect.void : output.write(results)
      return notes === "" ? write : Effect.zipRight(write, note(notes.trimEnd()))
    }
    /** Writes the summary for the user. */
    const end = (summary: Downloads.Summary) =>
      options.json || options.quiet || options.stopped() === "SIGPIPE"
        ? Effect.void
        : note(
            table(summary, {
              again: options.again(summary),
              first,
              stopped: options.stopped() !== undefined
            })
          )
    return { handle, end }
  })
