import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Chunk,
  Clock,
  Deferred,
  Effect,
  Either,
  Exit,
  FastCheck,
  Fiber,
  FiberRef,
  Option,
  Stream,
  TestClock
} from "effect"
import * as Loops from "../../src/programs/Loops.js"
import * as Output from "../../src/services/host/Output.js"
import * as Checkpoints from "../../src/services/record/Checkpoints.js"
import type * as Records from "../../src/services/record/Records.js"
import * as Tail from "../../src/services/record/Tail.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import * as EventLoop from "../../src/services/task/EventLoop.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"

const boom = new Error("boom")

describe("Loops.example", () => {
  it.effect("alternates strictly between producer and consumer", () =>
    Effect.gen(function* () {
      yield* Loops.example
      const { stderr, stdout } = yield* Output.Captured
      expect(stdout).toEqual(
        [0, 1, 2, 3, 4].flatMap((n) => [`Before yield ${n}`, `Yay, I've been yield'd ${n}`])
      )
      expect(stderr).toEqual([])
    }).pipe(Effect.provide(Output.layerTest))
  )
})

// Both ways to write a producer keep one contract, so both run under the same tests. `log` takes `start`, `N` as it
// is made, and `clean` when it is finalised.
const producers: ReadonlyArray<
  [string, (log: Array<string>, count: number, fail?: boolean) => Stream.Stream<number, unknown>]
> = [
  [
    "an Effect",
    (log, count, fail = false) =>
      Loops.produce((emit: Loops.Emit<number>) =>
        Effect.gen(function* () {
          log.push("start")
          for (let n = 0; n < count; n++) {
            log.push(`${n}`)
            yield* emit(n)
          }
          if (fail) return yield* Effect.fail(boom)
        }).pipe(Effect.ensuring(Effect.sync(() => log.push("clean"))))
      )
  ],
  [
    "a generator",
    (log, count, fail = false) =>
      Loops.fromGenerator(
        function* () {
          log.push("start")
          try {
            for (let n = 0; n < count; n++) {
              log.push(`${n}`)
              yield n
            }
            if (fail) throw boom
          } finally {
            log.push("clean")
          }
        },
        { onError: (error) => error }
      )
  ],
  [
    "an async generator",
    (log, count, fail = false) =>
      Loops.fromGenerator(
        async function* () {
          log.push("start")
          try {
            for (let n = 0; n < count; n++) {
              log.push(`${n}`)
              yield n
            }
            if (fail) throw boom
          } finally {
            await Promise.resolve()
            log.push("clean")
          }
        },
        { onError: (error) => error }
      )
  ]
]

describe.each(producers)("Loops, the producer being %s", (_, make) => {
  it.effect("does not start before the stream runs, and runs only when asked", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const stream = make(log, 3)
      expect(log).toEqual([])
      yield* Stream.runForEach(stream, (n) =>
        Effect.gen(function* () {
          yield* EventLoop.nextTurn // time enough for a producer that runs ahead
          log.push(`got ${n}`)
        })
      )
      expect(log).toEqual(["start", "0", "got 0", "1", "got 1", "2", "got 2", "clean"])
    })
  )

  it.effect("starts anew for each run", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const stream = make(log, 1)
      yield* Stream.runDrain(stream)
      yield* Stream.runDrain(stream)
      expect(log).toEqual(["start", "0", "clean", "start", "0", "clean"])
    })
  )

  it.effect("is finalised on break, before the consumer goes on", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const taken = yield* Stream.runCollect(Stream.take(make(log, 10), 2))
      log.push("after")
      expect(Chunk.toReadonlyArray(taken)).toEqual([0, 1])
      expect(log).toEqual(["start", "0", "1", "clean", "after"])
    })
  )

  it.effect("is finalised when the consumer fails, before the failure is seen", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const exit = yield* Effect.exit(Stream.runForEach(make(log, 10), () => Effect.fail("no")))
      log.push("after")
      expect(exit).toEqual(Exit.fail("no"))
      expect(log).toEqual(["start", "0", "clean", "after"])
    })
  )

  it.effect("is finalised when the consumer is interrupted, inner loop before outer", () =>
    Effect.gen(function* () {
      const outer: Array<string> = []
      const inside = yield* Deferred.make<void>()
      const log: Array<string> = []
      const body = Effect.zipRight(Deferred.succeed(inside, undefined), Effect.never)
      const fiber = yield* Effect.fork(
        Stream.runForEach(make(outer, 3), () =>
          Stream.runForEach(make(log, 3), () => body).pipe(
            Effect.onInterrupt(() => Effect.sync(() => log.push(`outer: ${outer.join()}`)))
          )
        )
      )
      yield* Deferred.await(inside)
      yield* Fiber.interrupt(fiber)
      expect(log).toEqual(["start", "0", "clean", "outer: start,0"])
      expect(outer).toEqual(["start", "0", "clean"])
    })
  )

  it.effect("fails as the producer fails, after what it made", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const got: Array<number> = []
      const exit = yield* Effect.exit(
        Stream.runForEach(make(log, 2, true), (n) => Effect.sync(() => got.push(n)))
      )
      expect(exit).toEqual(Exit.fail(boom))
      expect(got).toEqual([0, 1])
      expect(log).toEqual(["start", "0", "1", "clean"])
    })
  )

  it.effect.prop(
    "gives what was taken and makes no more than was asked for",
    [FastCheck.nat(8), FastCheck.nat(8)],
    ([count, taken]) =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const got = yield* Stream.runCollect(Stream.take(make(log, count), taken))
        const expected = Array.from({ length: Math.min(count, taken) }, (_, n) => n)
        expect(Chunk.toReadonlyArray(got)).toEqual(expected)
        expect(log.filter((line) => /^\d/.test(line))).toEqual(expected.map(String))
        expect(log.filter((line) => line === "clean").length).toBe(log.includes("start") ? 1 : 0)
      }),
    { fastCheck: { numRuns: 30 } }
  )
})

