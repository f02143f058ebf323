import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as Lines from "../../../src/services/text/Lines.js"

const split = (chunks: ReadonlyArray<Uint8Array>, options: Partial<Lines.Options> = {}) => {
  const found: Array<string> = []
  const lines = Lines.make({
    onLine: (line, cut) => found.push(`${line.toString("latin1")}${cut ? "…" : ""}`),
    ...options
  })
  for (const chunk of chunks) lines.push(chunk)
  lines.end()
  return found
}
const bytes = (text: string) => Buffer.from(text, "latin1")

describe("Lines", () => {
  it("emits whole lines, whatever the chunks are", () => {
    const pieces = FastCheck.array(FastCheck.constantFrom("a", "bc", "\n", "\r", "\xff", ""))
    FastCheck.assert(
      FastCheck.property(pieces, (pieces) => {
        const text = pieces.join("")
        const whole = text.split("\n")
        if (whole.at(-1) === "") whole.pop()
        expect(split(pieces.map(bytes))).toEqual(whole)
      })
    )
  })

  it("cuts a line that is too long, and only that line", () => {
    expect(split([bytes("ab"), bytes("cd\nef\n"), bytes("ghij")], { maxLine: 3 })).toEqual([
      "abc…",
      "ef",
      "ghi…"
    ])
    expect(split([bytes("abc\nabc")], { maxLine: 3 })).toEqual(["abc", "abc"])
  })

  it("splits at another byte, and keeps nothing of a chunk that its owner writes over", () => {
    expect(split([bytes("a\nb\0c")], { delimiter: 0 })).toEqual(["a\nb", "c"])
    const chunk = bytes("xy")
    const found: Array<string> = []
    const lines = Lines.make({ onLine: (line) => found.push(line.toString()) })
    lines.push(chunk)
    chunk.fill(0)
    lines.end()
    expect(found).toEqual(["xy"])
  })

  it.each(["a", "é", "日", "🙂"])(
    "passes on whole lines, and cuts a long one between characters only: %s",
    (unit) => {
      const text = `x\n${unit.repeat(2_400_000 / Buffer.byteLength(unit))}\n${unit}`
      const all = Buffer.from(text)
      for (const size of [65_535, 65_536, 65_537, 700_001]) {
        const found: Array<string> = []
        const lines = Lines.whole((bytes) => found.push(Buffer.from(bytes).toString()))
        for (let at = 0; at < all.length; at += size) lines.push(all.subarray(at, at + size))
        lines.end()
        expect(found.length).toBeGreaterThan(3)
        expect(found.join("") === text).toBe(true)
      }
    }
  )
})
