import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as Printable from "../../../src/services/text/Printable.js"
import * as RawText from "../../../src/services/text/RawText.js"

const hostile = FastCheck.array(
  FastCheck.oneof(
    FastCheck.string({ unit: "binary", maxLength: 5 }),
    FastCheck.constantFrom(
      ..."\n\r\t\0\x1b\x7f\x85\x9b\u00ad\u061c\u200b\u200d\u200e\u202e\u2028\u2029\u2066\ufeff\ud800\udcff",
      "👩\u200d💻",
      "🏳️\u200d🌈",
      "日本",
      "e\u0301",
      "\ufe0f",
      "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
      "\u{e0061}"
    )
  ),
  { maxLength: 20 }
).map((parts) => parts.join(""))

describe("Printable", () => {
  it.each([
    ["a\nb\r\tc", "a\\nb\\r\\tc"],
    ["\x1b[2J\x07\x7f", "\\x1b[2J\\x07\\x7f"],
    ["\x9b31m", "\\u{9b}31m"],
    ["abc\u202etxt.exe", "abc\\u{202e}txt.exe"],
    ["\u2066\u200b\ufeff\u2028", "\\u{2066}\\u{200b}\\u{feff}\\u{2028}"],
    ["\ud800x", "\\u{d800}x"],
    [RawText.decode(Buffer.of(0x61, 0xff, 0x80)), "a\\xff\\x80"],
    ["a\u200db", "a\\u{200d}b"],
    ["👩\u200d\u200d💻", "👩\\u{200d}\\u{200d}💻"]
  ])("shows %j as %s", (text, shown) => {
    expect(Printable.line(text)).toBe(shown)
  })

  it.each([
    "plain text",
    "日本語 한국어 العربية",
    "e\u0301 नमस्ते",
    "👩\u200d👩\u200d👧 👩🏽\u200d💻 🏳️\u200d🌈 ❤️ 1️⃣ 🇩🇪",
    "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "C:\\new\\x1b"
  ])("leaves %s as it is", (text) => {
    expect(Printable.line(text)).toBe(text)
  })

  it.prop("gives one line without controls and the same again, whatever the text", [hostile], ([text]) => {
    const shown = Printable.line(text)
    expect(shown).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\p{Bidi_Control}]/u)
    expect(Printable.line(shown)).toBe(shown)
    expect(Printable.removed(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u)
  })

  it.prop(
    "leaves printable texts unchanged",
    [FastCheck.string({ unit: "grapheme", maxLength: 50 })],
    ([text]) => {
      FastCheck.pre(!/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(text))
      expect(Printable.line(text)).toBe(text)
    }
  )

  it("keeps the lines of a text, and shows tabs as blanks", () => {
    expect(Printable.lines("a\r\n\tb\x1b\n")).toEqual(["a", "  b\\x1b", ""])
  })
})