describe("Loops.produce", () => {
  it.effect("loses no element when an emit is given up", () =>
    Effect.gen(function* () {
      const stream = Loops.produce((emit: Loops.Emit<number>) =>
        Effect.gen(function* () {
          // handed over, but the wait for the next request is cut short
          yield* Effect.timeout(emit(1), "1 second").pipe(Effect.ignore)
          yield* emit(2)
        })
      )
      const got: Array<number> = []
      const fiber = yield* Effect.fork(
        Stream.runForEach(stream, (n) =>
          Effect.zipRight(
            Effect.sync(() => got.push(n)),
            Effect.sleep("3 seconds")
          )
        )
      )
      yield* Effect.yieldNow()
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      expect(got).toEqual([1, 2])
    })
  )

  it.effect("lets several fibers of one producer take turns", () =>
    Effect.gen(function* () {
      const stream = Loops.produce((emit: Loops.Emit<number>) =>
        Effect.forEach([1, 2, 3, 4], emit, { concurrency: "unbounded" })
      )
      expect(Chunk.toReadonlyArray(yield* Stream.runCollect(stream)).toSorted()).toEqual([1, 2, 3, 4])
    })
  )

  it.effect("cancels the producer with the consumer's reason, or says that the consumer left", () =>
    Effect.gen(function* () {
      const reasons: Array<string> = []
      const waiting = yield* Deferred.make<void>()
      const stream = Loops.produce((emit: Loops.Emit<number>) =>
        Effect.onExit(Effect.zipRight(emit(1), Effect.never), (exit) =>
          Effect.sync(() => reasons.push(...Cancellation.fromExit(exit).map(({ reason }) => reason)))
        )
      )
      yield* Stream.runDrain(Stream.take(stream, 1))
      const fiber = yield* Effect.fork(
        Stream.runForEach(stream, () => Effect.zipRight(Deferred.succeed(waiting, undefined), Effect.never))
      )
      yield* Deferred.await(waiting)
      yield* Cancellation.cancel(fiber, { reason: "enough", origin: "test" })
      expect(reasons).toEqual(["the consumer has left the loop", "enough"])
    })
  )

  it.effect("dies when the producer's own clean-up breaks", () =>
    Effect.gen(function* () {
      const stream = Loops.produce((emit: Loops.Emit<number>) => Effect.ensuring(emit(1), Effect.die(boom)))
      expect(yield* Effect.exit(Stream.runDrain(Stream.take(stream, 1)))).toEqual(Exit.die(boom))
    })
  )

  it.effect("runs in the consumer's context", () =>
    Effect.gen(function* () {
      const name = FiberRef.unsafeMake("nobody")
      const stream = Loops.produce((emit: Loops.Emit<string>) => Effect.flatMap(FiberRef.get(name), emit))
      const got = yield* Effect.locally(Stream.runCollect(stream), name, "consumer")
      expect(Chunk.toReadonlyArray(got)).toEqual(["consumer"])
    })
  )
})

