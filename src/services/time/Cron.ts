import { Data, type DateTime, Either } from "effect"
import { plural } from "../text/Plural.js"
import * as CivilTime from "./CivilTime.js"

// Not `effect/Cron`, which supports neither L, W and # nor Debian's rule for clock changes. The file stays whole, because
// the parser and the search for times share the fields. An oracle that walks through every clock change of every zone
// tests both (CronClockChanges.test.ts).

// A wall time is the instant at which a clock in UTC would show the same.

/**
 * Repeated times of a wall clock: a cron expression, or every full hour.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rule {
  /** The first wall time from this one on, in milliseconds; undefined when none is left. */
  readonly nextWall: (wall: number) => number | undefined
  /**
   * Whether it names times of day. Those occur once each when a clock is set forward or back; a rule of every hour or
   * oftener (in cron: `*` at the beginning of hour or minute) follows real time instead.
   */
  readonly fixed: boolean
  /** The number of wall times from `from` on and before `to`; without it {@link count} walks through them. */
  readonly countWall?: (from: number, to: number) => number
}

/**
 * A cron expression that has been read.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cron extends Rule {
  readonly text: string
}

/**
 * The start and the clock of a search.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  readonly zone: DateTime.TimeZone
  /** The search begins after this; milliseconds since the epoch. */
  readonly after: number
}

/**
 * A cron expression that cannot be read, or that never fires.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidCron extends Data.TaggedError("InvalidCron")<{ readonly message: string }> {}

const second = 1000
const hour = 3_600_000
const day = 24 * hour

// searching

/** Debian's limit: a change of the clock by this or more is a correction, and the new time simply applies. */
const correction = 3 * hour

interface Change {
  /** The first instant with the new offset. */
  readonly at: number
  readonly before: number
  readonly after: number
}

/** The clock change after `from` and until `to`. At most one a day: from 1970 to 2037 no two are nearer than six days. */
const changeBetween = (from: number, to: number, zone: DateTime.TimeZone): Change | undefined => {
  const before = CivilTime.offsetOf(from, zone)
  let low = from
  let high = Math.min(to, from + day)
  while (CivilTime.offsetOf(high, zone) === before) {
    if (high >= to) return undefined
    low = high
    high = Math.min(to, high + day)
  }
  // Zones change on full seconds.
  low = Math.floor(low / second)
  high = Math.floor(high / second)
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (CivilTime.offsetOf(middle * second, zone) === before) low = middle
    else high = middle
  }
  return { at: high * second, before, after: CivilTime.offsetOf(high * second, zone) }
}

/** The last wall time before the clock was set back to that of `from`; -Infinity if it was not set back. */
const reached = (from: number, zone: DateTime.TimeZone): number => {
  const change = changeBetween(from - correction, from, zone)
  return change !== undefined && change.before > change.after && change.before - change.after < correction
    ? change.at + change.before
    : Number.NEGATIVE_INFINITY
}

/**
 * The next time of the rule by a clock in the zone; undefined when none is left.
 *
 * Clock changes follow the rule of Debian's cron. Fixed times in the skipped hour move to the end of the gap, several of
 * them to one run (`skipped` is the time of day); fixed times in the repeated hour occur the first time only. A rule that
 * is not fixed follows real time: no run in the gap, runs in both of the repeated hours. A change by three hours or more
 * (a zone that moves across the date line) is a correction: the new time applies to both kinds.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import * as Cron from "effect-asyncio/services/Cron"
 * import * as CivilTime from "effect-asyncio/services/CivilTime"
 *
 * const zone = Either.getOrThrow(CivilTime.zone("Europe/Berlin"))
 * const backup = Either.getOrThrow(Cron.parse("30 2 * * *"))
 * // 2027-03-28T03:00+02:00, for 02:30, which that day does not have
 * export const next = Cron.next(backup, { zone, after: Date.UTC(2027, 2, 28) })
 * ```
 *
 * @since 0.1.0
 * @category functions
 */
