import { assert, describe, it } from "@effect/vitest"
import { checkedNumber } from "../../src/services/internal/numbers.js"

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

  it("accepts fractions, zero and Infinity where they are asked for", () => {
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
})
