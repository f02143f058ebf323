import { Either } from "effect"

/** Says which part of a duration or size is wrong, and what would be right. */
export type Problem = string

const milliseconds: Readonly<Record<string, number>> = {
  ms: 1,
  millisecond: 1,
  milliseconds: 1,
  s: 1000,
  sec: 1000,
  second: 1000,
  seconds: 1000,
  m: 60_000,
  min: 60_000,
  minute: 60_000,
  minutes: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  hours: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
  days: 86_400_000,
  w: 604_800_000,
  week: 604_800_000,
  weeks: 604_800_000
}

/**
 * Reads a duration as people write it (`90s`, `1h30m`, `250ms`, `2 days`; a bare number is seconds) and gives
 * milliseconds.
 */
export const duration = (text: string): Either.Either<number, Problem> => {
  const bare = /^\s*(\d+(?:\.\d+)?)\s*$/.exec(text)
  if (bare !== null) return Either.right(Number(bare[1]) * 1000)
  let total = 0
  let rest = text.trim()
  if (rest === "") return Either.left("a duration is empty; write one like 90s or 1h30m")
  while (rest !== "") {
    const part = /^(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*/.exec(rest)
    if (part === null)
      return Either.left(`'${rest}' in duration '${text}' is no number; write one like 90s or 1h30m`)
    const unit = milliseconds[part[2]!.toLowerCase()]
    if (unit === undefined) {
      const what =
        part[2] === ""
          ? `'${part[1]}' in duration '${text}' has no unit`
          : `unit '${part[2]}' in duration '${text}' is unknown`
      return Either.left(`${what}; use ms, s, m, h, d or w`)
    }
    total += Number(part[1]) * unit
    rest = rest.slice(part[0].length)
  }
  return Either.right(total)
}

const units = ["", "K", "M", "G", "T"]

/** Reads a size as people write it (`500K`, `2M`, `1.5GiB`; K is 1024) and gives bytes. */
export const size = (text: string): Either.Either<number, Problem> => {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*$/i.exec(text)
  if (match === null) return Either.left(`'${text}' is no size; write bytes or one like 500K, 2M, 1G`)
  return Either.right(Math.floor(Number(match[1]) * 1024 ** units.indexOf(match[2]!.toUpperCase())))
}

/** Bytes for people: `1.5 MiB`. */
export const formatSize = (bytes: number): string => {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}iB`
}

/** Milliseconds for people: `250 ms`, `1.5 s`, `2 m 05 s`, `1 h 05 m`. */
export const formatDuration = (ms: number): string => {
  // What is rounded decides the unit too: 999.6 ms are 1.0 s.
  if (Math.round(ms) < 1000) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`
  const two = (n: number) => String(Math.floor(n)).padStart(2, "0")
  const seconds = Math.round(ms / 1000)
  return seconds < 3600
    ? `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`
    : `${Math.floor(seconds / 3600)} h ${two((seconds % 3600) / 60)} m`
}