export const next = (rule: Rule, { after, zone }: Options): CivilTime.Time | undefined => {
  let from = Math.floor(after) + 1
  while (from < CivilTime.latest) {
    const offset = CivilTime.offsetOf(from, zone)
    const shown = from + offset
    const wall = rule.nextWall(rule.fixed ? Math.max(shown, reached(from, zone)) : shown)
    if (wall === undefined || !(wall < CivilTime.latest)) return undefined
    // A change matters only near the wall time; no zone is two days away from UTC.
    if (wall - 2 * day > from) {
      from = wall - 2 * day
      continue
    }
    const at = wall - offset
    const change = changeBetween(from, at, zone)
    if (change === undefined) return { at, skipped: undefined }
    const end = change.at + change.after // of the gap, if the change makes one
    if (rule.fixed && wall < end && change.after - change.before < correction) {
      return { at: change.at, skipped: rule.nextWall(end) === end ? undefined : CivilTime.shown(wall) }
    }
    from = change.at
  }
  return undefined
}

/**
 * All times of the rule, one after the other, computed as they are requested.
 *
 * @since 0.1.0
 * @category functions
 */
export function* upcoming(rule: Rule, { after, zone }: Options): Generator<CivilTime.Time, void> {
  for (let found = next(rule, { after, zone }); found !== undefined; ) {
    yield found
    found = next(rule, { after: found.at, zone })
  }
}

/**
 * The number of times of the rule after `after` and until `until`, both milliseconds since the epoch: as many as
 * {@link upcoming} yields. Hours far from a clock change are counted by the calendar, so a year of seconds takes
 * milliseconds.
 *
 * @since 0.1.0
 * @category functions
 */
export const count = (rule: Rule, { after, until, zone }: Options & { readonly until: number }): number => {
  const last = Math.floor(until)
  let found = 0
  for (let at = Math.floor(after); at < last; ) {
    const end = Math.min(at + hour, last)
    if (rule.countWall !== undefined && changeBetween(at - correction, end, zone) === undefined) {
      const offset = CivilTime.offsetOf(end, zone)
      found += rule.countWall(at + 1 + offset, end + 1 + offset)
      at = end
      continue
    }
    const time = next(rule, { after: at, zone })
    if (time === undefined || time.at > last) break
    found++
    at = time.at
  }
  return found
}

/** 1970-01-05, a Monday, so that weeks begin on Mondays. */
const monday = 4 * day

/**
 * Full intervals of the wall clock, counted from a Monday's midnight: `15 minutes` are `:00`, `:15`, `:30` and `:45`, a
 * day is midnight. At clock changes intervals longer than an hour are fixed times, as in {@link next}.
 *
 * @since 0.1.0
 * @category functions
 */
export const aligned = (interval: number): Rule => ({
  nextWall: (wall) => monday + Math.ceil((wall - monday) / interval) * interval,
  fixed: interval > hour,
  countWall: (from, to) => Math.ceil((to - monday) / interval) - Math.ceil((from - monday) / interval)
})

// reading

class Wrong {
  constructor(readonly problem: string) {}
}

interface Field {
  readonly name: string
  readonly least: number
  readonly most: number
  readonly names: ReadonlyArray<string>
  /** The accepted values, for messages. */
  readonly allowed: string
}

const months = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
const weekdays = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]

const field = (
  name: string,
  least: number,
  most: number,
  more = "",
  names: ReadonlyArray<string> = []
): Field => ({ name, least, most, names, allowed: `${least} to ${most}${more}` })

const fields = [
  field("second", 0, 59),
  field("minute", 0, 59),
  field("hour", 0, 23),
  field("day of the month", 1, 31, ", L, L-3, LW or 15W"),
  field("month", 1, 12, " or JAN to DEC", months),
  field("weekday", 0, 7, " (0 and 7 are Sunday), SUN to SAT, 5L or MON#2", weekdays)
] as const

const nicknames: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *"
}

