import { DateTime, Either, Option } from "effect"
import { didYouMean } from "../text/Spelling.js"

/**
 * An instant that was read from a text.
 *
 * @since 0.1.0
 * @category models
 */
export interface Time {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** The requested time of day, if a clock change skips it: then `at` is the end of the gap. */
  readonly skipped: string | undefined
}

/**
 * How to read a time.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** For times without an offset of their own. */
  readonly zone: DateTime.TimeZone
  /** A time of day is the next one after this; milliseconds since the epoch. */
  readonly now: number
}

const day = 86_400_000
/**
 * The last instant that a JavaScript `Date` can hold, less a day for the offset.
 * @internal
 */
export const latest = 8.64e15 - day

// zones

/**
 * The time zone of the machine.
 *
 * @since 0.1.0
 * @category functions
 */
export const local = DateTime.zoneMakeLocal

/**
 * Reads a time zone: an IANA name, `UTC`, `local`, or an offset like `+02:00`. On the left is what is wrong with it.
 *
 * @since 0.1.0
 * @category parsing
 */
export const zone = (text: string): Either.Either<DateTime.TimeZone, string> => {
  const name = text.trim()
  if (name.toLowerCase() === "local") return Either.right(local())
  const offset = /^([+-])(\d{2}):?([0-5]\d)?$/.exec(name)
  if (offset !== null && Number(offset[2]) < 24) {
    const minutes = Number(offset[2]) * 60 + Number(offset[3] ?? 0)
    return Either.right(DateTime.zoneMakeOffset((offset[1] === "-" ? -minutes : minutes) * 60_000))
  }
  const named = /^[+-]/.test(name) ? Option.none() : DateTime.zoneMakeNamed(name)
  return Either.fromOption(named, () => {
    const near = didYouMean(name, Intl.supportedValuesOf("timeZone"))
    return `'${text}' is not a time zone${near}; expected an IANA name like Europe/Berlin, UTC, local or an offset like +02:00`
  })
}

// A cached formatter returns the offset in 1 µs, `DateTime.zonedOffset` in 8; creating one takes a hundred.
const formatters = new Map<string, Intl.DateTimeFormat>()

const formatterOf = (id: string): Intl.DateTimeFormat => {
  const known = formatters.get(id)
  if (known !== undefined) return known
  const made = new Intl.DateTimeFormat("en-US", { timeZone: id, timeZoneName: "longOffset", year: "numeric" })
  formatters.set(id, made)
  return made
}

/**
 * The zone's offset from UTC at that instant, in milliseconds.
 *
 * @since 0.1.0
 * @category functions
 */
