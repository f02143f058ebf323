import { describe, expect, it } from "@effect/vitest"
import { type DateTime, Either, FastCheck } from "effect"
import * as CivilTime from "../../../src/services/time/CivilTime.js"

const zone = (name: string) => Either.getOrThrow(CivilTime.zone(name))
const utc = zone("UTC")
const berlin = zone("Europe/Berlin")
const problem = (either: Either.Either<unknown, string>) => Either.getOrThrow(Either.flip(either))
const ms = (iso: string) => {
  const at = Date.parse(iso)
  if (Number.isNaN(at)) throw new Error(iso)
  return at
}

/** What is read at that moment, as ISO 8601. */
const read = (text: string, zone: DateTime.TimeZone, now = "2026-11-23T12:00:00Z") =>
  Either.map(
    CivilTime.read(text, { zone, now: ms(now) }),
    ({ at, skipped }) => `${CivilTime.format(at, zone)}${skipped === undefined ? "" : ` for ${skipped}`}`
  )
const reads = (text: string, zone: DateTime.TimeZone, now: string) =>
  Either.getOrThrowWith(read(text, zone, now), (problem) => new Error(problem))

describe("Times", () => {
  describe("zone", () => {
    it.each([
      ["Europe/Berlin", "+01:00"],
      [" Asia/Kathmandu ", "+05:45"],
      ["utc", "+00:00"],
      ["+02:00", "+02:00"],
      ["-0930", "-09:30"],
      ["+14", "+14:00"]
    ])("reads %j", (name, offset) => {
      expect(CivilTime.format(ms("2026-11-23T12:00Z"), zone(name)).slice(-6)).toBe(offset)
    })

    it("reads the machine's own", () => {
      const { timeZone } = new Intl.DateTimeFormat().resolvedOptions()
      const at = ms("2026-07-01T12:00Z")
      expect(CivilTime.format(at, zone("local"))).toBe(CivilTime.format(at, zone(timeZone)))
    })

    it.each([
      ["Europe/Berln", "; did you mean Europe/Berlin?"],
      ["", ""],
      ["+24:00", ""],
      ["+1", ""],
      ["+02:60", ""],
      ["Mars/Olympus_Mons_Base_Camp", ""]
    ])("refuses %j", (name, hint) => {
      expect(problem(CivilTime.zone(name))).toBe(
        `'${name}' is not a time zone${hint}; expected an IANA name like Europe/Berlin, UTC, local or an offset like +02:00`
      )
    })
  })

  describe("format", () => {
    it.each([
      ["2026-11-23T12:00:00Z", "UTC", "2026-11-23T12:00:00+00:00"],
      ["2026-11-23T12:00:00.250Z", "America/New_York", "2026-11-23T07:00:00.250-05:00"],
      ["2027-03-28T00:59:59Z", "Europe/Berlin", "2027-03-28T01:59:59+01:00"],
      ["2027-03-28T01:00:00Z", "Europe/Berlin", "2027-03-28T03:00:00+02:00"],
      ["1970-01-01T00:44:30Z", "Africa/Monrovia", "1970-01-01T00:00:00-00:44:30"],
      ["2011-12-30T10:00:00Z", "Pacific/Apia", "2011-12-31T00:00:00+14:00"]
    ])("shows %s in %s as %s", (at, name, text) => {
      expect(CivilTime.format(ms(at), zone(name))).toBe(text)
    })

    it("describes times that no Date can hold", () => {
      for (const at of [8.64e15, Number.POSITIVE_INFINITY, Number.NaN]) {
        expect(CivilTime.format(at, berlin)).toBe("after the year 275760")
      }
    })

    it("shows the time of day as short as it is", () => {
      expect(CivilTime.timeOfDay(ms("2026-07-01T00:30:00Z"), berlin)).toBe("02:30")
      expect(CivilTime.timeOfDay(ms("2026-07-01T00:30:15Z"), berlin)).toBe("02:30:15")
      expect(CivilTime.timeOfDay(ms("2026-07-01T00:30:00.5Z"), berlin)).toBe("02:30:00.500")
    })
  })

  describe("read", () => {
    it.each([
      ["2027-01-31", "2027-01-31T00:00:00+01:00"],
      ["2027-01-31T09:00", "2027-01-31T09:00:00+01:00"],
      ["2027-01-31 9:00", "2027-01-31T09:00:00+01:00"],
      ["2027-01-31t09", "2027-01-31T09:00:00+01:00"],
      ["2027-07-31T09:00:30,25", "2027-07-31T09:00:30.250+02:00"],
      ["20270131T090030.2509", "2027-01-31T09:00:30.250+01:00"],
      ["20270131T0900Z", "2027-01-31T10:00:00+01:00"],
      ["2027-01-31T09:00:00+05:30", "2027-01-31T04:30:00+01:00"],
      ["2027-01-31T09:00 -08", "2027-01-31T18:00:00+01:00"],
      ["2027-01-31T24:00", "2027-02-01T00:00:00+01:00"],
      ["2028-02-29", "2028-02-29T00:00:00+01:00"],
      ["1999-12-31", "1999-12-31T00:00:00+01:00"],
      ["0099-12-31T00:00Z", "0099-12-31T00:53:28+00:53:28"],
      // the time of a day that comes next, when it is 13:00
      ["13:00:01", "2026-11-23T13:00:01+01:00"],
      ["13:00:00.001", "2026-11-23T13:00:00.001+01:00"],
      ["13:00", "2026-11-24T13:00:00+01:00"],
      ["12:59", "2026-11-24T12:59:00+01:00"],
      ["9:30", "2026-11-24T09:30:00+01:00"],
      ["00:00", "2026-11-24T00:00:00+01:00"],
      ["24:00", "2026-11-24T00:00:00+01:00"],
      ["12:30Z", "2026-11-23T13:30:00+01:00"],
      ["12:00+00:00", "2026-11-24T13:00:00+01:00"]
    ])("reads %j as %s", (text, expected) => {
      expect(read(text, berlin)).toEqual(Either.right(expected))
    })

    it.each([
      ["", "a time is empty; write one like 2027-01-31T09:00, 2027-01-31T09:00:00+01:00 or 09:00"],
      [
        "soon",
        "time 'soon' is not a time; write one like 2027-01-31T09:00, 2027-01-31T09:00:00+01:00 or 09:00"
      ],
      ["9am", "time '9am' is of the 12-hour clock; write 09:00"],
      ["12 AM", "time '12 AM' is of the 12-hour clock; write 00:00"],
      ["9 p.m.", "time '9 p.m.' is of the 12-hour clock; write 21:00"],
      ["9:30PM", "time '9:30PM' is of the 12-hour clock; write 21:30"],
      ["12:05:07 am", "time '12:05:07 am' is of the 12-hour clock; write 00:05:07"],
      [
        "13:00pm",
        "time '13:00pm' has 'pm' left over at character 6; write one like 2027-01-31T09:00, 2027-01-31T09:00:00+01:00 or 09:00"
      ],
      ["7", "time '7' has year '7' at character 1; write 4 digits, 0001 to 9999"],
      ["0000-01-01", "time '0000-01-01' has year '0000' at character 1; allowed are 0001 to 9999"],
      ["2027", "time '2027' lacks the month at character 5 (01 to 12)"],
      ["2027-13-01", "time '2027-13-01' has month '13' at character 6; allowed are 01 to 12"],
      ["2027-1-31", "time '2027-1-31' has month '1' at character 6; write 2 digits, 01 to 12"],
      ["2027-02", "time '2027-02' lacks a '-' and the day at character 8"],
      ["2027-02-29", "time '2027-02-29' has day '29' at character 9; allowed are 01 to 28"],
      ["2027-02-00", "time '2027-02-00' has day '00' at character 9; allowed are 01 to 28"],
      ["2027-01-31T25:00", "time '2027-01-31T25:00' has hour '25' at character 12; allowed are 00 to 24"],
      ["2027-01-31T09:60", "time '2027-01-31T09:60' has minute '60' at character 15; allowed are 00 to 59"],
      [
        "2027-01-31T09:00:60",
        "time '2027-01-31T09:00:60' has second '60' at character 18; allowed are 00 to 59"
      ],
      ["2027-01-31T09:00:", "time '2027-01-31T09:00:' lacks the second at character 18 (00 to 59)"],
      [
        "2027-01-31T09:00+25",
        "time '2027-01-31T09:00+25' has offset's hour '25' at character 18; allowed are 00 to 23"
      ],
      [
        "2027-01-31T09:00+01:75",
        "time '2027-01-31T09:00+01:75' has offset's minute '75' at character 21; allowed are 00 to 59"
      ],
      [
        "2027-01-31T09:00 CET",
        "time '2027-01-31T09:00 CET' has ' CET' left over at character 17; write one like 2027-01-31T09:00, 2027-01-31T09:00:00+01:00 or 09:00"
      ],
      ["24:01", "time '24:01' is after 24:00; the last time of a day is 23:59:59.999"],
      ["25:00", "time '25:00' has hour '25' at character 1; allowed are 00 to 24"],
      ["9:5", "time '9:5' has minute '5' at character 3; write 2 digits, 00 to 59"],
      ["09:", "time '09:' lacks the minute at character 4 (00 to 59)"],
      ["09:00pm", "time '09:00pm' is of the 12-hour clock; write 21:00"]
    ])("names the problem of %j, its place, and what is accepted", (text, message) => {
      expect(read(text, berlin)).toEqual(Either.left(message))
    })
  })

  describe("at a clock change", () => {
    it("takes the end of the gap for a time that is skipped", () => {
      expect(reads("2027-03-28T02:30", berlin, "2027-01-01T00:00Z")).toBe(
        "2027-03-28T03:00:00+02:00 for 02:30"
      )
      expect(reads("02:30", berlin, "2027-03-27T12:00Z")).toBe("2027-03-28T03:00:00+02:00 for 02:30")
      expect(reads("02:30", berlin, "2027-03-28T00:59:59.999Z")).toBe("2027-03-28T03:00:00+02:00 for 02:30")
      expect(reads("02:30", berlin, "2027-03-28T01:00Z")).toBe("2027-03-29T02:30:00+02:00")
      // a whole day that never was
      expect(reads("2011-12-30T12:00", zone("Pacific/Apia"), "2011-01-01T00:00Z")).toBe(
        "2011-12-31T00:00:00+14:00 for 12:00"
      )
    })

    it("takes the first of a repeated time that is not past", () => {
      const twice = ["2027-10-31T02:30:00+02:00", "2027-10-31T02:30:00+01:00"] as const
      expect(reads("2027-10-31T02:30", berlin, "2027-10-31T00:30Z")).toBe(twice[0])
      expect(reads("2027-10-31T02:30", berlin, "2027-10-31T00:30:01Z")).toBe(twice[1])
      expect(reads("2027-10-31T02:30", berlin, "2027-10-31T01:30:01Z")).toBe(twice[0])
      expect(reads("02:30", berlin, "2027-10-31T00:29:59Z")).toBe(twice[0])
      expect(reads("02:30", berlin, "2027-10-31T00:30Z")).toBe(twice[1])
      expect(reads("02:30", berlin, "2027-10-31T01:30Z")).toBe("2027-11-01T02:30:00+01:00")
    })

    it("finds the last hour of yesterday, if the clock is set back after midnight", () => {
      // 00:01 became 23:01 of the day before.
      expect(reads("23:30", zone("America/St_Johns"), "2010-11-07T02:30:30Z")).toBe(
        "2010-11-06T23:30:00-03:30"
      )
    })

    // An independent walk: the first minute after `now` whose wall clock shows the time, or has jumped over it.
    const walk = (hour: number, minute: number, name: string, now: number) => {
      const format = new Intl.DateTimeFormat("en-GB", { timeZone: name, hour: "2-digit", minute: "2-digit" })
      const minutes = (at: number) => {
        const text = format.format(at)
        return Number(text.slice(0, 2)) * 60 + Number(text.slice(3))
      }
      const wanted = hour * 60 + minute
      let last = minutes(now)
      for (let at = now + 60_000; ; at += 60_000) {
        const shows = minutes(at)
        const jumped = (shows - last + 1440) % 1440
        if (shows === wanted || (jumped > 1 && jumped < 720 && (wanted - last + 1440) % 1440 < jumped)) {
          return at
        }
        last = shows
      }
    }
    it.prop(
      "is where a walk by minutes arrives",
      [
        FastCheck.constantFrom(
          ["Europe/Berlin", "2027-03-28T01:00Z"] as const,
          ["Europe/Berlin", "2027-10-31T01:00Z"] as const,
          ["Australia/Lord_Howe", "2026-10-03T15:30Z"] as const,
          ["Australia/Lord_Howe", "2027-04-03T15:00Z"] as const,
          ["America/Havana", "2027-03-14T05:00Z"] as const,
          ["America/Havana", "2027-11-07T05:00Z"] as const,
          ["Asia/Pyongyang", "2018-05-04T15:00Z"] as const,
          ["Asia/Beirut", "2027-03-27T22:00Z"] as const,
          ["America/Caracas", "2016-05-01T07:00Z"] as const,
          ["UTC", "2027-01-01T00:00Z"] as const
        ),
        FastCheck.integer({ min: -1500, max: 200 }),
        FastCheck.integer({ min: 0, max: 23 }),
        FastCheck.integer({ min: 0, max: 59 })
      ],
      ([[name, change], before, hour, minute]) => {
        const now = ms(change) + before * 60_000
        const text = `${String(hour).padStart(2, "0")}:${String(minute).padStart(2, "0")}`
        const time = Either.getOrThrow(CivilTime.read(text, { zone: zone(name), now }))
        expect(CivilTime.format(time.at, utc)).toBe(CivilTime.format(walk(hour, minute, name, now), utc))
      },
      { fastCheck: { numRuns: 60 } }
    )
  })
})
