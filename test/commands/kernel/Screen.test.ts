import { Effect } from "effect"
import { afterEach, describe, expect, it, vi } from "vitest"
import * as Screen from "../../../src/commands/kernel/Screen.js"

afterEach(() => {
  vi.restoreAllMocks()
})

const drawn = (use: (screen: Screen.Screen) => void) => {
  const written: Array<string> = []
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    written.push(String(text))
    return true
  })
  return Effect.runPromise(Effect.scoped(Effect.map(Screen.make, use))).then(() => written)
}

describe("Screen", () => {
  it("keeps lines and characters whole, however they are cut", async () => {
    const bytes = Buffer.from("één\ntwee\ndrie")
    const written = await drawn((screen) => {
      for (let at = 0; at < bytes.length; at++) screen.write(bytes.subarray(at, at + 1))
      screen.log("a note")
      screen.write(Buffer.from("vier"))
    })
    expect(written.join("")).toBe("\x1b[Jéén\ntwee\ndrie\na note\nvier\n")
  })

  it("shows how many lines do not fit, and clears the rows into which a narrower terminal wrapped them", async () => {
    const { columns, rows } = process.stderr
    Object.assign(process.stderr, { columns: 80, rows: 5 })
    vi.useFakeTimers()
    const written = await drawn((screen) => {
      screen.show(["x".repeat(60), "2", "3", "4"])
      vi.runAllTimers()
      Object.assign(process.stderr, { columns: 40 })
    })
    vi.useRealTimers()
    Object.assign(process.stderr, { columns, rows })
    expect(written).toEqual([`\x1b[J${"x".repeat(60)}\n2\n… 2 more\n`, "\x1b[4A\r\x1b[J"])
  })
})
