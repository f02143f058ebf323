import { readdirSync } from "node:fs"
import { threadId } from "node:worker_threads"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FastCheck, Fiber, Layer, Runtime, Scope } from "effect"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import type * as ExecutorError from "../../../src/services/thread/ExecutorError.js"
import * as Job from "../../../src/services/thread/Job.js"

const on = (maxWorkers: number) => Effect.provide(Executor.layerThreads({ maxWorkers, grace: "50 millis" }))

// Numbers that jobs and tests share: shared memory is not copied.
const shared = (length: number) => new Int32Array(new SharedArrayBuffer(4 * length))

const until = (flags: Int32Array, index: number, value: number) =>
  Effect.repeat(EventLoop.nextTurn, { until: () => Atomics.load(flags, index) >= value })

/** Counts itself at [0], then blocks until [1] is set. */
const hold = (flags: Int32Array) => {
  Atomics.add(flags, 0, 1)
  Atomics.wait(flags, 1, 0)
  return "released"
}
const release = (flags: Int32Array) =>
  Effect.sync(() => {
    Atomics.store(flags, 1, 1)
    Atomics.notify(flags, 1)
  })

/** How many threads this process has. Where it cannot be read, fewer at every look. */
let looks = 0
const threads = () => (process.platform === "linux" ? readdirSync("/proc/self/task").length : --looks)

const cancel = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Cancellation.cancel(fiber, { reason: "not needed", origin: "test" })

