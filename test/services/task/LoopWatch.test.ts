import { spawn, spawnSync } from "node:child_process"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath, pathToFileURL } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Fiber, Layer, Logger, Option, Schema, Stream, Tracer } from "effect"
import * as Events from "../../../src/services/host/Events.js"
import * as LoopWatch from "../../../src/services/task/LoopWatch.js"
import { run as aio } from "../../support/Aio.js"

const root = fileURLToPath(new URL("../../..", import.meta.url))
const fixture = (name: string) => join(root, "test/fixtures/loop-watch", name)
const entry = pathToFileURL(join(root, "dist/watch.js")).href

/** Runs a program under `--import effect-asyncio/watch`. */
const watched = (
  program: string,
  env: Readonly<Record<string, string>>,
  { onLine, node = [] }: { onLine?: (line: string, pid: number) => void; node?: ReadonlyArray<string> } = {}
) =>
  new Promise<{ code: number | null; stderr: string; reports: ReadonlyArray<Record<string, any>> }>(
    (done) => {
      const child = spawn(process.execPath, [...node, "--import", entry, program], {
        env: { PATH: process.env["PATH"], AIO_WATCH_LOOP: "40ms", AIO_JSON: "1", ...env },
        stdio: ["ignore", "pipe", "pipe"]
      })
      let stderr = ""
      child.stderr.setEncoding("utf8").on("data", (text) => {
        stderr += text
      })
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        for (const line of text.trim().split("\n")) onLine?.(line, child.pid!)
      })
      child.on("close", (code) => {
        const lines = stderr.split("\n").filter((line) => line.startsWith('{"schema"'))
        done({ code, stderr, reports: lines.map((line) => JSON.parse(line)) })
      })
    }
  )

/** Blocks for so many milliseconds of a processor: time on a busy machine that others use does not count. */
const spin = (ms: number) => {
  const from = process.cpuUsage()
  for (let used = 0; used < ms; ) {
    const { system, user } = process.cpuUsage(from)
    used = (system + user) / 1000
  }
}

/** The reports while the effect runs. */
const reportsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const found: Array<LoopWatch.Report> = []
  return Effect.scoped(
    Effect.zipRight(
      LoopWatch.make({
        threshold: 40,
        onReport: (report) => Effect.sync(() => void found.push(report))
      }),
      effect
    )
  ).pipe(Effect.as(found))
}

