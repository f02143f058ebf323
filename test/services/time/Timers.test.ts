import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberRef,
  FastCheck as fc,
  Layer,
  Logger,
  RuntimeFlags,
  RuntimeFlagsPatch,
  Scope,
  TestClock
} from "effect"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import * as Timers from "../../../src/services/time/Timers.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"
import { suspended } from "../../support/Waits.js"

const setup = (options?: Timers.Options) =>
  Effect.map(Timers.make(options), (timers) => {
    const log: Array<string> = []
    return { timers, log, say: (word: string) => Effect.sync(() => void log.push(word)) }
  })

// A clock whose wall can be set, and which notes what it was asked to sleep.
const settable = Effect.map(Effect.clock, (base) => {
  const state = { offset: 0, sleeps: [] as Array<number> }
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => base.unsafeCurrentTimeMillis() + state.offset,
    unsafeCurrentTimeNanos: () => base.unsafeCurrentTimeNanos(),
    currentTimeMillis: Effect.sync(() => base.unsafeCurrentTimeMillis() + state.offset),
    currentTimeNanos: base.currentTimeNanos,
    sleep: (duration) => {
      state.sleeps.push(Duration.toMillis(duration))
      return base.sleep(duration)
    }
  }
  return { clock, state }
})

describe("Timers", () => {
  it.scoped("callLater runs the effect at its deadline and not before", () =>
    Effect.gen(function* () {
      const { log, say, timers } = yield* setup()
      const handle = yield* timers.callLater("2 seconds", say("ran"))
      expect(handle.when).toBe(2000)
      yield* TestClock.adjust(1999)
      expect(log).toEqual([])
      yield* TestClock.adjust(1)
      expect(log).toEqual(["ran"])
      expect(yield* handle.await).toEqual(Exit.void)
      yield* TestClock.adjust("1 day")
      expect(log).toEqual(["ran"])
    })
  )

  it.scoped("callAt takes a number, a Date or a DateTime", () =>
    Effect.gen(function* () {
      const { log, say, timers } = yield* setup()
      yield* TestClock.adjust(500)
      expect((yield* timers.callAt(3000, say("number"))).when).toBe(3000)
      yield* timers.callAt(new Date(2000), say("date"))
      yield* timers.callAt({ epochMillis: 1000 } as Timers.Time, say("DateTime"))
      yield* TestClock.setTime(999)
      expect(log).toEqual([])
      yield* TestClock.setTime(1000)
      expect(log).toEqual(["DateTime"])
      yield* TestClock.setTime(2999)
      expect(log).toEqual(["DateTime", "date"])
      yield* TestClock.setTime(3000)
      expect(log).toEqual(["DateTime", "date", "number"])
    })
  )

  it.scoped("refuses a time that is not a number", () =>
    Effect.gen(function* () {
      const { timers } = yield* setup()
      const exit = yield* Effect.exit(timers.callAt(new Date("tomorrow"), Effect.void))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("the time is not a number")
    })
  )

  const names = Array.from({ length: 20 }, (_, i) => `${i}`)

  it.scoped("begins equal deadlines in order of request, under TestClock too, whichever call asked", () =>
    Effect.gen(function* () {
      const { log, say, timers } = yield* setup()
      yield* Effect.forEach(names, (name, i) =>
        i % 2 === 0 ? timers.callLater(1000, say(name)) : timers.callAt(1000, say(name))
      )
      yield* TestClock.adjust(999)
      expect(log).toEqual([])
      yield* TestClock.adjust(1)
      expect(log).toEqual(names)
    })
  )

  it.live("begins equal deadlines in order of request on the live clock", () =>
    Effect.gen(function* () {
      const base = yield* Effect.clock
      // Time stands still while they ask: only then are the deadlines equal.
      const nanos = base.unsafeCurrentTimeNanos()
      let frozen = true
      const clock = Object.assign(Object.create(base), {
        unsafeCurrentTimeNanos: () => (frozen ? nanos : base.unsafeCurrentTimeNanos())
      }) as Clock.Clock
      const { log, say, timers } = yield* Effect.withClock(setup(), clock)
      const handles = yield* Effect.forEach(names, (name) => timers.callLater(5, say(name)))
      frozen = false
      yield* Effect.forEach(handles, (handle) => handle.await)
      expect(log).toEqual(names)
    }).pipe(Effect.scoped)
  )

  it.scoped(
    "begins calls at one time of day in order of request, though the clock goes on while they ask",
    () =>
      Effect.gen(function* () {
        const { clock } = yield* settable
        let readings = 0
        const going = Object.assign(Object.create(clock), {
          unsafeCurrentTimeMillis: () => (readings < 40 ? readings++ % 3 : clock.unsafeCurrentTimeMillis())
        }) as Clock.Clock
        const { log, say, timers } = yield* Effect.withClock(setup(), going)
        yield* Effect.forEach(names, (name) => timers.callAt(1000, say(name)))
        readings = 40
        yield* TestClock.adjust(2000)
        expect(log).toEqual(names)
      })
  )

  it.scoped("runs callbacks that are due at once on the next turn, in order of request, never inline", () =>
    Effect.gen(function* () {
      const { log, say, timers } = yield* setup()
      yield* TestClock.adjust("1 minute")
      yield* timers.callLater(0, say("zero"))
      yield* timers.callSoon(say("soon"))
      yield* timers.callLater(-5000, say("negative"))
      const last = yield* timers.callAt(10, say("past"))
      expect(log).toEqual([])
      yield* last.await
      expect(log).toEqual(["zero", "soon", "negative", "past"])
    })
  )

  it.effect("takes deadlines to the nanosecond", () =>
    Effect.gen(function* () {
      const { log, say, timers } = yield* setup()
      yield* timers.callLater("300 micros", say("0.3"))
      yield* Effect.sleep("100 micros")
      yield* timers.callLater("200 micros", say("0.1 + 0.2"))
      yield* Effect.sleep("900 micros")
      expect(log).toEqual(["0.3", "0.1 + 0.2"])
    }).pipe(Effect.scoped, VirtualClock.run({ patience: 0 }))
  )

  it.scoped("runs a callback that a callback requests on the turn after", () =>
    Effect.gen(function* () {
      const { log, say, timers } = yield* setup()
      const done = yield* Deferred.make<void>()
      const inner = Effect.zipRight(say("inner"), Deferred.succeed(done, undefined))
      yield* timers.callSoon(Effect.zipRight(say("first"), timers.callSoon(inner)))
      yield* timers.callSoon(say("second"))
      yield* Deferred.await(done)
      expect(log).toEqual(["first", "second", "inner"])
    })
  )

  it.live("gives real timers and I/O a turn while callbacks request callbacks", () =>
    Effect.gen(function* () {
      const { timers } = yield* setup()
      let turns = 0
      let stop = false
      const chain: Effect.Effect<void> = Effect.suspend(() => {
        turns++
        return stop ? Effect.void : Effect.asVoid(timers.callSoon(chain))
      })
      yield* timers.callSoon(chain)
      yield* EventLoop.nextTurn
      stop = true
      expect(turns).toBeGreaterThan(10)
      expect(turns).toBeLessThan(100)
    }).pipe(Effect.scoped)
  )

  it.scoped("keeps delays beyond 2^31-1 ms, and never asks the clock for more at once", () =>
    Effect.gen(function* () {
      const { clock, state } = yield* settable
      const { log, say, timers } = yield* Effect.withClock(setup(), clock)
      const year = Duration.toMillis("365 days")
      yield* timers.callLater("365 days", say("a year"))
      yield* timers.callLater(Duration.infinity, say("never"))
      yield* TestClock.adjust(year - 1)
      expect(log).toEqual([])
      yield* TestClock.adjust(1)
      expect(log).toEqual(["a year"])
      expect(Math.max(...state.sleeps)).toBe(2 ** 31 - 1)
    })
  )

  it.scoped("follows the wall clock with callAt, and not with callLater", () =>
    Effect.gen(function* () {
      const { clock, state } = yield* settable
      const { log, say, timers } = yield* Effect.withClock(setup(), clock)
      const minute = 60_000
      yield* timers.callAt(60 * minute, say("at"))
      yield* timers.callLater(70 * minute, say("later"))
      yield* TestClock.adjust(10 * minute)
      state.offset = 45 * minute // the wall reads 0:55
      yield* TestClock.adjust(5 * minute - 1)
      expect(log).toEqual([])
      yield* TestClock.adjust(1)
      expect(log).toEqual(["at"])
      yield* timers.callAt(65 * minute, say("put back"))
      state.offset = -15 * minute // the wall reads 0:00
      yield* TestClock.adjust(55 * minute - 1)
      expect(log).toEqual(["at"])
      yield* TestClock.adjust(1)
      expect(log).toEqual(["at", "later"])
      yield* TestClock.adjust(10 * minute - 1)
      expect(log).toEqual(["at", "later"])
      yield* TestClock.adjust(1)
      expect(log).toEqual(["at", "later", "put back"])
    })
  )

  it.scoped("detects within the recheck that the wall clock was set forward", () =>
    Effect.gen(function* () {
      const { clock, state } = yield* settable
      const { log, say, timers } = yield* Effect.withClock(setup({ recheck: "10 seconds" }), clock)
      yield* timers.callAt(3_600_000, say("at"))
      yield* TestClock.adjust(1)
      state.offset = 3_600_000
      yield* TestClock.adjust(9998)
      expect(log).toEqual([])
      yield* TestClock.adjust(1)
      expect(log).toEqual(["at"])
    })
  )

  it.scoped("sleeps with one fiber, whatever the number of timers", () =>
    Effect.gen(function* () {
      const { clock, state } = yield* settable
      const { log, say, timers } = yield* Effect.withClock(setup(), clock)
      for (let i = 0; i < 1000; i++) yield* timers.callLater(1000 + i, say("x"))
      expect(state.sleeps.length).toBeLessThanOrEqual(1)
      yield* TestClock.adjust(1009)
      expect(log.length).toBe(10)
      expect(state.sleeps.length).toBeLessThanOrEqual(11)
    })
  )

  it.scoped("wakes for a wall time behind a delay, when the wall clock is set forward", () =>
    Effect.gen(function* () {
      const { clock, state } = yield* settable
      const { log, say, timers } = yield* Effect.withClock(setup(), clock)
      yield* timers.callLater("1 hour", say("later"))
      yield* timers.callAt(Duration.toMillis("2 hours"), say("at"))
      yield* TestClock.adjust(1)
      state.offset = Duration.toMillis("2 hours")
      yield* TestClock.adjust("1 minute")
      expect(log).toEqual(["at"])
      yield* TestClock.adjust("1 hour")
      expect(log).toEqual(["at", "later"])
    })
  )

  it.scoped("does not read the clock again for callbacks that run at once", () =>
    Effect.gen(function* () {
      const { clock, state } = yield* settable
      const { log, say, timers } = yield* Effect.withClock(setup(), clock)
      yield* timers.callLater(1000, say("later"))
      for (let i = 0; i < 10; i++) yield* (yield* timers.callSoon(say("soon"))).await
      expect(log.length).toBe(10)
      expect(state.sleeps).toEqual([1000])
    })
  )

  it.scoped("begins thousands at once, in order", () =>
    Effect.gen(function* () {
      const { log, say, timers } = yield* setup()
      const many = Array.from({ length: 5000 }, (_, i) => `${i}`)
      for (const name of many) yield* timers.callLater(10, say(name))
      yield* TestClock.adjust(10)
      expect(log).toEqual(many)
    })
  )

  it.scoped("wakes for a timer that is asked for later and due earlier", () =>
    Effect.gen(function* () {
      const { log, say, timers } = yield* setup()
      yield* timers.callLater(1000, say("second"))
      yield* TestClock.adjust(100)
      yield* timers.callLater(100, say("first"))
      yield* TestClock.adjust(99)
      expect(log).toEqual([])
      yield* TestClock.adjust(1)
      expect(log).toEqual(["first"])
      yield* TestClock.adjust(800)
      expect(log).toEqual(["first", "second"])
    })
  )

  it.scoped("does not let a waiting effect delay the others", () =>
    Effect.gen(function* () {
      const { log, say, timers } = yield* setup()
      const latch = yield* Deferred.make<void>()
      const slow = yield* timers.callLater(10, Effect.zipRight(Deferred.await(latch), say("slow")))
      yield* timers.callLater(10, say("quick"))
      yield* TestClock.adjust(10)
      expect(log).toEqual(["quick"])
      yield* Deferred.succeed(latch, undefined)
      yield* slow.await
      expect(log).toEqual(["quick", "slow"])
    })
  )

  it.scoped("runs with the services and FiberRefs of the fiber that asked", () =>
    Effect.gen(function* () {
      class Word extends Context.Tag("Word")<Word, string>() {}
      const ref = yield* FiberRef.make("outside")
      const { timers } = yield* setup()
      const handle = yield* timers
        .callLater(10, Effect.zip(Word, Effect.zipLeft(FiberRef.get(ref), FiberRef.set(ref, "changed"))))
        .pipe(Effect.provideService(Word, "given"), Effect.locally(ref, "inside"))
      yield* TestClock.adjust(10)
      expect(yield* handle.await).toEqual(Exit.succeed(["given", "inside"]))
      expect(yield* FiberRef.get(ref)).toBe("outside")
    })
  )

  it.scoped("keeps callbacks that share a fiber apart: FiberRefs, children, failures and cancellation", () =>
    Effect.gen(function* () {
      const ref = yield* FiberRef.make("asked")
      const failures: Array<string> = []
      const { log, say, timers } = yield* setup({
        report: ({ message }) => Effect.sync(() => void failures.push(message))
      })
      const fibers: Array<unknown> = []
      const note = Effect.withFiberRuntime<void>((fiber) => {
        fibers.push(fiber)
        return Effect.void
      })
      const read = Effect.zipRight(note, FiberRef.get(ref))
      yield* timers.callLater(10, Effect.zipRight(FiberRef.set(ref, "changed"), read))
      const begun = yield* Deferred.make<void>()
      const child = Effect.onInterrupt(
        Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never),
        () => say("child ended")
      )
      yield* timers.callLater(10, Effect.zipRight(Effect.fork(child), Deferred.await(begun)))
      const throws = yield* timers.callLater(
        10,
        Effect.sync(() => {
          throw new Error("thrown")
        }),
        { name: "thrower" }
      )
      yield* timers.callLater(10, Effect.fail("failed"), { name: "failer" })
      const waits = yield* timers.callLater(10, Effect.never)
      const after = yield* timers.callLater(10, read)
      yield* TestClock.adjust(10)
      expect(yield* after.await).toEqual(Exit.succeed("asked"))
      expect(log).toEqual(["child ended"])
      expect(failures).toEqual(["thrower failed: thrown", "failer failed: failed"])
      expect(yield* throws.await).toSatisfy(Exit.isFailure)
      yield* waits.cancel("enough", { origin: "test" })
      expect(Cancellation.fromExit(yield* waits.await)).toEqual([{ reason: "enough", origin: "test" }])
      const next = yield* timers.callLater(10, Effect.succeed("next"))
      yield* TestClock.adjust(10)
      expect(yield* next.await).toEqual(Exit.succeed("next"))
    })
  )

  it.scoped(
    "cancels only the given callback, even if it is uninterruptible and others wait for its fiber",
    () =>
      Effect.gen(function* () {
        const { log, say, timers } = yield* setup()
        const latch = yield* Deferred.make<void>()
        const started = yield* Deferred.make<void>()
        const stubborn = yield* timers.callLater(
          10,
          Effect.uninterruptible(Effect.zipRight(Deferred.succeed(started, undefined), Deferred.await(latch)))
        )
        yield* TestClock.adjust(10)
        yield* Deferred.await(started)
        const cancelling = yield* Effect.fork(stubborn.cancel("enough"))
        yield* suspended(cancelling)
        yield* Deferred.succeed(latch, undefined)
        const next = yield* timers.callSoon(Effect.zipRight(Effect.yieldNow(), say("next")))
        expect(yield* next.await).toEqual(Exit.void)
        yield* Fiber.join(cancelling)
        expect(log).toEqual(["next"])
      })
  )

  it.scoped("unsafeCallLater asks from plain code, in the same order", () =>
    Effect.gen(function* () {
      const ref = yield* FiberRef.make("service's")
      const { log, say, timers } = yield* setup()
      const handles = yield* Effect.locally(
        Effect.sync(() => [
          timers.unsafeCallLater(10, FiberRef.get(ref)),
          timers.unsafeCallLater("10 millis", say("second"), { name: "named" })
        ]),
        ref,
        "asker's"
      )
      yield* timers.callLater(10, say("third"))
      expect(handles.map(({ when }) => when)).toEqual([10, 10])
      expect(handles[1]!.name).toBe("named")
      yield* TestClock.adjust(10)
      expect(yield* handles[0]!.await).toEqual(Exit.succeed("asker's"))
      expect(log).toEqual(["second", "third"])
    })
  )

  describe("cancel", () => {
    it.scoped("before its time: it never runs, and has the reason", () =>
      Effect.gen(function* () {
        const { log, say, timers } = yield* setup()
        const handle = yield* timers.callLater(10, say("ran"))
        expect(yield* handle.cancelled).toBe(false)
        yield* handle.cancel("not wanted", { origin: "test" })
        expect(yield* handle.cancelled).toBe(true)
        yield* TestClock.adjust("1 minute")
        expect(log).toEqual([])
        expect(Cancellation.fromExit(yield* handle.await)).toEqual([{ reason: "not wanted", origin: "test" }])
      })
    )

    it.scoped("after its end: nothing happens", () =>
      Effect.gen(function* () {
        const { log, say, timers } = yield* setup()
        const handle = yield* timers.callLater(10, say("ran"))
        yield* TestClock.adjust(10)
        yield* handle.cancel("too late")
        expect(yield* handle.cancelled).toBe(false)
        expect(yield* handle.await).toEqual(Exit.void)
        expect(log).toEqual(["ran"])
      })
    )

    it.scoped("while it runs: it is interrupted, and its clean-up waited for", () =>
      Effect.gen(function* () {
        const { log, say, timers } = yield* setup()
        const started = yield* Deferred.make<void>()
        const handle = yield* timers.callSoon(
          Deferred.succeed(started, undefined).pipe(
            Effect.zipRight(Effect.never),
            Effect.ensuring(Effect.zipRight(Effect.yieldNow(), say("cleaned up")))
          )
        )
        yield* Deferred.await(started)
        yield* handle.cancel("enough")
        expect(log).toEqual(["cleaned up"])
        expect(yield* handle.cancelled).toBe(true)
        expect(Cancellation.fromExit(yield* handle.await)).toEqual([{ reason: "enough", origin: "timers" }])
      })
    )

    it.scoped("by itself: it does not wait for its own end", () =>
      Effect.gen(function* () {
        const { timers } = yield* setup()
        const self = yield* Deferred.make<Timers.Handle<unknown, unknown>>()
        const handle = yield* timers.callSoon(
          Effect.zipRight(
            Effect.uninterruptible(Effect.flatMap(Deferred.await(self), (handle) => handle.cancel("I stop"))),
            Effect.never
          )
        )
        yield* Deferred.succeed(self, handle)
        expect(Cancellation.fromExit(yield* handle.await)).toEqual([{ reason: "I stop", origin: "timers" }])
      })
    )

    it.scoped("by a plain function of its own: it has ended as cancelled, and the next one runs", () =>
      Effect.gen(function* () {
        const { timers } = yield* setup()
        const log: Array<string> = []
        const handle: Timers.Handle<void, never> = yield* timers.callSoon(
          Effect.sync(() => {
            log.push("one")
            Effect.runFork(handle.cancel("I stop"))
          })
        )
        const next = yield* timers.callSoon(Effect.sync(() => log.push("two")))
        expect(Cancellation.fromExit(yield* handle.await)).toEqual([{ reason: "I stop", origin: "timers" }])
        yield* next.await
        expect(log).toEqual(["one", "two"])
      })
    )

    it.scoped("by one that is due at the same time, and those asked for since are not mixed up with it", () =>
      Effect.gen(function* () {
        const { timers } = yield* setup()
        const log: Array<string> = []
        const say = (text: string) => Effect.sync(() => log.push(text))
        const handles: Array<Timers.Handle<unknown, unknown>> = []
        const first = Effect.gen(function* () {
          log.push("first")
          for (const text of ["a", "b", "c"]) handles.push(yield* timers.callLater(1, say(text)))
          yield* handles[1]!.cancel("not wanted")
        })
        for (const effect of [first, say("second"), say("third")]) {
          handles.push(yield* timers.callLater(1, effect))
        }
        yield* TestClock.adjust(1)
        yield* handles[2]!.await
        expect(log).toEqual(["first", "third"])
        yield* TestClock.adjust(1)
        yield* handles[5]!.await
        expect(log).toEqual(["first", "third", "a", "b", "c"])
        expect(yield* handles[1]!.cancelled).toBe(true)
      })
    )

    it.effect("leaves no deadline behind at which a virtual clock would stop", () =>
      Effect.gen(function* () {
        const { timers } = yield* setup()
        const handle = yield* timers.callLater("1 day", Effect.void)
        yield* handle.cancel("not wanted")
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
        return yield* Clock.currentTimeMillis
      }).pipe(
        Effect.scoped,
        VirtualClock.run({ patience: 0 }),
        Effect.map((time) => expect(time).toBe(0))
      )
    )
  })

  describe("a failing callback", () => {
    it.scoped("is reported with its name and stops nothing else", () =>
      Effect.gen(function* () {
        const failures: Array<Timers.TimerFailed> = []
        const report = (failure: Timers.TimerFailed) => Effect.sync(() => void failures.push(failure))
        const { log, say, timers } = yield* setup({ report })
        const handle = yield* timers.callLater(10, Effect.fail("no disk"), { name: "backup" })
        yield* timers.callLater(10, Effect.dieMessage("broken"))
        yield* timers.callLater(10, Effect.interrupt)
        yield* timers.callLater(10, say("others go on"))
        yield* timers.callLater(20, say("later ones too"))
        yield* TestClock.adjust(20)
        expect(log).toEqual(["others go on", "later ones too"])
        expect(failures.map(({ message }) => message)).toEqual([
          "backup failed: no disk",
          "timer 2 failed: broken"
        ])
        expect(yield* handle.await).toEqual(Exit.fail("no disk"))
      })
    )

    it.scoped("is reported when only its clean-up breaks, after it was cancelled", () =>
      Effect.gen(function* () {
        const failures: Array<string> = []
        const report = (failure: Timers.TimerFailed) => Effect.sync(() => void failures.push(failure.message))
        const { timers } = yield* setup({ report })
        const started = yield* Deferred.make<void>()
        const handle = yield* timers.callSoon(
          Effect.ensuring(
            Effect.zipRight(Deferred.succeed(started, undefined), Effect.never),
            Effect.dieMessage("still open")
          ),
          { name: "file" }
        )
        yield* Deferred.await(started)
        yield* handle.cancel("enough")
        expect(failures).toEqual(["file failed: still open"])
      })
    )

    it.scoped("is logged as an error by default, and so is a report that breaks", () =>
      Effect.gen(function* () {
        const logged: Array<unknown> = []
        const logger = Layer.merge(
          Logger.remove(Logger.defaultLogger),
          Logger.add(Logger.make(({ logLevel, message }) => logged.push(logLevel.label, message)))
        )
        yield* Effect.gen(function* () {
          const { timers } = yield* setup()
          yield* (yield* timers.callSoon(Effect.fail("no disk"), { name: "backup" })).await
          const broken = yield* setup({ report: () => Effect.dieMessage("no paper") })
          yield* (yield* broken.timers.callSoon(Effect.fail("no disk"), { name: "copy" })).await
        }).pipe(Effect.provide(logger))
        expect(logged).toEqual(["ERROR", ["backup failed: no disk"], "ERROR", ["the report of copy failed"]])
      })
    )
  })

  describe("a fiber that runs callbacks", () => {
    it.scoped.each(["runs", "sleeps"] as const)(
      "that is interrupted from outside while it %s is replaced",
      (when) =>
        Effect.gen(function* () {
          const { log, say, timers } = yield* setup()
          let fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
          const victim = Effect.withFiberRuntime<void>((own) => {
            fiber = own
            return when === "runs" ? Effect.never : Effect.void
          })
          const handle = yield* timers.callLater(1, victim)
          yield* timers.callLater(1, say("beside"))
          yield* timers.callLater(5, say("later"))
          yield* TestClock.adjust(1)
          fiber!.unsafeInterruptAsFork(fiber!.id())
          const exit = yield* handle.await
          expect(Exit.isInterrupted(exit)).toBe(when === "runs")
          expect(log).toEqual(["beside"])
          yield* TestClock.adjust(4)
          expect(log).toEqual(["beside", "later"])
        })
    )

    it.scoped("has its own runtime flags again for the next", () =>
      Effect.gen(function* () {
        const { timers } = yield* setup()
        const seen: Array<boolean> = []
        const look = Effect.checkInterruptible((interruptible) =>
          Effect.sync(() => void seen.push(interruptible))
        )
        yield* timers.callSoon(look)
        yield* timers.callSoon(Effect.patchRuntimeFlags(RuntimeFlagsPatch.disable(RuntimeFlags.Interruption)))
        yield* timers.callSoon(look)
        yield* TestClock.adjust(1)
        expect(seen).toEqual([true, true])
      })
    )

    it.scoped("continues when observe and report throw", () =>
      Effect.gen(function* () {
        const boom = (): Effect.Effect<void> => {
          throw new Error("boom")
        }
        const { log, say, timers } = yield* setup({ report: boom })
        yield* timers.every(1, Effect.zipRight(say("tick"), Effect.fail("no")), { observe: boom, times: 2 })
        yield* timers.callLater(3, say("after"))
        for (let n = 0; n < 3; n++) yield* TestClock.adjust(1)
        expect(log).toEqual(["tick", "tick", "after"])
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
    )
  })

  describe("closing the scope", () => {
    it.effect("cancels pending callbacks, awaits clean-up, and refuses later ones", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { log, say, timers } = yield* Scope.extend(setup(), scope)
        const started = yield* Deferred.make<void>()
        const running = yield* timers.callSoon(
          Deferred.succeed(started, undefined).pipe(
            Effect.zipRight(Effect.never),
            Effect.ensuring(Effect.zipRight(Effect.yieldNow(), say("cleaned up")))
          )
        )
        const pending = yield* timers.callLater(10, say("ran"))
        yield* Deferred.await(started)
        yield* Scope.close(scope, Exit.void)
        expect(log).toEqual(["cleaned up"])
        const late = yield* timers.callSoon(say("ran"))
        yield* TestClock.adjust("1 minute")
        expect(log).toEqual(["cleaned up"])
        for (const handle of [running, pending, late]) {
          expect(yield* handle.cancelled).toBe(true)
          expect(Cancellation.fromExit(yield* handle.await)).toEqual([
            { reason: "the timers were closed", origin: "timers" }
          ])
        }
      })
    )

    it.effect("passes on the reason for which the scope itself was cancelled", () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<Timers.Handle<void>>()
        const user = Effect.gen(function* () {
          const timers = yield* Timers.Timers
          yield* Deferred.succeed(asked, yield* timers.callLater(10, Effect.void))
          return yield* Effect.never
        })
        const fiber = yield* Effect.fork(Effect.provide(user, Timers.layer))
        const handle = yield* Deferred.await(asked)
        yield* Cancellation.cancel(fiber, { reason: "SIGINT", origin: "process" })
        expect(yield* handle.await).toSatisfy(Exit.isInterrupted)
      })
    )
  })

  const plans = fc.array(
    fc.record({
      delay: fc.integer({ min: -2, max: 12 }),
      at: fc.boolean(),
      cancel: fc.boolean(),
      asked: fc.integer({ min: 0, max: 5 })
    }),
    { maxLength: 40 }
  )

  it.effect.prop(
    "fires what was not cancelled, by deadline and then by order of request",
    [plans],
    ([all]) =>
      Effect.gen(function* () {
        const fired: Array<readonly [number, number]> = []
        const { timers } = yield* setup()
        const byTime = all
          .map((plan, id) => ({ ...plan, id }))
          .sort((a, b) => a.asked - b.asked || a.id - b.id)
        const expected: Array<readonly [due: number, id: number]> = []
        for (const { asked, at, cancel, delay, id } of byTime) {
          const now = yield* Clock.currentTimeMillis
          if (asked > now) yield* Effect.sleep(asked - now)
          const note = Effect.flatMap(Clock.currentTimeMillis, (time) =>
            Effect.sync(() => void fired.push([time, id]))
          )
          const handle = yield* at ? timers.callAt(asked + delay, note) : timers.callLater(delay, note)
          if (cancel) yield* handle.cancel("not wanted")
          else expected.push([asked + Math.max(0, delay), id])
        }
        yield* Effect.sleep(100)
        expect(fired).toEqual(
          // Order of request is the order of byTime, and sort is stable.
          expected.sort(([a], [b]) => a - b)
        )
      }).pipe(Effect.scoped, VirtualClock.run({ patience: 0 })),
    { fastCheck: { numRuns: 50 } }
  )
})