describe("Executor", () => {
  it.live("runs blocking jobs on other threads, as many at once as it has, while the event loop turns", () =>
    Effect.gen(function* () {
      const met = shared(1)
      // Each waits, blocking, until all five are there.
      const meet = async (met: Int32Array) => {
        const all = 5
        if (Atomics.add(met, 0, 1) === all - 1) Atomics.notify(met, 0)
        for (let seen = Atomics.load(met, 0); seen < all; seen = Atomics.load(met, 0))
          Atomics.wait(met, 0, seen)
        return (await import("node:worker_threads")).threadId
      }
      const threads = yield* Effect.all(
        Array.from({ length: 5 }, () => Executor.blocking(meet, met)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(threads).size, 5)
      assert.notInclude(threads, threadId)
    }).pipe(on(5))
  )

  it.live("copies arguments and results", () =>
    Effect.gen(function* () {
      const executor = yield* Executor.Executor
      const same = Job.fromFunction((value: unknown) => value)
      const run = Runtime.runPromise(yield* Effect.runtime())
      yield* Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(FastCheck.jsonValue(), async (value) => {
            assert.deepStrictEqual(await run(executor.run(same, [value])), structuredClone(value))
          }),
          { numRuns: 50 }
        )
      )
      const original = new Map([["at", new Date(0)]])
      const copy = yield* Executor.blocking((map: Map<string, Date>) => map, original)
      assert.deepStrictEqual(copy, original)
      assert.notStrictEqual(copy, original)
    }).pipe(on(1))
  )

  it.live("runs self-contained functions of every shape", () =>
    Effect.gen(function* () {
      async function declared(n: number) {
        const inner = (m: number) => m * 2
        return inner(n)
      }
      assert.strictEqual(yield* Executor.blocking(declared, 21), 42)
      assert.strictEqual(yield* Executor.blocking((a: string, b: number) => a.repeat(b), "ab", 2), "abab")
      assert.strictEqual(
        yield* Executor.blocking(async () => (await import("effect")).Option.none()._tag),
        "None"
      )
      for (const fn of [
        Math.max,
        declared.bind(undefined),
        {
          m() {
            return 1
          }
        }.m
      ]) {
        const error = yield* Effect.flip(Executor.blocking(fn as () => unknown))
        assert.deepInclude(error, { _tag: "NotSerializable", part: "function" })
      }
    }).pipe(on(1))
  )

  it.live("reports the error that a job threw", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Executor.blocking(function parse() {
          throw Object.assign(new RangeError("too far"), { code: "E_FAR", at: { line: 3 }, drop: () => 1 })
        })
      )
      assert.strictEqual(error.message, "job parse failed: RangeError: too far")
      assert.strictEqual(error._tag, "JobFailed")
      if (error._tag !== "JobFailed") return
      assert.deepStrictEqual(error.thrown.value, { code: "E_FAR", at: { line: 3 } })
      assert.match(error.thrown.stack!, /RangeError: too far\n +at parse \(/)

      const nonError = yield* Effect.flip(Executor.blocking(() => Promise.reject({ left: 2 })))
      assert.deepInclude(nonError, { _tag: "JobFailed" })
      assert.deepStrictEqual((nonError as ExecutorError.JobFailed).thrown.value, { left: 2 })

      const outside = 1
      const closure = yield* Effect.flip(Executor.blocking(() => outside))
      assert.strictEqual(
        closure.message,
        "job (anonymous) failed: ReferenceError: outside is not defined; a job sees its arguments and nothing of where it was written"
      )
    }).pipe(on(1))
  )

  it.live("fails the job whose thread ends, and no other", () =>
    Effect.gen(function* () {
      const flags = shared(2)
      const other = yield* Effect.fork(Executor.blocking(hold, flags))
      yield* until(flags, 0, 1)
      const exit = yield* Effect.flip(Executor.blocking(() => process.exit(3)))
      assert.deepInclude(exit, { _tag: "WorkerCrashed", reason: "exit" })
      assert.include(exit.message, "process.exit(3)")
      const uncaught = yield* Effect.flip(
        Executor.blocking(() => {
          setTimeout(() => {
            throw new Error("too late")
          })
          return new Promise<never>(() => undefined)
        })
      )
      assert.deepInclude(uncaught, { _tag: "WorkerCrashed", reason: "uncaught" })
      assert.include(uncaught.message, "uncaught Error: too late")
      yield* release(flags)
      assert.strictEqual(yield* Fiber.join(other), "released")
      assert.strictEqual(yield* Executor.blocking(() => "next"), "next")
    }).pipe(on(2))
  )

  it.live("is not affected by leftovers of a job", () =>
    Effect.gen(function* () {
      const flags = shared(1)
      yield* Executor.blocking((flags: Int32Array) => {
        setTimeout(() => {
          Atomics.store(flags, 0, 1)
          throw new Error("left behind")
        }, 1)
      }, flags)
      // The thread's own loop turns again with the next job, which may lose its thread; the one after it may not.
      yield* Effect.exit(Executor.blocking(() => new Promise((resolve) => setTimeout(resolve, 20))))
      yield* until(flags, 0, 1)
      assert.strictEqual(yield* Executor.blocking(() => "well"), "well")
    }).pipe(on(1))
  )

  it.live("names the value that cannot cross", () =>
    Effect.gen(function* () {
      const argument = yield* Effect.flip(
        Executor.blocking(
          (f: () => void) => f(),
          () => undefined
        )
      )
      assert.deepInclude(argument, { _tag: "NotSerializable", part: "arguments" })
      const result = yield* Effect.flip(Executor.blocking(() => ({ f: () => 1 })))
      assert.deepInclude(result, { _tag: "NotSerializable", part: "result" })
      assert.match(
        result.message,
        /^the result of job \(anonymous\) cannot cross to another thread: .*cloned/
      )
      assert.strictEqual(yield* Executor.blocking(() => "next"), "next")
    }).pipe(on(1))
  )

  it.live(
    "starts jobs in the order in which they were asked for, and never a queued one that was cancelled",
    () =>
      Effect.gen(function* () {
        const flags = shared(2)
        const order = shared(8)
        const first = yield* Effect.fork(Executor.blocking(hold, flags))
        yield* until(flags, 0, 1)
        const mark = (order: Int32Array, n: number) => Atomics.store(order, Atomics.add(order, 0, 1) + 1, n)
        const queued = yield* Effect.forEach([1, 2, 3, 4], (n) =>
          Effect.fork(Executor.blocking(mark, order, n))
        )
        yield* EventLoop.nextTurn
        const cancelled = yield* cancel(queued[1]!)
        assert.deepStrictEqual(Cancellation.fromExit(cancelled), [{ reason: "not needed", origin: "test" }])
        yield* release(flags)
        assert.strictEqual(yield* Fiber.join(first), "released")
        yield* Effect.forEach(queued, Fiber.await)
        assert.deepStrictEqual(Array.from(order), [3, 1, 3, 4, 0, 0, 0, 0])
      }).pipe(on(1))
  )

  it.live(
    "ends the thread of a running job that is cancelled, before the cancellation is over, and replaces it",
    () =>
      Effect.gen(function* () {
        const held = shared(2)
        const other = yield* Effect.fork(Executor.blocking(hold, held))
        yield* until(held, 0, 1)
        const spins = shared(1)
        for (let round = 1; round <= 3; round++) {
          const spinning = yield* Effect.fork(
            Executor.blocking((spins: Int32Array) => {
              for (;;) Atomics.add(spins, 0, 1)
            }, spins)
          )
          yield* until(spins, 0, 1)
          const before = threads()
          yield* cancel(spinning)
          assert.isBelow(threads(), before)
          const seen = Atomics.exchange(spins, 0, 0)
          assert.strictEqual(yield* Executor.blocking(() => "next"), "next")
          assert.isAbove(seen, 0)
          assert.strictEqual(Atomics.load(spins, 0), 0)
        }
        // One that is blocked is ended as well.
        const blocked = shared(2)
        const waiting = yield* Effect.fork(Executor.blocking(hold, blocked))
        yield* until(blocked, 0, 1)
        yield* cancel(waiting)
        yield* release(held)
        assert.strictEqual(yield* Fiber.join(other), "released")
      }).pipe(on(2))
  )

  it.live("ends its threads with its scope, and every job with them", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        Executor.layerThreads({ maxWorkers: 1, grace: "50 millis" }),
        scope
      )
      const spins = shared(1)
      const run = yield* Effect.fork(
        Executor.blocking((spins: Int32Array) => {
          for (;;) Atomics.add(spins, 0, 1)
        }, spins).pipe(Effect.provide(context))
      )
      const queued = yield* Effect.fork(Executor.blocking(() => 1).pipe(Effect.provide(context)))
      yield* until(spins, 0, 1)
      yield* Scope.close(scope, Exit.void)
      const seen = Atomics.load(spins, 0)
      for (const fiber of [run, queued]) {
        const error = yield* Effect.flip(Fiber.join(fiber))
        assert.deepInclude(error, { _tag: "WorkerCrashed", reason: "closed" })
      }
      const late = yield* Effect.flip(
        Effect.provide(
          Executor.blocking(() => 1),
          context
        )
      )
      assert.deepInclude(late, { _tag: "WorkerCrashed", reason: "closed" })
      assert.strictEqual(Atomics.load(spins, 0), seen)
    })
  )

  it.live("runs the exports of a module", () =>
    Effect.gen(function* () {
      const url =
        "data:text/javascript,let calls = 0; export const count = (by) => (calls += by); export const no = 1"
      const count = Job.fromModule<(by: number) => number>(url, "count")
      assert.strictEqual(yield* Executor.run(count, 2), 2)
      assert.strictEqual(yield* Executor.run(count, 3), 5) // loaded once a thread
      const none = yield* Effect.flip(Executor.run(Job.fromModule<() => void>(url, "no")))
      assert.include(none.message, "has no function 'no' (count)")
      const nowhere = yield* Effect.flip(Executor.run(Job.fromModule<() => void>("file:///nowhere.js", "x")))
      assert.include(nowhere.message, "Cannot find module '/nowhere.js'")
    }).pipe(on(1))
  )

  it.effect("dies on a number of threads out of range", () =>
    Effect.gen(function* () {
      for (const maxWorkers of [0, -1, 1.5, Number.NaN]) {
        const exit = yield* Effect.exit(Effect.provide(Effect.void, Executor.layerThreads({ maxWorkers })))
        assert.isTrue(Exit.isFailure(exit))
      }
    })
  )
})
