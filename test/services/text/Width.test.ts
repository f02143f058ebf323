import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as Table from "../../../src/services/text/Table.js"
import * as Width from "../../../src/services/text/Width.js"

const texts = FastCheck.array(
  FastCheck.oneof(
    FastCheck.string({ unit: "grapheme", maxLength: 4 }),
    FastCheck.constantFrom("日", "e\u0301", "👩\u200d💻", "🇩🇪", "❤️", "\u0301", "한", "…", "1️⃣")
  ),
  { maxLength: 12 }
).map((parts) => parts.join(""))

describe("Width", () => {
  it.each([
    ["", 0],
    ["plain", 5],
    ["日本", 4],
    ["e\u0301", 1],
    ["\u0301\u200b", 0],
    ["👩\u200d👩\u200d👧", 2],
    ["🇩🇪🇫🇷", 4],
    ["❤️", 2],
    ["❤", 1],
    ["1️⃣", 2],
    ["ｆｕｌｌ", 8],
    ["ｶﾅ", 2],
    ["क्\u200dष", 1],
    ["각", 2]
  ])("of %s is %d", (text, columns) => {
    expect(Width.of(text)).toBe(columns)
  })

  it.each([
    ["plain", 5, "plain"],
    ["plain", 4, "pla…"],
    ["plain", 1, "…"],
    ["plain", 0, ""],
    ["日本語", 6, "日本語"],
    ["日本語", 5, "日本…"],
    ["日本語", 4, "日…"],
    ["👩\u200d👩\u200d👧👩\u200d💻", 3, "👩\u200d👩\u200d👧…"],
    ["ae\u0301o", 3, "ae\u0301o"],
    ["ae\u0301ou", 3, "ae\u0301…"]
  ])("%s cut to %d columns is %s", (text, columns, expected) => {
    expect(Width.cut(text, columns)).toBe(expected)
  })

  it.prop(
    "a cut text fits, and is cut between graphemes only",
    [texts, FastCheck.nat(20)],
    ([text, columns]) => {
      const cut = Width.cut(text, columns)
      expect(Width.of(cut)).toBeLessThanOrEqual(columns)
      if (Width.of(text) <= columns) expect(cut).toBe(text)
      else if (columns > 0) {
        const ends = [...new Intl.Segmenter("en").segment(text)].map(({ index }) => index)
        expect(ends).toContain(cut.length - 1)
        expect(text.startsWith(cut.slice(0, -1))).toBe(true)
      }
    }
  )
})

describe("Table", () => {
  it.prop(
    "aligned cells begin in the same column in every row",
    [FastCheck.array(FastCheck.tuple(texts, texts), { minLength: 1, maxLength: 6 })],
    ([rows]) => {
      const marked = rows.map(([a, b]) => [a, `|${b}`])
      const begins = Table.aligned(marked).map((line, i) =>
        Width.of(line.slice(0, line.length - marked[i]![1]!.trimEnd().length))
      )
      expect(new Set(begins).size).toBe(1)
    }
  )

  it("keyed leaves out what has no value", () => {
    expect(
      Table.keyed([
        ["jobs", "3 succeeded"],
        ["halted", undefined],
        ["time", "1.0 s"]
      ])
    ).toEqual(["jobs  3 succeeded", "time  1.0 s"])
  })
})
