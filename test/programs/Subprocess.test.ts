import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Command from "@effect/platform/Command"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Stream, TestClock } from "effect"
import * as Subprocess from "../../src/programs/Subprocess.js"
import * as Output from "../../src/services/host/Output.js"
import * as SystemLoad from "../../src/services/host/SystemLoad.js"
import * as Processes from "../../src/services/process/Processes.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"

const scripted = (...scripts: ReadonlyArray<Processes.Script>) =>
  Effect.provide(Layer.merge(Processes.layerTest(scripts), Output.layerTest))

const guide: ReadonlyArray<Processes.Script> = [
  { match: "sleep 1", after: "1 second" },
  { match: "echo hello", stdout: "hello\n" }
]

const printed = Effect.map(Output.Captured, ({ stdout }) => stdout.map((line) => `${line}\n`).join(""))
const recorded = Effect.map(Processes.Recorded, ({ events }) =>
  events.map(({ at, command, event }) => `${at} ${command} ${event}`)
)

const early = "Executing: sleep 1\nExecuting: echo hello\nhello\n\n"

describe("Subprocess", () => {
  it.effect("example prints echo's output at once and sleep's, which is empty, after a second", () =>
    Effect.gen(function* () {
      const example = yield* Effect.fork(Subprocess.example)
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* printed, early)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* printed, `${early}\n`)
      yield* Fiber.join(example)
    }).pipe(scripted(...guide))
  )

  it.live("example runs real processes", () =>
    Effect.gen(function* () {
      yield* Subprocess.example
      assert.strictEqual(yield* printed, `${early}\n`)
    }).pipe(Effect.provide(Layer.merge(Processes.layer, Output.layerTest)))
  )

  it.effect("example ends its processes when it is cancelled", () =>
    Effect.gen(function* () {
      const example = yield* Effect.fork(Subprocess.example)
      yield* TestClock.adjust("400 millis")
      const reason = { reason: "enough", origin: "test" }
      const exit = yield* Cancellation.cancel(example, reason)
      assert.deepStrictEqual(Cancellation.fromExit(exit)[0], reason)
      assert.deepStrictEqual((yield* recorded).slice(-1), ["400 sleep 1 SIGTERM"])
      assert.strictEqual(yield* printed, early)
    }).pipe(scripted(...guide))
  )

  it.effect("runAll gives results in input order and runs as many at once as it may", () =>
    Effect.gen(function* () {
      const commands = ["a", "b", "c"].map((name) => Command.make(name))
      const all = yield* Effect.fork(Subprocess.runAll(commands, { concurrency: 2 }))
      yield* TestClock.adjust("3 seconds")
      const results = yield* Fiber.join(all)
      assert.deepStrictEqual(
        results.map(({ exitCode }) => exitCode),
        [3, 1, 2]
      )
      assert.deepStrictEqual(yield* recorded, [
        "0 a started",
        "0 b started",
        "1000 b exited",
        "1000 c started",
        "2500 c exited",
        "3000 a exited"
      ])
    }).pipe(
      scripted(
        { match: "a", after: "3 seconds", exitCode: 3 },
        { match: "b", after: "1 seconds", exitCode: 1 },
        { match: "c", after: "1500 millis", exitCode: 2 }
      )
    )
  )

  it.effect(
    "runAll cancels the others when one fails, waits until they are gone, and fails with the first",
    () =>
      Effect.gen(function* () {
        const commands = ["slow", "bad"].map((name) => Command.make(name))
        const all = yield* Effect.fork(
          Effect.flip(Subprocess.runAll(commands, { check: true, grace: "2 seconds" }))
        )
        yield* TestClock.adjust("2999 millis")
        assert.isNull(all.unsafePoll())
        yield* TestClock.adjust("1 millis")
        assert.strictEqual((yield* Fiber.join(all)).message, "bad failed: exit code 1: no such file")
        assert.deepStrictEqual((yield* recorded).slice(2), [
          "1000 bad exited",
          "1000 slow SIGTERM",
          "3000 slow SIGKILL"
        ])
      }).pipe(
        scripted(
          { match: "slow", after: "1 hour", ignoresTerm: true },
          { match: "bad", after: "1 seconds", exitCode: 1, stderr: "no such file\n" }
        )
      )
  )

  it.effect("runAll lets the others finish under continue", () =>
    Effect.gen(function* () {
      const commands = ["bad", "slow"].map((name) => Command.make(name))
      const all = yield* Effect.fork(Effect.exit(Subprocess.runAll(commands, { onFailure: "continue" })))
      yield* TestClock.adjust("2 seconds")
      const exit = yield* Fiber.join(all)
      assert.deepStrictEqual(exit, Exit.fail(new Processes.CommandNotFound({ command: "bad" })))
      assert.deepStrictEqual(yield* recorded, ["0 slow started", "2000 slow exited"])
    }).pipe(scripted({ match: "bad", fails: "notFound" }, { match: "slow", after: "2 seconds" }))
  )
})