describe("Loops.fromGenerator", () => {
  it.effect("does not wait for a pending next() that never settles", () =>
    Effect.gen(function* () {
      const waiting = yield* Deferred.make<void>()
      const signals: Array<AbortSignal> = []
      const stream = Loops.fromGenerator(async function* (...given) {
        signals.push(...given)
        yield 1
        await new Promise(() => undefined)
      })
      const fiber = yield* Effect.fork(Stream.runForEach(stream, () => Deferred.succeed(waiting, undefined)))
      yield* Deferred.await(waiting)
      yield* EventLoop.nextTurn
      expect(signals.map((signal) => signal.aborted)).toEqual([false])
      const exit = yield* Fiber.interrupt(fiber)
      expect(Exit.isInterrupted(exit)).toBe(true)
      expect(signals.map((signal) => signal.aborted)).toEqual([true])
    })
  )

  it.effect("waits for the clean-up of a generator that heeds the signal", () =>
    Effect.gen(function* () {
      const waiting = yield* Deferred.make<void>()
      const log: Array<string> = []
      const stream = Loops.fromGenerator(async function* (signal) {
        try {
          yield 1
          await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
        } finally {
          for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
          log.push("clean")
        }
      })
      const fiber = yield* Effect.fork(Stream.runForEach(stream, () => Deferred.succeed(waiting, undefined)))
      yield* Deferred.await(waiting)
      yield* EventLoop.nextTurn
      yield* Fiber.interrupt(fiber)
      log.push("after")
      expect(log).toEqual(["clean", "after"])
    })
  )

  it.effect("waits no longer than the grace period for one that takes the signal and does not heed it", () =>
    Effect.gen(function* () {
      const waiting = yield* Deferred.make<void>()
      const stream = Loops.fromGenerator(
        async function* (_signal) {
          yield 1
          await new Promise(() => undefined)
        },
        { grace: "2 seconds" }
      )
      const fiber = yield* Effect.fork(Stream.runForEach(stream, () => Deferred.succeed(waiting, undefined)))
      yield* Deferred.await(waiting)
      yield* EventLoop.nextTurn
      const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust("1999 millis")
      expect(interrupting.unsafePoll()).toBeNull()
      yield* TestClock.adjust("1 millis")
      expect(Exit.isInterrupted(yield* Fiber.join(interrupting))).toBe(true)
    })
  )

  it.effect("finalises later, on its own, a generator that heeds nothing", () =>
    Effect.gen(function* () {
      const waiting = yield* Deferred.make<void>()
      const cleaned = yield* Deferred.make<void>()
      const log: Array<string> = []
      let release = (_: number): void => undefined
      const stream = Loops.fromGenerator(async function* () {
        try {
          yield 1
          yield await new Promise<number>((resolve) => {
            release = resolve
          })
        } finally {
          log.push("clean")
          Deferred.unsafeDone(cleaned, Exit.void)
        }
      })
      const fiber = yield* Effect.fork(Stream.runForEach(stream, () => Deferred.succeed(waiting, undefined)))
      yield* Deferred.await(waiting)
      yield* EventLoop.nextTurn
      yield* Fiber.interrupt(fiber)
      log.push("after")
      release(2)
      yield* Deferred.await(cleaned)
      expect(log).toEqual(["after", "clean"])
    })
  )

  it.effect("says what the generator threw, and takes anything that can be iterated", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.flip(
        Stream.runDrain(
          Loops.fromGenerator(function* (): Generator<number> {
            throw boom
          })
        )
      )
      expect(failed).toBeInstanceOf(Loops.GeneratorFailed)
      expect(failed.message).toBe("the generator threw: boom")
      const refused = Loops.fromGenerator((): Iterable<number> => {
        throw boom
      })
      expect((yield* Effect.flip(Stream.runDrain(refused))).message).toBe("the generator threw: boom")
      const array = yield* Stream.runCollect(Loops.fromGenerator(() => [1, 2]))
      expect(Chunk.toReadonlyArray(array)).toEqual([1, 2])
    })
  )

  it.effect("dies when the generator's own clean-up throws", () =>
    Effect.gen(function* () {
      const stream = Loops.fromGenerator(function* () {
        try {
          yield 1
        } finally {
          // biome-ignore lint/correctness/noUnsafeFinally: what the test is about
          throw boom
        }
      })
      const exit = yield* Effect.exit(Stream.runDrain(Stream.take(stream, 1)))
      expect(exit).toEqual(Exit.die(boom))
    })
  )
})

it.live("Loops.produce ends a producer that stands in an uninterruptible region", () =>
  Effect.gen(function* () {
    let ended = false
    const stream = Loops.produce((emit: Loops.Emit<number>) =>
      Effect.uninterruptible(Effect.forever(emit(1))).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            ended = true
          })
        )
      )
    )
    expect(yield* Stream.runCount(Stream.take(stream, 3))).toBe(3)
    expect(ended).toBe(true)
  })
)

