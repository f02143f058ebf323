import { afterEach, describe, expect, it, vi } from "@effect/vitest"
import { Effect, FastCheck as fc, Layer } from "effect"
import * as Reporter from "../../../src/commands/kernel/Reporter.js"
import type { Status } from "../../../src/services/host/Events.js"
import * as Output from "../../../src/services/host/Output.js"

afterEach(() => {
  vi.restoreAllMocks()
})

interface Event extends Reporter.Shown {
  readonly event: "shown"
}

const shown = (what: Reporter.Shown): Event => ({ event: "shown", ...what })

const view: Reporter.View<Event> = { show: ({ event, ...what }) => what }

/** What comes out on stdout and on stderr, in one order. */
const reported = (
  events: ReadonlyArray<Event>,
  settings: Partial<Reporter.Settings> = {},
  of: Reporter.View<Event> = view,
  terminal: { readonly stdout: boolean; readonly stderr: boolean } = { stdout: false, stderr: false }
) => {
  const written: Array<readonly ["out" | "err", string]> = []
  const to = (stream: "out" | "err", end: string) => (bytes: string | Uint8Array) =>
    Effect.sync(() => void written.push([stream, Buffer.from(bytes as Uint8Array).toString("latin1") + end]))
  const output = Output.Output.of({
    print: to("out", "\n"),
    note: to("err", "\n"),
    write: to("out", ""),
    writeError: to("err", ""),
    drained: Effect.void,
    flushed: Effect.void,
    written: Effect.void,
    stdout: { interactive: terminal.stdout, colors: false },
    stderr: { interactive: terminal.stderr, colors: false }
  })
  return Effect.runPromise(
    Effect.gen(function* () {
      const reporter = yield* Reporter.make(of, { json: false, quiet: 0, ...settings })
      yield* reporter.report(events)
      yield* reporter.note("a note of the command")
      return reporter.isLive
    }).pipe(Effect.scoped, Effect.provide(Layer.succeed(Output.Output, output)))
  ).then((isLive) => ({
    isLive,
    written,
    of: (stream: string) =>
      written
        .filter(([of]) => of === stream)
        .map(([, text]) => text)
        .join("")
  }))
}

const all = shown({
  bytes: Buffer.from([0xff, 0x0a]),
  line: "a line",
  errors: Buffer.from("its stderr\n"),
  failure: "Failed a",
  note: "a note",
  summary: "files  1\ntime   2"
})

describe("Reporter", () => {
  it.each([
    [0, "its stderr\nFailed a\na note\nfiles  1\ntime   2\na note of the command\n"],
    [1, "its stderr\nFailed a\n"],
    [2, "its stderr\n"],
    [3, "its stderr\n"]
  ])("with -q %i times prints results, and on stderr %j", async (quiet, stderr) => {
    const { isLive, of } = await reported([all], { quiet })
    expect(of("out")).toBe("\xff\na line\n")
    expect(of("err")).toBe(stderr)
    expect(isLive).toBe(false)
  })

  it.each([0, 1, 2])("with --json and -q %i times prints events and nothing else", async (quiet) => {
    const json = {
      ...view,
      json: ({ line }: Event) => (line === undefined ? undefined : { event: "line", line })
    }
    const { of, written } = await reported([all, shown({ note: "no" }), all], { json: true, quiet }, json)
    expect(of("out")).toBe('{"schema":2,"event":"line","line":"a line"}\n'.repeat(2))
    expect(of("err")).toBe("")
    expect(written).toHaveLength(1)
  })

  it("writes results that follow each other at once, and keeps the order of the streams", async () => {
    const { written } = await reported([
      shown({ line: "1" }),
      shown({ bytes: "2\n" }),
      shown({ failure: "3" }),
      shown({ line: "4" })
    ])
    expect(written.slice(0, 3)).toEqual([
      ["out", "1\n2\n"],
      ["err", "3\n"],
      ["out", "4\n"]
    ])
  })

  const hostile = fc.string({
    unit: fc.oneof(fc.constantFrom("\x1b[2J", "\r", "\n", "\x9b", "\u202e", "\x07", "é", "a"), fc.string())
  })

  it("never writes a control character from outside", async () => {
    await fc.assert(
      fc.asyncProperty(hostile, hostile, async (name, reason) => {
        const failure = Reporter.failed({ name, reason, status: "failed" })
        const { written } = await reported([shown({ line: name, failure, note: reason })])
        const texts = written.map(([, text]) => Buffer.from(text, "latin1").toString())
        for (const text of texts) expect(text.replace(/\n$/, "")).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\u202e]/u)
      })
    )
  })

  it("escapes control characters in --json", async () => {
    await fc.assert(
      fc.asyncProperty(hostile, async (line) => {
        const { of } = await reported([shown({ line })], { json: true })
        expect(of("out").slice(0, -1)).not.toMatch(/[\0-\x1f]/)
        expect(JSON.parse(Buffer.from(of("out"), "latin1").toString())).toEqual({
          schema: 2,
          event: "shown",
          line
        })
      })
    )
  })
})