describe("Subprocess.jobs", () => {
  const told = (events: Iterable<Subprocess.JobEvent>) =>
    [...events].flatMap((event) => {
      switch (event.event) {
        case "output":
          return [`${event.seq} ${event.stream} ${new TextDecoder().decode(event.bytes).trim()}`]
        case "summary":
          return [
            `${event.ok} ok, ${event.failed} failed, ${event.skipped} skipped, ${event.cancelled} cancelled in ${event.elapsed}${event.halted === undefined ? "" : `; ${event.halted}`}`
          ]
        case "finished":
          return [`${event.seq} ${event.ok ? "ok" : event.detail} after ${event.runtime}`]
        case "cancelled":
          return [`${event.seq} cancelled: ${event.reason}`]
        case "retried":
          return [`${event.seq} attempt ${event.attempt} after ${event.detail}`]
        case "skipped":
          return [`${event.seq} skipped: ${event.why}`]
        case "waiting":
          return [`waiting for ${event.for}: ${event.value}`]
        case "lingering":
          return [`${event.seq} lingers, ${event.left} left`]
        default:
          return []
      }
    })
  const scripts: ReadonlyArray<Processes.Script> = [
    { match: "slow", after: "2 seconds", stdout: "s", stderr: "e", exitCode: 3 },
    { match: "quick", after: "1 second", stdout: "q" },
    { match: "long", after: "1 hour" },
    { match: "stubborn", after: "1 hour", ignoresTerm: true },
    { match: "flaky", after: "1 second", exitCode: 1, stdout: "bad", times: 2 },
    { match: "flaky", after: "1 second", stdout: "good" },
    { match: "none", fails: "notFound" },
    { match: "chatty", after: "1 second", output: [{ after: "100 millis", stdout: "a\nb" }], stdout: "c\nd" }
  ]
  const play = (
    names: ReadonlyArray<string>,
    options: Subprocess.JobsOptions,
    machine: Partial<SystemLoad.Machine["Type"]> = {}
  ) =>
    Subprocess.jobs(
      names.map((name): Subprocess.JobRequest => ({ command: () => Command.make(name) })),
      options
    ).pipe(
      Stream.runCollect,
      Effect.map(told),
      Effect.provide(Layer.merge(Processes.layerTest(scripts), SystemLoad.layerTest(machine))),
      VirtualClock.run()
    )

  it.live("gives each job's output when it has ended", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["slow", "quick", "quick"], { concurrency: 2 }), [
        "2 stdout q",
        "2 ok after 1000",
        "1 stdout s",
        "1 stderr e",
        "1 exit code 3 after 2000",
        "3 stdout q",
        "3 ok after 1000",
        "2 ok, 1 failed, 0 skipped, 0 cancelled in 2000"
      ])
    })
  )

  it.live("keeps the input's order and runs on meanwhile", () =>
    Effect.gen(function* () {
      const options = { concurrency: 2, output: "keepOrder" } as const
      const events = yield* play(["slow", "quick", "quick"], options)
      assert.deepStrictEqual(
        events.filter((line) => line.includes("std")),
        ["1 stdout s", "1 stderr e", "2 stdout q", "3 stdout q"]
      )
      assert.strictEqual(events.at(-1), "2 ok, 1 failed, 0 skipped, 0 cancelled in 2000")
    })
  )

  it.live("gives whole lines as they come", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["chatty"], { output: "line" }), [
        "1 stdout a",
        "1 stdout bc",
        "1 stdout d",
        "1 ok after 1000",
        "1 ok, 0 failed, 0 skipped, 0 cancelled in 1000"
      ])
    })
  )

  it.live("tries again what failed, and shows only the last attempt's output", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["flaky"], { retries: 2 }), [
        "1 attempt 2 after exit code 1",
        "1 attempt 3 after exit code 1",
        "1 stdout good",
        "1 ok after 1000",
        "1 ok, 0 failed, 0 skipped, 0 cancelled in 3000"
      ])
    })
  )

  it.live("ends what takes too long: by a fixed time, or by the median of the others", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["long"], { timeout: "5 seconds" }), [
        "1 long was not done in 5s after 5000",
        "0 ok, 1 failed, 0 skipped, 0 cancelled in 5000"
      ])
      const names = ["long", "quick", "quick", "quick"]
      const events = yield* play(names, { concurrency: 2, timeout: { median: 4.5 } })
      assert.include(events, "1 long was not done in 4.5s after 4500")
    })
  )

  it.live("starts at most so often, and not on a busy machine", () =>
    Effect.gen(function* () {
      const delayed = yield* play(["quick", "quick", "quick"], { concurrency: 3, delay: "400 millis" })
      assert.strictEqual(delayed.at(-1), "3 ok, 0 failed, 0 skipped, 0 cancelled in 1800")
      let asked = 0
      const busy = { load: Effect.sync(() => (asked++ < 3 ? 8 : 1)), freeMemory: Effect.succeed(100) }
      const loaded = yield* play(["quick"], { load: 8, memfree: 100 }, busy)
      assert.deepStrictEqual(loaded, [
        "waiting for load: 8",
        "1 stdout q",
        "1 ok after 1000",
        "1 ok, 0 failed, 0 skipped, 0 cancelled in 4000"
      ])
    })
  )

  it.live("gives up the rest by the rule it is given", () =>
    Effect.gen(function* () {
      const soon = { when: "soon", on: "fail", count: 1, percent: false } as const
      assert.deepStrictEqual(yield* play(["none", "quick"], { concurrency: 1, halt: soon }), [
        "1 cannot run none: command not found after 0",
        "2 skipped: halted",
        "0 ok, 1 failed, 1 skipped, 0 cancelled in 0; 1 job has failed"
      ])
      const now = { when: "now", on: "success", count: 50, percent: true } as const
      const events = yield* play(["quick", "long", "quick", "none", "quick"], { concurrency: 2, halt: now })
      assert.deepStrictEqual(events.slice(-2), [
        "2 cancelled: 3 jobs have succeeded",
        "3 ok, 1 failed, 0 skipped, 1 cancelled in 3000; 3 jobs have succeeded"
      ])
    })
  )

  it.scopedLive("logs a job when its events have been read", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "aio-jobs-"))),
        (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
      )
      const path = join(folder, "log")
      const inLog = () => readFileSync(path, "utf8").split("\n").length - 2
      for (const output of ["group", "keepOrder", "line", "inherit"] as const) {
        let seen = 0
        yield* Subprocess.jobs(
          ["quick", "chatty", "quick"].map((name) => ({ command: () => Command.make(name) })),
          { concurrency: 1, output, log: { path, resume: undefined } }
        ).pipe(
          Stream.runForEach((event) =>
            Effect.sync(() => {
              if (event.event !== "finished") return
              seen++
              assert.isBelow(inLog(), event.seq)
            })
          ),
          Effect.provide(Layer.merge(Processes.layerTest(scripts), SystemLoad.layerTest())),
          VirtualClock.run()
        )
        assert.deepStrictEqual([seen, inLog()], [3, 3])
      }
    })
  )

  it.live("is stopped with a reason, and tells what has become of all", () =>
    Effect.gen(function* () {
      const stop = Effect.delay(Effect.succeed("SIGINT"), "1500 millis")
      assert.deepStrictEqual(
        yield* play(["quick", "stubborn", "quick", "quick"], { concurrency: 2, output: "keepOrder", stop }),
        [
          "1 stdout q",
          "1 ok after 1000",
          "3 cancelled: SIGINT",
          "2 lingers, 4000 left",
          "2 cancelled: SIGINT",
          "1 ok, 0 failed, 0 skipped, 2 cancelled in 6500; SIGINT"
        ]
      )
    })
  )

  it.effect("cancels its processes when nobody reads any more, and waits for them", () =>
    Effect.gen(function* () {
      const jobs = Subprocess.jobs([{ command: () => Command.make("long") }])
      const reader = yield* Effect.fork(Stream.runDrain(jobs))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(reader)
      assert.deepStrictEqual((yield* recorded).slice(-1), ["1000 long SIGTERM"])
    }).pipe(Effect.provide(Layer.merge(Processes.layerTest(scripts), SystemLoad.layerTest())))
  )

  it.live("fails where its input fails, with what runs cancelled", () =>
    Effect.gen(function* () {
      const requests = Stream.concat(
        Stream.succeed({ command: () => Command.make("long") }),
        Stream.fromEffect(Effect.delay(Effect.fail("no more"), "1 second"))
      )
      const failed = yield* Effect.flip(Stream.runDrain(Subprocess.jobs(requests)))
      assert.strictEqual(failed, "no more")
      assert.deepStrictEqual((yield* recorded).slice(-1), ["1000 long SIGTERM"])
    }).pipe(
      Effect.provide(Layer.merge(Processes.layerTest(scripts), SystemLoad.layerTest())),
      VirtualClock.run()
    )
  )
})
