import { describe, expect, it } from "@effect/vitest"
import { Either } from "effect"
import * as CivilTime from "../../../src/services/time/CivilTime.js"
import * as Cron from "../../../src/services/time/Cron.js"

// Every clock change of every time zone from 1970 to 2037. The oracle uses nothing of src/: it walks through the hours
// around the change minute by minute, looks at the clock on the wall, and does what Debian's cron would do then.

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

const minute = 60_000
const hour = 60 * minute
const first = Date.UTC(1970, 0, 1)
const last = Date.UTC(2038, 0, 1)

// the oracle

/** What a clock in the zone is ahead of UTC, in milliseconds: the difference of its date and time, read as UTC. */
const clockOf = (id: string) => {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: id,
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit"
  })
  /** The wall time at this instant: "03/28/2027, 03:00:00". */
  return (at: number): number => {
    const t = format.format(at)
    const n = (from: number, length: number) => Number(t.slice(from, from + length))
    return Date.UTC(n(6, 4), n(0, 2) - 1, n(3, 2), n(12, 2), n(15, 2), n(18, 2))
  }
}

/** The clock changes of a zone; no two are nearer than six days, and so none is between two looks. */
const changesOf = (wallAt: (at: number) => number): ReadonlyArray<number> => {
  const found: Array<number> = []
  const offset = (at: number) => wallAt(at) - at
  const step = 3 * 24 * hour
  let before = offset(first)
  for (let at = first + step; at < last; at += step) {
    const now = offset(at)
    if (now === before) continue
    let low = (at - step) / 1000
    let high = at / 1000
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (offset(middle * 1000) === before) low = middle
      else high = middle
    }
    found.push(high * 1000)
    before = now
  }
  return found
}

interface Job {
  readonly text: string
  readonly fixed: boolean
  /** Whether this wall time is one of its. */
  readonly matches: (wall: Date) => boolean
}

const jobs: ReadonlyArray<Job> = [
  { text: "*/15 * * * *", fixed: false, matches: (wall) => wall.getUTCMinutes() % 15 === 0 },
  { text: "10 * * * *", fixed: false, matches: (wall) => wall.getUTCMinutes() === 10 },
  {
    text: "*/20 0-4,22,23 * * *",
    fixed: false,
    matches: (wall) => wall.getUTCMinutes() % 20 === 0 && [0, 1, 2, 3, 4, 22, 23].includes(wall.getUTCHours())
  },
  { text: "0,30 0-23 * * *", fixed: true, matches: (wall) => wall.getUTCMinutes() % 30 === 0 },
  {
    text: "15 2 * * *",
    fixed: true,
    matches: (wall) => wall.getUTCHours() === 2 && wall.getUTCMinutes() === 15
  },
  {
    text: "45 0,1,3,23 1-31/2 * *",
    fixed: true,
    matches: (wall) =>
      wall.getUTCMinutes() === 45 && [0, 1, 3, 23].includes(wall.getUTCHours()) && wall.getUTCDate() % 2 === 1
  },
  {
    text: "20 0-23 * * SUN",
    fixed: true,
    matches: (wall) => wall.getUTCMinutes() === 20 && wall.getUTCDay() === 0
  }
]

const show = (at: number, moved: boolean) => `${new Date(at).toISOString()}${moved ? " moved" : ""}`

/** What runs from one instant to another, each instant with its wall time, in steps that meet every full minute. */
const walk = (instants: ReadonlyArray<readonly [at: number, wall: number]>, job: Job): Array<string> => {
  const ran: Array<string> = []
  let done = Number.NEGATIVE_INFINITY // fixed times up to here have run
  let [previous, before] = instants[0]!
  for (const [at, wall] of instants.slice(1)) {
    const jump = wall - before - (at - previous)
    let catchesUp = false
    if (jump <= -3 * hour) done = Number.NEGATIVE_INFINITY
    else if (jump < 0) done = Math.max(done, before + (at - previous))
    else if (jump > 0 && jump < 3 * hour && job.fixed) {
      // Every full minute that the clock has left out.
      const from = before + (at - previous)
      for (let t = Math.ceil(from / minute) * minute; t < wall; t += minute) {
        if (job.matches(new Date(t))) catchesUp = true
      }
    }
    const due = wall % minute === 0 && job.matches(new Date(wall)) && !(job.fixed && wall < done)
    if (due || catchesUp) ran.push(show(at, !due))
    previous = at
    before = wall
  }
  return ran
}

describe("Cron at clock changes", () => {
  it("runs as Debian's cron does at each of every time zone, from 1970 to 2037", {
    timeout: 300_000
  }, async () => {
    const crons = jobs.map(({ text }) => Either.getOrThrow(Cron.parse(text)))
    expect(crons.map(({ fixed }) => fixed)).toEqual(jobs.map(({ fixed }) => fixed))
    const seen = new Set<string>()
    const looked = new Set<string>()
    const wrong: Array<string> = []
    let changes = 0
    for (const id of Intl.supportedValuesOf("timeZone")) {
      const wallAt = clockOf(id)
      const found = changesOf(wallAt)
      const key = found.map((at) => `${at} ${wallAt(at)}`).join()
      if (seen.has(key)) continue // the same clock under another name
      seen.add(key)
      await nextTurn() // Vitest gives up a worker that does not answer for a minute
      const zone = Either.getOrThrow(CivilTime.zone(id))
      for (const change of found) {
        changes++
        // Where an offset has seconds, full minutes are at half ones of UTC.
        const step = change % minute === 0 && wallAt(change) % minute === 0 ? minute : minute / 2
        const shift = Math.abs(wallAt(change) - wallAt(change - step) - step)
        const around = 2 * hour + Math.min(shift, 12 * hour)
        const from = Math.floor(change / minute) * minute - around
        const to = from + 2 * around + minute
        // All jobs run alike at two changes that agree in their offsets, time of day, weekday and odd days.
        const days = [from, to]
          .map((at) => new Date(wallAt(at)))
          .map((wall) => [wall.getUTCDay(), wall.getUTCDate() % 2])
        const before = wallAt(change - step) - (change - step)
        const like = [step, before, wallAt(change) - change, wallAt(change) % (24 * hour), days].join()
        if (looked.has(like)) continue
        looked.add(like)
        const instants: Array<readonly [number, number]> = []
        for (let at = from; at <= to; at += step) instants.push([at, wallAt(at)])
        for (const [i, job] of jobs.entries()) {
          const ran: Array<string> = []
          for (const { at, skipped } of Cron.upcoming(crons[i]!, { zone, after: from })) {
            if (at > to) break
            ran.push(show(at, skipped !== undefined))
          }
          const expected = walk(instants, job)
          if (ran.join() !== expected.join()) wrong.push(`${id}: ${job.text}: ${ran} instead of ${expected}`)
        }
      }
    }
    expect(wrong.slice(0, 10)).toEqual([])
    expect(changes).toBeGreaterThan(10_000)
    expect(seen.size).toBeGreaterThan(200)
    expect(looked.size).toBeGreaterThan(500)
  })
})
