import { describe, expect, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Effect, Exit, FastCheck, Fiber, TestClock } from "effect"
import * as CircuitBreaker from "../../../src/services/task/CircuitBreaker.js"

const fails = Effect.fail("no")
const opened = (name: string, options: Partial<CircuitBreaker.Options> = {}) =>
  Effect.gen(function* () {
    const changes: Array<string> = []
    const breaker = yield* CircuitBreaker.make({
      name,
      failures: 2,
      reset: 1000,
      onTransition: ({ from, to }) => Effect.sync(() => void changes.push(`${from} → ${to}`)),
      ...options
    })
    return { breaker, changes }
  })

describe("CircuitBreaker", () => {
  it.effect("opens after so many failures in a row, and refuses without a call", () =>
    Effect.gen(function* () {
      const { breaker, changes } = yield* opened("database")
      let calls = 0
      const call = breaker.protect(
        Effect.zipRight(
          Effect.sync(() => calls++),
          fails
        )
      )
      yield* Effect.exit(call)
      yield* breaker.protect(Effect.void)
      yield* Effect.exit(call)
      expect(yield* breaker.state).toBe("closed")
      yield* Effect.exit(call)
      expect(yield* breaker.state).toBe("open")
      const refused = yield* Effect.flip(call)
      expect(refused).toMatchObject({ message: "database: circuit breaker is open; next probe in 1.0 s" })
      expect([calls, changes]).toEqual([3, ["closed → open"]])
    })
  )

  it.effect(
    "half-opens at the reset and not before: a probe that succeeds closes, one that fails opens again",
    () =>
      Effect.gen(function* () {
        const { breaker, changes } = yield* opened("database")
        for (const _ of [1, 2]) yield* Effect.exit(breaker.protect(fails))
        yield* TestClock.adjust(999)
        expect(yield* Effect.flip(breaker.protect(Effect.void))).toMatchObject({ retryAfter: 1 })
        yield* TestClock.adjust(1)
        expect(yield* breaker.state).toBe("half-open")
        yield* Effect.exit(breaker.protect(fails))
        expect(yield* breaker.state).toBe("open")
        yield* TestClock.adjust(1000)
        yield* breaker.protect(Effect.void)
        expect(yield* breaker.state).toBe("closed")
        expect(changes).toEqual([
          "closed → open",
          "open → half-open",
          "half-open → open",
          "open → half-open",
          "half-open → closed"
        ])
      })
  )

  it.effect("lets so many probes through at once; an interrupted probe gives its place back", () =>
    Effect.gen(function* () {
      const { breaker } = yield* opened("database")
      for (const _ of [1, 2]) yield* Effect.exit(breaker.protect(fails))
      yield* TestClock.adjust(1000)
      const begun = yield* Deferred.make<void>()
      const probe = yield* Effect.fork(
        breaker.protect(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never))
      )
      yield* Deferred.await(begun)
      expect(yield* Effect.flip(breaker.protect(Effect.void))).toMatchObject({
        message: "database: circuit breaker is open; a probe is running"
      })
      yield* Fiber.interrupt(probe)
      expect(yield* breaker.state).toBe("half-open")
      yield* breaker.protect(Effect.void)
      expect(yield* breaker.state).toBe("closed")
    })
  )

  it.effect("ignores how a call ends that began before the breaker opened", () =>
    Effect.gen(function* () {
      const { breaker } = yield* opened("database")
      const answer = yield* Deferred.make<void, string>()
      const slow = yield* Effect.fork(breaker.protect(Deferred.await(answer)))
      yield* Effect.yieldNow()
      for (const _ of [1, 2]) yield* Effect.exit(breaker.protect(fails))
      yield* TestClock.adjust(1000)
      yield* Effect.fork(breaker.protect(Effect.never))
      yield* Effect.yieldNow()
      yield* Deferred.succeed(answer, undefined)
      yield* Fiber.await(slow)
      expect(yield* breaker.state).toBe("half-open")
      expect(yield* Effect.flip(breaker.protect(Effect.void))).toMatchObject({ retryAfter: 0 })
    })
  )

  it.effect("counts neither interruptions nor what isFailure leaves out, but defects", () =>
    Effect.gen(function* () {
      const { breaker } = yield* opened("api", {
        isFailure: (cause) => Cause.isDie(cause)
      })
      for (const _ of [1, 2, 3]) yield* Effect.exit(breaker.protect(fails))
      for (const _ of [1, 2, 3]) yield* Effect.exit(breaker.protect(Effect.interrupt))
      expect(yield* breaker.state).toBe("closed")
      for (const _ of [1, 2]) yield* Effect.exit(breaker.protect(Effect.die("defect")))
      expect(yield* breaker.state).toBe("open")
    })
  )

  it.effect("with a window counts the failures within it, whatever succeeds between them", () =>
    Effect.gen(function* () {
      const { breaker } = yield* opened("api", { window: 100 })
      const fail = Effect.exit(breaker.protect(fails))
      yield* fail
      yield* TestClock.adjust(101)
      yield* fail
      expect(yield* breaker.state).toBe("closed")
      yield* breaker.protect(Effect.void)
      yield* TestClock.adjust(100)
      yield* fail
      expect(yield* breaker.state).toBe("open")
    })
  )

  // The model: the state, recomputed from the whole history of calls.
  it.effect.prop(
    "is in the state of its model, whatever is called and when",
    [
      FastCheck.array(FastCheck.tuple(FastCheck.boolean(), FastCheck.integer({ min: 0, max: 700 })), {
        maxLength: 30
      }),
      FastCheck.integer({ min: 1, max: 3 }),
      FastCheck.integer({ min: 1, max: 2 })
    ],
    ([calls, failures, probes]) =>
      Effect.gen(function* () {
        const { breaker } = yield* opened("model", { failures, probes })
        let model: CircuitBreaker.State = "closed"
        let now = 0
        let inARow = 0
        let good = 0
        let since = 0
        const clock = { ...Clock.make(), unsafeCurrentTimeNanos: () => BigInt(now * 1e6) }
        for (const [succeeds, pause] of calls) {
          now += pause
          if (model === "open" && now - since >= 1000) {
            model = "half-open"
            good = 0
          }
          expect(yield* Effect.withClock(breaker.state, clock)).toBe(model)
          const exit = yield* Effect.exit(breaker.protect(succeeds ? Effect.void : fails)).pipe(
            Effect.withClock(clock)
          )
          if (model === "open") {
            expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toMatchObject({ _tag: "CircuitOpen" })
            continue
          }
          expect(Exit.isSuccess(exit)).toBe(succeeds)
          inARow = succeeds ? 0 : inARow + 1
          good = succeeds ? good + 1 : 0
          if (model === "half-open" ? !succeeds : inARow >= failures) {
            model = "open"
            since = now
            inARow = 0
          } else if (model === "half-open" && good >= probes) model = "closed"
        }
      }),
    { fastCheck: { numRuns: 40 } }
  )
})