export const offsetOf = (at: number, zone: DateTime.TimeZone): number => {
  if (zone._tag === "Offset") return zone.offset
  const text = formatterOf(zone.id).format(at)
  const match = /([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(text)
  if (match === null) return 0 // GMT itself
  const [, sign, hours, minutes, seconds = 0] = match
  const offset = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000
  return sign === "-" ? -offset : offset
}

const two = (n: number) => String(n).padStart(2, "0")

/**
 * An instant as ISO 8601 with its offset: `2027-03-28T03:00:00+02:00`. Milliseconds and the seconds of an offset are
 * written only if they are not zero.
 *
 * @since 0.1.0
 * @category formatting
 */
export const format = (at: number, zone: DateTime.TimeZone): string => {
  if (!(Math.abs(at) <= latest)) return "after the year 275760"
  const offset = offsetOf(at, zone)
  const seconds = Math.abs(offset) / 1000
  const rest = seconds % 60
  const shift = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}${rest === 0 ? "" : `:${two(rest)}`}`
  const wall = new Date(Math.floor(at) + offset)
    .toISOString()
    .slice(0, -1)
    .replace(/\.000$/, "")
  return `${wall}${offset < 0 ? "-" : "+"}${shift}`
}

/**
 * The time of day that a clock in the zone shows: `02:30`, `02:30:15`, `02:30:15.250`.
 *
 * @since 0.1.0
 * @category formatting
 */
export const timeOfDay = (at: number, zone: DateTime.TimeZone): string => shown(at + offsetOf(at, zone))

/**
 * The time of day of a wall time.
 * @internal
 */
export const shown = (wall: number): string =>
  new Date(Math.floor(wall))
    .toISOString()
    .slice(11, -1)
    .replace(/\.000$/, "")
    .replace(/:00$/, "")

// A wall time is the instant at which a clock in UTC would show the same.

/** The instants of this wall time in the zone: none in a skipped hour, two in a repeated one. */
const instants = (wall: number, zone: DateTime.TimeZone): ReadonlyArray<number> => {
  // Clocks change less than once in two days, so the offset is that of a day earlier or a day later.
  const offsets = new Set([offsetOf(wall - day, zone), offsetOf(wall, zone), offsetOf(wall + day, zone)])
  return [...offsets]
    .map((offset) => wall - offset)
    .filter((at) => offsetOf(at, zone) === wall - at)
    .sort((a, b) => a - b)
}

/** The end of the gap that skips this wall time: the instant of the clock change. */
const endOfGap = (wall: number, zone: DateTime.TimeZone): number => {
  const before = offsetOf(wall - day, zone)
  let low = wall - day
  let high = wall + day
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (offsetOf(middle, zone) === before) low = middle
    else high = middle
  }
  return high
}

/** The first instant of this wall time from `from` on, or the first one at all if all are past. */
const ofWall = (wall: number, zone: DateTime.TimeZone, from: number): Time => {
  const found = instants(wall, zone)
  return found.length === 0
    ? { at: endOfGap(wall, zone), skipped: shown(wall) }
    : { at: found.find((at) => at >= from) ?? found[0]!, skipped: undefined }
}

/** The next instant, after now, at which the zone's clock shows this time of day (milliseconds since midnight). */
const next = (sinceMidnight: number, { now, zone }: Options): Time => {
  const wall = now + offsetOf(now, zone)
  const today = wall - (((wall % day) + day) % day)
  // Yesterday too, because a clock that is set back at midnight repeats its last hour.
  return [-1, 0, 1, 2]
    .map((days) => ofWall(today + days * day + sinceMidnight, zone, now + 1))
    .filter(({ at }) => at > now)
    .reduce((a, b) => (b.at < a.at ? b : a))
}

// reading

const forms = "write one like 2027-01-31T09:00, 2027-01-31T09:00:00+01:00 or 09:00"

class Wrong {
  constructor(readonly problem: string) {}
}

/** Reads a text from left to right; the problem names the first part that does not fit, and what is accepted there. */
class Reader {
  at = 0
  constructor(
    readonly text: string,
    readonly given: string
  ) {}

  get over(): boolean {
    return this.at >= this.text.length
  }

  fail(what: string): never {
    throw new Wrong(`time '${this.given}' ${what}`)
  }

  /** Takes the match at the current place. */
  take(pattern: RegExp): string | undefined {
    const match = pattern.exec(this.text.slice(this.at))
    if (match === null || match.index > 0) return undefined
    this.at += match[0].length
    return match[0]
  }

  /** A number of two digits (`digits`, for a year) within limits. */
  number(field: string, least: number, most: number, digits = 2): number {
    const allowed = `${String(least).padStart(digits, "0")} to ${most}`
    const place = this.at + 1
    const word = this.take(/^\d+/)?.slice(0, digits)
    if (word === undefined) return this.fail(`lacks the ${field} at character ${place} (${allowed})`)
    this.at = place - 1 + word.length
    if (word.length < digits) {
      return this.fail(`has ${field} '${word}' at character ${place}; write ${digits} digits, ${allowed}`)
    }
    const value = Number(word)
    return value >= least && value <= most
      ? value
      : this.fail(`has ${field} '${word}' at character ${place}; allowed are ${allowed}`)
  }

  date(): number {
    const year = this.number("year", 1, 9999, 4)
    const extended = this.take(/^-/) !== undefined
    const month = this.number("month", 1, 12)
    if (extended && this.take(/^-/) === undefined) {
      return this.fail(`lacks a '-' and the day at character ${this.at + 1}`)
    }
    const first = new Date(0).setUTCFullYear(year, month - 1, 1)
    const days = new Date(new Date(0).setUTCFullYear(year, month, 0)).getUTCDate()
    return first + (this.number("day", 1, days) - 1) * day
  }

  /** Milliseconds since midnight. */
  timeOfDay(): number {
    const hour = Number(this.take(/^\d(?=:)/) ?? this.number("hour", 0, 24))
    const colon = this.take(/^:/)
    const more = (field: string) => {
      if (colon === undefined ? !/^\d/.test(this.text.slice(this.at)) : this.take(/^:/) === undefined)
        return 0
      return this.number(field, 0, 59)
    }
    const minute = colon === undefined ? more("minute") : this.number("minute", 0, 59)
    const second = more("second")
    const fraction = this.take(/^[.,]\d+/)
    const ms = Number((fraction ?? "").slice(1, 4).padEnd(3, "0"))
    const total = ((hour * 60 + minute) * 60 + second) * 1000 + ms
    return total <= day ? total : this.fail("is after 24:00; the last time of a day is 23:59:59.999")
  }

  offset(): DateTime.TimeZone | undefined {
    if (this.take(/^ *[zZ]/) !== undefined) return DateTime.zoneMakeOffset(0)
    const sign = this.take(/^ *[+-]/)
    if (sign === undefined) return undefined
    const hours = this.number("offset's hour", 0, 23)
    const minutes = this.take(/^:/) !== undefined || /^\d/.test(this.text.slice(this.at))
    const offset = hours * 60 + (minutes ? this.number("offset's minute", 0, 59) : 0)
    return DateTime.zoneMakeOffset((sign.endsWith("-") ? -offset : offset) * 60_000)
  }

  end(): void {
    if (!this.over)
      this.fail(`has '${this.text.slice(this.at)}' left over at character ${this.at + 1}; ${forms}`)
  }
}

/**
 * Reads a time: ISO 8601 (`2027-01-31`, `2027-01-31T09:00`, `20270131T090000.250Z`; a space may replace the T), or
 * the next time of a day (`09:00`, `23:59:59`), each with an offset or else in the zone.
 *
 * A time that a clock change skips is the end of the gap, as for a cron job. A repeated time is the first of the two that
 * is not past.
 *
 * @since 0.1.0
 * @category parsing
 */
export const read = (text: string, options: Options): Either.Either<Time, string> => {
  const reader = new Reader(text.trim(), text)
  if (reader.over) return Either.left(`a time is empty; ${forms}`)
  try {
    if (!/^\d/.test(reader.text)) reader.fail(`is not a time; ${forms}`)
    const [, hour, behind, half] =
      /^(1[0-2]|0?[1-9])((?::[0-5]\d){0,2})\s*([ap])\.?m\.?$/i.exec(reader.text) ?? []
    if (hour !== undefined) {
      const of24 = (Number(hour) % 12) + (half!.toLowerCase() === "p" ? 12 : 0)
      reader.fail(`is of the 12-hour clock; write ${String(of24).padStart(2, "0")}${behind || ":00"}`)
    }
    if (/^\d{1,2}:/.test(reader.text)) {
      const sinceMidnight = reader.timeOfDay()
      const zone = reader.offset() ?? options.zone
      reader.end()
      return Either.right(next(sinceMidnight, { ...options, zone }))
    }
    const date = reader.date()
    const wall = date + (reader.take(/^(?:[Tt]| +)(?=.)/) === undefined ? 0 : reader.timeOfDay())
    const zone = reader.offset() ?? options.zone
    reader.end()
    return Either.right(ofWall(wall, zone, options.now))
  } catch (error) {
    if (error instanceof Wrong) return Either.left(error.problem)
    throw error
  }
}
