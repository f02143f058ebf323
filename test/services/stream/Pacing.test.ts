import { describe, expect, it } from "@effect/vitest"
import { Cause, Chunk, Clock, Effect, Exit, FastCheck, Stream } from "effect"
import * as Generators from "../../../src/services/stream/Generators.js"
import * as Pacing from "../../../src/services/stream/Pacing.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

/** What came, and when: `"A at 1000"`. */
const timed = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
  Effect.gen(function* () {
    const log: Array<string> = []
    const begun = yield* Clock.currentTimeMillis
    const exit = yield* Effect.exit(
      Stream.runForEach(stream, (a) =>
        Effect.map(Clock.currentTimeMillis, (now) => log.push(`${a} at ${now - begun}`))
      )
    )
    return [...log, ...(Exit.isFailure(exit) ? [Cause.pretty(exit.cause)] : [])]
  })

/** Elements that are emitted at these times. */
const arriving = (...times: ReadonlyArray<number>) =>
  Stream.fromIterable(times).pipe(
    Stream.rechunk(1),
    Stream.mapAccum(0, (before, time) => [time, [time, time - before] as const]),
    Stream.mapEffect(([time, wait]) => Effect.as(Effect.sleep(wait), time))
  )

describe("Pacing.batchWithin", () => {
  it.live(
    "emits a batch when it is full, when its first element has waited long enough, and at the end",
    () =>
      Effect.gen(function* () {
        const source = arriving(0, 100, 200, 300, 1000, 1900, 2500)
        expect(yield* timed(Pacing.batchWithin(source, { size: 3, within: "1 second" }))).toEqual([
          "0,100,200 at 200",
          "300,1000 at 1300",
          "1900,2500 at 2500"
        ])
        expect(yield* timed(Pacing.batchWithin(source, { size: 5 }))).toEqual([
          "0,100,200,300,1000 at 1000",
          "1900,2500 at 2500"
        ])
      }).pipe(VirtualClock.run())
  )

  it.live("fails as the producer fails, after the elements before", () =>
    Effect.gen(function* () {
      const source = Stream.concat(arriving(0, 100), Stream.fail("no"))
      expect(yield* timed(Pacing.batchWithin(source, { size: 5, within: "1 hour" }))).toEqual([
        "0,100 at 100",
        "Error: no"
      ])
    }).pipe(VirtualClock.run())
  )

  it.live.prop(
    "loses nothing, makes none too large, and gathers one batch ahead at most",
    [FastCheck.nat(50), FastCheck.integer({ min: 1, max: 9 }), FastCheck.integer({ min: 1, max: 7 })],
    ([count, size, chunk]) =>
      Effect.gen(function* () {
        let made = 0
        let done = 0
        const source = Stream.rechunk(Stream.fromIterable(Array.from({ length: count }, (_, n) => n)), chunk)
        const counted = Stream.mapChunks(source, (chunk) => {
          made += chunk.length
          expect(made - done).toBeLessThanOrEqual(2 * size + 2 * chunk.length)
          return chunk
        })
        const all: Array<number> = []
        yield* Stream.runForEach(Pacing.batchWithin(counted, { size, within: 5 }), (batch) => {
          all.push(...batch)
          done += batch.length
          expect(batch.length).toBeLessThanOrEqual(size)
          return Effect.sleep(1)
        })
        expect(all).toEqual(Array.from({ length: count }, (_, n) => n))
      }).pipe(VirtualClock.run()),
    { fastCheck: { numRuns: 60 } }
  )
})

describe("Pacing.rateLimited", () => {
  it.live("emits elements evenly, and saves up no time", () =>
    Effect.gen(function* () {
      expect(yield* timed(Pacing.rateLimited(Stream.make("a", "b", "c"), { limit: 10 }))).toEqual([
        "a at 0",
        "b at 100",
        "c at 200"
      ])
      const source = Stream.flatMap(arriving(0, 50, 1000), (time) => Stream.make(time, time + 1))
      expect(yield* timed(Pacing.rateLimited(source, { limit: 6, interval: "1 minute" }))).toEqual([
        "0 at 0",
        "1 at 10000",
        "50 at 20000",
        "51 at 30000",
        "1000 at 40000",
        "1001 at 50000"
      ])
      const slow = Stream.tap(Pacing.rateLimited(Stream.range(1, 3), { limit: 1 }), () =>
        Effect.sleep("5 seconds")
      )
      expect(yield* timed(slow)).toEqual(["1 at 5000", "2 at 10000", "3 at 15000"])
    }).pipe(VirtualClock.run())
  )

  it.live("keeps to rates that timers are too coarse for", () =>
    Effect.gen(function* () {
      const begun = yield* Clock.currentTimeMillis
      yield* Stream.runDrain(Pacing.rateLimited(Stream.range(1, 50_000), { limit: 10_000 }))
      expect((yield* Clock.currentTimeMillis) - begun).toBe(4999) // 49,999 gaps of 0.1 ms
    }).pipe(VirtualClock.run())
  )
})

describe("Pacing.mergeFair", () => {
  it.live("takes turns, however much one of them has", () =>
    Effect.gen(function* () {
      const flood = Stream.range(1, 100_000)
      const letters = Stream.rechunk(Stream.fromIterable([..."abcdefghijklmnopqrstuvwxyz"]), 1)
      const merged = Pacing.mergeFair([flood, letters])
      const first = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(merged, 40)))
      expect(first.filter((each) => typeof each === "string").length).toBeGreaterThanOrEqual(16)
      expect(yield* Stream.runCount(merged)).toBe(100_026)
      const three = Pacing.mergeFair([arriving(0, 100, 200), arriving(50, 100), Stream.empty])
      expect(yield* timed(three)).toEqual(["0 at 0", "50 at 50", "100 at 100", "100 at 100", "200 at 200"])
    }).pipe(VirtualClock.run())
  )

  it.live("fails with the first that fails, and finalises the others before", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const other = Stream.ensuring(
        Stream.concat(Stream.make("a"), Stream.never),
        Effect.sync(() => log.push("clean"))
      )
      const failing = Stream.concat(
        Stream.fromEffect(Effect.as(Effect.sleep("1 second"), "b")),
        Stream.fail("no")
      )
      expect(yield* timed(Pacing.mergeFair([other, failing]))).toEqual(["a at 0", "b at 1000", "Error: no"])
      expect(log).toEqual(["clean"])
    }).pipe(VirtualClock.run())
  )

  it.live("holds each stream back that is not taken from", () =>
    Effect.gen(function* () {
      const made = [0, 0]
      const counting = (which: number) =>
        Generators.fromGenerator(function* () {
          for (;;) {
            made[which]!++
            yield which
          }
        })
      yield* Stream.runForEach(
        Stream.take(Pacing.mergeFair([counting(0), counting(1)], { backpressure: 4 }), 20),
        () => Effect.sleep(1)
      )
      for (const count of made) expect(count).toBeLessThanOrEqual(20)
    }).pipe(VirtualClock.run())
  )
})
