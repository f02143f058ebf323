import type { DownloadEvent } from "../../services/download/Downloads.js"
import { formatDuration } from "../../services/text/Durations.js"
import { formatSize } from "../../services/text/Sizes.js"
import * as Width from "../../services/text/Width.js"

// How far the downloads are: a line for the whole, and a bar for each transfer. Files whose size is unknown count with
// the average of the others.

interface Transfer {
  readonly label: string
  readonly bytes: number
  readonly total: number | undefined
}

export interface Progress {
  readonly count: (event: DownloadEvent) => void
  readonly lines: (columns: number) => ReadonlyArray<string>
}

const barWidth = 20

/** The speed is that of the last 5 s, measured 5 times a second. */
const span = 5000
const pause = 200

const label = (url: string) => url.slice(url.lastIndexOf("/", url.length - 2) + 1)

const bar = ({ bytes, label, total }: Transfer, columns: number): string => {
  const amount = total === undefined ? formatSize(bytes) : `${formatSize(bytes)} of ${formatSize(total)}`
  const done = total === undefined || total === 0 ? 0 : Math.round(Math.min(1, bytes / total) * barWidth)
  const drawn = columns < 60 ? "" : `${"━".repeat(done)}${" ".repeat(barWidth - done)} `
  const room = Math.max(8, Math.min(40, columns - drawn.length - amount.length - 1))
  const name = label.length <= room ? label : `…${label.slice(label.length - room + 1)}`
  return Width.cut(`${drawn}${name.padEnd(room)} ${amount}`, columns)
}

const timeLeft = (ms: number) =>
  `${ms < 59_000 ? `${Math.max(1, Math.ceil(ms / 1000))} s` : formatDuration(ms)} left`

export const make = (options: {
  /** How many files there are, if that is known. */
  readonly files: () => number | undefined
  /** Milliseconds of a clock that does not jump. */
  readonly now: () => number
}): Progress => {
  const { files, now } = options
  const active = new Map<number, Transfer>()
  let ended = 0
  let failed = 0
  let whole = { files: 0, bytes: 0 } // downloaded
  let arrived = 0 // in this run
  let marks = [{ time: now(), arrived }]

  const count = (event: DownloadEvent) => {
    if (event.event === "summary" || event.event === "started" || event.event === "note") return
    const before = active.get(event.index)
    if (event.event === "progress") {
      // What the first event of a transfer counts may be of an earlier run.
      arrived += before === undefined ? 0 : Math.max(0, event.bytes - before.bytes)
      active.set(event.index, { label: label(event.name), bytes: event.bytes, total: event.total })
      return
    }
    active.delete(event.index)
    if (event.event === "retrying") return
    ended++
    if (event.status === "failed" || event.status === "timed_out") failed++
    if (event.status !== "succeeded") return
    const { bytes = 0, resumedFrom = 0 } = event
    arrived += Math.max(0, bytes - (before?.bytes ?? resumedFrom))
    whole = { files: whole.files + 1, bytes: whole.bytes + bytes }
  }

  /** Bytes of all files, once one size is known. */
  const expected = (): number | undefined => {
    const all = files()
    if (all === undefined) return undefined
    const sized = [...active.values()].filter(({ total }) => total !== undefined)
    const known = sized.reduce((sum, { bytes, total }) => sum + Math.max(bytes, total!), whole.bytes)
    const count = whole.files + sized.length
    return known === 0 ? undefined : known + Math.max(0, all - ended - sized.length) * (known / count)
  }

  const speed = (): number | undefined => {
    const time = now()
    if (time - marks.at(-1)!.time >= pause) marks.push({ time, arrived })
    const from = marks.findLastIndex((mark) => time - mark.time >= span)
    if (from > 0) marks = marks.slice(from)
    const [first] = marks
    return time - first!.time < pause ? undefined : ((arrived - first!.arrived) / (time - first!.time)) * 1000
  }

  const total = (columns: number): string => {
    const received = [...active.values()].reduce((sum, { bytes }) => sum + bytes, whole.bytes)
    const all = expected()
    const rate = speed()
    const parts: Record<"files" | "failed" | "percent" | "bytes" | "speed" | "left", string | undefined> = {
      files: `${files() === undefined ? ended : `${ended}/${files()}`} files`,
      failed: failed === 0 ? undefined : `${failed} failed`,
      percent: all === undefined ? undefined : `${Math.min(100, Math.floor((100 * received) / all))}%`,
      bytes: formatSize(received),
      speed: rate === undefined ? undefined : `${formatSize(Math.round(rate))}/s`,
      left:
        all === undefined || rate === undefined || rate === 0
          ? undefined
          : timeLeft((Math.max(0, all - received) / rate) * 1000)
    }
    const line = () =>
      Object.values(parts)
        .filter((part) => part !== undefined)
        .join("  ")
    for (const part of ["bytes", "failed", "files"] as const) {
      if (line().length > columns) parts[part] = undefined
    }
    return Width.cut(line(), columns)
  }

  return {
    count,
    lines: (columns) => [total(columns), ...[...active.values()].map((transfer) => bar(transfer, columns))]
  }
}
