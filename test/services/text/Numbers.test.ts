import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import {
  anyTime,
  checkedDuration,
  checkedNumber,
  checkOptions,
  count,
  someTime,
  time
} from "../../../src/services/text/Numbers.js"

describe("numbers", () => {
  it("names the option, the value and what is accepted", () => {
    assert.strictEqual(checkedNumber("size", 3), 3)
    for (const value of [
      Number.NaN,
      0,
      -1,
      1.5,
      Number.POSITIVE_INFINITY,
      2 ** 53,
      "3" as unknown as number
    ]) {
      assert.throws(
        () => checkedNumber("size", value),
        `size: ${value} is out of range; expected a whole number, 1 or more`
      )
    }
  })

  it("accepts fractions, zero and Infinity if the range does", () => {
    assert.strictEqual(checkedNumber("rate", 0.5, { least: 0, whole: false }), 0.5)
    assert.strictEqual(
      checkedNumber("size", Number.POSITIVE_INFINITY, { infinite: true }),
      Number.POSITIVE_INFINITY
    )
    assert.throws(() => checkedNumber("rate", Number.NaN, { infinite: true, whole: false }))
    assert.throws(
      () => checkedNumber("share", 101, { least: 0, most: 100 }),
      "share: 101 is out of range; expected a whole number, from 0 to 100"
    )
  })

  it("accepts durations that are some, by name", () => {
    assert.deepStrictEqual(checkedDuration("pause", "2 seconds"), Duration.seconds(2))
    assert.deepStrictEqual(checkedDuration("pause", 0), Duration.zero)
    assert.deepStrictEqual(checkedDuration("pause", -1, anyTime), Duration.zero)
    for (const [value, wrong] of [
      [Number.NaN, "is out of range"],
      [-1, "is out of range"],
      [-1n, "is out of range"],
      ["-1 seconds", "is out of range"],
      [[1, Number.NaN], "is out of range"],
      [[-1, 0], "is out of range"],
      ["soon", "is not a duration"],
      [null, "is not a duration"]
    ] as unknown as ReadonlyArray<[Duration.DurationInput, string]>) {
      assert.throws(
        () => checkedDuration("pause", value),
        `pause: ${value} ${wrong}; expected milliseconds or text like "2 seconds", 0 or more`
      )
    }
    assert.throws(() => checkedDuration("pause", 0, someTime), "above 0")
  })

  it("checks the given options of a record", () => {
    checkOptions({ size: undefined }, { size: count })
    checkOptions({ size: 1, within: "1 second" }, { size: count, within: time })
    assert.throws(
      () => checkOptions({ size: 1, within: Number.NaN }, { size: count, within: time }),
      "within: NaN"
    )
    assert.throws(
      () => checkOptions({ share: 0 }, { share: { least: 0, above: true, whole: false } }),
      "a number, above 0"
    )
  })
})
