import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, FastCheck, Fiber } from "effect"
import * as Bulkhead from "../../../src/services/task/Bulkhead.js"

const turns = Effect.repeatN(Effect.yieldNow(), 10)

describe("Bulkhead", () => {
  it.effect(
    "runs so many at once, the others in the order of their calls, and refuses what exceeds the queue",
    () =>
      Effect.gen(function* () {
        const bulkhead = yield* Bulkhead.make({ name: "database", concurrency: 1, queue: 2 })
        const gate = yield* Deferred.make<void>()
        const order: Array<number> = []
        const call = (n: number) =>
          bulkhead.limit(
            Effect.zipRight(
              Effect.sync(() => order.push(n)),
              Deferred.await(gate)
            )
          )
        const fibers = yield* Effect.forEach([1, 2, 3], (n) => Effect.zipLeft(Effect.fork(call(n)), turns))
        expect(yield* bulkhead.usage).toEqual({ running: 1, waiting: 2 })
        expect(yield* Effect.flip(call(4))).toMatchObject({
          _tag: "BulkheadFull",
          message: "database: 1 call running and 2 waiting already"
        })
        expect(order).toEqual([1])
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.joinAll(fibers)
        expect(order).toEqual([1, 2, 3])
        expect(yield* bulkhead.usage).toEqual({ running: 0, waiting: 0 })
      })
  )

  it.effect("gives the place of a call back when it fails, dies or is interrupted, running or waiting", () =>
    Effect.gen(function* () {
      const bulkhead = yield* Bulkhead.make({ name: "api", concurrency: 1, queue: 1 })
      yield* Effect.exit(bulkhead.limit(Effect.fail("no")))
      yield* Effect.exit(bulkhead.limit(Effect.die("no")))
      const running = yield* Effect.fork(bulkhead.limit(Effect.never))
      yield* turns
      const waiting = yield* Effect.fork(bulkhead.limit(Effect.never))
      yield* turns
      yield* Fiber.interrupt(waiting)
      expect(yield* bulkhead.usage).toEqual({ running: 1, waiting: 0 })
      const next = yield* Effect.fork(bulkhead.limit(Effect.succeed("ran")))
      yield* turns
      yield* Fiber.interrupt(running)
      expect(yield* Fiber.join(next)).toBe("ran")
      expect(yield* bulkhead.usage).toEqual({ running: 0, waiting: 0 })
    })
  )

  it.effect.prop(
    "never runs more than its limit, and loses no place, whichever calls are interrupted when",
    [
      FastCheck.array(FastCheck.tuple(FastCheck.integer({ min: 0, max: 4 }), FastCheck.boolean()), {
        maxLength: 20
      }),
      FastCheck.integer({ min: 1, max: 3 })
    ],
    ([calls, concurrency]) =>
      Effect.gen(function* () {
        const bulkhead = yield* Bulkhead.make({ name: "model", concurrency, queue: 5 })
        let now = 0
        let most = 0
        const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
        for (const [steps, isInterrupted] of calls) {
          const body = Effect.acquireUseRelease(
            Effect.sync(() => (most = Math.max(most, ++now))),
            () => Effect.repeatN(Effect.yieldNow(), steps),
            () => Effect.sync(() => now--)
          )
          const fiber = yield* Effect.fork(bulkhead.limit(body))
          fibers.push(fiber)
          yield* Effect.yieldNow()
          if (isInterrupted) yield* Fiber.interruptFork(fibers[steps % fibers.length]!)
        }
        const exits = yield* Effect.forEach(fibers, Fiber.await)
        expect(most).toBeLessThanOrEqual(concurrency)
        expect(exits.every((exit) => Exit.isSuccess(exit) || exit.cause !== undefined)).toBe(true)
        expect(yield* bulkhead.usage).toEqual({ running: 0, waiting: 0 })
        expect(yield* bulkhead.limit(Effect.succeed("next"))).toBe("next")
      }),
    { fastCheck: { numRuns: 60 } }
  )
})
