import { describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Either, Exit, Fiber, Layer, Option, TestClock } from "effect"
import * as Scheduling from "../../src/programs/Scheduling.js"
import * as Output from "../../src/services/host/Output.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import * as CivilTime from "../../src/services/time/CivilTime.js"
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

  it.effect("callSoon, callLater and callAt run the effect and return its outcome", () =>
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

  it.effect("interrupts its callbacks when the program is interrupted", () =>
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

  it.effect("every and cron run the effect repeatedly; cron fails on an invalid expression", () =>
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
})
