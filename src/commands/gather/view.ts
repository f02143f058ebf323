import { notModified } from "../../services/download/Downloads.js"
import type * as Events from "../../services/host/Events.js"
import { codes } from "../../services/host/ExitCodes.js"
import { plural } from "../../services/text/Plural.js"
import { formatSize } from "../../services/text/Sizes.js"
import * as Reporter from "../kernel/Reporter.js"
import * as Progress from "./progress.js"

type Event = typeof Events.Gather.Type
type Finished = Extract<Event, { readonly event: "finished" }>
type Summary = Extract<Event, { readonly event: "summary" }>

/** Most notes that are remembered, because each is shown once. */
const mostNotes = 100

/** How `aio gather` shows its events. */
export const make = (options: {
  /** Whether files are saved, read and discarded, or printed. */
  readonly bodies: "saved" | "discarded" | "printed"
  /** Whether a file that exists is replaced. */
  readonly replaces: boolean
  /** By `collect` failures are results. */
  readonly onFailure: "cancel" | "continue" | "collect"
  /** How many files there are, if that is known. */
  readonly files: () => number | undefined
  readonly now: () => number
}): Reporter.View<Event> => {
  const { bodies, onFailure, replaces } = options
  const progress = Progress.make(options)
  const notes = new Set<string>()
  /** Files that are kept, by why, and the first of them. */
  const kept = { exist: { files: 0, first: "" }, unmodified: { files: 0, first: "" } }

  const finished = (event: Finished): Reporter.Shown | undefined => {
    const { bytes, name, path, reason, status } = event
    if (status === "succeeded") {
      if (bodies === "printed") return undefined
      return { line: `${bodies === "saved" ? "Downloaded" : "Read"} ${name}, size ${bytes}` }
    }
    if (status === "skipped") {
      // The summary counts what was never begun.
      if (path === undefined)
        return reason?.startsWith("never begun") ? undefined : { note: `${name}: ${reason}` }
      const why = reason === notModified ? kept.unmodified : kept.exist
      if (why.files++ === 0) why.first = path
      return undefined
    }
    // The summary counts what a signal or a wrong line of the list has cancelled.
    if (status === "cancelled" && (onFailure !== "cancel" || reason?.startsWith("SIG") === true))
      return undefined
    return onFailure === "collect" ? { line: Reporter.failed(event) } : { failure: Reporter.failed(event) }
  }

  const keptParts = ({ exitCode, kept = { files: 0, bytes: 0 }, succeeded }: Summary): string | undefined => {
    if (bodies !== "saved" || (kept.files === 0 && exitCode <= 128)) return undefined
    const size = kept.files === 0 ? "" : `, ${formatSize(kept.bytes)}`
    const how = succeeded > 0 && replaces ? ", with --no-clobber to keep existing files" : ""
    return `${plural(kept.files, "partial file")}${size}; run the same command again to continue${how}`
  }

  const of = ({ files, first }: { files: number; first: string }, one: string, more: string) =>
    files === 0 ? [] : files === 1 ? `${first} ${one}` : `${files} files ${more}`

  const summary = (event: Summary): Reporter.Shown | undefined => {
    const { bytes, cancelled, causes, duration, exitCode, failed, retries, skipped, succeeded, timed_out } =
      event
    // If a list is wrong from the beginning, only that is reported; without a reader of stdout, nothing.
    const none = succeeded + failed + cancelled + skipped + timed_out === 0
    if (exitCode === codes.SIGPIPE || (exitCode === codes.usage && none)) return undefined
    const why = Object.entries(causes).map(([cause, times]) => `${cause} ${times}`)
    const continued = keptParts(event)
    return {
      note:
        [
          of(kept.exist, "already exists", "already exist"),
          of(kept.unmodified, "is not modified", "are not modified")
        ]
          .flat()
          .join("; ") || undefined,
      summary: Reporter.summary("files", event, [
        ["bytes", formatSize(bytes)],
        ["throughput", `${formatSize(Math.round(bytes / Math.max(duration / 1000, 0.001)))}/s`],
        ["retries", String(retries)],
        ...(why.length === 0 ? [] : [["failures", why.join(", ")] as const]),
        ...(continued === undefined ? [] : [["kept", continued] as const])
      ])
    }
  }

  return {
    show: (event) => {
      if (event.event === "planned") {
        return { line: event.path === undefined ? event.name : `${event.name} -> ${event.path}` }
      }
      progress.count(event)
      switch (event.event) {
        case "retrying":
          return { note: Reporter.retrying(event) }
        case "note":
          if (notes.has(event.reason)) return undefined
          if (notes.size < mostNotes) notes.add(event.reason)
          return { note: `${event.name}: ${event.reason}` }
        case "finished":
          return finished(event)
        case "summary":
          return summary(event)
      }
      return undefined
    },
    live: progress.lines,
    ticks: true
  }
}
