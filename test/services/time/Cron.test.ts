import { describe, expect, it } from "@effect/vitest"
import { type DateTime, Either, FastCheck as fc } from "effect"
import * as CivilTime from "../../../src/services/time/CivilTime.js"
import * as Cron from "../../../src/services/time/Cron.js"

const zone = (name: string) => Either.getOrThrow(CivilTime.zone(name))
const utc = zone("UTC")
const cron = (text: string) => Either.getOrThrowWith(Cron.parse(text), (problem) => new Error(problem))
const problem = (text: string) => Either.getOrThrow(Either.flip(Cron.parse(text)))

const take = (rule: Cron.Rule, zone: DateTime.TimeZone, after: string, count: number) => {
  const found: Array<string> = []
  for (const { at, skipped } of Cron.upcoming(rule, { zone, after: Date.parse(after) })) {
    found.push(`${CivilTime.format(at, zone)}${skipped === undefined ? "" : ` for ${skipped}`}`)
    if (found.length === count) break
  }
  return found
}
const times = (text: string, after: string, count = 3, name = "UTC") =>
  take(cron(text), zone(name), after, count)
/** Dates only, in UTC. */
const dates = (text: string, after: string, count = 3) =>
  times(text, after, count).map((time) => time.slice(0, 10))

describe("Cron", () => {
  it("counts as many times as there are, in every zone and around its clock changes", () => {
    const expressions = [
      "30 2 * * *",
      "*/7 * * * *",
      "0,30 1-3 * * 0",
      "17 */2 L * *",
      "*/20 10-50/20 2 * * *",
      "0 0 29 2 *"
    ]
    const rules = [...expressions.map(cron), ...[15, 60, 90, 24 * 60].map((m) => Cron.aligned(m * 60_000))]
    const zones = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Pacific/Apia"].map(
      zone
    )
    const changes = ["2027-03-28T01:00Z", "2027-10-31T01:00Z", "2011-12-30T10:00Z", "2027-04-03T15:00Z"]
    fc.assert(
      fc.property(
        fc.constantFrom(...rules),
        fc.constantFrom(...zones),
        fc.constantFrom(...changes.map(Date.parse)),
        fc.integer({ min: -72 * 3600_000, max: 72 * 3600_000 }),
        fc.integer({ min: 0, max: 72 * 3600_000 }),
        (rule, zone, near, before, length) => {
          const after = near + before
          const until = after + length
          let walked = 0
          for (const { at } of Cron.upcoming(rule, { after, zone })) {
            if (at > until) break
            walked++
          }
          const { fixed, nextWall } = rule
          expect(Cron.count(rule, { after, until, zone })).toBe(walked)
          expect(Cron.count({ fixed, nextWall }, { after, until, zone })).toBe(walked)
        }
      ),
      { numRuns: 150 }
    )
  })

  describe("parse", () => {
    it("reads five fields, and six with a second", () => {
      expect(times("30 9 * * *", "2026-11-23T09:30:00Z", 2)).toEqual([
        "2026-11-24T09:30:00+00:00",
        "2026-11-25T09:30:00+00:00"
      ])
      expect(times("15,45 30 9 * * *", "2026-11-23T09:30:15Z", 2)).toEqual([
        "2026-11-23T09:30:45+00:00",
        "2026-11-24T09:30:15+00:00"
      ])
      expect(times("* * * * * *", "2026-11-23T09:30:15.5Z", 2)).toEqual([
        "2026-11-23T09:30:16+00:00",
        "2026-11-23T09:30:17+00:00"
      ])
    })

    it("reads lists, ranges, steps and names", () => {
      const hours = (text: string) =>
        times(text, "2026-11-22T23:59:59Z", 8).map((time) => time.slice(8, 16).replace("T", " "))
      expect(hours("0 9-17/4,20 * * *").slice(0, 4)).toEqual(["23 09:00", "23 13:00", "23 17:00", "23 20:00"])
      expect(hours("*/20 0 * * *").slice(0, 4)).toEqual(["23 00:00", "23 00:20", "23 00:40", "24 00:00"])
      expect(hours("5/25 0 * * *").slice(0, 4)).toEqual(["23 00:05", "23 00:30", "23 00:55", "24 00:05"])
      expect(dates("0 0 1 JAN,jul *", "2026-11-23T00:00Z")).toEqual([
        "2027-01-01",
        "2027-07-01",
        "2028-01-01"
      ])
      expect(dates("0 0 * * fri-SUN", "2026-11-23T00:00Z", 4)).toEqual([
        "2026-11-27",
        "2026-11-28",
        "2026-11-29",
        "2026-12-04"
      ])
      expect(dates("0 0 * * 7", "2026-11-23T00:00Z", 2)).toEqual(dates("0 0 * * 0", "2026-11-23T00:00Z", 2))
    })

    it("takes either of two kinds of day, unless one begins with *", () => {
      expect(dates("0 0 13 * FRI", "2026-11-01T00:00Z", 4)).toEqual([
        "2026-11-06",
        "2026-11-13",
        "2026-11-20",
        "2026-11-27"
      ])
      // As in Debian: every other day that is a Monday.
      expect(dates("0 0 */2 * MON", "2026-11-01T00:00Z", 3)).toEqual([
        "2026-11-09",
        "2026-11-23",
        "2026-12-07"
      ])
      expect(dates("0 0 ? * MON", "2026-11-01T00:00Z", 2)).toEqual(["2026-11-02", "2026-11-09"])
    })

    it("reads L, W and #", () => {
      const from = "2027-01-01T00:00Z"
      expect(dates("0 0 L * *", from, 3)).toEqual(["2027-01-31", "2027-02-28", "2027-03-31"])
      expect(dates("0 0 L-2 * *", from, 2)).toEqual(["2027-01-29", "2027-02-26"])
      expect(dates("0 0 LW * *", from, 3)).toEqual(["2027-01-29", "2027-02-26", "2027-03-31"])
      // The 1st of May is a Saturday: the workday nearest to it is in April, so the 3rd.
      expect(dates("0 0 1W * *", "2027-04-30T00:00Z", 2)).toEqual(["2027-05-03", "2027-06-01"])
      expect(dates("0 0 15W * *", "2027-05-01T00:00Z", 2)).toEqual(["2027-05-14", "2027-06-15"])
      // The 31st of January is a Sunday at the month's end; there is none in February.
      expect(dates("0 0 31W * *", from, 2)).toEqual(["2027-01-29", "2027-03-31"])
      expect(dates("0 0 * * FRIL", from, 2)).toEqual(["2027-01-29", "2027-02-26"])
      expect(dates("0 0 * * 5l", from, 1)).toEqual(["2027-01-29"])
      expect(dates("0 0 * * MON#2", from, 2)).toEqual(["2027-01-11", "2027-02-08"])
      expect(dates("0 0 * * 0#5", from, 2)).toEqual(["2027-01-31", "2027-05-30"])
      expect(dates("0 0 1,L * *", "2027-02-01T00:00Z", 2)).toEqual(["2027-02-28", "2027-03-01"])
    })

    it.each([
      ["@hourly", "0 * * * *"],
      ["@daily", "0 0 * * *"],
      ["@Midnight", "0 0 * * *"],
      ["@weekly", "0 0 * * SUN"],
      ["@monthly", "0 0 1 * *"],
      ["@yearly", "0 0 1 1 *"],
      [" @annually ", "0 0 1 1 *"]
    ])("reads %s", (name, text) => {
      expect(times(name, "2026-11-23T12:00:00Z")).toEqual(times(text, "2026-11-23T12:00:00Z"))
      expect(cron(name).fixed).toBe(cron(text).fixed)
    })

    it("finds the 29th of February, past a century without one", () => {
      expect(dates("0 0 29 2 *", "2096-03-01T00:00Z", 2)).toEqual(["2104-02-29", "2108-02-29"])
      expect(dates("0 0 */29 2 MON", "2027-01-01T00:00Z", 1)).toEqual(["2027-02-01"])
    })

    it.each([
      ["61 * * * *", "has minute '61' at character 1; allowed are 0 to 59"],
      ["* 24 * * *", "has hour '24' at character 3; allowed are 0 to 23"],
      ["60 * * * * *", "has second '60' at character 1; allowed are 0 to 59"],
      ["* * 0 * *", "has day of the month '0' at character 5; allowed are 1 to 31, L, L-3, LW or 15W"],
      ["* *  32W * *", "has day of the month '32' at character 6; allowed are 1 to 31, L, L-3, LW or 15W"],
      ["* * L-31 * *", "has day of the month 'L-31' at character 5; at most 30 days before the last, L-30"],
      ["* * * 0 *", "has month '0' at character 7; allowed are 1 to 12 or JAN to DEC"],
      ["* * * JAM *", "has month 'JAM' at character 7; allowed are 1 to 12 or JAN to DEC"],
      [
        "* * * * MON,8",
        "has weekday '8' at character 13; allowed are 0 to 7 (0 and 7 are Sunday), SUN to SAT, 5L or MON#2"
      ],
      [
        "* * * * L",
        "has weekday 'L' at character 9; allowed are 0 to 7 (0 and 7 are Sunday), SUN to SAT, 5L or MON#2"
      ],
      ["* * * * MON#6", "has '6' after the # at character 13; allowed are 1 to 5"],
      ["*/0 * * * *", "has step '0' of the minute at character 3; allowed are 1 to 59"],
      ["*/90 * * * *", "has step '90' of the minute at character 3; allowed are 1 to 59"],
      ["* 1-5/ * * *", "has no step of the hour at character 7; allowed are 1 to 23"],
      ["30-10 * * * *", "has range '30-10' of the minute at character 1 backwards; write 30-59,0-10"],
      ["1,,2 * * * *", "has no minute at character 3; allowed are 0 to 59"],
      ["? * * * *", "has minute '?' at character 1; allowed are 0 to 59"],
      ["1.5 * * * *", "has minute '1.5' at character 1; allowed are 0 to 59"],
      [
        "* * *",
        "has 3 fields; write 5 (minute, hour, day of the month, month, weekday) or 6 (a second before them)"
      ],
      [
        "@fortnightly",
        "has name '@fortnightly' at character 1; allowed are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, alone"
      ],
      [
        "@daily 5",
        "has name '@daily' at character 1 followed by more; allowed are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, alone"
      ]
    ])("refuses %j", (text, what) => {
      expect(problem(text)).toBe(`cron '${text}' ${what}`)
    })

    it("refuses empty expressions, and expressions that never fire", () => {
      expect(problem(" ")).toBe("a cron expression is empty; write one like '30 2 * * *' or @daily")
      expect(problem("0 0 30 2 *")).toBe(
        "cron '0 0 30 2 *' never fires: no FEB has a day 30; days are at character 5, months at character 8"
      )
      expect(problem("0 0 31 4,JUN *")).toBe(
        "cron '0 0 31 4,JUN *' never fires: no APR, JUN has a day 31; days are at character 5, months at character 8"
      )
      expect(problem("0 0 30W 2 *")).toBe(
        "cron '0 0 30W 2 *' never fires: no month has the day that '30W 2 *' asks for"
      )
    })
  })

  describe("next", () => {
    const berlin = "Europe/Berlin"

    it("runs a fixed time in the hour that is skipped right after the gap, once", () => {
      expect(times("30 2 * * *", "2027-03-27T12:00Z", 2, berlin)).toEqual([
        "2027-03-28T03:00:00+02:00 for 02:30",
        "2027-03-29T02:30:00+02:00"
      ])
      expect(times("0,20,40 2 * * *", "2027-03-27T12:00Z", 2, berlin)).toEqual([
        "2027-03-28T03:00:00+02:00 for 02:00",
        "2027-03-29T02:00:00+02:00"
      ])
      // One that is due at the end of the gap anyway is not moved there.
      expect(times("0 2,3 * * *", "2027-03-27T12:00Z", 2, berlin)).toEqual([
        "2027-03-28T03:00:00+02:00",
        "2027-03-29T02:00:00+02:00"
      ])
    })

    it("runs a fixed time in the hour that is repeated the first time only", () => {
      expect(times("30 2 * * *", "2027-10-30T12:00Z", 2, berlin)).toEqual([
        "2027-10-31T02:30:00+02:00",
        "2027-11-01T02:30:00+01:00"
      ])
      // Also when it is asked for between the two.
      expect(times("30 2 * * *", "2027-10-31T01:10Z", 1, berlin)).toEqual(["2027-11-01T02:30:00+01:00"])
    })

    it("lets a wildcard follow real time", () => {
      expect(times("*/30 * * * *", "2027-03-28T00:00Z", 3, berlin)).toEqual([
        "2027-03-28T01:30:00+01:00",
        "2027-03-28T03:00:00+02:00",
        "2027-03-28T03:30:00+02:00"
      ])
      expect(times("*/30 * * * *", "2027-10-31T00:00Z", 4, berlin)).toEqual([
        "2027-10-31T02:30:00+02:00",
        "2027-10-31T02:00:00+01:00",
        "2027-10-31T02:30:00+01:00",
        "2027-10-31T03:00:00+01:00"
      ])
      expect(times("@hourly", "2027-10-30T23:00Z", 3, berlin)).toEqual([
        "2027-10-31T02:00:00+02:00",
        "2027-10-31T02:00:00+01:00",
        "2027-10-31T03:00:00+01:00"
      ])
    })

    it("takes a change by three hours and more for a correction", () => {
      // Samoa had no 30th of December.
      expect(times("0 9 * * *", "2011-12-29T12:00Z", 2, "Pacific/Apia")).toEqual([
        "2011-12-29T09:00:00-10:00",
        "2011-12-31T09:00:00+14:00"
      ])
      // Casey put its clocks back by three hours at 02:00.
      expect(times("30 0 * * *", "2010-03-04T12:00Z", 3, "Antarctica/Casey")).toEqual([
        "2010-03-05T00:30:00+11:00",
        "2010-03-05T00:30:00+08:00",
        "2010-03-06T00:30:00+08:00"
      ])
    })

    it("reads zones whose offset has seconds", () => {
      expect(times("30 0 * * *", "1972-01-06T12:00Z", 2, "Africa/Monrovia")).toEqual([
        "1972-01-07T00:44:30+00:00 for 00:30",
        "1972-01-08T00:30:00+00:00"
      ])
    })

    it("ends where a Date does", () => {
      expect(Cron.next(cron("* * * * *"), { zone: utc, after: 8.64e15 })).toBeUndefined()
    })
  })

  describe("aligned", () => {
    const minute = 60_000

    it("counts full intervals from a Monday's midnight", () => {
      expect(take(Cron.aligned(15 * minute), zone("Asia/Kathmandu"), "2027-01-01T00:00Z", 2)).toEqual([
        "2027-01-01T06:00:00+05:45",
        "2027-01-01T06:15:00+05:45"
      ])
      expect(take(Cron.aligned(7 * 1440 * minute), utc, "2026-11-23T00:00Z", 1)).toEqual([
        "2026-11-30T00:00:00+00:00"
      ])
      expect(take(Cron.aligned(250), utc, "2026-11-23T00:00Z", 2)).toEqual([
        "2026-11-23T00:00:00.250+00:00",
        "2026-11-23T00:00:00.500+00:00"
      ])
    })

    it("follows real time up to an hour, and keeps the time of day beyond", () => {
      expect(take(Cron.aligned(60 * minute), zone("Europe/Berlin"), "2027-10-30T23:00Z", 2)).toEqual([
        "2027-10-31T02:00:00+02:00",
        "2027-10-31T02:00:00+01:00"
      ])
      // In Cuba midnight comes twice, and in spring not at all.
      expect(take(Cron.aligned(1440 * minute), zone("America/Havana"), "2027-11-06T12:00Z", 2)).toEqual([
        "2027-11-07T00:00:00-04:00",
        "2027-11-08T00:00:00-05:00"
      ])
      expect(take(Cron.aligned(1440 * minute), zone("America/Havana"), "2027-03-13T12:00Z", 2)).toEqual([
        "2027-03-14T01:00:00-04:00 for 00:00",
        "2027-03-15T00:00:00-04:00"
      ])
    })
  })

  it("gives times that follow each other, whichever it starts from", () => {
    const zones = ["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Africa/Casablanca"].map(zone)
    const rules = ["*/7 * * * *", "30 2 * * *", "0 0 * * *", "15 1,2 L * *", "0 3 * * SUN#1"].map(cron)
    const start = Date.UTC(1995, 0, 1)
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.constantFrom(...rules),
        fc.integer({ min: start, max: Date.UTC(2037, 0, 1) }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (zone, rule, after, share) => {
          const found = Cron.next(rule, { zone, after })!
          expect(found.at).toBeGreaterThan(after)
          const between = after + Math.floor(share * (found.at - after - 1))
          expect(Cron.next(rule, { zone, after: between })).toEqual(found)
        }
      ),
      { numRuns: 500 }
    )
  })
})
