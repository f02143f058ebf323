import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { afterEach, describe, expect, it, vi } from "vitest"
import * as Screen from "../../../src/commands/kernel/Screen.js"

const { columns, rows } = process.stderr
const resize = (size: { columns?: number | undefined; rows?: number | undefined }) =>
  Object.assign(process.stderr, size)

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  resize({ columns, rows })
})

const drawn = async (
  live: (columns: number) => ReadonlyArray<string>,
  use: (screen: Screen.Screen) => void
) => {
  const written: Array<Buffer> = []
  vi.spyOn(process.stderr, "write").mockImplementation((bytes) => {
    written.push(Buffer.from(bytes as Uint8Array))
    return true
  })
  vi.useFakeTimers()
  await Effect.runPromise(Effect.scoped(Effect.map(Screen.make(live), use)))
  return written
}

const nothing = () => []

describe("Screen", () => {
  it("keeps lines and bytes whole, however they are cut, UTF-8 or not", async () => {
    const bytes = Buffer.concat([
      Buffer.from("één\n\ttwee\n"),
      Buffer.from([0xff, 0xfe, 0x0a]),
      Buffer.from("drie")
    ])
    const written = await drawn(nothing, (screen) => {
      for (let at = 0; at < bytes.length; at++) screen.write(bytes.subarray(at, at + 1))
      screen.log("a note")
      screen.write(Buffer.from("vier"))
    })
    const expected = Buffer.concat([Buffer.from("\x1b[J"), bytes, Buffer.from("\na note\nvier\n")])
    expect(Buffer.concat(written)).toEqual(expected)
  })

  it("keeps no endless line in memory", async () => {
    const written = await drawn(nothing, (screen) => {
      for (let i = 0; i < 100; i++) {
        screen.write(Buffer.alloc(1024, "x"))
        vi.runAllTimers()
      }
    })
    expect(written.length).toBeGreaterThan(1)
    expect(
      Buffer.concat(written)
        .toString()
        .replaceAll(/\n|\x1b\[J/g, "")
    ).toBe("x".repeat(100 * 1024))
  })

  it("draws nothing when nothing has changed", async () => {
    const written = await drawn(
      () => ["same"],
      (screen) => {
        for (let i = 0; i < 10; i++) {
          screen.refresh()
          vi.runAllTimers()
        }
      }
    )
    expect(written.map(String)).toEqual(["\x1b[Jsame\n", "\x1b[1A\r\x1b[J"])
  })

  it("shows how many lines do not fit", async () => {
    resize({ columns: 80, rows: 5 })
    const written = await drawn(
      () => ["1", "2", "3", "4"],
      (screen) => {
        screen.refresh()
        vi.runAllTimers()
      }
    )
    expect(String(written[0])).toBe("\x1b[J1\n2\n… 2 more\n")
  })

  it.each([
    ["ascii", "x".repeat(60), `${"x".repeat(38)}…`, 1],
    ["wide", "日".repeat(30), `${"日".repeat(19)}…`, 1],
    ["emoji", "👩‍👩‍👧‍👦".repeat(30), `${"👩‍👩‍👧‍👦".repeat(19)}…`, 1],
    ["combining", "e\u0301".repeat(60), `${"e\u0301".repeat(38)}…`, 1],
    ["control characters", "a\x1b[2J\r\nb\u202e", "a\\x1b[2J\\r\\nb\\u{202e}", 1]
  ])(
    "cuts %s at the width of the window, and never writes a control character",
    async (_, text, expected) => {
      resize({ columns: 40, rows: 24 })
      const written = await drawn(
        () => [text],
        (screen) => {
          screen.refresh()
          vi.runAllTimers()
        }
      )
      expect(String(written[0])).toBe(`\x1b[J${expected}\n`)
    }
  )

  it.each([
    ["ascii", "x".repeat(79), 20, 4],
    // Nine of two columns fit in 19, so that one column of each row stays empty.
    ["wide", "日".repeat(39), 19, 5],
    ["combining", "e\u0301".repeat(79), 20, 4]
  ])(
    "clears the rows into which a narrower window has wrapped %s lines",
    async (_, text, narrow, expected) => {
      resize({ columns: 80, rows: 24 })
      const written = await drawn(
        () => [text],
        (screen) => {
          screen.refresh()
          vi.runAllTimers()
          resize({ columns: narrow })
        }
      )
      expect(String(written.at(-1))).toBe(`\x1b[${expected}A\r\x1b[J`)
    }
  )

  it("leaves the process as it was", async () => {
    const before = process.stderr.listenerCount("resize")
    await drawn(nothing, () => expect(process.stderr.listenerCount("resize")).toBe(before + 1))
    expect(process.stderr.listenerCount("resize")).toBe(before)
  })

  it("is the only drawer: no other file moves the cursor", () => {
    const src = fileURLToPath(new URL("../../../src", import.meta.url))
    const moving = readdirSync(src, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .filter((file) =>
        /\\x1b\[(?:\$\{\w+\}|\d)*[A-HJKSTsu]/.test(
          readFileSync(join(src, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "")
        )
      )
    expect(moving).toEqual(["commands/kernel/Screen.ts"])
  })
})