describe("Loops.mapConcurrent", () => {
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
        expect(yield* seen(Loops.mapConcurrent(source(plan), step, options))).toEqual(expected)
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
        const options = { concurrency, backpressure, key, ordered: false }
        const { exit, got } = yield* seen(Loops.mapConcurrent(source(plan), step, options))
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
          Stream.runForEach(Loops.mapConcurrent(counted, body, { concurrency, backpressure, key }), () =>
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

  it.live("cancels who comes behind a failure, with the reason, and waits for who comes before it", () =>
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
      const all = Loops.mapConcurrent(Stream.range(0, 9), body, { concurrency: 4 })
      expect(yield* seen(all)).toEqual({ got: [0], exit: Exit.fail("no") })
      const why = "another element failed: no"
      expect(log).toEqual(["1 failed", "0 ok", `2 ${why}`, `3 ${why}`])
      log.length = 0
      const unordered = Loops.mapConcurrent(Stream.range(0, 9), body, { concurrency: 4, ordered: false })
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
      const numbers = Loops.fromGenerator(function* () {
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
      yield* Effect.ignore(run(Loops.mapConcurrent(numbers, body, { concurrency: 3, backpressure: 3 })))
      log.push("after")
      expect(log.filter((line) => line !== "element 3")).toEqual([
        "element 1",
        "element 2",
        "producer",
        "after"
      ])
    }).pipe(VirtualClock.run())
  )

  it.live("keeps elements apart: FiberRefs, children, defects, what throws", () =>
    Effect.gen(function* () {
      const name = FiberRef.unsafeMake("nobody")
      const set = (n: number) => Effect.zipLeft(FiberRef.get(name), FiberRef.set(name, `${n}`))
      const { got } = yield* seen(Loops.mapConcurrent(Stream.range(0, 4), set, { concurrency: 1 }))
      expect(got).toEqual(["nobody", "nobody", "nobody", "nobody", "nobody"])
      const throws = (n: number): Effect.Effect<number> => {
        if (n === 2) throw boom
        return Effect.succeed(n)
      }
      expect(yield* seen(Loops.mapConcurrent(Stream.range(0, 4), throws, { concurrency: 3 }))).toEqual({
        got: [0, 1],
        exit: Exit.die(boom)
      })
      const key = (n: number) => throws(n) as unknown
      expect(yield* seen(Loops.mapConcurrent(Stream.range(0, 4), Effect.succeed, { key }))).toEqual({
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
    ["mapConcurrent", (stream) => Loops.mapConcurrent(stream, () => cleanUpBreaks)],
    [
      "mapConcurrent, several at once",
      (stream) => Loops.mapConcurrent(stream, () => cleanUpBreaks, { concurrency: 4 })
    ],
    [
      "mapConcurrent, out of order",
      (stream) => Loops.mapConcurrent(stream, () => cleanUpBreaks, { ordered: false })
    ],
    [
      "mapConcurrent, its producer",
      (stream) =>
        Loops.mapConcurrent(
          Stream.mapEffect(stream, () => cleanUpBreaks),
          Effect.succeed
        )
    ],
    ["produce", () => Loops.produce(() => cleanUpBreaks)],
    [
      "batchWithin",
      (stream) =>
        Loops.batchWithin(
          Stream.mapEffect(stream, () => cleanUpBreaks),
          { size: 2 }
        )
    ],
    [
      "rateLimited",
      (stream) =>
        Loops.rateLimited(
          Stream.mapEffect(stream, () => cleanUpBreaks),
          { limit: 1 }
        )
    ],
    ["mergeFair", (stream) => Loops.mergeFair([Stream.mapEffect(stream, () => cleanUpBreaks)])],
    [
      "checkpointed",
      (stream) =>
        Loops.checkpointed({ path: "p", input: "i", position: () => 1 }, () =>
          Stream.mapEffect(stream, () => cleanUpBreaks)
        ).pipe(Stream.mapError((error) => error as string))
    ]
  ]
  it.live.each(ways)("a failure beside a defect stays a failure: %s", ([, way]) =>
    Effect.gen(function* () {
      const own = yield* Effect.exit(Stream.runDrain(Stream.mapEffect(Stream.make(1), () => cleanUpBreaks)))
      const exit = yield* Effect.exit(Stream.runDrain(way(Stream.make(1))))
      const parts = (exit: Exit.Exit<unknown, unknown>) =>
        Exit.isFailure(exit) && [[...Cause.failures(exit.cause)], [...Cause.defects(exit.cause)].map(String)]
      expect(parts(exit)).toEqual(parts(own))
      expect(yield* Effect.flip(Stream.runDrain(way(Stream.make(1))))).toBe("typed")
    }).pipe(Effect.provide(Checkpoints.layerTest()), VirtualClock.run())
  )

  it.live("a key that throws, and what else throws, takes nothing from those before it", () =>
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
          expect(yield* seen(Loops.mapConcurrent(numbers, body, { concurrency, key }))).toEqual(expected)
          const throwing = (n: number) => {
            key(n)
            return body(n)
          }
          const sameKey = { concurrency, key: () => "one" }
          expect(yield* seen(Loops.mapConcurrent(numbers, throwing, sameKey))).toEqual(expected)
          expect(
            yield* seen(
              Loops.mapConcurrent(
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
        expect(yield* seen(Loops.mapConcurrent(numbers, body, options))).toEqual({
          got: all,
          exit: Exit.void
        })
      }
      const refused = yield* Effect.exit(
        Stream.runDrain(Loops.mapConcurrent(numbers, body, { concurrency: 4, backpressure: 3 }))
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
        const mapped = Loops.mapConcurrent(slow, body, { concurrency: 3 })
        const interrupting = Stream.tap(mapped, () =>
          Effect.sync(() => {
            for (const fiber of fibers) fiber.unsafeInterruptAsFork(fiber.id())
            fibers.clear()
          })
        )
        expect((yield* seen(interrupting)).got).toEqual(Array.from({ length: 21 }, (_, n) => n))
      }).pipe(VirtualClock.run())
  )

  it.live("finishes what is under way, and starts nothing, when it is told to drain", () =>
    Effect.gen(function* () {
      const body = (n: number) => Effect.delay(Effect.succeed(n), `${10 - n} seconds`)
      const options = { concurrency: 3, drain: Effect.sleep("9500 millis") }
      const { exit, got } = yield* seen(Loops.mapConcurrent(Stream.range(0, 99), body, options))
      expect(exit).toEqual(Exit.void)
      expect(got).toEqual([0, 1, 2, 3, 4])
    }).pipe(VirtualClock.run())
  )

  it.live("is driven by its consumer, and lets others have their turns", () =>
    Effect.gen(function* () {
      const lazy = Loops.mapConcurrent(Stream.range(0, 1_000_000), Effect.succeed, { concurrency: 8 })
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
/** Elements that come at these times. */
const arriving = (...times: ReadonlyArray<number>) =>
  Stream.fromIterable(times).pipe(
    Stream.rechunk(1),
    Stream.mapAccum(0, (before, time) => [time, [time, time - before] as const]),
    Stream.mapEffect(([time, wait]) => Effect.as(Effect.sleep(wait), time))
  )

describe("Loops.batchWithin", () => {
  it.live("gives a batch when it is full, when its first has waited long enough, and at the end", () =>
    Effect.gen(function* () {
      const source = arriving(0, 100, 200, 300, 1000, 1900, 2500)
      expect(yield* timed(Loops.batchWithin(source, { size: 3, within: "1 second" }))).toEqual([
        "0,100,200 at 200",
        "300,1000 at 1300",
        "1900,2500 at 2500"
      ])
      expect(yield* timed(Loops.batchWithin(source, { size: 5 }))).toEqual([
        "0,100,200,300,1000 at 1000",
        "1900,2500 at 2500"
      ])
    }).pipe(VirtualClock.run())
  )

  it.live("fails as the producer fails, after what there was", () =>
    Effect.gen(function* () {
      const source = Stream.concat(arriving(0, 100), Stream.fail("no"))
      expect(yield* timed(Loops.batchWithin(source, { size: 5, within: "1 hour" }))).toEqual([
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
        yield* Stream.runForEach(Loops.batchWithin(counted, { size, within: 5 }), (batch) => {
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

describe("Loops.rateLimited", () => {
  it.live("lets elements through evenly, and saves up no time", () =>
    Effect.gen(function* () {
      expect(yield* timed(Loops.rateLimited(Stream.make("a", "b", "c"), { limit: 10 }))).toEqual([
        "a at 0",
        "b at 100",
        "c at 200"
      ])
      const source = Stream.flatMap(arriving(0, 50, 1000), (time) => Stream.make(time, time + 1))
      expect(yield* timed(Loops.rateLimited(source, { limit: 6, interval: "1 minute" }))).toEqual([
        "0 at 0",
        "1 at 10000",
        "50 at 20000",
        "51 at 30000",
        "1000 at 40000",
        "1001 at 50000"
      ])
      const slow = Stream.tap(Loops.rateLimited(Stream.range(1, 3), { limit: 1 }), () =>
        Effect.sleep("5 seconds")
      )
      expect(yield* timed(slow)).toEqual(["1 at 5000", "2 at 10000", "3 at 15000"])
    }).pipe(VirtualClock.run())
  )

  it.live("keeps to rates that timers are too coarse for", () =>
    Effect.gen(function* () {
      const begun = yield* Clock.currentTimeMillis
      yield* Stream.runDrain(Loops.rateLimited(Stream.range(1, 50_000), { limit: 10_000 }))
      expect((yield* Clock.currentTimeMillis) - begun).toBe(4999) // 49,999 gaps of 0.1 ms
    }).pipe(VirtualClock.run())
  )
})

describe("Loops.mergeFair", () => {
  it.live("takes turns, however much one of them has", () =>
    Effect.gen(function* () {
      const flood = Stream.range(1, 100_000)
      const letters = Stream.rechunk(Stream.fromIterable([..."abcdefghijklmnopqrstuvwxyz"]), 1)
      const merged = Loops.mergeFair([flood, letters])
      const first = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(merged, 40)))
      expect(first.filter((each) => typeof each === "string").length).toBeGreaterThanOrEqual(16)
      expect(yield* Stream.runCount(merged)).toBe(100_026)
      const three = Loops.mergeFair([arriving(0, 100, 200), arriving(50, 100), Stream.empty])
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
      expect(yield* timed(Loops.mergeFair([other, failing]))).toEqual(["a at 0", "b at 1000", "Error: no"])
      expect(log).toEqual(["clean"])
    }).pipe(VirtualClock.run())
  )

  it.live("holds each stream back that is not taken from", () =>
    Effect.gen(function* () {
      const made = [0, 0]
      const counting = (which: number) =>
        Loops.fromGenerator(function* () {
          for (;;) {
            made[which]!++
            yield which
          }
        })
      yield* Stream.runForEach(
        Stream.take(Loops.mergeFair([counting(0), counting(1)], { backpressure: 4 }), 20),
        () => Effect.sleep(1)
      )
      for (const count of made) expect(count).toBeLessThanOrEqual(20)
    }).pipe(VirtualClock.run())
  )
})

const utf8 = (...parts: ReadonlyArray<string | Uint8Array>) =>
  Stream.fromIterable(parts.map((part) => (typeof part === "string" ? new TextEncoder().encode(part) : part)))
const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

describe("Loops.lines and ndjson", () => {
  it.effect("give what comes before the first that is wrong, then say which and why", () =>
    Effect.gen(function* () {
      expect(yield* timed(Loops.lines(utf8("a\nb", "c\r\nd")))).toEqual(["a at 0", "bc at 0", "d at 0"])
      const bad = yield* timed(Stream.map(Loops.ndjson(utf8("1\n2\n\n{\n5\n")), ({ value }) => value))
      expect(bad.slice(0, 2)).toEqual(["1 at 0", "2 at 0"])
      expect(bad.at(-1)).toContain("line 4: not JSON: Expected property name or '}'")
      const failure = yield* Effect.flip(
        Stream.runDrain(Loops.lines(utf8("a\n", "b".repeat(20)), { maxLine: 10 }))
      )
      expect(failure).toBeInstanceOf(Loops.RecordFailed)
      expect(failure.message).toBe("line 2: longer than 10 bytes")
      const invalid = yield* Effect.flip(
        Stream.runDrain(Loops.lines(utf8("a\n", new Uint8Array([0xff, 10]))))
      )
      expect(invalid.message).toBe("line 2: not UTF-8")
    })
  )

  it.effect("write a record as it came unless it was changed", () =>
    Effect.gen(function* () {
      const text = '{ "id": 12345678901234567890, "n": 1.10 }\n'
      const record = Option.getOrThrow(yield* Stream.runHead(Loops.ndjson(utf8(text))))
      const value = record.value as { n: number }
      expect(read(Loops.encode(record, value))).toBe(text)
      expect(read(Loops.encode(record, { ...value, n: 2 }))).toBe('{"id":12345678901234567890,"n":2}\n')
      value.n = 3
      expect(read(Loops.encode(record, value))).toBe('{"id":12345678901234567890,"n":3}\n')
    })
  )
})

describe("Loops.follow", () => {
  const piece = (text: string, inode: string, position: number, anew = false): Tail.Piece => ({
    bytes: new TextEncoder().encode(text),
    file: { device: "1", inode, head: new Uint8Array(0) },
    position,
    anew
  })
  const layer = Tail.layerTest({
    log: [
      piece("a\nb", "1", 3, true),
      piece("c\nend", "1", 8),
      piece("x\n", "2", 2, true),
      piece("y\n", "2", 4)
    ]
  })

  it.live("takes what a rotated file ended with for a line, and numbers the new file's from 1", () =>
    Effect.gen(function* () {
      const lines = Loops.follow("log").pipe(Stream.take(5), Stream.runCollect)
      expect(Chunk.toReadonlyArray(yield* lines)).toEqual(["a", "bc", "end", "x", "y"])
      const seen: Array<string> = []
      yield* Loops.followed("log", { format: "lines" }, ({ index, line, position }, file) =>
        seen.push(`${index}: ${file.inode}:${line} to ${position}`)
      ).pipe(Stream.take(5), Stream.runDrain)
      expect(seen).toEqual(["1: 1:1 to 2", "2: 1:2 to 5", "3: 1:3 to 8", "4: 2:1 to 2", "5: 2:2 to 4"])
      const told = yield* Deferred.make<string>()
      const onWaiting = (detail: string) => Deferred.succeed(told, detail)
      const fiber = yield* Effect.fork(Stream.runDrain(Loops.follow("none", { onWaiting })))
      expect(yield* Deferred.await(told)).toBe("there is no such file yet")
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(layer))
  )
})

describe("Loops.followPlace and inputPlace", () => {
  const digest = { bytes: 3, sha256: "0".repeat(64) }
  const file = { device: "1", inode: "2", position: 3, given: 0, head: digest, tail: digest }
  const place = { index: 1, line: 1, format: "lines", file }
  const input = { index: 1, line: 1, position: 2, format: "lines", head: digest }
  const counts = [-1, 0.5, 1e300, "1", null, undefined]
  const digests = [null, {}, { ...digest, bytes: 4097 }, { ...digest, bytes: -1 }, { ...digest, sha256: "0" }]

  it("take what was written, of the same format", () => {
    expect(Loops.followPlace("lines")(place)).toEqual(Either.right(place))
    expect(Loops.inputPlace(input)).toEqual(Either.right(input))
    expect(Loops.followPlace("null")(place)).toEqual(Either.left("it is of records as lines, not null"))
  })

  it("refuse what is not of their shape, in one sentence", () => {
    const wrongPlaces = [
      ...[undefined, null, 1, "x", [], {}, { ...place, file: null }, { ...place, format: "csvs" }],
      ...counts.flatMap((count) => [
        { ...place, index: count },
        { ...place, line: count },
        { ...place, file: { ...file, position: count } },
        { ...place, file: { ...file, given: count } }
      ]),
      ...digests.flatMap((wrong) => [
        { ...place, file: { ...file, head: wrong } },
        { ...place, file: { ...file, tail: wrong } }
      ]),
      ...["", "../2", "-1", 2, "1".repeat(21)].map((inode) => ({ ...place, file: { ...file, inode } }))
    ]
    for (const wrong of wrongPlaces) {
      const answer = Loops.followPlace("lines")(wrong)
      expect(Either.isLeft(answer) && answer.left, JSON.stringify(wrong)).toMatch(/remove it to begin anew$/)
    }
    const wrongInputs = [
      ...[undefined, null, 1, [], {}],
      ...counts.flatMap((count) => [
        { ...input, index: count },
        { ...input, line: count },
        { ...input, position: count }
      ]),
      ...digests.map((head) => ({ ...input, head }))
    ]
    for (const wrong of wrongInputs)
      expect(Either.isLeft(Loops.inputPlace(wrong)), JSON.stringify(wrong)).toBe(true)
  })
})

describe("Loops.checkpointed", () => {
  const options = { path: "checkpoint", input: "numbers", position: (n: number) => n }
  const from = (last: number | undefined) => Stream.rechunk(Stream.range((last ?? 0) + 1, 20), 3)

  it.live("goes on behind what was done, in every way that a run can end", () =>
    Effect.gen(function* () {
      const files = new Map<string, Checkpoints.Checkpoint | "broken">()
      const run = (stop: number) =>
        Effect.gen(function* () {
          const got: Array<number> = []
          yield* Loops.checkpointed(options, from).pipe(
            Stream.runForEach((n) => (n === stop ? Effect.fail("stop") : Effect.sync(() => got.push(n)))),
            Effect.ignore
          )
          return got
        }).pipe(Effect.provide(Checkpoints.layerTest(files)))
      expect(yield* run(8)).toEqual([1, 2, 3, 4, 5, 6, 7])
      expect(files.get("checkpoint")).toEqual({ input: "numbers", position: 6 }) // 7 was not yet known to be done
      expect(yield* run(0)).toEqual([7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
      expect(files.get("checkpoint")).toEqual({ input: "numbers", position: 20 })
      expect(yield* run(0)).toEqual([])
    })
  )

  it.live("writes while it runs, as often as it may, also when nothing more comes", () =>
    Effect.gen(function* () {
      const files = new Map<string, Checkpoints.Checkpoint | "broken">()
      const position = () => (files.get("checkpoint") as Checkpoints.Checkpoint | undefined)?.position
      const slow = Stream.concat(arriving(400, 800, 1200, 1600), Stream.never)
      const fiber = yield* Effect.fork(
        Stream.runDrain(Loops.checkpointed({ ...options, every: "1 second" }, () => slow)).pipe(
          Effect.provide(Checkpoints.layerTest(files))
        )
      )
      const seen: Array<unknown> = []
      for (const wait of [900, 200, 800, 200]) {
        yield* Effect.sleep(wait)
        seen.push(position())
      }
      expect(seen).toEqual([undefined, 800, 800, 1600])
      yield* Fiber.interrupt(fiber)
    }).pipe(VirtualClock.run())
  )

  it.live("refuses what is no checkpoint, and one of another input", () =>
    Effect.gen(function* () {
      const why = (found: Checkpoints.Checkpoint | "broken") =>
        Effect.flip(Stream.runDrain(Loops.checkpointed(options, from))).pipe(
          Effect.map(({ message }) => message),
          Effect.provide(Checkpoints.layerTest(new Map([["checkpoint", found]])))
        )
      expect(yield* why("broken")).toBe("cannot use the checkpoint checkpoint: it is not a checkpoint")
      expect(yield* why({ input: "letters", position: 1 })).toBe(
        "cannot use the checkpoint checkpoint: it is of another input, letters, not numbers"
      )
    })
  )
})

describe("Loops.mapRecords", () => {
  const run = (
    text: string,
    f: (value: any, context: Loops.RecordContext) => unknown,
    options: Loops.MapRecordsOptions = {},
    format: Records.Format = "ndjson"
  ) =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const begun = yield* Clock.currentTimeMillis
      const all = Loops.mapRecords(Loops.records(utf8(text), { format }), f, options)
      const exit = yield* Effect.exit(
        Stream.runForEach(all, (outcome) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            const at = now === begun ? "" : ` at ${now - begun}`
            if (outcome instanceof Loops.Failed) {
              log.push(`! ${outcome.records.map(({ line }) => line)}: ${outcome.detail}${at}`)
            } else if (outcome instanceof Loops.Mapped) {
              const texts = outcome.results.map((each) =>
                typeof each === "string" ? each : each instanceof Uint8Array ? read(each) : `= ${each.text}`
              )
              log.push(`${texts.join(" ; ")}${at}`)
            } else log.push(`= ${outcome.text}${at}`)
          })
        )
      )
      if (Exit.isFailure(exit)) log.push(`!! ${(Cause.squash(exit.cause) as Error).message}`)
      return log
    }).pipe(VirtualClock.run())

  it.live("takes functions of every kind, and passes on untouched what they do not change", () =>
    Effect.gen(function* () {
      const text = '{"a": 1}\n{"a": 12345678901234567890}\n'
      const same = ['= {"a": 1}', '= {"a": 12345678901234567890}']
      expect(yield* run(text, (r) => r)).toEqual(same)
      expect(yield* run(text, async (r) => r)).toEqual(same)
      expect(yield* run(text, (r) => Effect.delay(Effect.succeed(r), 0))).toEqual(same)
      const changed = ['{"a":1,"b":[]}', '{"a":12345678901234567890,"b":[]}']
      expect(yield* run(text, (r) => ({ ...r, b: [] }))).toEqual(changed)
      expect(yield* run(text, (r) => Object.assign(r, { b: [] }))).toEqual(changed)
      expect(yield* run(text, (r) => (r.a === 1 ? undefined : r.a))).toEqual(["", "12345678901234567890"])
      const twice = function* (r: unknown) {
        yield r
        yield [r]
      }
      const each = ['= {"a": 1} ; [{"a":1}]', '= {"a": 12345678901234567890} ; [{"a":12345678901234567890}]']
      expect(yield* run(text, twice)).toEqual(each)
      expect(
        yield* run(text, async function* (r) {
          yield* twice(r)
        })
      ).toEqual(each)
      expect(yield* run(text, (r) => Stream.make(r, [r]))).toEqual(each)
      expect(yield* run("a\nb", (line) => line, {}, "lines")).toEqual(["= a", "= b"])
      expect(yield* run("a\nb", (line) => `${line}!`, { output: "lines" }, "lines")).toEqual(["a!", "b!"])
      expect(yield* run("a\nb", (line) => line, { untouched: false }, "lines")).toEqual(['"a"', '"b"'])
    })
  )

  it.live("stops at what is wrong, or tells of it and goes on", () =>
    Effect.gen(function* () {
      const f = (n: number) => {
        if (n === 2) throw new Error("two")
        return n === 4 ? () => 4 : n
      }
      const text = "1\n2\n{\n4\n5\n"
      expect(yield* run(text, f)).toEqual(["= 1", "!! line 2: two"])
      expect(yield* run(text, async (n) => f(n), { onError: "skip", concurrency: 3 })).toEqual([
        "= 1",
        "! 2: two",
        "! 3: not JSON: Expected property name or '}'",
        "! 4: a function has no JSON",
        "= 5"
      ])
    })
  )

  it.live("tries again after a while that doubles, and gives each attempt its time", () =>
    Effect.gen(function* () {
      const attempts: Array<string> = []
      const f = (n: number, { attempt, signal }: Loops.RecordContext) => {
        attempts.push(`${n}.${attempt}`)
        return attempt < n
          ? new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))))
          : n
      }
      const options = { retries: 2, timeout: "1 second", concurrency: 9, onError: "skip" } as const
      expect(yield* run("1\n2\n3\n4\n", f, options)).toEqual([
        "= 1",
        "= 2 at 1100",
        "= 3 at 2300",
        "! 4: not done in 1s at 3300"
      ])
      expect(attempts).toEqual(["1.1", "2.1", "3.1", "4.1", "2.2", "3.2", "4.2", "3.3", "4.3"])
      let failures = 2
      const flaky = (n: number) => {
        if (failures-- > 0) throw new Error("no")
        return n
      }
      expect(yield* run("1\n", flaky, { retries: 2 })).toEqual(["= 1 at 300"])
      failures = 2
      expect(yield* run("1\n", flaky, { retries: 1 })).toEqual(["!! line 1: no"])
    })
  )

  it.live("gives batches as arrays, and begins so many in a time", () =>
    Effect.gen(function* () {
      const text = "1\n2\nx\n4\n5\n"
      const f = (all: ReadonlyArray<number>) => all.map((n) => (n > 3 ? n * 10 : n))
      expect(yield* run(text, f, { batch: { size: 3 }, onError: "skip" })).toEqual([
        "! 3: not JSON: Unexpected token 'x'",
        "= 1 ; = 2",
        "40 ; 50"
      ])
      const sum = (all: ReadonlyArray<number>) => all.reduce((a, b) => a + b, 0)
      expect(yield* run("1\n2\n3\n", sum, { batch: { size: 2 }, rate: { limit: 2 } })).toEqual([
        "3",
        "= 3 at 500"
      ])
      expect(yield* run("1\n2\n3\n", (n) => n, { rate: { limit: 4 } })).toEqual([
        "= 1",
        "= 2 at 250",
        "= 3 at 500"
      ])
    })
  )

  it.live("keeps each key in order, and fails what has none", () =>
    Effect.gen(function* () {
      const f = ({ k, ms }: { k: string; ms: number }) => Effect.delay(Effect.succeed(`${k}${ms}`), ms)
      const text = '{"k":"a","ms":30}\n{"k":"a","ms":10}\n{"k":"b","ms":20}\nnull\n'
      const options = { concurrency: 4, ordered: false, output: "lines", onError: "skip" } as const
      expect(yield* run(text, f, { ...options, key: (value: any) => value.k })).toEqual([
        "! 4: it has no key: Cannot read properties of null (reading 'k')",
        "b20 at 20",
        "a30 at 30",
        "a10 at 40"
      ])
    })
  )
})
