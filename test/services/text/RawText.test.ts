import { FastCheck } from "effect"
import { describe, expect, it } from "vitest"
import * as RawText from "../../../src/services/text/RawText.js"

const { assert, constantFrom, oneof, property, string, uint8Array } = FastCheck

describe("rawText", () => {
  it("reads UTF-8 as it is, and each other byte as a lone surrogate", () => {
    expect(RawText.decode(Buffer.from("aé€😀"))).toBe("aé€😀")
    // Latin-1, a surrogate in UTF-8, a character too long by one byte, and one cut off at the end
    expect(RawText.decode(Buffer.from("61e962eda080c1bff09f98", "hex"))).toBe(
      "a\udce9b\udced\udca0\udc80\udcc1\udcbf\udcf0\udc9f\udc98"
    )
    expect(RawText.isRaw("😀\ud800")).toBe(false)
  })

  it("round-trips any bytes, and any text", () => {
    const bytes = oneof(uint8Array(), constantFrom("é", "€", "😀").map(Buffer.from))
    assert(
      property(bytes, bytes, (a, b) => {
        const whole = Buffer.concat([a, b])
        expect(RawText.encode(RawText.decode(whole)).equals(whole)).toBe(true)
      })
    )
    assert(
      property(string({ unit: "binary" }), (text) => {
        expect(RawText.encode(text).equals(Buffer.from(text))).toBe(true)
      })
    )
  })
})
