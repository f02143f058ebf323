import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Command from "@effect/platform/Command"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema, Stream, TestClock } from "effect"
import * as Events from "../../../src/services/host/Events.js"
import * as SystemLoad from "../../../src/services/host/SystemLoad.js"
import type { JobEvent } from "../../../src/services/job/JobEvents.js"
import * as Jobs from "../../../src/services/job/Jobs.js"
import * as ProcessesTest from "../../../src/services/process/ProcessesTest.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

const recorded = Effect.map(ProcessesTest.Recorded, ({ events }) =>
  events.map(({ at, command, event }) => `${at} ${command} ${event}`)
)

describe("Jobs", () => {
  // Every event of these tests has all fields of its schema and no others.
  const decode = Schema.decodeUnknownSync(Events.Subprocess, { onExcessProperty: "error" })
  const onTheWire = (event: JobEvent): object => {
    if (event.event !== "output") return event
    const { bytes, label: _, ...fields } = event
    return { ...fields, text: new TextDecoder().decode(bytes) }
  }
  const lines = (events: Iterable<JobEvent>) =>
    [...events].flatMap((event) => {
      switch (event.event) {
        case "output":
          return [`${event.index} ${event.stream} ${new TextDecoder().decode(event.bytes).trim()}`]
        case "summary":
          return [
            `${event.succeeded} ok, ${event.failed} failed, ${event.timed_out} late, ${event.skipped} skipped, ${event.cancelled} cancelled in ${event.duration}${event.halted === undefined ? "" : `; ${event.halted}`}`
          ]
        case "finished":
          return [
            `${event.index} ${event.status} after ${event.duration}${event.reason === undefined ? "" : `: ${event.reason}`}`
          ]
        case "retrying":
          return [`${event.index} attempt ${event.attempt} in ${event.delay} after ${event.reason}`]
        case "waiting":
          return [`waiting for ${event.for}: ${event.value}`]
        case "lingering":
          return [`${event.index} lingers, ${event.left} left`]
        default:
          return []
      }
    })
  const scripts: ReadonlyArray<ProcessesTest.Script> = [
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
    options: Jobs.JobsOptions,
    machine: Partial<SystemLoad.SystemLoad["Type"]> = {}
  ) =>
    Jobs.stream(
      names.map((name): Jobs.JobRequest => ({ command: () => Command.make(name) })),
      options
    ).pipe(
      Stream.tap((event) => Effect.sync(() => decode(onTheWire(event)))),
      Stream.runCollect,
      Effect.map(lines),
      Effect.provide(Layer.merge(ProcessesTest.layerTest(scripts), SystemLoad.layerTest(machine))),
      VirtualClock.run()
    )

  it.live("emits each job's output when it has ended", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["slow", "quick", "quick"], { concurrency: 2 }), [
        "2 stdout q",
        "2 succeeded after 1000",
        "1 stdout s",
        "1 stderr e",
        "1 failed after 2000: exit code 3",
        "3 stdout q",
        "3 succeeded after 1000",
        "2 ok, 1 failed, 0 late, 0 skipped, 0 cancelled in 2000"
      ])
    })
  )

  it.live("keeps the input's order while further jobs run", () =>
    Effect.gen(function* () {
      const options = { concurrency: 2, output: "keepOrder" } as const
      const events = yield* play(["slow", "quick", "quick"], options)
      assert.deepStrictEqual(
        events.filter((line) => line.includes("std")),
        ["1 stdout s", "1 stderr e", "2 stdout q", "3 stdout q"]
      )
      assert.strictEqual(events.at(-1), "2 ok, 1 failed, 0 late, 0 skipped, 0 cancelled in 2000")
    })
  )

  it.live("emits whole lines at once", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["chatty"], { output: "line" }), [
        "1 stdout a",
        "1 stdout bc",
        "1 stdout d",
        "1 succeeded after 1000",
        "1 ok, 0 failed, 0 late, 0 skipped, 0 cancelled in 1000"
      ])
    })
  )

  it.live("retries failed jobs, and shows only the last attempt's output", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["flaky"], { retries: 2, backoff: { jitter: 0 } }), [
        "1 attempt 2 in 500 after exit code 1",
        "1 attempt 3 in 1000 after exit code 1",
        "1 stdout good",
        "1 succeeded after 1000",
        "1 ok, 0 failed, 0 late, 0 skipped, 0 cancelled in 4500"
      ])
    })
  )

  it.live("shows the line of a failed attempt before it reports the retry, as lines come", () =>
    Effect.gen(function* () {
      const options = { output: "line", retries: 1, backoff: { first: 0 } } as const
      assert.deepStrictEqual((yield* play(["flaky"], options)).slice(0, 2), [
        "1 stdout bad",
        "1 attempt 2 in 0 after exit code 1"
      ])
    })
  )

  it.live("pauses before a retry, by the clock, and no other lane waits", () =>
    Effect.gen(function* () {
      const options = { concurrency: 2, retries: 2, backoff: { first: "10 seconds", jitter: 0 } } as const
      assert.deepStrictEqual(
        (yield* play(["flaky", "quick", "quick"], options)).filter((line) => !line.includes("stdout")),
        [
          "1 attempt 2 in 10000 after exit code 1",
          "2 succeeded after 1000",
          "3 succeeded after 1000",
          "1 attempt 3 in 20000 after exit code 1",
          "1 succeeded after 1000",
          "3 ok, 0 failed, 0 late, 0 skipped, 0 cancelled in 33000"
        ]
      )
    })
  )

  it.live("does not try again a job that pauses when the others are given up, and shows its output", () =>
    Effect.gen(function* () {
      const options = {
        concurrency: 2,
        retries: 2,
        backoff: { first: "1 minute", jitter: 0 },
        halt: { when: "soon", on: "success", count: 2, percent: false }
      } as const
      assert.deepStrictEqual(
        (yield* play(["flaky", "quick", "quick", "quick"], options)).filter((line) => !line.startsWith("3")),
        [
          "1 attempt 2 in 30000 after exit code 1",
          "2 stdout q",
          "2 succeeded after 1000",
          "4 skipped after 0: 2 jobs have succeeded",
          "1 stdout bad",
          "1 failed after 1000: exit code 1",
          "2 ok, 1 failed, 0 late, 1 skipped, 0 cancelled in 2000; 2 jobs have succeeded"
        ]
      )
    })
  )

  it.live("ends jobs that take too long: by a fixed time, or by the median of the others", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["long"], { timeout: "5 seconds" }), [
        "1 timed_out after 5000: not done in 5s",
        "0 ok, 0 failed, 1 late, 0 skipped, 0 cancelled in 5000"
      ])
      const names = ["long", "quick", "quick", "quick"]
      const events = yield* play(names, { concurrency: 2, timeout: { median: 4.5 } })
      assert.include(events, "1 timed_out after 4500: not done in 4.5s")
    })
  )

  it.live("keeps starts apart by the delay, and waits while the machine is busy", () =>
    Effect.gen(function* () {
      const delayed = yield* play(["quick", "quick", "quick"], { concurrency: 3, delay: "400 millis" })
      assert.strictEqual(delayed.at(-1), "3 ok, 0 failed, 0 late, 0 skipped, 0 cancelled in 1800")
      let asked = 0
      const busy = { load: Effect.sync(() => (asked++ < 3 ? 8 : 1)), freeMemory: Effect.succeed(100) }
      const loaded = yield* play(["quick"], { load: 8, memfree: 100 }, busy)
      assert.deepStrictEqual(loaded, [
        "waiting for load: 8",
        "1 stdout q",
        "1 succeeded after 1000",
        "1 ok, 0 failed, 0 late, 0 skipped, 0 cancelled in 4000"
      ])
    })
  )

  it.live("gives up the rest by its rule", () =>
    Effect.gen(function* () {
      const soon = { when: "soon", on: "fail", count: 1, percent: false } as const
      assert.deepStrictEqual(yield* play(["none", "quick"], { concurrency: 1, halt: soon }), [
        "1 failed after 0: cannot run none: command not found",
        "2 skipped after 0: 1 job has failed",
        "0 ok, 1 failed, 0 late, 1 skipped, 0 cancelled in 0; 1 job has failed"
      ])
      const now = { when: "now", on: "success", count: 50, percent: true } as const
      const events = yield* play(["quick", "long", "quick", "none", "quick"], { concurrency: 2, halt: now })
      assert.deepStrictEqual(events.slice(-2), [
        "2 cancelled after 3000: 3 jobs have succeeded",
        "3 ok, 1 failed, 0 late, 0 skipped, 1 cancelled in 3000; 3 jobs have succeeded"
      ])
    })
  )

  const logFile = Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "aio-jobs-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
    ),
    (folder) => {
      const path = join(folder, "log")
      return { path, size: () => readFileSync(path, "utf8").split("\n").length - 2 }
    }
  )
  const named = (...names: ReadonlyArray<string>) =>
    names.map((name) => ({ command: () => Command.make(name) }))
  const layer = Layer.merge(ProcessesTest.layerTest(scripts), SystemLoad.layerTest())

  it.scopedLive("logs a job when its output has been delivered, and all when it ends", () =>
    Effect.gen(function* () {
      const { path, size } = yield* logFile
      for (const output of ["group", "keepOrder", "line", "inherit"] as const) {
        const seen: Array<string> = []
        const summary = yield* Jobs.run(named("quick", "chatty", "quick"), {
          concurrency: 1,
          output,
          log: { path, resume: undefined },
          deliver: (events) =>
            Effect.gen(function* () {
              // However long it takes: nothing of this is logged before it returns.
              yield* Effect.sleep("10 seconds")
              for (const event of events) if (event.event === "finished") assert.isBelow(size(), event.index)
              seen.push(...lines(events))
            })
        }).pipe(Effect.provide(layer), VirtualClock.run())
        assert.deepStrictEqual([summary.succeeded, size()], [3, 3])
        assert.include(seen.at(-1), "3 ok, 0 failed")
      }
    })
  )

  it.scopedLive("does not log a job whose output could not be delivered, and fails with the reason", () =>
    Effect.gen(function* () {
      const { path, size } = yield* logFile
      const failed = yield* Effect.flip(
        Jobs.run(named("quick", "chatty", "long"), {
          concurrency: 3,
          output: "keepOrder",
          log: { path, resume: undefined },
          deliver: (events) =>
            lines(events).some((line) => line.startsWith("2 stdout")) ? Effect.fail("no room") : Effect.void
        })
      )
      assert.strictEqual(failed, "no room")
      assert.isBelow(size(), 2)
      assert.notInclude(readFileSync(path, "utf8"), "chatty")
    }).pipe(Effect.provide(layer), VirtualClock.run())
  )

  it.scopedLive("identifies a job by its key, in events, in the log and when it resumes", () =>
    Effect.gen(function* () {
      const { path } = yield* logFile
      const keys: Array<string> = []
      const run = (resume: "all" | undefined) =>
        Jobs.run(
          [1, 2].map((n) => ({ command: () => Command.make("quick"), key: () => `quick in {%}, ${n}` })),
          {
            concurrency: 2,
            log: { path, resume },
            deliver: (events) =>
              Effect.sync(() => {
                for (const event of events) if (event.event === "finished") keys.push(event.name)
              })
          }
        ).pipe(Effect.provide(layer), VirtualClock.run())
      yield* run(undefined)
      assert.deepStrictEqual(keys, ["quick in {%}, 1", "quick in {%}, 2"])
      assert.strictEqual((yield* run("all")).skipped, 2)
    })
  )

  it.live("is stopped with a reason, and reports the outcome of all jobs", () =>
    Effect.gen(function* () {
      const stop = Effect.delay(Effect.succeed("SIGINT"), "1500 millis")
      assert.deepStrictEqual(
        yield* play(["quick", "stubborn", "quick", "quick"], { concurrency: 2, output: "keepOrder", stop }),
        [
          "1 stdout q",
          "1 succeeded after 1000",
          "3 cancelled after 500: SIGINT",
          "2 lingers, 4000 left",
          "2 cancelled after 6500: SIGINT",
          "1 ok, 0 failed, 0 late, 0 skipped, 2 cancelled in 6500; SIGINT"
        ]
      )
    })
  )

  it.effect("cancels its processes when the stream ends early, and waits for them", () =>
    Effect.gen(function* () {
      const jobs = Jobs.stream([{ command: () => Command.make("long") }])
      const reader = yield* Effect.fork(Stream.runDrain(jobs))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(reader)
      assert.deepStrictEqual((yield* recorded).slice(-1), ["1000 long SIGTERM"])
    }).pipe(Effect.provide(Layer.merge(ProcessesTest.layerTest(scripts), SystemLoad.layerTest())))
  )

  it.live("fails as its input fails, with running jobs cancelled", () =>
    Effect.gen(function* () {
      const requests = Stream.concat(
        Stream.succeed({ command: () => Command.make("long") }),
        Stream.fromEffect(Effect.delay(Effect.fail("no more"), "1 second"))
      )
      const failed = yield* Effect.flip(Stream.runDrain(Jobs.stream(requests)))
      assert.strictEqual(failed, "no more")
      assert.deepStrictEqual((yield* recorded).slice(-1), ["1000 long SIGTERM"])
    }).pipe(
      Effect.provide(Layer.merge(ProcessesTest.layerTest(scripts), SystemLoad.layerTest())),
      VirtualClock.run()
    )
  )
})
