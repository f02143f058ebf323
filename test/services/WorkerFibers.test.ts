import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, FiberId, FiberRef, TestClock } from "effect"
import * as Cancellation from "../../src/services/Cancellation.js"
import * as WorkerFibers from "../../src/services/WorkerFibers.js"

// Runs the items and keeps each outcome; `stopOn` says which one cancels the rest.
const runAll = <A, E, R>(
  items: ReadonlyArray<Effect.Effect<A, E, R>>,
  options: { concurrency?: number; stopOn?: number } = {}
) => {
  const exits: Array<Exit.Exit<A, E>> = []
  let pulled = 0
  return {
    exits,
    pulled: () => pulled,
    run: WorkerFibers.run<A, E, R>({
      concurrency: options.concurrency ?? Number.POSITIVE_INFINITY,
      pull: () => items[pulled++],
      settle: (index, exit) => {
        exits[index] = exit
        return index === options.stopOn ? { reason: `item ${index} says stop`, origin: "test" } : undefined
      }
    })
  }
}

const reasons = (exit: Exit.Exit<unknown, unknown> | undefined) =>
  exit === undefined ? undefined : Cancellation.fromExit(exit).map(({ reason }) => reason)

describe("WorkerFibers", () => {
  it.effect("settles each item with its own outcome, by index", () =>
    Effect.gen(function* () {
      const boom = new Error("boom")
      const { exits, run } = runAll<number, string, never>([
        Effect.succeed(0),
        Effect.fail("no"),
        Effect.die(boom),
        Effect.interrupt,
        Effect.suspend(() => {
          throw boom
        }),
        Effect.delay(Effect.succeed(5), 10)
      ])
      const fiber = yield* Effect.fork(run)
      yield* TestClock.adjust(9)
      expect(exits[5]).toBeUndefined()
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
      expect([exits[0], exits[1], exits[2], exits[4], exits[5]]).toEqual([
        Exit.succeed(0),
        Exit.fail("no"),
        Exit.die(boom),
        Exit.die(boom),
        Exit.succeed(5)
      ])
      expect(Exit.isInterrupted(exits[3]!)).toBe(true)
    })
  )

  it.effect("ends at once when there is no item", () => runAll<never, never, never>([]).run)

  it.effect("shares one fiber among ready items, and gives waiting ones their own", () =>
    Effect.gen(function* () {
      const ids: Array<FiberId.FiberId> = []
      const remember = Effect.map(Effect.fiberId, (id) => void ids.push(id))
      yield* runAll(Array.from({ length: 50 }, () => remember)).run
      expect(new Set(ids).size).toBe(1)
      const fiber = yield* Effect.fork(
        runAll(Array.from({ length: 50 }, () => Effect.zipRight(Effect.sleep(1), remember))).run
      )
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
      expect(new Set(ids.slice(50)).size).toBe(50)
    })
  )

  it.effect("has no more items under way than concurrency, and takes them in order", () =>
    Effect.gen(function* () {
      let out = 0
      let most = 0
      const begun: Array<number> = []
      const items = Array.from({ length: 20 }, (_, i) =>
        Effect.acquireUseRelease(
          Effect.sync(() => {
            begun.push(i)
            most = Math.max(most, ++out)
          }),
          () => Effect.sleep((i * 7) % 5),
          () => Effect.sync(() => void out--)
        )
      )
      const fiber = yield* Effect.fork(runAll(items, { concurrency: 3 }).run)
      yield* TestClock.adjust(1000)
      yield* Fiber.join(fiber)
      expect(most).toBe(3)
      expect(begun).toEqual(items.map((_, i) => i))
    })
  )

  describe("an item is a task of its own", () => {
    const ref = FiberRef.unsafeMake("unset")
    const other = FiberRef.unsafeMake("unset")

    it.effect("what it sets in a FiberRef is unseen by the next item and by the caller", () =>
      Effect.gen(function* () {
        yield* FiberRef.set(ref, "caller")
        const seen: Array<string> = []
        const look = Effect.gen(function* () {
          seen.push(yield* FiberRef.get(ref), yield* FiberRef.get(other))
        })
        const sets = Effect.zipRight(FiberRef.set(ref, "item"), FiberRef.set(other, "item"))
        yield* runAll<void, unknown, never>(
          [
            look,
            sets,
            look,
            Effect.zipRight(sets, Effect.fail("no")),
            look,
            Effect.zipRight(sets, Effect.yieldNow()),
            look
          ],
          { concurrency: 1 }
        ).run
        expect(seen).toEqual(Array.from({ length: 4 }, () => ["caller", "unset"]).flat())
        expect([yield* FiberRef.get(ref), yield* FiberRef.get(other)]).toEqual(["caller", "unset"])
      })
    )

    it.effect("what it forks ends with it, before it settles", () =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const child = Effect.onInterrupt(Effect.never, () =>
          Effect.zipRight(
            Effect.yieldNow(),
            Effect.sync(() => void log.push("child cleaned up"))
          )
        )
        const parent = Effect.gen(function* () {
          yield* Effect.fork(child)
          yield* Effect.yieldNow() // the child gets to start
          log.push("parent done")
        })
        const next = Effect.sync(() => void log.push("next item"))
        yield* runAll([parent, next], { concurrency: 1 }).run
        expect(log).toEqual(["parent done", "child cleaned up", "next item"])
      })
    )

    it.effect("a daemon that it forks outlives it", () =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        let daemon: Fiber.RuntimeFiber<string> | undefined
        yield* runAll([
          Effect.map(Effect.forkDaemon(Effect.as(Deferred.await(gate), "alive")), (fiber) => {
            daemon = fiber
          })
        ]).run
        yield* Deferred.succeed(gate, undefined)
        expect(yield* Fiber.join(daemon!)).toBe("alive")
      })
    )
  })

  describe("when settle asks to stop", () => {
    it.effect("cancels what is under way with that reason, waits for clean-up, starts nothing more", () =>
      Effect.gen(function* () {
        let cleaned = 0
        const waits = Effect.onInterrupt(Effect.never, () =>
          Effect.zipRight(
            Effect.yieldNow(),
            Effect.sync(() => cleaned++)
          )
        )
        const { exits, pulled, run } = runAll<unknown, string, never>(
          [waits, waits, Effect.fail("no"), Effect.succeed("never started")],
          { stopOn: 2 }
        )
        yield* run
        expect(cleaned).toBe(2)
        expect(pulled()).toBe(3)
        expect([reasons(exits[0]), reasons(exits[1])]).toEqual([["item 2 says stop"], ["item 2 says stop"]])
        expect(exits[2]).toEqual(Exit.fail("no"))
      })
    )

    it.effect("an item in an uninterruptible region ends it first", () =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const { exits, run } = runAll<string, string, never>(
          [Effect.uninterruptible(Effect.as(Deferred.await(gate), "whole")), Effect.fail("no")],
          { stopOn: 1 }
        )
        const fiber = yield* Effect.fork(run)
        yield* Effect.repeatN(Effect.yieldNow(), 5)
        expect(fiber.unsafePoll()).toBeNull()
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(fiber)
        expect(exits).toHaveLength(2)
      })
    )
  })

  it.effect("passes the caller's interruption on to the items, with its reason, and waits for them", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      let cleaned = false
      const { exits, run } = runAll([
        Effect.onInterrupt(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never), () =>
          Effect.zipRight(
            Effect.yieldNow(),
            Effect.sync(() => {
              cleaned = true
            })
          )
        )
      ])
      const fiber = yield* Effect.fork(run)
      yield* Deferred.await(begun)
      const exit = yield* Cancellation.cancel(fiber, { reason: "enough", origin: "test" })
      expect(cleaned).toBe(true)
      expect([reasons(exits[0]), reasons(exit)]).toEqual([["enough"], ["enough"]])
    })
  )

  describe("when the caller's own code throws", () => {
    // Hung or passed over in silence before: the worker died and nobody was told.
    const boom = new Error("boom")
    const dies = (exit: Exit.Exit<void>) => Exit.isFailure(exit) && Cause.squash(exit.cause) === boom

    it.effect("in pull: stops the others and dies with it", () =>
      Effect.gen(function* () {
        let calls = 0
        let first: Exit.Exit<never> | undefined
        const exit = yield* Effect.exit(
          WorkerFibers.run<never, never, never>({
            concurrency: 8,
            pull: () => {
              if (calls++ === 0) return Effect.never
              throw boom
            },
            settle: (_index, settled) => {
              first = settled
              return undefined
            }
          })
        )
        expect(dies(exit)).toBe(true)
        expect(calls).toBe(2)
        expect(Exit.isFailure(first!)).toBe(true)
      })
    )

    it.effect("in settle: stops the others and dies with it", () =>
      Effect.gen(function* () {
        let pulled = 0
        const items = [Effect.never, Effect.yieldNow(), Effect.void]
        const exit = yield* Effect.exit(
          WorkerFibers.run<void, never, never>({
            concurrency: 2,
            pull: () => items[pulled++],
            settle: (index) => {
              if (index === 1) throw boom
              return undefined
            }
          })
        )
        expect(dies(exit)).toBe(true)
        expect(pulled).toBe(2)
      })
    )

    it.effect("in settle of an interrupted item: dies with it", () =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          WorkerFibers.run<never, never, never>({
            concurrency: 1,
            pull: () => Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never),
            settle: () => {
              throw boom
            }
          })
        )
        yield* Deferred.await(begun)
        const exit = yield* Fiber.interrupt(fiber)
        expect(Exit.isFailure(exit) && [...Cause.defects(exit.cause)]).toEqual([boom])
      })
    )
  })

  it.live("does not starve a timer while it runs many ready items", () =>
    Effect.gen(function* () {
      const items = 200_000
      let pulled = 0
      let pulledAtTimer: number | undefined
      setTimeout(() => {
        pulledAtTimer = pulled
      }, 1)
      yield* WorkerFibers.run({
        concurrency: 64,
        pull: () => (pulled++ < items ? Effect.void : undefined),
        settle: () => undefined
      })
      expect(pulledAtTimer).toBeLessThan(items / 2)
    })
  )

  it.live("does not starve a timer while it starts many waiting items", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const items = 30_000
      let started = 0
      let startedAtTimer: number | undefined
      setTimeout(() => {
        startedAtTimer = started
      }, 1)
      const run = WorkerFibers.run({
        concurrency: Number.POSITIVE_INFINITY,
        pull: () => (started++ < items ? Deferred.await(gate) : undefined),
        settle: () => undefined
      })
      const fiber = yield* Effect.fork(run)
      while (started < items) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      expect(startedAtTimer).toBeLessThan(items / 2)
    })
  )

  it.effect("interrupts by an id without a reason where the caller gave none", () =>
    Effect.gen(function* () {
      const { exits, run } = runAll([Effect.never])
      const fiber = yield* Effect.fork(run)
      yield* Effect.yieldNow()
      yield* Fiber.interruptAs(fiber, FiberId.none)
      expect(Exit.isInterrupted(exits[0]!)).toBe(true)
      expect(reasons(exits[0])).toEqual([])
    })
  )
})
