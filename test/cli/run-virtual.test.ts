import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { run } from "../support/Aio.js"

const cwd = fileURLToPath(new URL("../fixtures/run", import.meta.url))
const aio = (...args: ReadonlyArray<string>) => run(["run", ...args], { cwd })

describe("aio run --virtual", () => {
  it("ends at once, with the same lines in the same order", async () => {
    expect(await aio("--virtual", "virtual.mjs")).toEqual({
      code: 0,
      signal: null,
      stdout: "first\nsecond\nbefore\nafter\nin x is 3\n",
      stderr: "not stamped\n"
    })
  })

  it("shows virtual times with --timestamps: of Console and Output, a line each, on stdout alone", async () => {
    const { code, stderr, stdout } = await aio("--virtual", "--timestamps", "virtual.mjs")
    expect({ code, stderr }).toEqual({ code: 0, stderr: "not stamped\n" })
    expect(stdout.split("\n")).toEqual([
      "00:00:00.000  first",
      "00:00:00.000  second",
      "00:01:00.000  before",
      "01:30:00.000  after",
      "01:30:00.000  in x is 3",
      ""
    ])
  })

  it("reports a deadlock with what each fiber waits for, and exits with 1", async () => {
    const { code, stderr, stdout } = await aio("--virtual", "virtual.mjs#stuck")
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
    expect(stderr.replace(/#\d+/g, "#")).toBe(
      [
        "error: Deadlock: nothing can happen any more: all 2 fibers wait",
        "    fiber # waits for the end of fiber #",
        "    fiber # (in wait for a friend) waits for a Deferred that fiber # has made",
        ""
      ].join("\n")
    )
  })

  it("waits for real work", async () => {
    expect(await aio("--virtual", "virtual.mjs#child")).toMatchObject({
      code: 0,
      stdout: "child\ntimer\n"
    })
  })

  it("takes --timeout for a virtual time", async () => {
    const { code, stderr, stdout } = await aio("--virtual", "--timestamps", "--timeout", "2h", "virtual.mjs")
    expect({ code, stdout }).toEqual({
      code: 124,
      stdout:
        "00:00:00.000  first\n00:00:00.000  second\n00:01:00.000  before\n01:30:00.000  after\n01:30:00.000  in "
    })
    expect(stderr).toBe("not stamped\naio run: not done in 2h\n")
    // more than a timer of Node's can hold
    const long = await aio("--virtual", "--timeout", "30 days", "virtual.mjs#never")
    expect([long.code, long.stderr]).toEqual([124, "aio run: not done in 30d\n"])
  })

  it("runs the guide's hello too", async () => {
    expect(await aio("--virtual", "--timestamps")).toMatchObject({ code: 0, stdout: "00:00:00.000  hi\n" })
  })

  it("shows real times without --virtual", async () => {
    const { code, stdout } = await aio("--timestamps")
    expect(code).toBe(0)
    expect(stdout).toMatch(/^00:00:0\d\.\d{3} {2}hi\n$/)
  })
})
