import { assert, describe, it } from "@effect/vitest"
import { Cause, Chunk, Deferred, Effect, Either, Exit, Fiber, Stream, TestClock } from "effect"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import * as ExecutorError from "../../../src/services/thread/ExecutorError.js"
import * as ExecutorTest from "../../../src/services/thread/ExecutorTest.js"
import * as InJob from "../../../src/services/thread/InJob.js"
import * as InlineExecutor from "../../../src/services/thread/InlineExecutor.js"
import * as Job from "../../../src/services/thread/Job.js"
import * as MapJobs from "../../../src/services/thread/MapJobs.js"

const threadsOf = (options: Executor.WorkersOptions) => Effect.provide(Executor.layerThreads(options))
const shared = (length: number) => new Int32Array(new SharedArrayBuffer(4 * length))
const until = (flags: Int32Array, index: number, value: number) =>
  Effect.repeat(EventLoop.nextTurn, { until: () => Atomics.load(flags, index) >= value })
const cancel = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Cancellation.cancel(fiber, { reason: "not needed", origin: "test" })

/** Counts itself at [0], polls until it is asked to end, and counts that at [1]. */
const polite = (flags: Int32Array) => {
  Atomics.add(flags, 0, 1)
  while (!InJob.cancelled());
  Atomics.add(flags, 1, 1)
  return "asked"
}

describe("MapJobs", () => {
  it.live("maps a job over inputs, results in input order or in order of completion", () =>
    Effect.gen(function* () {
      // 0 returns only after 1 has.
      const flags = shared(1)
      const job = Job.fromFunction(([index, flags]: readonly [number, Int32Array]) => {
        if (index === 0) Atomics.wait(flags, 0, 0)
        return index
      })
      const inputs = [0, 1, 2].map((index) => [index, flags] as const)
      const free = Effect.sync(() => {
        Atomics.store(flags, 0, 1)
        Atomics.notify(flags, 0)
      })
      const unordered = MapJobs.map(job, inputs, { unordered: true }).pipe(
        Stream.tap((index) => (index === 2 ? free : Effect.void)),
        Stream.runCollect
      )
      assert.deepStrictEqual(Array.from(yield* unordered), [1, 2, 0])
      const ordered = Stream.runCollect(MapJobs.map(job, Stream.fromIterable(inputs)))
      assert.deepStrictEqual(Array.from(yield* ordered), [0, 1, 2])
    }).pipe(threadsOf({ maxWorkers: 2, grace: "50 millis" }))
  )

  it.live("reads inputs no faster than results are taken, and fails as they do", () =>
    Effect.gen(function* () {
      let read = 0
      const endless = Stream.fromIterable(
        (function* () {
          for (;;) yield read++
        })()
      )
      const same = Job.fromFunction((n: number) => n)
      const first = yield* MapJobs.map(same, endless, { chunk: 4 }).pipe(
        Stream.tap(() => EventLoop.nextTurn),
        Stream.take(50),
        Stream.runCollect
      )
      assert.deepStrictEqual(
        Array.from(first),
        Array.from({ length: 50 }, (_, i) => i)
      )
      assert.isBelow(read, 20_000)
      const broken = Stream.concat(Stream.range(1, 3), Stream.fail("no more"))
      assert.strictEqual(yield* Effect.flip(Stream.runDrain(MapJobs.map(same, broken))), "no more")
      const thrown = yield* Effect.exit(
        Stream.runDrain(
          MapJobs.map(
            same,
            (function* () {
              yield 1
              throw new Error("broken list")
            })()
          )
        )
      )
      assert.isTrue(Exit.isFailure(thrown) && Cause.isDie(thrown.cause))
    }).pipe(threadsOf({ maxWorkers: 2 }))
  )

  it.live("loses no item of many, in chunks that threads take from each other", () =>
    Effect.gen(function* () {
      const next = Job.fromFunction((n: number) => n + 1)
      const count = 100_000
      const got = yield* Stream.runCollect(MapJobs.map(next, Stream.range(0, count - 1), { chunk: 10 }))
      assert.strictEqual(
        Array.from(got).findIndex((n, i) => n !== i + 1),
        -1
      )
      assert.strictEqual(got.length, count)
    }).pipe(threadsOf({ maxWorkers: 3 }))
  )

  it.effect("pauses before a retry, by the clock, and no other lane waits", () =>
    Effect.gen(function* () {
      const tries = shared(3)
      const flaky = Job.fromFunction(([i, tries]: readonly [number, Int32Array]) => {
        if (Atomics.add(tries, i, 1) < 2 && i < 2) throw new Error("not yet")
        return i
      })
      const inputs = [0, 1, 2].map((i) => [i, tries] as const)
      for (const chunk of [1, 2]) {
        tries.fill(0)
        const options = {
          chunk,
          concurrency: 2,
          retries: 2,
          backoff: { first: "10 seconds", jitter: 0 }
        } as const
        const fiber = yield* Effect.fork(Stream.runCollect(MapJobs.map(flaky, inputs, options)))
        yield* TestClock.adjust(9999)
        // Two lanes pause where each has one input; the third is free where one lane has both.
        assert.deepStrictEqual([...tries], [1, 1, chunk - 1])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual([...tries], [2, 2, chunk - 1])
        yield* TestClock.adjust(19_999)
        assert.deepStrictEqual([...tries], [2, 2, chunk - 1])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual([...(yield* Fiber.join(fiber))], [0, 1, 2])
        assert.deepStrictEqual([...tries], [3, 3, 1])
      }
      tries.fill(0)
      const fiber = yield* Effect.fork(Stream.runCollect(MapJobs.map(flaky, inputs, { retries: 2 })))
      yield* TestClock.adjust(1)
      yield* cancel(fiber)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([...tries], [1, 1, 1])
    }).pipe(Effect.provide(InlineExecutor.layer))
  )

  it.live("tries again, and emits the results before a failure", () =>
    Effect.gen(function* () {
      const tries = shared(3)
      const flaky = Job.fromFunction(([i, tries]: readonly [number, Int32Array]) => {
        if (Atomics.add(tries, i, 1) < i) throw new Error("not yet")
        return i
      })
      const inputs = [0, 1, 2].map((i) => [i, tries] as const)
      const items = yield* Stream.runCollect(
        MapJobs.each(flaky, inputs, { retries: 1, backoff: { first: 0 } })
      )
      assert.deepStrictEqual(
        Array.from(items, ({ attempts, result }) => [attempts, Either.isRight(result)]),
        [
          [1, true],
          [2, true],
          [2, false]
        ]
      )
      const got: Array<number> = []
      const upToThree = Job.fromFunction((n: number) => {
        if (n === 3) throw new Error("three")
        return n
      })
      const error = yield* MapJobs.map(upToThree, [1, 2, 3, 4]).pipe(
        Stream.runForEach((n) => Effect.sync(() => got.push(n))),
        Effect.flip
      )
      assert.deepStrictEqual([got, error.message], [[1, 2], "job (anonymous) failed: Error: three"])
    }).pipe(threadsOf({ maxWorkers: 2 }))
  )

  it.live("cancels every fiber of a map whose stream is left early", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const flags = shared(2)
      const fiber = yield* MapJobs.map(Job.fromFunction(polite), [flags, flags, flags, flags]).pipe(
        Stream.runDrain,
        Effect.onInterrupt(() => Deferred.succeed(started, undefined)),
        Effect.fork
      )
      yield* until(flags, 0, 2)
      yield* cancel(fiber)
      yield* Deferred.await(started)
      assert.deepStrictEqual(Array.from(flags), [2, 2]) // two ran and were asked; two never began
    }).pipe(threadsOf({ maxWorkers: 2, grace: "1 minute" }))
  )
})