/** A day of a month, as the day fields match it. */
interface Day {
  readonly date: number
  /** The last date of its month. */
  readonly last: number
  /** 0 is Sunday. */
  readonly weekday: number
}

/** The date of the weekday, Monday to Friday, that is nearest to this date and in the same month. */
const nearestWorkday = (date: number, { date: today, last, weekday }: Day): number => {
  const on = (((weekday + date - today) % 7) + 7) % 7
  if (on === 6) return date > 1 ? date - 1 : date + 2
  if (on === 0) return date < last ? date + 1 : date - 2
  return date
}

interface Parsed {
  /** Numbers in order, each once. */
  readonly values: ReadonlyArray<number>
  /** Conditions that depend on the calendar: the last day, the second Monday. */
  readonly special: ReadonlyArray<(day: Day) => boolean>
  /** Whether it begins with `*`. */
  readonly star: boolean
}

/** A word of the expression and its position. */
interface Word {
  readonly text: string
  readonly at: number
}

const parseField = (given: string, field: Field, word: Word): Parsed => {
  const { allowed, least, most, name, names } = field
  const fail = (what: string): never => {
    throw new Wrong(`cron '${given}' has ${what}`)
  }
  const value = (text: string, at: number): number => {
    const named = names.indexOf(text.toUpperCase())
    const number = named < 0 ? (/^\d+$/.test(text) ? Number(text) : Number.NaN) : named + least
    if (text === "") return fail(`no ${name} at character ${at}; allowed are ${allowed}`)
    return number >= least && number <= most
      ? number
      : fail(`${name} '${text}' at character ${at}; allowed are ${allowed}`)
  }
  const values = new Set<number>()
  const special: Array<(day: Day) => boolean> = []
  const ofMonth = (text: string, at: number): boolean => {
    const match = /^(?:(L)(?:-(\d+))?|(LW)|(\d+)W)$/i.exec(text)
    if (match === null) return false
    const [, last, before, lastWorkday, nearest] = match
    if (last !== undefined) {
      const n = Number(before ?? 0)
      if (n > 30) fail(`day of the month '${text}' at character ${at}; at most 30 days before the last, L-30`)
      special.push((day) => day.date === day.last - n)
    } else if (lastWorkday !== undefined) {
      special.push((day) => day.date === nearestWorkday(day.last, day))
    } else {
      const date = value(nearest!, at)
      special.push((day) => date <= day.last && day.date === nearestWorkday(date, day))
    }
    return true
  }
  const ofWeek = (text: string, at: number): boolean => {
    const match = /^(?:([^#]+)L|([^#]*)#(.*))$/i.exec(text)
    if (match === null) return false
    const [, last, nth, which] = match
    const on = value(last ?? nth!, at) % 7
    if (last !== undefined) special.push((day) => day.weekday === on && day.date + 7 > day.last)
    else {
      if (!/^[1-5]$/.test(which!))
        fail(`'${which}' after the # at character ${at + nth!.length + 1}; allowed are 1 to 5`)
      special.push((day) => day.weekday === on && Math.ceil(day.date / 7) === Number(which))
    }
    return true
  }
  const isMonthDays = name === "day of the month"
  const isWeekdays = name === "weekday"
  let at = word.at
  for (const item of word.text.split(",")) {
    const slash = item.indexOf("/")
    const range = slash < 0 ? item : item.slice(0, slash)
    const whole = range === "*" || (range === "?" && (isMonthDays || isWeekdays))
    if (slash < 0 && ((isMonthDays && ofMonth(item, at)) || (isWeekdays && ofWeek(item, at)))) {
      at += item.length + 1
      continue
    }
    let step = 1
    if (slash >= 0) {
      const text = item.slice(slash + 1)
      step = /^\d+$/.test(text) ? Number(text) : Number.NaN
      if (!(step >= 1 && step <= most)) {
        fail(
          `${text === "" ? "no step" : `step '${text}'`} of the ${name} at character ${at + slash + 1}; allowed are 1 to ${most}`
        )
      }
    }
    const dash = range.indexOf("-")
    const first = whole ? least : value(dash < 0 ? range : range.slice(0, dash), at)
    // Sunday is 0; at the end of a range it is 7.
    const end = dash < 0 ? "" : range.slice(dash + 1)
    let last = whole || (dash < 0 && slash >= 0) ? Math.max(first, most - (isWeekdays ? 1 : 0)) : first
    if (dash >= 0) {
      last = value(end, at + dash + 1)
      if (isWeekdays && last === 0 && first > 0) last = 7
      if (last < first) {
        const rest = last === least ? `${least}` : `${least}-${last}`
        fail(`range '${range}' of the ${name} at character ${at} backwards; write ${first}-${most},${rest}`)
      }
    }
    for (let n = first; n <= last; n += step) values.add(isWeekdays ? n % 7 : n)
    at += item.length + 1
  }
  return {
    values: [...values].sort((a, b) => a - b),
    special,
    star: word.text.startsWith("*") || word.text.startsWith("?")
  }
}

const words = (text: string): ReadonlyArray<Word> =>
  [...text.matchAll(/\S+/g)].map((match) => ({ text: match[0], at: match.index + 1 }))

const read = (text: string): Cron => {
  const given = words(text)
  const fail = (what: string): never => {
    throw new Wrong(what)
  }
  if (given.length === 0) fail("a cron expression is empty; write one like '30 2 * * *' or @daily")
  const [name] = given as [Word]
  if (name.text.startsWith("@")) {
    const full = given.length === 1 ? nicknames[name.text.toLowerCase()] : undefined
    return full === undefined
      ? fail(
          `cron '${text}' has name '${name.text}' at character ${name.at}${given.length > 1 ? " followed by more" : ""}; allowed are ${Object.keys(nicknames).join(", ")}, alone`
        )
      : { ...read(full), text }
  }
  if (given.length !== 5 && given.length !== 6) {
    fail(
      `cron '${text}' has ${plural(given.length, "field")}; write 5 (minute, hour, day of the month, month, weekday) or 6 (a second before them)`
    )
  }
  const all = given.length === 6 ? given : [{ text: "0", at: 0 }, ...given]
  const [seconds, minutes, hours, dates, ofYear, weekdays] = fields.map((field, i) =>
    parseField(text, field, all[i]!)
  ) as [Parsed, Parsed, Parsed, Parsed, Parsed, Parsed]

  const fits = (parsed: Parsed, value: number, day: Day) =>
    parsed.values.includes(value) || parsed.special.some((test) => test(day))
  const isDay = (day: Day): boolean => {
    const date = fits(dates, day.date, day)
    const weekday = fits(weekdays, day.weekday, day)
    // If both are restricted, either is enough, as in every cron since Unix V7.
    return dates.star || weekdays.star ? date && weekday : date || weekday
  }
  const timeFrom = (time: number): number | undefined => {
    const atHour = Math.floor(time / hour)
    const atMinute = Math.floor(time / 60_000) % 60
    const atSecond = Math.ceil((time % 60_000) / second)
    for (const h of hours.values) {
      if (h < atHour) continue
      for (const m of minutes.values) {
        if (h === atHour && m < atMinute) continue
        for (const s of seconds.values) {
          if (h > atHour || m > atMinute || s >= atSecond) return ((h * 60 + m) * 60 + s) * second
        }
      }
    }
    return undefined
  }
  const nextWall = (wall: number): number | undefined => {
    const start = new Date(Math.floor(wall / day) * day)
    let time: number | undefined = timeFrom(wall - start.getTime())
    let year = start.getUTCFullYear()
    let month = start.getUTCMonth()
    let date = start.getUTCDate()
    // The calendar repeats after 400 years: a date that does not occur by then never does.
    for (const until = year + 400; year <= until; ) {
      if (ofYear.values.includes(month + 1)) {
        const first = Date.UTC(2000 + (year % 400), month, 1) // any year with the same calendar
        const last = new Date(Date.UTC(2000 + (year % 400), month + 1, 0)).getUTCDate()
        const weekday = new Date(first).getUTCDay()
        for (; date <= last; date++) {
          if (time !== undefined && isDay({ date, last, weekday: (weekday + date - 1) % 7 })) {
            return new Date(0).setUTCFullYear(year, month, date) + time
          }
          time = timeFrom(0)
        }
      }
      time = timeFrom(0)
      date = 1
      month = (month + 1) % 12
      if (month === 0) year++
    }
    return undefined
  }
  /** The number of times of a day before this one. */
  const timesBefore = (time: number): number => {
    const at = Math.ceil(time / second)
    const below = ({ values }: Parsed, n: number) => values.filter((value) => value < n).length
    const [h, m] = [Math.floor(at / 3600), Math.floor(at / 60) % 60]
    const inMinute = minutes.values.includes(m) ? below(seconds, at % 60) : 0
    const inHour = hours.values.includes(h) ? below(minutes, m) * seconds.values.length + inMinute : 0
    return below(hours, h) * minutes.values.length * seconds.values.length + inHour
  }
  const countWall = (from: number, to: number): number => {
    let found = 0
    for (let start = Math.floor(from / day) * day; start < to; start += day) {
      const today = new Date(start)
      const [year, month, date] = [today.getUTCFullYear(), today.getUTCMonth(), today.getUTCDate()]
      const last = new Date(Date.UTC(2000 + (year % 400), month + 1, 0)).getUTCDate()
      if (!ofYear.values.includes(month + 1) || !isDay({ date, last, weekday: today.getUTCDay() })) continue
      found += timesBefore(Math.min(day, to - start)) - timesBefore(Math.max(0, from - start))
    }
    return found
  }
  if (nextWall(0) === undefined) {
    fail(`cron '${text}' never fires: ${never(dates, ofYear, given)}`)
  }
  return { text, nextWall, countWall, fixed: !minutes.star && !hours.star }
}

/** Why no day matches. */
const never = (dates: Parsed, ofYear: Parsed, given: ReadonlyArray<Word>): string => {
  const [date, month] = given.slice(-3) as [Word, Word, Word]
  const [only] = ofYear.values
  const least = dates.values[0]
  return least !== undefined && only !== undefined && dates.special.length === 0
    ? `no ${ofYear.values.map((n) => months[n - 1]).join(", ")} has a day ${least}; days are at character ${date.at}, months at character ${month.at}`
    : `no month has the day that '${given
        .slice(-3)
        .map(({ text }) => text)
        .join(" ")}' asks for`
}

/**
 * Reads a cron expression: minute, hour, day of the month, month and weekday, with a second before them if there are six
 * fields. Each is `*`, a number, a name (`JAN`, `MON`), a range (`9-17`, `FRI-SUN`), any of these with a step (`5-59/15`;
 * `5/15` is the same), or a list. Days of the month are also `L` (the last), `L-3`, `15W` (the workday nearest to the
 * 15th, in the same month) and `LW` (the last workday); weekdays `5L` (the last Friday) and `MON#2` (the second Monday).
 * `?` in these two is `*`. If both are restricted, either is enough. Also accepted: `@yearly`, `@annually`, `@monthly`,
 * `@weekly`, `@daily`, `@midnight`, `@hourly`.
 *
 * The problem names the field, its position and the accepted values; an expression that never fires is a problem too.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import * as Cron from "effect-asyncio/services/Cron"
 *
 * export const weekly = Cron.parse("0 9 * * MON")
 * // cron '61 * * * *' has minute '61' at character 1; allowed are 0 to 59
 * export const problem = Either.getLeft(Cron.parse("61 * * * *"))
 * ```
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (text: string): Either.Either<Cron, string> => {
  try {
    return Either.right(read(text))
  } catch (error) {
    if (error instanceof Wrong) return Either.left(error.problem)
    throw error
  }
}