describe("LoopWatch", () => {
  it("names the function that blocks, for each of the usual mistakes", async () => {
    const { code, reports, stderr } = await watched(fixture("mistakes.mjs"), { AIO_FAIL_ON_BLOCK: "1" })
    expect(code, stderr).toBe(1)
    const found = new Map(reports.map((report) => [report["function"] ?? "", report]))
    // The spinning is done in a function of its own.
    expect([...found.keys()]).toEqual(
      expect.arrayContaining(["spin", "regex", "jsonParse", "pbkdf2", "readFile", "query"])
    )
    expect(found.get("regex")).toMatchObject({ call: "RegExp.test", native: false })
    expect(found.get("pbkdf2")).toMatchObject({
      call: "pbkdf2Sync",
      suggestion: expect.stringMatching(/^use pbkdf2 /)
    })
    expect(found.get("readFile")).toMatchObject({ call: "readFileSync" })
    // The driver's native call has returned when V8 lets other code run: no function of V8 is named in its place.
    expect(found.get("query")).not.toHaveProperty("call")
    for (const { schema, ...report } of reports) {
      expect(schema).toBe(2)
      const decoded = Schema.decodeUnknownEither(Events.Run)(report, { onExcessProperty: "error" })
      expect(Either.mapLeft(decoded, String)).toEqual(Either.right(report))
      if (report["file"] !== undefined) expect(report["file"]).toBe(fixture("mistakes.mjs"))
      expect(report["duration"]).toBeGreaterThanOrEqual(40)
    }
  })

  it("reports nothing for a loop that is idle, short turns, and a suspended process", async () => {
    const states: Array<string> = []
    const { code, reports, stderr } = await watched(
      fixture("quiet.mjs"),
      { AIO_WATCH_LOOP: "150ms", AIO_FAIL_ON_BLOCK: "1" },
      {
        onLine: (state, pid) => {
          states.push(state)
          process.kill(pid, "SIGSTOP")
          setTimeout(() => process.kill(pid, "SIGCONT"), 400)
        }
      }
    )
    expect(states).toEqual(["idle", "busy"])
    expect({ code, reports, stderr }).toEqual({ code: 0, reports: [], stderr: "" })
  })

  it("reports a stall once, also one at the end of the process", async () => {
    const { code, reports } = await watched(fixture("once.mjs"), {})
    expect(code).toBe(0)
    expect(reports.filter(({ function: name }) => name === "last")).toMatchObject([
      { event: "blocked", count: 1, thread: 0, native: false }
    ])
    expect(reports[0]!["duration"]).toBeGreaterThan(290)
  })

  it("reports a loop that is still blocked, from the watchdog's thread", async () => {
    const { stderr, stdout } = spawnSync(process.execPath, [fixture("hangs.mjs")], { encoding: "utf8" })
    expect(stderr).toBe("")
    expect(
      stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
    ).toMatchObject([
      { schema: 2, event: "hanging", function: "hangs", thread: 0 },
      { event: "blocked", function: "hangs" }
    ])
  })

  it("names worker threads that block, if they are watched", async () => {
    const ofThreads = async (env: Readonly<Record<string, string>>) =>
      (await watched(fixture("threads.mjs"), env)).reports.filter(({ thread }) => thread > 0)
    const reports = await ofThreads({ AIO_WATCH_THREADS: "1" })
    expect(reports).toContainEqual(expect.objectContaining({ event: "blocked", function: "blocksItsThread" }))
    expect(await ofThreads({})).toEqual([])
  })

  it.each([
    [
      { AIO_WATCH_LOOP: "0" },
      "LoopWatch: AIO_WATCH_LOOP: '0' is out of range; expected a duration above 0, like 100ms\n"
    ],
    [
      { AIO_WATCH_LOOP: "-5ms" },
      "LoopWatch: AIO_WATCH_LOOP: '-5ms' in duration '-5ms' is negative; write one like 90s or 1h30m\n"
    ],
    [
      { AIO_WATCH_LOOP: "soon" },
      "LoopWatch: AIO_WATCH_LOOP: 'soon' in duration 'soon' is not a number; write one like 90s or 1h30m\n"
    ],
    [{ AIO_JSON: "maybe" }, "LoopWatch: AIO_JSON: 'maybe' is not accepted; expected 1 or 0\n"]
  ])("refuses the setting %j in one line", async (env, stderr) => {
    expect(await watched(fixture("once.mjs"), env as unknown as Record<string, string>)).toMatchObject({
      code: 2,
      stderr
    })
  })

  it("says in one line that it cannot look, and the program goes on", async () => {
    const node = ["--experimental-permission", "--allow-fs-read=*", "--no-warnings"]
    const { code, stderr } = await watched(fixture("once.mjs"), {}, { node })
    expect(code).toBe(0)
    expect(stderr.split("\n").filter((line) => line.startsWith("LoopWatch:"))).toEqual([
      expect.stringMatching(/^LoopWatch: no stacks can be taken here: .*restricted/)
    ])
  })

  it.live("names the fiber, its span and its request, and adds an event to the span", () =>
    Effect.gen(function* () {
      const events: Array<readonly [string, unknown]> = []
      const tracer = Tracer.make({
        context: (run) => run(),
        span: (name, parent, context, links, _, kind) => ({
          ...{ _tag: "Span" as const, name, parent, context, links, kind, sampled: true },
          ...{ spanId: "1", traceId: "1", status: { _tag: "Started" as const, startTime: 0n } },
          attributes: new Map(
            kind === "server"
              ? [
                  ["http.request.method", "GET"],
                  ["url.path", "/login"]
                ]
              : []
          ),
          end: () => undefined,
          attribute: () => undefined,
          addLinks: () => undefined,
          event: (event, _time, attributes) => void events.push([event, attributes])
        })
      })
      let fiber: number | undefined
      const [report, ...more] = yield* reportsOf(
        Effect.withFiberRuntime<void>((self) => {
          fiber = self.id().id
          return Effect.sync(() => spin(150))
        }).pipe(
          Effect.withSpan("hash"),
          Effect.withSpan("http.server GET", { kind: "server" }),
          Effect.withTracer(tracer)
        )
      )
      expect(more).toEqual([])
      expect(report).toMatchObject({
        event: "blocked",
        function: "spin",
        fiber,
        span: "hash",
        request: "GET /login"
      })
      expect(events).toMatchObject([
        [
          "event loop blocked",
          { "code.function.name": "spin", "code.file.path": fileURLToPath(import.meta.url) }
        ]
      ])
    })
  )

  it.live("names a fiber that yields and holds back timers", () =>
    Effect.gen(function* () {
      // 150 steps of 2 ms. Effect's scheduler goes through 2,048 before it waits for a timer.
      const step = Effect.zipRight(
        Effect.sync(() => spin(2)),
        Effect.yieldNow()
      )
      const slow = Effect.repeatN(step, 149)
      const reports = yield* reportsOf(Effect.withSpan(slow, "crunch"))
      expect(reports).toEqual(
        expect.arrayContaining([expect.objectContaining({ event: "starved", span: "crunch" })])
      )
    })
  )

  it.live("counts the reports of a place, and streams them", () =>
    Effect.gen(function* () {
      const watch = yield* LoopWatch.LoopWatch
      const two = yield* Effect.fork(Stream.runCollect(Stream.take(watch.reports, 2)))
      yield* Effect.sleep(20)
      for (const _ of [1, 2]) {
        yield* Effect.sync(() => spin(100))
        yield* watch.flush
      }
      const reports = [...(yield* Fiber.join(two))]
      expect(reports.map(({ count, function: name }) => [name, count])).toEqual([
        ["spin", 1],
        ["spin", 2]
      ])
    }).pipe(
      Effect.provide(LoopWatch.layer({ threshold: 40, onReport: () => Effect.void })),
      Effect.timeout("20 seconds")
    )
  )

  it.live("logs a warning for each report by default", () =>
    Effect.gen(function* () {
      const lines: Array<unknown> = []
      const logger = Logger.make(({ message }) => void lines.push(message))
      yield* Effect.sync(() => spin(100)).pipe(
        Effect.provide(
          Layer.provide(LoopWatch.layer({ threshold: 40 }), Logger.replace(Logger.defaultLogger, logger))
        )
      )
      expect(String(lines)).toMatch(
        /^LoopWatch: event loop was blocked for \d+ ms: spin \(.*; move it to Executor\.blocking$/
      )
    })
  )

  describe("failOnBlock", () => {
    it.effect("fails the effect that blocks, under TestClock too", () =>
      Effect.gen(function* () {
        const blocked = yield* Effect.flip(
          LoopWatch.failOnBlock(
            Effect.sync(() => spin(120)),
            { threshold: 50 }
          )
        )
        expect(blocked).toMatchObject({ _tag: "LoopBlocked", exitCode: 1, reports: [{ function: "spin" }] })
        expect(blocked.message).toMatch(/^event loop was blocked for \d+ ms: spin /)
        expect(yield* LoopWatch.failOnBlock(Effect.succeed(1))).toBe(1)
        expect(yield* Effect.flip(LoopWatch.failOnBlock(Effect.fail("own")))).toBe("own")
      })
    )

    it("rejects for a plain test that blocks", async () => {
      const blocks = LoopWatch.failOnBlock(() => spin(120), { threshold: 50 })
      await expect(blocks()).rejects.toMatchObject({ _tag: "LoopBlocked" })
      await expect(LoopWatch.failOnBlock(() => sleep(1, "done"))()).resolves.toBe("done")
      await expect(LoopWatch.failOnBlock(() => Promise.reject(new RangeError("own")))()).rejects.toThrow(
        RangeError
      )
    })
  })

  it.effect("watches nothing as layerNoop", () =>
    Effect.gen(function* () {
      const watch = yield* LoopWatch.LoopWatch
      yield* watch.flush
      expect(Option.isNone(yield* Stream.runHead(watch.reports))).toBe(true)
    }).pipe(Effect.provide(Layer.fresh(LoopWatch.layerNoop)))
  )

  describe("aio run", () => {
    it("reports with --watch-loop, with places in TypeScript, and --fail-on-block fails the run", async () => {
      const program = fixture("program.ts")
      const blocked = await aio(["run", "--watch-loop=50ms", "--json", `${program}#blocks`])
      expect(blocked.code, blocked.stderr).toBe(0)
      const lines = blocked.stderr.trim().split("\n")
      expect(lines.map((line) => JSON.parse(line))).toContainEqual(
        expect.objectContaining({ function: "hash", file: program, line: 11, span: "login", thread: 0 })
      )
      const failed = await aio(["run", "--fail-on-block", `${program}#blocks`])
      expect(failed.code).toBe(1)
      expect(failed.stderr).toMatch(
        /^LoopWatch: event loop was .*: hash \(.*program\.ts:11:\d+\), fiber #\d+, span 'login'; [\s\S]*--fail-on-block: \d reports? of a blocked event loop\n$/m
      )
      expect(await aio(["run", "--watch-loop", "--virtual", `${program}#yields`])).toMatchObject({
        code: 0,
        stderr: ""
      })
    })

    it.each(["0", "-1", "soon"])("refuses --watch-loop=%s in one line", async (value) => {
      const { code, stderr } = await aio(["run", `--watch-loop=${value}`, fixture("program.ts")])
      expect(code).toBe(2)
      expect(stderr).toMatch(/^aio run: option --watch-loop: .*\n$/)
    })
  })
})
