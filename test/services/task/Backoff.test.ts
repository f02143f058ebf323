import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Random } from "effect"
import * as Backoff from "../../../src/services/task/Backoff.js"

const pauses = (backoff: Backoff.Backoff, count: number) =>
  Effect.forEach(
    Array.from({ length: count }, (_, i) => i),
    Backoff.make(backoff)
  )

describe("Backoff", () => {
  it.effect("grows by the factor up to the longest pause", () =>
    Effect.gen(function* () {
      expect(yield* pauses({ jitter: 0 }, 8)).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
      expect(yield* pauses({ first: "1 second", factor: 1, jitter: 0 }, 3)).toEqual([1000, 1000, 1000])
    })
  )

  it.effect("spreads each pause by the jitter, the same for the same seed", () =>
    Effect.gen(function* () {
      const drawn = (...draws: readonly [number, ...Array<number>]) =>
        Effect.withRandom(pauses({ first: 1000, factor: 1 }, draws.length), Random.fixed([...draws]))
      expect(yield* drawn(0, 0.5)).toEqual([800, 1000])
      const seeded = Effect.withRandom(pauses({}, 5), Random.make(7))
      expect(yield* seeded).toEqual(yield* Effect.withRandom(pauses({}, 5), Random.make(7)))
    })
  )

  it.effect("stays at 0 if it begins there, however often it grows", () =>
    Effect.gen(function* () {
      expect(yield* Backoff.make({ first: 0 })(1e6)).toBe(0)
    })
  )

  it.effect.prop(
    "is never negative, never NaN and never above the longest pause",
    [fc.nat(5000), fc.nat(5000), fc.double({ min: 0.1, max: 100, noNaN: true }), fc.constantFrom(0, 0.5, 1)],
    ([first, max, factor, jitter]) =>
      Effect.gen(function* () {
        const pause = Backoff.make({ first, max, factor, jitter })
        for (const nth of [0, 1, 10, 1e6]) {
          const ms = yield* pause(nth)
          expect(ms >= 0 && ms <= max).toBe(true)
        }
      })
  )
})
