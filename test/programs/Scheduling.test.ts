import * as Command from "@effect/platform/Command"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Either, Exit, Fiber, Layer, Option, TestClock } from "effect"
import * as Scheduling from "../../src/programs/Scheduling.js"
import * as Output from "../../src/services/host/Output.js"
import * as ProcessesTest from "../../src/services/process/ProcessesTest.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import * as CivilTime from "../../src/services/time/CivilTime.js"
import * as Cron from "../../src/services/time/Cron.js"
import * as Timers from "../../src/services/time/Timers.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"

const lines = ["call_soon   at 0.0 s", "call_at     at 0.2 s", "call_later  at 0.4 s"]

const layer = Layer.merge(Output.layerTest, Timers.layer)

describe("Scheduling", () => {
  describe("example", () => {
    it.effect("prints each line at its time and not before", () =>
      Effect.gen(function* () {
        const { stdout } = yield* Output.Captured
        yield* TestClock.adjust(12_345)
        const fiber = yield* Effect.fork(Scheduling.example)
        yield* TestClock.adjust(0)
        expect(stdout).toEqual(lines.slice(0, 1))
        yield* TestClock.adjust(199)
        expect(stdout).toEqual(lines.slice(0, 1))
        yield* TestClock.adjust(1)
        expect(stdout).toEqual(lines.slice(0, 2))
        yield* TestClock.adjust(199)
        expect(stdout).toEqual(lines.slice(0, 2))
        expect(yield* Fiber.poll(fiber)).toEqual(Option.none())
        yield* TestClock.adjust(1)
        expect(stdout).toEqual(lines)
        yield* Fiber.join(fiber)
      }).pipe(Effect.provide(layer))
    )

    it.effect("prints the same in virtual time", () =>
      Effect.gen(function* () {
        yield* Scheduling.example
        expect((yield* Output.Captured).stdout).toEqual(lines)
      }).pipe(Effect.provide(Layer.provideMerge(layer, VirtualClock.layer)))
    )

    it.live("prints the lines in this order on the live clock", () =>
      Effect.gen(function* () {
        yield* Scheduling.example
        const names = (line: string) => line.split(" ")[0]
        // The offsets only on a machine that is not hard-pressed: test/cli compares them.
        expect((yield* Output.Captured).stdout.map(names)).toEqual(lines.map(names))
      }).pipe(Effect.provide(layer))
    )
  })

  it.effect("callSoon, callLater and callAt run the effect and hand back its outcome", () =>
    Effect.gen(function* () {
      const soon = yield* Scheduling.callSoon(Effect.succeed("soon"))
      const later = yield* Scheduling.callLater("1 second", Effect.fail("later"), { name: "job" })
      const at = yield* Scheduling.callAt(2000, Effect.succeed("at"))
      expect([soon.when, later.when, at.when]).toEqual([0, 1000, 2000])
      expect(later.name).toBe("job")
      expect(yield* soon.await).toEqual(Exit.succeed("soon"))
      const fiber = yield* Effect.fork(at.await)
      yield* TestClock.adjust(1999)
      expect(yield* Fiber.poll(fiber)).toEqual(Option.none())
      yield* TestClock.adjust(1)
      expect(yield* later.await).toEqual(Exit.fail("later"))
      expect(yield* Fiber.join(fiber)).toEqual(Exit.succeed("at"))
    }).pipe(Effect.provide(Timers.layerWith({ report: () => Effect.void })))
  )

  it.effect("leaves nothing running when the program is interrupted", () =>
    Effect.gen(function* () {
      const running = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<ReadonlyArray<Cancellation.Cancellation>>()
      const job = Deferred.succeed(running, undefined).pipe(
        Effect.zipRight(Effect.never),
        Effect.onExit((exit) => Deferred.succeed(ended, Cancellation.fromExit(exit)))
      )
      const program = Effect.gen(function* () {
        yield* Scheduling.callSoon(job)
        const handle = yield* Scheduling.callLater(Duration.infinity, Effect.void)
        return yield* handle.await
      })
      const fiber = yield* Effect.fork(Effect.provide(program, Timers.layer))
      yield* Deferred.await(running)
      yield* Cancellation.cancel(fiber, { reason: "SIGTERM", origin: "process" })
      expect(yield* Deferred.await(ended)).toEqual([{ reason: "SIGTERM", origin: "process" }])
    })
  )

  it.effect("every and cron run the effect again and again, and fail of a bad expression", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const zone = Either.getOrThrow(CivilTime.zone("UTC"))
      const say = (word: string) => Effect.sync(() => void log.push(word))
      const beat = yield* Scheduling.every("20 seconds", say("beat"), { times: 3 })
      const minutes = yield* Scheduling.cron("* * * * *", ({ at }) => say(`minute ${at / 60_000}`), { zone })
      yield* TestClock.adjust(59_999)
      expect(log).toEqual(["beat", "beat"])
      yield* TestClock.adjust(1)
      expect(log).toEqual(["beat", "beat", "minute 1", "beat"])
      expect(yield* beat.await).toEqual(Exit.succeed({ runs: 3, failed: 0, skipped: 0 }))
      yield* minutes.cancel("enough")
      const error = yield* Effect.flip(Scheduling.cron("* * *", Effect.void))
      expect(error.message).toContain("has 3 fields")
    }).pipe(Effect.provide(Timers.layer))
  )

  describe("runs", () => {
    const seen = (when: Scheduling.When, options: Omit<Scheduling.RunsOptions, "handle"> = {}) => {
      const events: Array<Scheduling.RunEvent> = []
      const handle = (event: Scheduling.RunEvent) => Effect.sync(() => void events.push(event))
      return {
        events,
        program: Scheduling.runs(Command.make("job"), when, { ...options, handle })
      }
    }
    const provided = (script: ProcessesTest.Script) =>
      Layer.provideMerge(Layer.merge(ProcessesTest.layerTest([script]), Timers.layer), VirtualClock.layer)
    const minutes: Scheduling.When = { _tag: "Every", interval: "1 minute", align: false }

    it.live("tells of each run, its output and its end, and of all of them", () => {
      const script: ProcessesTest.Script = { match: "job", stdout: "done\n", after: "5 seconds" }
      const { events, program } = seen(minutes, { times: 2 })
      return Effect.gen(function* () {
        const summary = yield* program
        expect(
          events.map((event) => (event.event === "scheduled" ? `due ${event.at}` : event.event))
        ).toEqual([
          "due 60000",
          "due 120000",
          "started",
          "output",
          "finished",
          "started",
          "output",
          "finished",
          "summary"
        ])
        expect(events[2]).toEqual({ event: "started", run: 1, at: 60_000, skipped: undefined })
        expect(events[4]).toEqual({
          event: "finished",
          run: 1,
          duration: 5000,
          outcome: "succeeded",
          exitCode: 0
        })
        expect(summary).toEqual({
          event: "summary",
          runs: 2,
          succeeded: 2,
          failed: 0,
          cancelled: 0,
          skipped: 0,
          exitCode: 0,
          elapsed: 125_000
        })
      }).pipe(Effect.provide(provided(script)))
    })

    it.live.each<[ProcessesTest.Script, Partial<Scheduling.RunsSummary>, string]>([
      [{ match: "job", exitCode: 3 }, { failed: 2, exitCode: 1 }, "exit code 3"],
      [{ match: "job", signal: "SIGSEGV" }, { failed: 2, exitCode: 1 }, "ended by SIGSEGV"],
      [
        { match: "job", fails: "notFound" },
        { failed: 2, exitCode: 127 },
        "cannot run job: command not found"
      ],
      [{ match: "job", after: "1 hour" }, { failed: 2, exitCode: 124 }, "job was not done in 2s"]
    ])("goes on when a run fails: %j", ([script, expected, detail]) => {
      const { events, program } = seen(minutes, { times: 2, timeout: "2 seconds" })
      return Effect.gen(function* () {
        expect(yield* program).toMatchObject({ runs: 2, succeeded: 0, ...expected })
        const ends = events.filter((event) => event.event === "finished")
        expect(ends.map((event) => event.detail)).toEqual([detail, detail])
      }).pipe(Effect.provide(provided(script)))
    })

    it.live("runs once, later, at a time and at one that a clock change has moved", () => {
      const script: ProcessesTest.Script = { match: "job" }
      const once = (when: Scheduling.When) => {
        const { events, program } = seen(when)
        return Effect.map(program, () => events.find((event) => event.event === "started"))
      }
      return Effect.gen(function* () {
        expect(yield* once({ _tag: "Later", delay: 500 })).toMatchObject({ run: 1, at: 500 })
        expect(yield* once({ _tag: "At", time: { at: 2000, skipped: "02:30" } })).toMatchObject({
          run: 1,
          at: 2000,
          skipped: "02:30"
        })
        const cron = Either.getOrThrow(Cron.parse("* * * * * *"))
        const { events, program } = seen({ _tag: "Cron", cron }, { times: 2 })
        yield* program
        expect(events.filter(({ event }) => event === "started")).toMatchObject([{ at: 3000 }, { at: 4000 }])
      }).pipe(Effect.provide(provided(script)))
    })

    it.live("cancelled, it ends what runs and still tells how", () => {
      const script: ProcessesTest.Script = { match: "job", after: "1 hour" }
      const { events, program } = seen(minutes)
      return Effect.gen(function* () {
        const fiber = yield* Effect.fork(program)
        yield* Effect.sleep("3 minutes")
        yield* Cancellation.cancel(fiber, { reason: "SIGTERM", origin: "process" })
        expect(events.slice(-2)).toMatchObject([
          { event: "finished", outcome: "cancelled", detail: "SIGTERM" },
          { event: "summary", runs: 1, cancelled: 1, skipped: 1 }
        ])
        const { events: recorded } = yield* ProcessesTest.Recorded
        expect(recorded.map(({ event }) => event)).toEqual(["started", "SIGTERM"])
      }).pipe(Effect.provide(provided(script)))
    })
  })
})
