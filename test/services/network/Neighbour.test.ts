import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, TestClock } from "effect"
import * as Neighbour from "../../../src/services/network/Neighbour.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

const transient = (reason: string, more: object = {}) => Effect.fail({ reason, isTransient: true, ...more })
const counted = <A, E>(effect: Effect.Effect<A, E>) => {
  const calls = { n: 0 }
  return {
    calls,
    effect: Effect.suspend(() =>
      Effect.zipRight(
        Effect.sync(() => calls.n++),
        effect
      )
    )
  }
}

describe("Neighbour", () => {
  it.effect("tries again what may pass, by the pauses of the policy, and nothing else", () =>
    Effect.gen(function* () {
      const { call } = yield* Neighbour.make("api", { retries: 2, backoff: { jitter: 0 } })
      const passing = counted(transient("status 503"))
      const fiber = yield* Effect.fork(Effect.flip(call(passing.effect)))
      yield* TestClock.adjust(59)
      expect(passing.calls.n).toBe(2)
      yield* TestClock.adjust(1)
      expect((yield* Fiber.join(fiber)).message).toBe("api is unavailable: status 503")
      expect(passing.calls.n).toBe(3)
      const final = counted(Effect.fail({ reason: "status 404", isTransient: false }))
      yield* Effect.flip(call(final.effect))
      expect(final.calls.n).toBe(1)
    })
  )

  it.effect("waits for the time of Retry-After if that is longer, within the deadline", () =>
    Effect.gen(function* () {
      const { call } = yield* Neighbour.make("api", { deadline: 1000, retries: 1 })
      let calls = 0
      const busy = (retryAfter: number) =>
        Effect.suspend(() => (calls++ % 2 === 0 ? transient("429", { retryAfter }) : Effect.succeed("ok")))
      const fiber = yield* Effect.fork(call(busy(700)))
      yield* TestClock.adjust(699)
      expect(calls).toBe(1)
      yield* TestClock.adjust(1)
      expect(yield* Fiber.join(fiber)).toBe("ok")
      const late = yield* Effect.fork(Effect.flip(call(busy(60_000))))
      yield* TestClock.adjust(1000)
      expect((yield* Fiber.join(late)).reason).toBe("no answer within 1.0 s")
    })
  )

  it.effect("opens its breaker for deadlines and errors that may pass, not for answers that refuse", () =>
    Effect.gen(function* () {
      const neighbour = yield* Neighbour.make("api", { deadline: 100, retries: 0, breaker: { failures: 3 } })
      for (const _ of [1, 2, 3, 4])
        yield* Effect.flip(neighbour.call(Effect.fail({ reason: "404", isTransient: false })))
      expect(yield* neighbour.state).toBe("closed")
      for (const _ of [1, 2]) yield* Effect.flip(neighbour.call(transient("503")))
      yield* VirtualClock.run(Effect.flip(neighbour.call(Effect.never)))
      expect(yield* neighbour.state).toBe("open")
      const refused = counted(Effect.void)
      expect((yield* Effect.flip(neighbour.call(refused.effect))).reason).toContain("circuit breaker is open")
      expect(refused.calls.n).toBe(0)
    })
  )

  it.effect("refuses what exceeds its bulkhead at once", () =>
    Effect.gen(function* () {
      const neighbour = yield* Neighbour.make("api", { bulkhead: { concurrency: 1, queue: 0 } })
      const begun = yield* Deferred.make<void>()
      yield* Effect.fork(neighbour.call(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)))
      yield* Deferred.await(begun)
      expect((yield* Effect.flip(neighbour.call(Effect.void))).reason).toBe(
        "1 call running and 0 waiting already"
      )
    })
  )

  it.effect("refuses the calls that wait in its bulkhead when its breaker opens", () =>
    Effect.gen(function* () {
      const neighbour = yield* Neighbour.make("api", {
        retries: 0,
        bulkhead: { concurrency: 1, queue: 10 },
        breaker: { failures: 1 }
      })
      const failing = counted(Effect.zipRight(Effect.sleep(10), transient("503")))
      const fibers = yield* Effect.forEach([1, 2, 3], () =>
        Effect.fork(Effect.flip(neighbour.call(failing.effect)))
      )
      yield* TestClock.adjust(10)
      const reasons = (yield* Fiber.joinAll(fibers)).map(({ reason }) => reason)
      expect(reasons).toEqual(["503", expect.stringContaining("is open"), expect.stringContaining("is open")])
      expect(failing.calls.n).toBe(1)
    })
  )

  it.effect(
    "hedges: asks again after a time without an answer; the first answer counts and the other is cancelled",
    () =>
      Effect.gen(function* () {
        const { call } = yield* Neighbour.make("api", { hedge: 50 })
        const cancelled = yield* Deferred.make<void>()
        let calls = 0
        const slowFirst = Effect.suspend(() =>
          ++calls === 1
            ? Effect.onInterrupt(Effect.never, () => Deferred.succeed(cancelled, undefined))
            : Effect.succeed("second")
        )
        const fiber = yield* Effect.fork(call(slowFirst))
        yield* TestClock.adjust(49)
        expect(calls).toBe(1)
        yield* TestClock.adjust(1)
        expect(yield* Fiber.join(fiber)).toBe("second")
        yield* Deferred.await(cancelled)
      })
  )

  it.effect("cancels its attempt with the reason of its own cancellation", () =>
    Effect.gen(function* () {
      const { call } = yield* Neighbour.make("api", { hedge: "1 second" })
      const begun = yield* Deferred.make<void>()
      const why = yield* Deferred.make<unknown>()
      const hanging = Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
        Effect.onInterrupt((ids) => Deferred.succeed(why, Cancellation.fromInterruptors(ids)[0]))
      )
      const fiber = yield* Effect.fork(call(hanging))
      yield* Deferred.await(begun)
      yield* Cancellation.cancel(fiber, { reason: "client disconnected", origin: "GET /" })
      expect(yield* Deferred.await(why)).toEqual({ reason: "client disconnected", origin: "GET /" })
    })
  )

  it.effect("keeps so many last answers, by key", () =>
    Effect.gen(function* () {
      const { callOrLast } = yield* Neighbour.make("api", { remember: 1, retries: 0 })
      const failing = Effect.fail({ reason: "gone", isTransient: false })
      yield* callOrLast("a", Effect.succeed(1))
      yield* callOrLast("b", Effect.succeed(2))
      expect(yield* callOrLast("b", failing)).toMatchObject({ value: 2, stale: { reason: "gone" } })
      expect((yield* Effect.flip(callOrLast("a", failing))).reason).toBe("gone")
    })
  )
})
