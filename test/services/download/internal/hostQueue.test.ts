import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck, Fiber } from "effect"
import * as hostQueue from "../../../../src/services/download/internal/hostQueue.js"
import { suspended } from "../../../support/Waits.js"

const make = (perHost: number, lowWater = 1) =>
  hostQueue.make<string>({ perHost, host: (item) => item[0]!, lowWater })

// What a taker has by now; undefined while it waits.
const poll = <A>(fiber: Fiber.RuntimeFiber<A>) =>
  Effect.gen(function* () {
    yield* suspended(fiber)
    const exit = fiber.unsafePoll()
    return exit?._tag === "Success" ? exit.value : undefined
  })

describe("HostQueue", () => {
  it.effect("gives items out in order, and undefined when it has ended", () =>
    Effect.gen(function* () {
      const queue = make(Number.POSITIVE_INFINITY)
      queue.offer(["a1", "a2", "b1"])
      queue.end()
      expect(yield* Effect.all([queue.take, queue.take, queue.take, queue.take])).toEqual([
        "a1",
        "a2",
        "b1",
        undefined
      ])
    })
  )

  it.effect("takes later items while a host is busy", () =>
    Effect.gen(function* () {
      const queue = make(1)
      queue.offer(["a1", "a2", "b1"])
      expect(yield* queue.take).toBe("a1")
      expect(yield* queue.take).toBe("b1")
      const taker = yield* Effect.fork(queue.take)
      expect(yield* poll(taker)).toBeUndefined()
      queue.release("b1")
      expect(yield* poll(taker)).toBeUndefined()
      queue.release("a1")
      expect(yield* Fiber.join(taker)).toBe("a2")
    })
  )

  it.effect("holds takers back after the end while a busy host's items wait", () =>
    Effect.gen(function* () {
      const queue = make(1)
      queue.offer(["a1", "a2"])
      queue.end()
      yield* queue.take
      const takers = yield* Effect.fork(Effect.all([queue.take, queue.take], { concurrency: 2 }))
      expect(yield* poll(takers)).toBeUndefined()
      queue.release("a1")
      expect(yield* Fiber.join(takers)).toEqual(["a2", undefined])
    })
  )

  it.effect("forgets a taker that was interrupted: its item goes to the next", () =>
    Effect.gen(function* () {
      const queue = make(1)
      const gone = yield* Effect.fork(queue.take)
      yield* suspended(gone)
      yield* Fiber.interrupt(gone)
      const taker = yield* Effect.fork(queue.take)
      yield* suspended(taker)
      queue.offer(["a1"])
      expect(yield* Fiber.join(taker)).toBe("a1")
    })
  )

  it.effect("wakes its feeder when fewer than lowWater items wait", () =>
    Effect.gen(function* () {
      const queue = make(Number.POSITIVE_INFINITY, 2)
      yield* queue.low
      queue.offer(["a1", "a2", "a3"])
      const feeder = yield* Effect.fork(Effect.as(queue.low, "low"))
      yield* queue.take
      expect(yield* poll(feeder)).toBeUndefined()
      yield* queue.take
      expect(yield* poll(feeder)).toBe("low")
    })
  )

  it.effect.prop(
    "loses and repeats nothing, keeps to perHost and to each host's order",
    {
      items: FastCheck.array(FastCheck.constantFrom("a", "b", "c"), { maxLength: 60 }),
      perHost: FastCheck.integer({ min: 1, max: 3 }),
      takers: FastCheck.integer({ min: 1, max: 6 })
    },
    ({ items, perHost, takers }) =>
      Effect.gen(function* () {
        const named = items.map((host, i) => `${host}${i}`)
        const queue = make(perHost)
        const taken: Array<string> = []
        const out: Record<string, number> = {}
        let most = 0
        const worker = Effect.gen(function* () {
          for (let item = yield* queue.take; item !== undefined; item = yield* queue.take) {
            taken.push(item)
            const host = item[0]!
            out[host] = (out[host] ?? 0) + 1
            most = Math.max(most, out[host])
            yield* Effect.yieldNow()
            out[host]--
            queue.release(item)
          }
        })
        const feed = Effect.gen(function* () {
          for (let i = 0; i < named.length; i += 7) {
            queue.offer(named.slice(i, i + 7))
            yield* queue.low
          }
          queue.end()
        })
        yield* Effect.all([feed, ...Array.from({ length: takers }, () => worker)], {
          concurrency: "unbounded"
        })
        expect([...taken].sort()).toEqual([...named].sort())
        // With more takers than one, the first to be given an item need not wake first.
        for (const host of takers === 1 ? ["a", "b", "c"] : []) {
          expect(taken.filter((item) => item[0] === host)).toEqual(named.filter((item) => item[0] === host))
        }
        expect(most).toBeLessThanOrEqual(perHost)
      }),
    { fastCheck: { numRuns: 40 } }
  )

  it.effect("keeps ten thousand items in order without slowing down", () =>
    Effect.gen(function* () {
      const queue = make(Number.POSITIVE_INFINITY, 10_000)
      const items = Array.from({ length: 10_000 }, (_, i) => `a${i}`)
      queue.offer(items)
      const taken: Array<string | undefined> = []
      for (let i = 0; i < items.length; i++) taken.push(yield* queue.take)
      expect(taken).toEqual(items)
    })
  )
})
