import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Exit, FastCheck, Fiber, FiberRef, Stream, TestClock } from "effect"
import * as Generators from "../../../src/services/stream/Generators.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"

const boom = new Error("boom")

// Both ways to write a producer keep one contract, so both run under the same tests. `log` takes `start`, `N` as it
// is made, and `clean` when it is finalised.
const producers: ReadonlyArray<
  [string, (log: Array<string>, count: number, fail?: boolean) => Stream.Stream<number, unknown>]
> = [
  [
    "an Effect",
    (log, count, fail = false) =>
      Generators.produce((emit: Generators.Emit<number>) =>
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
      Generators.fromGenerator(
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
      Generators.fromGenerator(
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

describe.each(producers)("Generators, the producer being %s", (_, make) => {
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

  it.effect("is finalised on break, before the consumer continues", () =>
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

  it.effect("fails as the producer fails, after its elements", () =>
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

describe("Generators.produce", () => {
  it.effect("loses no element when an emit is given up", () =>
    Effect.gen(function* () {
      const stream = Generators.produce((emit: Generators.Emit<number>) =>
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
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      expect(got).toEqual([1, 2])
    })
  )

  it.effect("lets several fibers of one producer take turns", () =>
    Effect.gen(function* () {
      const stream = Generators.produce((emit: Generators.Emit<number>) =>
        Effect.forEach([1, 2, 3, 4], emit, { concurrency: "unbounded" })
      )
      expect(Chunk.toReadonlyArray(yield* Stream.runCollect(stream)).toSorted()).toEqual([1, 2, 3, 4])
    })
  )

  it.effect("cancels the producer with the consumer's reason, or reports that the consumer left", () =>
    Effect.gen(function* () {
      const reasons: Array<string> = []
      const waiting = yield* Deferred.make<void>()
      const stream = Generators.produce((emit: Generators.Emit<number>) =>
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
      const stream = Generators.produce((emit: Generators.Emit<number>) =>
        Effect.ensuring(emit(1), Effect.die(boom))
      )
      expect(yield* Effect.exit(Stream.runDrain(Stream.take(stream, 1)))).toEqual(Exit.die(boom))
    })
  )

  it.effect("runs in the consumer's context", () =>
    Effect.gen(function* () {
      const name = FiberRef.unsafeMake("nobody")
      const stream = Generators.produce((emit: Generators.Emit<string>) =>
        Effect.flatMap(FiberRef.get(name), emit)
      )
      const got = yield* Effect.locally(Stream.runCollect(stream), name, "consumer")
      expect(Chunk.toReadonlyArray(got)).toEqual(["consumer"])
    })
  )
})

describe("Generators.fromGenerator", () => {
  it.effect("does not wait for a pending next() that never settles", () =>
    Effect.gen(function* () {
      const waiting = yield* Deferred.make<void>()
      const signals: Array<AbortSignal> = []
      const stream = Generators.fromGenerator(async function* (...given) {
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

  it.effect("waits for the clean-up of a generator that ends at the signal", () =>
    Effect.gen(function* () {
      const waiting = yield* Deferred.make<void>()
      const log: Array<string> = []
      const stream = Generators.fromGenerator(async function* (signal) {
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

  it.effect("waits no longer than the grace period for one that takes the signal and ignores it", () =>
    Effect.gen(function* () {
      const waiting = yield* Deferred.make<void>()
      const stream = Generators.fromGenerator(
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

  it.effect("finalises later, on its own, a generator that ignores the signal", () =>
    Effect.gen(function* () {
      const waiting = yield* Deferred.make<void>()
      const cleaned = yield* Deferred.make<void>()
      const log: Array<string> = []
      let release = (_: number): void => undefined
      const stream = Generators.fromGenerator(async function* () {
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

  it.effect("reports an error that the generator threw, and takes any iterable", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.flip(
        Stream.runDrain(
          Generators.fromGenerator(function* (): Generator<number> {
            throw boom
          })
        )
      )
      expect(failed).toBeInstanceOf(Generators.GeneratorFailed)
      expect(failed.message).toBe("the generator threw: boom")
      const refused = Generators.fromGenerator((): Iterable<number> => {
        throw boom
      })
      expect((yield* Effect.flip(Stream.runDrain(refused))).message).toBe("the generator threw: boom")
      const array = yield* Stream.runCollect(Generators.fromGenerator(() => [1, 2]))
      expect(Chunk.toReadonlyArray(array)).toEqual([1, 2])
    })
  )

  it.effect("dies when the generator's own clean-up throws", () =>
    Effect.gen(function* () {
      const stream = Generators.fromGenerator(function* () {
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

it.live("Generators.produce ends a producer in an uninterruptible region", () =>
  Effect.gen(function* () {
    let ended = false
    const stream = Generators.produce((emit: Generators.Emit<number>) =>
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
