import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Network from "../../src/programs/Network.js"
import * as Neighbours from "../../src/services/network/Neighbours.js"
import { layer } from "../support/Neighbourhood.js"

// A neighbour that dies under a crowd, by counts.

const crowd = 1000

describe("Neighbour under 1,000 callers", () => {
  it.live.each(["fails", "hangs"] as const)(
    "opens its breaker within 20 attempts when the service %s, loses no other part, and closes again",
    (how) =>
      Effect.gen(function* () {
        let isDead = true
        let attempts = 0
        const database = Effect.suspend((): Effect.Effect<unknown, unknown> => {
          if (!isDead) return Effect.succeed([])
          attempts++
          return how === "hangs"
            ? Effect.never
            : Effect.delay(Effect.fail({ reason: "connection refused", isTransient: true }), 1)
        })
        const pages = (count: number) =>
          Effect.forEach(Array.from({ length: count }), () => Network.page("ada", { fallback: false }), {
            concurrency: "unbounded"
          })
        const policy = { deadline: 200, breaker: { reset: 500 }, bulkhead: {} }
        yield* Effect.gen(function* () {
          const { get } = yield* Neighbours.Neighbours
          const { state } = yield* get("database")
          const first = yield* pages(crowd)
          const second = yield* pages(50)
          expect(attempts).toBeLessThanOrEqual(20)
          for (const { parts } of [...first, ...second]) {
            const whole = Object.entries(parts).filter(([, { value }]) => value._tag === "Right")
            expect(whole.map(([name]) => name)).toEqual(["cache", "oauth", "storage", "drive", "chat"])
          }
          isDead = false
          yield* Effect.repeat(Effect.zipRight(Effect.sleep(20), Network.page("ada")), {
            until: (page) => Network.isComplete(page),
            times: 200
          })
          expect(yield* state).toBe("closed")
          expect((yield* pages(50)).every(Network.isComplete)).toBe(true)
        }).pipe(
          Effect.provide(
            layer(
              { database },
              {
                policy: { bulkhead: { concurrency: crowd, queue: crowd }, deadline: "20 seconds" },
                policies: { database: policy }
              }
            )
          )
        )
      })
  )
})
