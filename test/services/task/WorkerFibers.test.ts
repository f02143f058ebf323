import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Deferred,
  Effect,
  Exit,
  Fiber,
  FiberId,
  FiberRef,
  RuntimeFlags,
  RuntimeFlagsPatch,
  TestClock
} from "effect"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import * as WorkerFibers from "../../../src/services/task/WorkerFibers.js"

// Runs the items and keeps each outcome; the item `stopOn` cancels the rest.
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

  it.effect("shares one fiber among ready items, and runs waiting ones on their own", () =>
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

  it.effect("runs at most `concurrency` items at once, and takes them in order", () =>
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

    it.effect("its changes to FiberRefs are invisible to the next item and to the caller", () =>
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

    it.effect("fibers that it forks end with it, before it settles", () =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const begun = yield* Deferred.make<void>()
        const child = Effect.onInterrupt(
          Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never),
          () => Effect.map(EventLoop.nextTurn, () => void log.push("child cleaned up"))
        )
        const parent = Effect.gen(function* () {
          yield* Effect.fork(child)
          yield* Deferred.await(begun)
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
    it.effect("cancels running items with that reason, awaits their clean-up, starts no others", () =>
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
        // Begins later, is stopped likewise, and ends: by then the first would have ended too.
        const other = runAll<never, string, never>([Effect.never, Effect.fail("no")], { stopOn: 1 })
        yield* Effect.flatMap(Effect.fork(other.run), Fiber.join)
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
    // Hung or passed over in silence before: the worker died and reported nothing.
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

  describe("a worker whose fiber is interrupted from outside is replaced", () => {
    const outsider = FiberId.runtime(1_000_000, 0)
    const soon = (act: () => void) => void setImmediate(act)
    const withFiber = <A, E = never>(
      use: (fiber: Fiber.RuntimeFiber<unknown, unknown>) => Effect.Effect<A, E>
    ) => Effect.withFiberRuntime<A, E>(use)
    const victims: Record<string, Effect.Effect<unknown, string>> = {
      "while it waits": withFiber((fiber) => {
        soon(() => fiber.unsafeInterruptAsFork(outsider))
        return Effect.never
      }),
      "while it computes": withFiber((fiber) => {
        fiber.unsafeInterruptAsFork(outsider)
        return Effect.void
      }),
      "in its last step": withFiber((fiber) => Effect.sync(() => fiber.unsafeInterruptAsFork(outsider))),
      "by itself, as another would": withFiber((fiber) =>
        Effect.zipRight(Fiber.interruptFork(fiber), Effect.never)
      ),
      "by itself, waiting for its end": withFiber((fiber) => Fiber.interrupt(fiber)),
      "by Effect.interrupt": Effect.interrupt,
      "by a child of its own": withFiber((fiber) =>
        Effect.zipRight(Effect.fork(Fiber.interruptAs(fiber, outsider)), Effect.never)
      ),
      "by one that waits for its end": withFiber((fiber) =>
        Effect.zipRight(Effect.forkDaemon(Fiber.interruptAs(fiber, outsider)), Effect.never)
      ),
      "in an uninterruptible region": withFiber((fiber) =>
        Effect.uninterruptible(
          Effect.zipRight(
            Effect.sync(() => fiber.unsafeInterruptAsFork(outsider)),
            Effect.yieldNow()
          )
        )
      ),
      "in an uninterruptible region that fails": withFiber((fiber) =>
        Effect.uninterruptible(
          Effect.zipRight(
            Effect.sync(() => fiber.unsafeInterruptAsFork(outsider)),
            Effect.zipRight(Effect.yieldNow(), Effect.fail("typed"))
          )
        )
      ),
      "in its clean-up": Effect.ensuring(
        Effect.void,
        withFiber((fiber) => Effect.sync(() => fiber.unsafeInterruptAsFork(outsider)))
      ),
      "with a clean-up that breaks": withFiber((fiber) => {
        soon(() => fiber.unsafeInterruptAsFork(outsider))
        return Effect.onInterrupt(Effect.never, () => Effect.die("clean-up"))
      }),
      "while its children end": withFiber((fiber) =>
        Effect.zipRight(
          Effect.fork(
            Effect.onInterrupt(Effect.never, () =>
              Effect.zipRight(
                Effect.sync(() => fiber.unsafeInterruptAsFork(outsider)),
                Effect.yieldNow()
              )
            )
          ),
          Effect.yieldNow()
        )
      )
    }
    // What stock Effect makes of it: a fiber of its own for each.
    const alone = <A, E>(item: Effect.Effect<A, E>) => Effect.flatMap(Effect.forkDaemon(item), Fiber.await)

    it.live.each(Object.keys(victims))("%s", (name) =>
      Effect.gen(function* () {
        const victim = victims[name]!
        const expected = yield* alone(victim)
        for (const concurrency of [1, 2, 3, Number.POSITIVE_INFINITY]) {
          for (const items of [
            [victim, Effect.succeed("a"), Effect.sync(() => "b"), Effect.as(Effect.yieldNow(), "c")],
            [Effect.succeed("a"), victim, victim, victim, Effect.as(Effect.yieldNow(), "c"), victim]
          ]) {
            const { exits, run } = runAll<unknown, string, never>(items, { concurrency })
            yield* run
            expect(exits).toHaveLength(items.length)
            for (const [index, item] of items.entries()) {
              const exit = exits[index]!
              if (item !== victim) {
                expect(exit).toEqual(yield* Effect.exit(item))
                continue
              }
              expect(exit._tag).toBe(expected._tag)
              if (!Exit.isFailure(exit) || !Exit.isFailure(expected)) continue
              expect(Cause.isInterrupted(exit.cause)).toBe(Cause.isInterrupted(expected.cause))
              expect([...Cause.failures(exit.cause)]).toEqual([...Cause.failures(expected.cause)])
              expect([...Cause.defects(exit.cause)]).toEqual([...Cause.defects(expected.cause)])
            }
          }
        }
      })
    )

    it.effect("many in a row, without recursion", () =>
      Effect.gen(function* () {
        const victim = Effect.sync(() => {
          const fiber = Fiber.getCurrentFiber()
          if (fiber._tag === "Some") fiber.value.unsafeInterruptAsFork(outsider)
        })
        const { exits, run } = runAll(
          Array.from({ length: 20_000 }, () => victim),
          { concurrency: 1 }
        )
        yield* run
        expect(exits).toHaveLength(20_000)
        expect(exits.every(Exit.isSuccess)).toBe(true)
      })
    )

    it.live("an item that waits for another's interruption continues when that has ended", () =>
      Effect.gen(function* () {
        const victim = yield* Deferred.make<Fiber.RuntimeFiber<unknown, unknown>>()
        const released = yield* Deferred.make<void>()
        const { exits, run } = runAll<unknown, never, never>(
          [
            withFiber((fiber) => Effect.zipRight(Deferred.succeed(victim, fiber), Effect.never)),
            Effect.flatMap(Deferred.await(victim), (fiber) =>
              Effect.zipRight(Fiber.interrupt(fiber), Deferred.succeed(released, undefined))
            ),
            // The victim's worker would have taken this one, and never ended.
            Deferred.await(released)
          ],
          { concurrency: 2 }
        )
        yield* run
        expect(exits.map((exit) => exit._tag)).toEqual(["Failure", "Success", "Success"])
      })
    )

    it.live("an item whose end is waited for by its handle ends, although its worker has more to do", () =>
      Effect.gen(function* () {
        const handle = yield* Deferred.make<Fiber.RuntimeFiber<unknown, unknown>>()
        const { exits, run } = runAll<unknown, never, never>(
          [
            withFiber((fiber) =>
              Effect.zipRight(Deferred.succeed(handle, fiber), Effect.as(Effect.sleep(5), "end"))
            ),
            Effect.flatMap(Deferred.await(handle), Fiber.await),
            Effect.never
          ].slice(0, 2),
          { concurrency: 2 }
        )
        yield* run
        expect(exits[1]).toEqual(Exit.succeed(Exit.succeed("end")))
      })
    )

    it.effect.each(["pull", "settle"] as const)("in the middle of %s: no item is lost", (where) =>
      Effect.gen(function* () {
        for (const concurrency of [1, 3]) {
          const interruptWorker = () => {
            const fiber = Fiber.getCurrentFiber()
            if (fiber._tag === "Some") fiber.value.unsafeInterruptAsFork(outsider)
          }
          const items = Array.from({ length: 6 }, (_, n) =>
            n % 2 === 0 ? Effect.succeed(n) : Effect.as(Effect.yieldNow(), n)
          )
          const exits: Array<Exit.Exit<number>> = []
          let pulled = 0
          yield* WorkerFibers.run<number, never, never>({
            concurrency,
            pull: () => {
              if (where === "pull" && pulled < items.length) interruptWorker()
              return items[pulled++]
            },
            settle: (index, exit) => {
              exits[index] = exit
              if (where === "settle") interruptWorker()
              return undefined
            }
          })
          expect(exits).toEqual(items.map((_, n) => Exit.succeed(n)))
        }
      })
    )

    it.live("between two items: no item is lost", () =>
      Effect.gen(function* () {
        // More than run in one turn of the event loop: each worker then waits without an item.
        const count = 10_000
        let pulled = 0
        let worker: Fiber.RuntimeFiber<unknown, unknown> | undefined
        const settled = new Set<number>()
        const item = withFiber((fiber) => {
          worker = fiber
          return Effect.void
        })
        const fiber = yield* Effect.fork(
          WorkerFibers.run<void, never, never>({
            concurrency: 1,
            pull: () => (pulled++ < count ? item : undefined),
            settle: (index, exit) => {
              if (Exit.isSuccess(exit)) settled.add(index)
              return undefined
            }
          }).pipe(Effect.withMaxOpsBeforeYield(1e9))
        )
        while (fiber.unsafePoll() === null) {
          yield* Effect.yieldNow()
          worker?.unsafeInterruptAsFork(outsider)
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        }
        expect(settled.size).toBe(count)
      })
    )
  })

  it.effect("an item's runtime flags are its own", () =>
    Effect.gen(function* () {
      const flags = [
        RuntimeFlags.CooperativeYielding,
        RuntimeFlags.Interruption,
        RuntimeFlags.OpSupervision,
        RuntimeFlags.RuntimeMetrics,
        RuntimeFlags.WindDown
      ]
      const look = Effect.map(Effect.getRuntimeFlags, (now) => now)
      const own = yield* look
      for (const flag of flags) {
        const patch = RuntimeFlags.isEnabled(own, flag)
          ? RuntimeFlagsPatch.disable(flag)
          : RuntimeFlagsPatch.enable(flag)
        const change = Effect.patchRuntimeFlags(patch)
        for (const concurrency of [1, 2]) {
          const { exits, run } = runAll<unknown, string, never>(
            [
              look,
              change,
              look,
              Effect.zipRight(change, Effect.fail("no")),
              look,
              Effect.zipRight(change, Effect.yieldNow()),
              look
            ],
            { concurrency }
          )
          yield* run
          expect([exits[0], exits[2], exits[4], exits[6]]).toEqual(Array(4).fill(Exit.succeed(own)))
          expect(yield* look).toBe(own)
        }
      }
    })
  )

  it.effect("an item that cannot be interrupted leaves one that can behind it", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const { exits, run } = runAll<unknown, never, never>(
        [
          Effect.patchRuntimeFlags(RuntimeFlagsPatch.disable(RuntimeFlags.Interruption)),
          Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)
        ],
        { concurrency: 1 }
      )
      const fiber = yield* Effect.fork(run)
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      expect(Exit.isInterrupted(exits[1]!)).toBe(true)
    })
  )

  it.effect("in an uninterruptible region its items are uninterruptible", () =>
    Effect.gen(function* () {
      const { exits, run } = runAll<boolean, never, never>(
        [Effect.checkInterruptible(Effect.succeed), Effect.checkInterruptible(Effect.succeed)],
        { concurrency: 1 }
      )
      yield* Effect.uninterruptible(run)
      expect(exits).toEqual([Exit.succeed(false), Exit.succeed(false)])
    })
  )

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

  it.effect("interrupts by an id without a reason if the caller gave none", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const { exits, run } = runAll([Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)])
      const fiber = yield* Effect.fork(run)
      yield* Deferred.await(begun)
      yield* Fiber.interruptAs(fiber, FiberId.none)
      expect(Exit.isInterrupted(exits[0]!)).toBe(true)
      expect(reasons(exits[0])).toEqual([])
    })
  )
})
