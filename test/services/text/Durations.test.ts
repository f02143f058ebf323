import { describe, expect, it } from "@effect/vitest"
import { Duration, Either, FastCheck } from "effect"
import * as Durations from "../../../src/services/text/Durations.js"

const right = <A>(value: A) => Either.right(value)
const problem = (either: Either.Either<number, string>) => Either.getOrThrow(Either.flip(either))

describe("Durations", () => {
  describe("duration", () => {
    it.each([
      ["90s", 90_000],
      ["1h30m", 5_400_000],
      ["250ms", 250],
      ["2 days", 172_800_000],
      [" 1 h 5 min ", 3_900_000],
      ["1.5s", 1500],
      ["1W", 604_800_000],
      ["5", 5000],
      ["0.25", 250],
      ["0", 0],
      [" 7 ", 7000],
      [".5h", 1_800_000],
      ["2hrs 5mins 3secs", 7_503_000],
      ["1 hour 30 minutes", 5_400_000],
      ["30m1h", 5_400_000],
      ["104249991 days", 104_249_991 * 86_400_000]
    ])("reads %j as %d ms", (text, ms) => {
      expect(Durations.duration(text)).toEqual(right(ms))
    })

    it.each([
      ["", "a duration is empty; write one like 90s or 1h30m"],
      ["  ", "a duration is empty; write one like 90s or 1h30m"],
      ["soon", "'soon' in duration 'soon' is not a number; write one like 90s or 1h30m"],
      ["-5s", "'-5s' in duration '-5s' is negative; write one like 90s or 1h30m"],
      ["10 parsecs", "unit 'parsecs' in duration '10 parsecs' is unknown; use ms, s, m, h, d or w"],
      ["1h 3x", "unit 'x' at character 4 in duration '1h 3x' is unknown; use ms, s, m, h, d or w"],
      ["2 months", "unit 'months' in duration '2 months' has no fixed length; use ms, s, m, h, d or w"],
      ["1y", "unit 'y' in duration '1y' has no fixed length; use ms, s, m, h, d or w"],
      ["5\u00b5s", "unit '\u00b5s' in duration '5\u00b5s' is unknown; use ms, s, m, h, d or w"],
      ["1h 30", "'30' at character 4 in duration '1h 30' has no unit; use ms, s, m, h, d or w"],
      ["1h,30m", "',30m' at character 3 in duration '1h,30m' is not a number; write one like 90s or 1h30m"],
      ["1h-30m", "'-30m' at character 3 in duration '1h-30m' is negative; write one like 90s or 1h30m"],
      ["1,5s", "'1,5' in duration '1,5s' has a comma; write 1.5"],
      ["1h 1h", "unit 'h' at character 4 in duration '1h 1h' occurs twice; add them up"],
      ["1e3s", "unit 'e' in duration '1e3s' is unknown; use ms, s, m, h, d or w"],
      ["1e3", "unit 'e' in duration '1e3' is unknown; use ms, s, m, h, d or w"],
      ["٣", "'٣' in duration '٣' is not a number; write one like 90s or 1h30m"],
      ["1_000", "'1' in duration '1_000' has no unit; use ms, s, m, h, d or w"],
      ["9007199254740993ms", "duration '9007199254740993ms' is too long; the longest is 104249991 days"],
      ["9".repeat(20), `duration '${"9".repeat(20)}' is too long; the longest is 104249991 days`]
    ])("names the problem of %j", (text, message) => {
      expect(problem(Durations.duration(text))).toBe(message)
    })
  })

  it.each([
    [0.4, "0 ms"],
    [250, "250 ms"],
    [999.6, "1.0 s"],
    [1500, "1.5 s"],
    [59_990, "1 m 00 s"],
    [125_000, "2 m 05 s"],
    [3_599_499, "59 m 59 s"],
    [3_599_999, "1 h 00 m"],
    [3_900_000, "1 h 05 m"]
  ])("shows %d ms as %s", (ms, text) => {
    expect(Durations.formatDuration(ms)).toBe(text)
  })

  it.each([
    ["0 millis", "0s"],
    ["0.4 millis", "0.4ms"],
    ["700 millis", "700ms"],
    ["3 seconds", "3s"],
    ["2500 millis", "2.5s"],
    ["90 minutes", "1h 30m"],
    ["61250 millis", "1m 1.25s"],
    ["30 days", "30d"]
  ] as const)("shows %s as it was given, %s, and reads it back", (given, text) => {
    expect(Durations.formatGiven(given)).toBe(text)
    expect(Durations.duration(text)).toEqual(right(Duration.toMillis(given)))
  })

  it.prop("reads back whole seconds, minutes and milliseconds", [FastCheck.nat(100_000)], ([n]) => {
    expect(Durations.duration(`${n}s`)).toEqual(right(n * 1000))
    expect(Durations.duration(`${n}m${n}ms`)).toEqual(right(n * 60_001))
  })
})