describe("the live area", () => {
  const live: Reporter.View<Event> = { ...view, live: () => ["alive"] }
  const both = { stdout: true, stderr: true }
  const run = async (
    settings: Partial<Reporter.Settings>,
    terminal: { readonly stdout: boolean; readonly stderr: boolean },
    of = live
  ) => {
    const drawn: Array<string> = []
    vi.spyOn(process.stderr, "write").mockImplementation((bytes) => {
      drawn.push(Buffer.from(bytes as Uint8Array).toString("latin1"))
      return true
    })
    const { isLive, of: stream } = await reported([all], settings, of, terminal)
    return { isLive, drawn: drawn.join(""), out: stream("out"), err: stream("err") }
  }

  it.each([
    ["progress is not asked for", {}, both, live],
    ["stderr is no terminal, CI or TERM=dumb", { progress: true }, { stdout: true, stderr: false }, live],
    ["--json", { progress: true, json: true }, both, live],
    ["-q", { progress: true, quiet: 1 }, both, live],
    ["the view has none", { progress: true }, both, view]
  ])("is not drawn where %s", async (_, settings, terminal, of) => {
    expect(await run(settings, terminal, of)).toMatchObject({ isLive: false, drawn: "" })
  })

  it("has results and notes above it where stdout is the same terminal", async () => {
    const { drawn, err, isLive, out } = await run({ progress: true }, both)
    expect([isLive, out, err]).toEqual([true, "", ""])
    expect(drawn).toBe(
      "\x1b[J\xff\na line\nits stderr\nFailed a\na note\nfiles  1\ntime   2\na note of the command\n"
    )
  })

  it("leaves results to a stdout that is no terminal", async () => {
    const { drawn, out } = await run({ progress: true }, { stdout: false, stderr: true })
    expect(out).toBe("\xff\na line\n")
    expect(drawn).toBe("\x1b[Jits stderr\nFailed a\na note\nfiles  1\ntime   2\na note of the command\n")
  })
})

describe("shared lines", () => {
  it.each([
    ["failed", "no such host", "Failed a: no such host"],
    ["timed_out", "after 5 s", "Timed out a: after 5 s"],
    ["cancelled", undefined, "Cancelled a"],
    ["skipped", "exists", "Skipped a: exists"]
  ] as const)("%s, because %s: %s", (status, reason, line) => {
    expect(Reporter.failed({ name: "a", status, reason })).toBe(line)
  })

  it("shortens a long name in the middle", () => {
    const name = `${"a".repeat(200)}${"b".repeat(200)}`
    const short = Reporter.brief(name)
    expect(short).toMatch(/^a+ … b+$/)
    expect(short.length).toBeLessThan(240)
    expect(Reporter.brief("a".repeat(240))).toBe("a".repeat(240))
  })

  it("name who is waited for and what comes next", () => {
    expect(Reporter.lingering({ name: "a", pid: 7, left: 1500 })).toBe(
      "waiting for a (pid 7), which is killed in 1.5 s"
    )
    expect(Reporter.retrying({ name: "a", reason: "busy", attempt: 2, delay: 500 })).toBe(
      "a: busy; attempt 2 in 500 ms"
    )
  })

  it("are the same table for every command", () => {
    const counts: Record<Status, number> = { succeeded: 3, failed: 1, cancelled: 0, skipped: 2, timed_out: 0 }
    expect(Reporter.summary("files", { ...counts, duration: 1500 }, [["bytes", "10 MiB"]])).toBe(
      ["files  3 succeeded, 1 failed, 2 skipped", "bytes  10 MiB", "time   1.5 s"].join("\n")
    )
    expect(Reporter.counts({ ...counts, succeeded: 0, failed: 0, skipped: 0 })).toBe("0 succeeded")
  })
})
