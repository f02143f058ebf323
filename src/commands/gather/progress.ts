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
  readonly meter: Meter
}

export interface Progress {
  readonly count: (event: DownloadEvent) => void
  readonly lines: (columns: number) => ReadonlyArray<string>
}

const barWidth = 20
const leastName = 8

/** The speed is that of the last 5 s, measured 5 times a second. */
const span = 5000
const pause = 200

const label = (url: string) => url.slice(url.lastIndexOf("/", url.length - 2) + 1)

/** Measures the speed of bytes that arrive: bytes a second, once there is a time to measure. */
interface Meter {
  readonly speed: (arrived: number) => number | undefined
}

const makeMeter = (now: () => number, begun: number): Meter => {
  let marks = [{ time: now(), arrived: begun }]
  return {
    speed: (arrived) => {
      const time = now()
      if (time - marks.at(-1)!.time >= pause) marks.push({ time, arrived })
      const from = marks.findLastIndex((mark) => time - mark.time >= span)
      if (from > 0) marks = marks.slice(from)
      const [first] = marks
      return time - first!.time < pause
        ? undefined
        : ((arrived - first!.arrived) / (time - first!.time)) * 1000
    }
  }
}

const percent = (bytes: number, total: number | undefined) =>
  total === undefined || total === 0 ? undefined : `${Math.min(100, Math.floor((100 * bytes) / total))}%`

const perSecond = (rate: number | undefined) =>
  rate === undefined ? undefined : `${formatSize(Math.max(0, Math.round(rate)))}/s`

const timeLeft = (bytes: number, total: number | undefined, rate: number | undefined) => {
  if (total === undefined || rate === undefined || !(rate > 0)) return undefined
  const ms = (Math.max(0, total - bytes) / rate) * 1000
  return `${ms < 59_000 ? `${Math.max(1, Math.ceil(ms / 1000))} s` : formatDuration(ms)} left`
}

/** The parts that there are, without those that matter least where they do not fit into the room. */
const fitted = (
  parts: Record<string, string | undefined>,
  least: ReadonlyArray<string>,
  room: number
): string => {
  const line = () => Object.values(parts).filter(Boolean).join("  ")
  for (const part of least) if (line().length > room) parts[part] = undefined
  return line()
}

/** A transfer's bar and name, then how far it is. */
const bar = ({ bytes, label, meter, total }: Transfer, columns: number): string => {
  const done = total === undefined || total === 0 ? 0 : Math.round(Math.min(1, bytes / total) * barWidth)
  const drawn = columns < 60 ? "" : `${"━".repeat(done)}${" ".repeat(barWidth - done)} `
  const rate = meter.speed(bytes)
  const far = fitted(
    {
      percent: percent(bytes, total),
      amount: total === undefined ? formatSize(bytes) : `${formatSize(bytes)} of ${formatSize(total)}`,
      speed: perSecond(rate),
      left: timeLeft(bytes, total, rate)
    },
    total === undefined ? ["left", "amount"] : ["amount", "left", "speed"],
    columns - drawn.length - leastName - 1
  )
  const room = Math.max(leastName, Math.min(40, columns - drawn.length - far.length - 1))
  const name = label.length <= room ? label : `…${label.slice(label.length - room + 1)}`
  return Width.cut(`${drawn}${name.padEnd(room)} ${far}`, columns)
}

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
  const meter = makeMeter(now, 0)

  const count = (event: DownloadEvent) => {
    if (event.event === "summary" || event.event === "started" || event.event === "note") return
    const before = active.get(event.index)
    if (event.event === "progress") {
      // What the first event of a transfer counts may be of an earlier run.
      arrived += before === undefined ? 0 : Math.max(0, event.bytes - before.bytes)
      const { bytes, total } = event
      // Fewer bytes than before: it has begun anew.
      const kept = before !== undefined && before.bytes <= bytes ? before.meter : makeMeter(now, bytes)
      active.set(event.index, { label: label(event.name), bytes, total, meter: kept })
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

  const total = (columns: number): string => {
    const received = [...active.values()].reduce((sum, { bytes }) => sum + bytes, whole.bytes)
    const all = expected()
    const rate = meter.speed(arrived)
    const line = fitted(
      {
        files: `${files() === undefined ? ended : `${ended}/${files()}`} files`,
        failed: failed === 0 ? undefined : `${failed} failed`,
        percent: percent(received, all),
        bytes: formatSize(received),
        speed: perSecond(rate),
        left: timeLeft(received, all, rate)
      },
      ["bytes", "failed", "files"],
      columns
    )
    return Width.cut(line, columns)
  }

  return {
    count,
    lines: (columns) => [total(columns), ...[...active.values()].map((transfer) => bar(transfer, columns))]
  }
}
