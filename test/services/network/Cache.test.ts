import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, FastCheck, Option, TestClock } from "effect"
import * as Cache from "../../../src/services/network/Cache.js"

describe("Cache in memory", () => {
  it.effect("keeps a value until its time to live is over, and not longer", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.makeMemory()
      yield* cache.set("token", "abc", "1 minute")
      yield* cache.increment("n")
      yield* TestClock.adjust("59999 millis")
      expect(yield* cache.get("token")).toEqual(Option.some("abc"))
      yield* TestClock.adjust("1 millis")
      expect(yield* cache.get("token")).toEqual(Option.none())
      expect(yield* cache.get("n")).toEqual(Option.some("1"))
    })
  )

  it.effect("dies of a time to live that is none", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.makeMemory()
      for (const ttl of [0, -1, Number.NaN]) {
        const error = yield* Effect.flip(Effect.sandbox(cache.set("a", "1", ttl)))
        expect(Cause.squash(error)).toMatchObject({ message: expect.stringContaining("timeToLive: ") })
      }
    })
  )

  it.effect.prop(
    "holds the keys that were used last, as many as its capacity",
    [
      FastCheck.array(FastCheck.tuple(FastCheck.integer({ min: 0, max: 6 }), FastCheck.boolean())),
      FastCheck.integer({ min: 1, max: 4 })
    ],
    ([uses, capacity]) =>
      Effect.gen(function* () {
        const cache = yield* Cache.makeMemory({ capacity })
        let model: ReadonlyArray<number> = []
        for (const [key, isWrite] of uses) {
          if (isWrite) yield* cache.set(String(key), "1")
          else expect(Option.isSome(yield* cache.get(String(key)))).toBe(model.includes(key))
          if (isWrite || model.includes(key))
            model = [...model.filter((one) => one !== key), key].slice(-capacity)
        }
        for (const key of [0, 1, 2, 3, 4, 5, 6])
          expect(Option.isSome(yield* cache.get(String(key)))).toBe(model.includes(key))
      }),
    { fastCheck: { numRuns: 50 } }
  )
})
