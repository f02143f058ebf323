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

  it("passes on whole lines, and cuts a line of more than 1 MiB between characters only", () => {
    const character = FastCheck.constantFrom("a", "é", "日", "🙂")
    const sizes = FastCheck.array(FastCheck.integer({ min: 1, max: 400_000 }), { minLength: 1 })
    const text = (unit: string) =>
      `x\n${unit.repeat(Math.ceil(2_500_000 / Buffer.byteLength(unit)))}\n${unit}`
    FastCheck.assert(
      FastCheck.property(character, sizes, (unit, sizes) => {
        const all = Buffer.from(text(unit))
        const found: Array<string> = []
        const lines = Lines.whole((bytes) => found.push(Buffer.from(bytes).toString()))
        for (let at = 0, i = 0; at < all.length; i++) {
          const size = sizes[i % sizes.length]!
          lines.push(all.subarray(at, at + size))
          at += size
          if (size < 1000) i = sizes.indexOf(Math.max(...sizes)) - 1
        }
        lines.end()
        expect(found.join("") === text(unit)).toBe(true)
        for (const piece of found)
          expect(piece.endsWith("\n") || piece.length > 300_000 || piece === unit).toBe(true)
      }),
      { numRuns: 20 }
    )
  })
})
