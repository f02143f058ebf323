import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, FastCheck, Fiber, FiberRef, Stream } from "effect"
import * as Checkpoints from "../../../src/services/stream/Checkpoints.js"
import * as Generators from "../../../src/services/stream/Generators.js"
import * as MapConcurrent from "../../../src/services/stream/MapConcurrent.js"
import * as Pacing from "../../../src/services/stream/Pacing.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

const boom = new Error("boom")

describe("MapConcurrent.mapConcurrent", () => {
  // What a consumer has seen when the stream ended, and how it ended.
  const seen = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
    Effect.gen(function* () {
      const got: Array<A> = []
      const exit = yield* Effect.exit(Stream.runForEach(stream, (a) => Effect.sync(() => got.push(a))))
      return { got, exit }
    })
  /** Elements with how long each takes (0: no time, -1: ready) and whether it fails; in chunks of some length. */
  const plan = FastCheck.record({
    elements: FastCheck.array(
      FastCheck.record({
        ms: FastCheck.integer({ min: -1, max: 5 }),
        fails: FastCheck.integer({ min: 0, max: 12 }).map((n) => n === 0),
        key: FastCheck.nat(2)
      }),
      { maxLength: 40 }
    ),
    sourceFails: FastCheck.boolean(),
    chunk: FastCheck.integer({ min: 1, max: 7 }),
    concurrency: FastCheck.integer({ min: 1, max: 9 }),
    backpressure: FastCheck.integer({ min: 1, max: 12 }),
    keyed: FastCheck.boolean()
  }).map((plan) => ({ ...plan, backpressure: Math.max(plan.concurrency, plan.backpressure) }))
  type Plan = typeof plan extends FastCheck.Arbitrary<infer T> ? T : never
  type Element = Plan["elements"][number] & { readonly n: number }
  const source = ({ chunk, elements, sourceFails }: Plan): Stream.Stream<Element, string> =>
    Stream.concat(
      Stream.rechunk(Stream.fromIterable(elements.map((element, n) => ({ ...element, n }))), chunk),
      sourceFails ? Stream.fail("source") : Stream.empty
    )
  const step = ({ fails, ms, n }: Element): Effect.Effect<number, string> => {
    const result = fails ? Effect.fail(`element ${n}`) : Effect.succeed(n)
    return ms < 0 ? result : ms === 0 ? Effect.suspend(() => result) : Effect.delay(result, ms)
  }

  it.live.prop(
    "in order is what a sequential map is, whatever fails and whenever",
    [plan],
    ([plan]) =>
      Effect.gen(function* () {
        const expected = yield* seen(Stream.mapEffect(source(plan), step))
        const { backpressure, concurrency, keyed } = plan
        const options = { concurrency, backpressure, ...(keyed ? { key: ({ key }: Element) => key } : {}) }
        expect(yield* seen(MapConcurrent.mapConcurrent(source(plan), step, options))).toEqual(expected)
      }).pipe(VirtualClock.run()),
    { fastCheck: { numRuns: 300 } }
  )

  it.live.prop(
    "out of order loses nothing and gives nothing twice, and each key in order",
    [plan],
    ([given]) =>
      Effect.gen(function* () {
        const plan = {
          ...given,
          sourceFails: false,
          elements: given.elements.map((element) => ({ ...element, fails: false }))
        }
        const { backpressure, concurrency, keyed } = plan
        const key = keyed ? ({ key }: Element) => key : undefined
        const options = { concurrency, backpressure, key, unordered: true }
        const { exit, got } = yield* seen(MapConcurrent.mapConcurrent(source(plan), step, options))
        expect(exit).toEqual(Exit.void)
        expect(got.toSorted((a, b) => a - b)).toEqual(plan.elements.map((_, n) => n))
        for (const key of keyed ? [0, 1, 2] : []) {
          const ofKey = got.filter((n) => plan.elements[n]!.key === key)
          expect(ofKey).toEqual(ofKey.toSorted((a, b) => a - b))
        }
      }).pipe(VirtualClock.run()),
    { fastCheck: { numRuns: 150 } }
  )

  it.live.prop(
    "never runs more at once than it may, never two of one key, and no producer gets further ahead than it may",
    [plan],
    ([given]) =>
      Effect.gen(function* () {
        const { backpressure, concurrency, keyed } = given
        const plan = { ...given, chunk: 1 }
        let made = 0
        let started = 0
        let done = 0
        let running = 0
        const keys = new Set<number>()
        const counted = Stream.mapEffect(source(plan), (element) =>
          Effect.sync(() => {
            made++
            expect(made - done).toBeLessThanOrEqual(backpressure)
            return element
          })
        )
        const body = (element: Element) =>
          Effect.suspend(() => {
            started++
            running++
            expect(running).toBeLessThanOrEqual(concurrency)
            expect(started - done).toBeLessThanOrEqual(backpressure)
            expect(keyed && keys.has(element.key)).toBe(false)
            keys.add(element.key)
            return step(element)
          }).pipe(
            Effect.ensuring(
              Effect.sync(() => {
                running--
                keys.delete(element.key)
              })
            )
          )
        const key = keyed ? ({ key }: Element) => key : undefined
        const exit = yield* Effect.exit(
          Stream.runForEach(
            MapConcurrent.mapConcurrent(counted, body, { concurrency, backpressure, key }),
            () =>
              Effect.delay(
                Effect.sync(() => done++),
                2
              )
          )
        )
        if (Exit.isFailure(exit)) expect(Cause.isDie(exit.cause)).toBe(false)
        expect(running).toBe(0)
      }).pipe(VirtualClock.run()),
    { fastCheck: { numRuns: 150 } }
  )

  it.live("cancels elements after a failure, with the reason, and awaits those before it", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const body = (n: number) =>
        Effect.delay(n === 1 ? Effect.fail("no") : Effect.succeed(n), `${n === 1 ? 1 : n + 2} seconds`).pipe(
          Effect.onExit((exit) =>
            Effect.sync(() =>
              log.push(
                `${n} ${Exit.isSuccess(exit) ? "ok" : (Cancellation.fromExit(exit)[0]?.reason ?? "failed")}`
              )
            )
          )
        )
      const all = MapConcurrent.mapConcurrent(Stream.range(0, 9), body, { concurrency: 4 })
      expect(yield* seen(all)).toEqual({ got: [0], exit: Exit.fail("no") })
      const why = "another element failed: no"
      expect(log).toEqual(["1 failed", "0 ok", `2 ${why}`, `3 ${why}`])
      log.length = 0
      const unordered = MapConcurrent.mapConcurrent(Stream.range(0, 9), body, {
        concurrency: 4,
        unordered: true
      })
      expect(yield* seen(unordered)).toEqual({ got: [], exit: Exit.fail("no") })
      expect(log).toEqual(["1 failed", `0 ${why}`, `2 ${why}`, `3 ${why}`])
    }).pipe(VirtualClock.run())
  )

  const ends = [
    ["left", (stream: Stream.Stream<number, string>) => Stream.runDrain(Stream.take(stream, 1))],
    [
      "interrupted",
      (stream: Stream.Stream<number, string>) => Effect.timeout(Stream.runDrain(stream), "10 seconds")
    ]
  ] as const
  it.live.each(ends)("finalises its elements, then their producer, when it is %s", ([, run]) =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const numbers = Generators.fromGenerator(function* () {
        try {
          for (let n = 0; ; n++) yield n
        } finally {
          log.push("producer")
        }
      }).pipe(Stream.orDie)
      const body = (n: number) =>
        n === 0
          ? Effect.delay(Effect.succeed(0), "1 second")
          : Effect.ensuring(
              Effect.never,
              Effect.delay(
                Effect.sync(() => log.push(`element ${n}`)),
                `${n} seconds`
              )
            )
      yield* Effect.ignore(
        run(MapConcurrent.mapConcurrent(numbers, body, { concurrency: 3, backpressure: 3 }))
      )
      log.push("after")
      expect(log.filter((line) => line !== "element 3")).toEqual([
        "element 1",
        "element 2",
        "producer",
        "after"
      ])
    }).pipe(VirtualClock.run())
  )

  it.live("isolates elements: FiberRefs, children, defects, thrown errors", () =>
    Effect.gen(function* () {
      const name = FiberRef.unsafeMake("nobody")
      const set = (n: number) => Effect.zipLeft(FiberRef.get(name), FiberRef.set(name, `${n}`))
      const { got } = yield* seen(MapConcurrent.mapConcurrent(Stream.range(0, 4), set, { concurrency: 1 }))
      expect(got).toEqual(["nobody", "nobody", "nobody", "nobody", "nobody"])
      const throws = (n: number): Effect.Effect<number> => {
        if (n === 2) throw boom
        return Effect.succeed(n)
      }
      expect(
        yield* seen(MapConcurrent.mapConcurrent(Stream.range(0, 4), throws, { concurrency: 3 }))
      ).toEqual({
        got: [0, 1],
        exit: Exit.die(boom)
      })
      const key = (n: number) => throws(n) as unknown
      expect(yield* seen(MapConcurrent.mapConcurrent(Stream.range(0, 4), Effect.succeed, { key }))).toEqual({
        got: [0, 1],
        exit: Exit.die(boom)
      })
    }).pipe(VirtualClock.run())
  )

  // Effect's own map has them all in the failure channel that they belong to.
  const cleanUpBreaks = Effect.ensuring(Effect.fail("typed"), Effect.dieMessage("clean-up broke"))
  const ways: ReadonlyArray<
    [string, (stream: Stream.Stream<number>) => Stream.Stream<unknown, string, Checkpoints.Checkpoints>]
  > = [
    ["mapConcurrent", (stream) => MapConcurrent.mapConcurrent(stream, () => cleanUpBreaks)],
    [
      "mapConcurrent, several at once",
      (stream) => MapConcurrent.mapConcurrent(stream, () => cleanUpBreaks, { concurrency: 4 })
    ],
    [
      "mapConcurrent, out of order",
      (stream) => MapConcurrent.mapConcurrent(stream, () => cleanUpBreaks, { unordered: true })
    ],
    [
      "mapConcurrent, its producer",
      (stream) =>
        MapConcurrent.mapConcurrent(
          Stream.mapEffect(stream, () => cleanUpBreaks),
          Effect.succeed
        )
    ],
    ["produce", () => Generators.produce(() => cleanUpBreaks)],
    [
      "batchWithin",
      (stream) =>
        Pacing.batchWithin(
          Stream.mapEffect(stream, () => cleanUpBreaks),
          { size: 2 }
        )
    ],
    [
      "rateLimited",
      (stream) =>
        Pacing.rateLimited(
          Stream.mapEffect(stream, () => cleanUpBreaks),
          { limit: 1 }
        )
    ],
    ["mergeFair", (stream) => Pacing.mergeFair([Stream.mapEffect(stream, () => cleanUpBreaks)])],
    [
      "checkpointed",
      (stream) =>
        Checkpoints.checkpointed({ path: "p", input: "i", position: () => 1 }, () =>
          Stream.mapEffect(stream, () => cleanUpBreaks)
        ).pipe(Stream.mapError((error) => error as string))
    ]
  ]
  it.live.each(ways)("a failure together with a defect stays a failure: %s", ([, way]) =>
    Effect.gen(function* () {
      const own = yield* Effect.exit(Stream.runDrain(Stream.mapEffect(Stream.make(1), () => cleanUpBreaks)))
      const exit = yield* Effect.exit(Stream.runDrain(way(Stream.make(1))))
      const parts = (exit: Exit.Exit<unknown, unknown>) =>
        Exit.isFailure(exit) && [[...Cause.failures(exit.cause)], [...Cause.defects(exit.cause)].map(String)]
      expect(parts(exit)).toEqual(parts(own))
      expect(yield* Effect.flip(Stream.runDrain(way(Stream.make(1))))).toBe("typed")
    }).pipe(Effect.provide(Checkpoints.layerTest()), VirtualClock.run())
  )

  it.live("a key or an f that throws does not affect earlier elements", () =>
    Effect.gen(function* () {
      const body = (n: number) => Effect.as(Effect.sleep(5), n)
      const throwsAt = (at: number) => (n: number) => {
        if (n === at) throw boom
        return "one"
      }
      for (const concurrency of [1, 2, 4, Number.POSITIVE_INFINITY]) {
        for (const at of [0, 1, 2, 3, 4]) {
          const expected = { got: [0, 1, 2, 3].slice(0, at), exit: at < 4 ? Exit.die(boom) : Exit.void }
          const numbers = Stream.range(0, 3)
          const key = throwsAt(at)
          expect(yield* seen(MapConcurrent.mapConcurrent(numbers, body, { concurrency, key }))).toEqual(
            expected
          )
          const throwing = (n: number) => {
            key(n)
            return body(n)
          }
          const sameKey = { concurrency, key: () => "one" }
          expect(yield* seen(MapConcurrent.mapConcurrent(numbers, throwing, sameKey))).toEqual(expected)
          expect(
            yield* seen(
              MapConcurrent.mapConcurrent(
                Stream.tap(numbers, (n) => Effect.sync(() => key(n))),
                body,
                { concurrency }
              )
            )
          ).toEqual(expected)
        }
      }
    }).pipe(VirtualClock.run())
  )

  it.live("concurrency and backpressure may be Infinity, and backpressure is not below concurrency", () =>
    Effect.gen(function* () {
      const numbers = Stream.range(0, 1999)
      // The first is the last to be done, so all others wait for it.
      const body = (n: number) => Effect.as(Effect.sleep(n === 0 ? 10 : 1), n)
      const all = Array.from({ length: 2000 }, (_, n) => n)
      const infinite = Number.POSITIVE_INFINITY
      for (const options of [
        { concurrency: infinite },
        { concurrency: infinite, backpressure: infinite },
        { concurrency: infinite, backpressure: 3 },
        { concurrency: 3, backpressure: infinite },
        { concurrency: 1e15 },
        { concurrency: 2, backpressure: 1e15, key: (n: number) => n % 3 }
      ]) {
        expect(yield* seen(MapConcurrent.mapConcurrent(numbers, body, options))).toEqual({
          got: all,
          exit: Exit.void
        })
      }
      const refused = yield* Effect.exit(
        Stream.runDrain(MapConcurrent.mapConcurrent(numbers, body, { concurrency: 4, backpressure: 3 }))
      )
      expect(Exit.isFailure(refused) && Cause.pretty(refused.cause)).toContain(
        "backpressure (with concurrency 4): 3 is out of range"
      )
    }).pipe(VirtualClock.run())
  )

  it.live(
    "goes on when an element's fiber, or one that waits for an element, is interrupted from outside",
    () =>
      Effect.gen(function* () {
        const fibers = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
        const body = (n: number) =>
          Effect.withFiberRuntime<number>((fiber) => {
            fibers.add(fiber)
            return Effect.as(Effect.sleep(1), n)
          })
        const slow = Stream.tap(Stream.rechunk(Stream.range(0, 20), 1), () => Effect.sleep(5))
        const mapped = MapConcurrent.mapConcurrent(slow, body, { concurrency: 3 })
        const interrupting = Stream.tap(mapped, () =>
          Effect.sync(() => {
            for (const fiber of fibers) fiber.unsafeInterruptAsFork(fiber.id())
            fibers.clear()
          })
        )
        expect((yield* seen(interrupting)).got).toEqual(Array.from({ length: 21 }, (_, n) => n))
      }).pipe(VirtualClock.run())
  )

  it.live("finishes elements in progress, and starts nothing, when drain completes", () =>
    Effect.gen(function* () {
      const body = (n: number) => Effect.delay(Effect.succeed(n), `${10 - n} seconds`)
      const options = { concurrency: 3, drain: Effect.sleep("9500 millis") }
      const { exit, got } = yield* seen(MapConcurrent.mapConcurrent(Stream.range(0, 99), body, options))
      expect(exit).toEqual(Exit.void)
      expect(got).toEqual([0, 1, 2, 3, 4])
    }).pipe(VirtualClock.run())
  )

  it.live("is driven by its consumer, and lets others have their turns", () =>
    Effect.gen(function* () {
      const lazy = MapConcurrent.mapConcurrent(Stream.range(0, 1_000_000), Effect.succeed, { concurrency: 8 })
      let ticks = 0
      const ticking = yield* Effect.fork(
        Effect.forever(
          Effect.zipRight(
            EventLoop.nextTurn,
            Effect.sync(() => ticks++)
          )
        )
      )
      expect(yield* Stream.runCount(Stream.take(lazy, 100_000))).toBe(100_000)
      expect(ticks).toBeGreaterThan(50)
      yield* Fiber.interrupt(ticking)
    })
  )
})