describe("MapJobs.items", () => {
  // An item n sleeps n seconds; 13 fails.
  const naps = ExecutorTest.layer(
    (job, [n]) =>
      n === 13
        ? Effect.fail(
            new ExecutorError.JobFailed({ job, thrown: { name: "", message: "13", stack: "at", value: 13 } })
          )
        : Effect.delay(Effect.succeed(n * 2), n * 1000),
    { maxWorkers: 2 }
  )
  const nap = Job.fromFunction((n: number) => n)
  const inputs = (...values: ReadonlyArray<number | string>): ReadonlyArray<MapJobs.ItemInput> =>
    values.map((value) => ({
      text: `${value}`,
      value: typeof value === "number" ? Either.right(value) : Either.left(`${value} is none`)
    }))
  const lines = (events: Iterable<MapJobs.ItemEvent>) =>
    Array.from(events, (event) =>
      event.event === "summary"
        ? `${event.succeeded} succeeded, ${event.failed} failed, ${event.cancelled} cancelled, exit ${event.exitCode}`
        : event.status === "succeeded"
          ? `${event.index} ${event.name} = ${event.value}`
          : `${event.index} ${event.name}: ${event.reason}`
    )

  it.effect("emits results in input order, bad items among them, and a summary", () =>
    Effect.gen(function* () {
      const all = yield* Effect.fork(
        Stream.runCollect(MapJobs.items(nap, inputs("bad", 3, 1, 13, "worse"), { onFailure: "continue" }))
      )
      yield* TestClock.adjust("2999 millis")
      assert.isTrue((yield* Fiber.poll(all))._tag === "None")
      yield* TestClock.adjust("1 millis")
      const events = yield* Fiber.join(all)
      assert.deepStrictEqual(lines(events), [
        "1 bad: bad is none",
        "2 3 = 6",
        "3 1 = 2",
        "4 13: job (anonymous) failed: 13",
        "5 worse: worse is none",
        "2 succeeded, 3 failed, 0 cancelled, exit 1"
      ])
      const result = Chunk.unsafeGet(events, 1)
      assert.isTrue(result.event === "finished" && Math.round(result.duration) === 3000)
    }).pipe(Effect.provide(naps))
  )

  it.effect("ends at the first failure and cancels the running jobs", () =>
    Effect.gen(function* () {
      const all = yield* Effect.fork(Stream.runCollect(MapJobs.items(nap, inputs(1, 13, 60, 60))))
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(lines(yield* Fiber.join(all)), [
        "1 1 = 2",
        "2 13: job (anonymous) failed: 13",
        "1 succeeded, 1 failed, 2 cancelled, exit 1"
      ])
    }).pipe(Effect.provide(naps))
  )
})
