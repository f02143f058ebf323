import { readdirSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import {
  Chunk,
  Console,
  Effect,
  Either,
  Exit,
  Fiber,
  FiberRef,
  Layer,
  Logger,
  LogLevel,
  Random,
  Scope,
  Stream
} from "effect"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import type * as ExecutorError from "../../../src/services/thread/ExecutorError.js"
import * as InJob from "../../../src/services/thread/InJob.js"
import * as Job from "../../../src/services/thread/Job.js"
import * as MapJobs from "../../../src/services/thread/MapJobs.js"
import type * as Jobs from "../../fixtures/executor/jobs.js"

const fixture = new URL("../../fixtures/executor/jobs.ts", import.meta.url)

const shared = (length: number) => new Int32Array(new SharedArrayBuffer(4 * length))
const until = (flags: Int32Array, index: number, value: number) =>
  Effect.repeat(EventLoop.nextTurn, { until: () => Atomics.load(flags, index) >= value })
const cancel = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Cancellation.cancel(fiber, { reason: "not needed", origin: "test" })
const threads = () => (process.platform === "linux" ? readdirSync("/proc/self/task").length : 0)

/** Counts itself at [0], polls until it is asked to end, and counts that at [1]. */
const polite = (flags: Int32Array) => {
  Atomics.add(flags, 0, 1)
  while (!InJob.cancelled());
  Atomics.add(flags, 1, 1)
  return "asked"
}
const spin = (flags: Int32Array) => {
  Atomics.add(flags, 0, 1)
  for (;;);
}

const threadsOf = (options: Executor.WorkersOptions) => Effect.provide(Executor.layerThreads(options))

describe("Executor", () => {
  // Both kinds of worker, one behaviour.
  for (const [kind, layer] of [
    ["layerThreads", Executor.layerThreads],
    ["layerProcesses", Executor.layerProcesses]
  ] as const) {
    describe(kind, () => {
      const on = (options: Executor.WorkersOptions) => Effect.provide(layer(options))

      it.live("fails the job that ends its worker, and no other", () =>
        Effect.gen(function* () {
          const reasons = yield* Effect.all(
            [
              Effect.flip(Executor.blocking(() => process.exit(3))),
              Effect.flip(
                Executor.blocking(() => {
                  const all: Array<Array<number>> = []
                  for (;;) all.push(new Array(10_000).fill(Math.random()))
                })
              ),
              Effect.flip(
                Executor.blocking(() => {
                  void Promise.reject(new RangeError("not awaited"))
                  return new Promise<never>(() => undefined)
                })
              ),
              Effect.flip(
                Executor.blocking(() => {
                  setTimeout(() => {
                    throw new Error("too late")
                  })
                  return new Promise<never>(() => undefined)
                })
              ),
              Executor.blocking(() => "well"),
              Effect.flip(Executor.blocking(() => ({ deep: [{ f: () => 1 }] }))),
              Effect.flip(
                Executor.blocking(() => {
                  throw null
                })
              ),
              Executor.blocking((n: number) => n + 1, 1)
            ],
            { concurrency: "unbounded" }
          )
          assert.deepInclude(reasons[0], { _tag: "WorkerCrashed", reason: "exit" })
          assert.include(reasons[0].message, "process.exit(3)")
          assert.deepInclude(reasons[1], { _tag: "WorkerCrashed", reason: "memory" })
          assert.deepInclude(reasons[2], { _tag: "WorkerCrashed", reason: "uncaught" })
          assert.include(reasons[2].message, "RangeError: not awaited")
          assert.deepInclude(reasons[3], { _tag: "WorkerCrashed", reason: "uncaught" })
          assert.include((reasons[3] as ExecutorError.WorkerCrashed).remoteStack, "blocking.cjs")
          assert.strictEqual(reasons[4], "well")
          assert.strictEqual(
            reasons[5].message,
            "the result of job (anonymous) cannot cross to another thread: the result.deep[0].f is a function (f), which cannot be cloned"
          )
          assert.deepInclude(reasons[6], { _tag: "JobFailed" })
          assert.strictEqual(reasons[6].message, "job (anonymous) failed: null")
          assert.strictEqual(reasons[7], 2)
        }).pipe(on({ maxWorkers: 2, maxMemory: 32 * 1024 * 1024 }))
      )

      it.live("signals a job that is cancelled, and keeps its worker if the job ends", () =>
        Effect.gen(function* () {
          const pid = Executor.blocking(async () => {
            const { threadId } = await import("node:worker_threads")
            return `${process.pid} ${threadId}`
          })
          const before = yield* pid
          const fiber = yield* Effect.fork(
            Executor.blocking(async () => {
              console.log("runs")
              while (!InJob.cancelled()) await new Promise((resolve) => setTimeout(resolve, 1))
              console.log("asked")
            })
          )
          yield* Effect.repeat(EventLoop.nextTurn, { until: () => printed.includes("runs") })
          yield* cancel(fiber)
          assert.deepStrictEqual(printed, ["runs", "asked"])
          assert.strictEqual(yield* pid, before)
        }).pipe(on({ maxWorkers: 1, grace: "1 minute" }), Effect.withConsole(capture()))
      )

      it.live("counts a timeout from when the job runs, and asks before it ends the worker", () =>
        Effect.gen(function* () {
          const late = yield* Executor.blocking(() => {
            for (;;);
          }).pipe(Executor.withTimeout("50 millis"), Effect.flip)
          assert.deepInclude(late, { _tag: "JobTimedOut" })
          assert.match(late.message, / was not done in 50ms$/)
          const polled = yield* Executor.blocking(function patient() {
            while (!InJob.cancelled());
          }).pipe(Executor.withTimeout("50 millis"), Effect.flip)
          assert.strictEqual(polled.message, "job patient was not done in 50ms")
          // Ten of 100 ms behind each other: the last one waits for longer than its timeout.
          const nap = Executor.blocking(
            () => new Promise((resolve) => setTimeout(() => resolve("slept"), 100))
          )
          const all = yield* Effect.all(
            Array.from({ length: 10 }, () => nap),
            { concurrency: 10 }
          ).pipe(Executor.withTimeout("900 millis"))
          assert.deepStrictEqual(new Set(all), new Set(["slept"]))
        }).pipe(on({ maxWorkers: 1, grace: "100 millis" }))
      )

      it.live("settles each item of a chunk, whatever one of them does to the worker", () =>
        Effect.gen(function* () {
          const job = Job.fromFunction((n: number): unknown => {
            if (n === 3) process.exit(1)
            if (n === 6) throw new RangeError("six")
            if (n === 7) for (;;);
            if (n === 8) return () => 1
            return n === 9
              ? { n }
              : n === 10
                ? undefined
                : n === 11
                  ? Number.NaN
                  : n % 2 === 0
                    ? n
                    : `"${n}", ü`
          })
          const items = yield* MapJobs.each(
            job,
            Array.from({ length: 13 }, (_, i) => i),
            {
              chunk: 5,
              timeout: "500 millis"
            }
          ).pipe(Stream.runCollect)
          assert.deepStrictEqual(
            Array.from(items, ({ index, input, result }) => [
              index === input,
              Either.match(result, { onLeft: (error) => error._tag, onRight: (value) => value })
            ]),
            [
              0,
              '"1", ü',
              2,
              "WorkerCrashed",
              4,
              '"5", ü',
              "JobFailed",
              "JobTimedOut",
              "NotSerializable",
              { n: 9 },
              undefined,
              Number.NaN,
              12
            ].map((value) => [true, value])
          )
        }).pipe(on({ maxWorkers: 2, grace: 0 }))
      )

      it.live("runs a function of a TypeScript module, and an initializer before it", () =>
        Effect.gen(function* () {
          const shout = Job.fromModule<typeof Jobs.shout>(fixture, "shout")
          assert.strictEqual(yield* Executor.run(shout, "a"), "A!")
          const no = yield* Effect.flip(Executor.run(Job.fromModule<() => void>(fixture, "notAFunction")))
          assert.include(no.message, "has no function 'notAFunction' (fails, logs, never, shout, size)")
          assert.strictEqual(yield* Executor.blocking(() => (globalThis as { made?: string }).made), "once")
        }).pipe(
          on({
            maxWorkers: 1,
            initializer: Job.fromFunction(() => {
              ;(globalThis as { made?: string }).made = "once"
            })
          })
        )
      )

      it.live("fails every job for which no worker can be started", () =>
        Effect.gen(function* () {
          const errors = yield* Effect.all(
            Array.from({ length: 3 }, () => Effect.flip(Executor.blocking(() => 1))),
            { concurrency: "unbounded" }
          )
          for (const error of errors) {
            assert.deepInclude(error, { _tag: "WorkerCrashed", reason: "start" })
            assert.include(error.message, "no configuration")
          }
        }).pipe(
          on({
            maxWorkers: 2,
            initializer: Job.fromFunction(() => {
              throw new Error("no configuration")
            })
          })
        )
      )

      it.live("returns output in order, however much, and before the result", () =>
        Effect.gen(function* () {
          const lines = 20_000
          yield* Executor.blocking((lines: number) => {
            for (let i = 0; i < lines; i++) {
              if (i % 2 === 0) console.log("out", i)
              else process.stderr.write(`err ${i}\n`)
            }
            process.stdout.write("no line end")
          }, lines)
          assert.strictEqual(printed.length, lines + 1)
          assert.deepStrictEqual(printed.slice(0, 2), ["out 0", "! err 1"])
          assert.deepStrictEqual(printed.slice(-2), [`! err ${lines - 1}`, "no line end"])
        }).pipe(on({ maxWorkers: 1 }), Effect.withConsole(capture()))
      )

      it.live("ends idle workers, keeps the least, and replaces those that have done enough", () =>
        Effect.gen(function* () {
          const me = Executor.blocking(async () => {
            const { threadId } = await import("node:worker_threads")
            return `${process.pid} ${threadId}`
          })
          const seen = new Set<string>()
          for (let i = 0; i < 6; i++) seen.add(yield* me)
          assert.strictEqual(seen.size, 3) // two jobs each
        }).pipe(on({ maxWorkers: 1, recycleAfter: 2, idleTimeout: "1 hour", minWorkers: 1 }))
      )
    })
  }

  let printed: Array<string> = []
  const capture = (): Console.Console => {
    printed = []
    const console = {
      log: (line: string) => Effect.sync(() => printed.push(line)),
      error: (line: string) => Effect.sync(() => printed.push(`! ${line}`)),
      unsafe: globalThis.console
    }
    return {
      ...Console.consoleWith,
      [Console.TypeId]: Console.TypeId,
      ...console
    } as unknown as Console.Console
  }

  it.live("names the place where an argument cannot be cloned", () =>
    Effect.gen(function* () {
      const flip = (...args: ReadonlyArray<unknown>) =>
        Effect.map(
          Effect.flip(Executor.blocking((...all: ReadonlyArray<unknown>) => all.length, ...args)),
          String
        )
      const say = (what: string) =>
        `NotSerializable: the arguments of job (anonymous) cannot cross to another thread: ${what}`
      const on = { close: () => undefined }
      assert.strictEqual(
        yield* flip(1, { on }),
        say("arguments[1].on.close is a function (close), which cannot be cloned")
      )
      assert.strictEqual(
        yield* flip(new Map([["a b", [Symbol("x")]]])),
        say('arguments[0]["a b"][0] is a symbol, which cannot be cloned')
      )
      assert.strictEqual(yield* flip(new WeakMap()), say("arguments[0] is a WeakMap, which cannot be cloned"))
      const round: Record<string, unknown> = {}
      round["self"] = round
      round["bad"] = Promise.resolve()
      assert.strictEqual(yield* flip(round), say("arguments[0].bad is a Promise, which cannot be cloned"))
    }).pipe(threadsOf({ maxWorkers: 1 }))
  )

  it.live("names the variable that a closure misses", () =>
    Effect.gen(function* () {
      const outside = { n: 1 }
      const error = yield* Effect.flip(Executor.blocking((n: number) => outside.n + n, 1))
      assert.strictEqual(error._tag === "JobFailed" && error.missing, "outside")
    }).pipe(threadsOf({ maxWorkers: 1 }))
  )

  it.live("moves buffers instead of copying them, there and back", () =>
    Effect.gen(function* () {
      const bytes = new Uint8Array(64 * 1024 * 1024)
      bytes[5] = 7
      const back = yield* Executor.blocking((bytes: Uint8Array) => {
        bytes[6] = bytes[5]! + 1
        return InJob.move(bytes)
      }, InJob.move(bytes))
      assert.deepStrictEqual([bytes.length, back.length, back[6]], [0, 64 * 1024 * 1024, 8])
    }).pipe(threadsOf({ maxWorkers: 1 }))
  )

  it.live("takes span, log annotations and chosen FiberRefs along", () =>
    Effect.gen(function* () {
      const tenant = FiberRef.unsafeMake<unknown>("nobody")
      yield* FiberRef.set(tenant, "ada")
      const span = yield* Effect.currentSpan
      const context = yield* Executor.blocking(function who() {
        return InJob.context()
      }).pipe(Executor.withRefs({ tenant }), Effect.annotateLogs({ request: 7, handler: () => 1 }))
      assert.deepStrictEqual(context, {
        job: "who",
        annotations: { request: 7, handler: "[Function: handler]" },
        span: { traceId: span.traceId, spanId: span.spanId, sampled: true, name: "outer" },
        refs: { tenant: "ada" }
      })
      yield* FiberRef.set(tenant, () => 1)
      const bad = yield* Effect.flip(Executor.blocking(() => 1).pipe(Executor.withRefs({ tenant })))
      assert.include(
        bad.message,
        "the context of job (anonymous) cannot cross to another thread: refs.tenant"
      )
    }).pipe(threadsOf({ maxWorkers: 1 }), Effect.withSpan("outer"))
  )

  it.live(
    "runs a job that is an Effect: its logs arrive in order, with the annotations of its caller",
    () => {
      const entries: Array<unknown> = []
      const logger = Logger.make<unknown, void>(({ annotations, logLevel, message }) => {
        entries.push([logLevel.label, message, Object.fromEntries(annotations)])
      })
      return Effect.gen(function* () {
        const logs = Job.fromModule<typeof Jobs.logs>(fixture, "logs")
        const span = yield* Effect.currentSpan
        const spanId = yield* Executor.run(logs, 1).pipe(Effect.annotateLogs("request", 7))
        assert.strictEqual(spanId, span.spanId)
        assert.deepStrictEqual(entries, [
          ["INFO", ["before", 1], { request: 7 }],
          ["WARN", ["after"], { request: 7, own: { deep: 1 } }]
        ])
        assert.deepStrictEqual(printed, ["printed"])
        const failed = yield* Effect.flip(Executor.run(Job.fromModule<typeof Jobs.fails>(fixture, "fails")))
        assert.deepStrictEqual((failed as ExecutorError.JobFailed).thrown.value, { _tag: "Nope", left: 2 })
        const fiber = yield* Effect.fork(Executor.run(Job.fromModule<typeof Jobs.never>(fixture, "never")))
        yield* EventLoop.nextTurn
        yield* cancel(fiber) // interrupted there, long before the grace period is over
        assert.strictEqual(yield* Executor.blocking(() => "next"), "next")
      }).pipe(
        threadsOf({ maxWorkers: 1, grace: "1 minute" }),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Logger.withMinimumLogLevel(LogLevel.Info),
        Effect.withConsole(capture()),
        Effect.withSpan("outer")
      )
    }
  )

  it.live("refuses a job when the queue is full", () =>
    Effect.gen(function* () {
      const flags = shared(2)
      const running = yield* Effect.fork(Executor.blocking(polite, flags))
      yield* until(flags, 0, 1)
      const waiting = yield* Effect.fork(Executor.blocking(() => "waited"))
      yield* EventLoop.nextTurn
      const refused = yield* Effect.flip(Executor.blocking(() => 1))
      assert.deepInclude(refused, { _tag: "QueueFull", maxQueue: 1 })
      yield* cancel(running)
      assert.strictEqual(yield* Fiber.join(waiting), "waited")
      const many = yield* Stream.runCollect(
        MapJobs.map(
          Job.fromFunction((n: number) => n),
          Stream.range(1, 100)
        )
      )
      assert.strictEqual(many.length, 100)
    }).pipe(threadsOf({ maxWorkers: 1, maxQueue: 1 }))
  )

  it.live("lets running jobs end within the grace period when it closes, and takes no more", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        Executor.layerThreads({ maxWorkers: 1, grace: "1 minute" }),
        scope
      )
      const flags = shared(2)
      const running = yield* Effect.fork(
        Effect.provide(
          Executor.blocking((flags: Int32Array) => {
            Atomics.store(flags, 0, 1)
            Atomics.wait(flags, 1, 0)
            return "ended"
          }, flags),
          context
        )
      )
      const queued = yield* Effect.fork(
        Effect.provide(
          Executor.blocking(() => 1),
          context
        )
      )
      yield* until(flags, 0, 1)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      assert.deepInclude(yield* Effect.flip(Fiber.join(queued)), { _tag: "WorkerCrashed", reason: "closed" })
      assert.isTrue((yield* Fiber.poll(running))._tag === "None")
      Atomics.store(flags, 1, 1)
      Atomics.notify(flags, 1)
      assert.strictEqual(yield* Fiber.join(running), "ended")
      yield* Fiber.join(closing)
    })
  )

  it.live("does not let tiny jobs wait behind a long one while another thread is free", () =>
    Effect.gen(function* () {
      const tiny = Job.fromFunction((n: number) => n)
      yield* Stream.runDrain(MapJobs.map(tiny, Stream.range(1, 200))) // now it hands out jobs ahead
      const flags = shared(2)
      const job = Job.fromFunction(([n, flags]: readonly [number, Int32Array]) => {
        if (n === 0) {
          Atomics.store(flags, 0, 1)
          Atomics.wait(flags, 1, 0)
        }
        return n
      })
      const all = yield* Stream.runCollect(
        MapJobs.each(
          job,
          Array.from({ length: 500 }, (_, n) => [n, flags] as const),
          { unordered: true }
        ).pipe(
          Stream.tap(({ index }) =>
            Effect.sync(() => {
              seen++
              if (seen === 499) {
                assert.notStrictEqual(index, 0)
                Atomics.store(flags, 1, 1)
                Atomics.notify(flags, 1)
              }
            })
          )
        )
      )
      assert.strictEqual(
        Chunk.last(all).pipe((last) => last._tag === "Some" && last.value.index),
        0
      )
    }).pipe(threadsOf({ maxWorkers: 2 }))
  )
  let seen = 0

  it.live(
    "survives 1,000 cancellations at random moments: no thread is left, no other job is lost",
    () =>
      Effect.gen(function* () {
        const before = threads()
        yield* Effect.gen(function* () {
          const flags = shared(4)
          const others = yield* Effect.fork(
            Effect.all(
              Array.from({ length: 300 }, (_, i) =>
                Effect.zipRight(
                  Effect.repeatN(EventLoop.nextTurn, i * 3),
                  Executor.blocking((i: number) => i * 2, i)
                )
              ),
              { concurrency: "unbounded" }
            )
          )
          const kinds = [
            Executor.blocking(polite, flags),
            Executor.blocking(() => 1),
            Executor.blocking(() => new Promise((resolve) => setTimeout(resolve, 1))),
            Executor.blocking((n: number) => {
              let sum = 0
              for (let i = 0; i < n; i++) sum += i
              return sum
            }, 100_000)
          ]
          let hard = 0
          for (let i = 0; i < 1000; i++) {
            const spins = i % 50 === 49
            if (spins) hard++
            const fiber = yield* Effect.fork(
              spins ? Executor.blocking(spin, flags) : kinds[yield* Random.nextIntBetween(0, kinds.length)]!
            )
            yield* Effect.repeatN(EventLoop.nextTurn, yield* Random.nextIntBetween(0, 6))
            yield* cancel(fiber)
          }
          assert.strictEqual(hard, 20)
          assert.deepStrictEqual(
            yield* Fiber.join(others),
            Array.from({ length: 300 }, (_, i) => i * 2)
          )
          assert.strictEqual(yield* Executor.blocking(() => "next"), "next")
        }).pipe(threadsOf({ maxWorkers: 3, grace: "20 millis" }))
        yield* Effect.repeat(EventLoop.nextTurn, { until: () => threads() <= before })
      }).pipe(Effect.withRandom(Random.make(1))),
    120_000
  )
})
