import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, TestClock } from "effect"
import * as Executors from "../../src/programs/Executors.js"
import * as Output from "../../src/services/host/Output.js"
import * as GuideServer from "../../src/services/http/GuideServer.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import * as Executor from "../../src/services/thread/Executor.js"
import * as ExecutorError from "../../src/services/thread/ExecutorError.js"
import * as ExecutorTest from "../../src/services/thread/ExecutorTest.js"

const server = Layer.succeed(GuideServer.GuideServer, { origin: "http://guide" })

// The download of page n, counted from 1, as a test wants it.
const answering = (answer: (page: number) => Effect.Effect<unknown, ExecutorError.ExecutorError>) =>
  Effect.provide(
    Layer.mergeAll(
      ExecutorTest.layer(
        (_, [url]) =>
          answer(
            1 + GuideServer.pages.findIndex((page) => url === page.url.replace("https:/", "http://guide"))
          ),
        { maxWorkers: 5 }
      ),
      server,
      Output.layerTest
    )
  )

const printed = Effect.map(Output.Captured, ({ stdout }) => [...stdout])

const lines = [
  "foobar",
  "Downloaded https://www.google.com, size 16384",
  "Downloaded https://www.facebook.com, size 32768",
  "Downloaded https://www.twitter.com, size 8192",
  "Downloaded https://www.stackoverflow.com, size 65536"
]
const size = (page: number) => GuideServer.pages[page - 1]!.size

describe("Executors", () => {
  it.effect("example prints foobar at once and each page when it is there", () =>
    Effect.gen(function* () {
      const example = yield* Effect.fork(Executors.example)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* printed, lines.slice(0, 1))
      for (const page of [1, 2, 3, 4]) {
        yield* TestClock.adjust("39 millis")
        assert.deepStrictEqual(yield* printed, lines.slice(0, page))
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* printed, lines.slice(0, page + 1))
      }
      yield* Fiber.join(example)
    }).pipe(answering((page) => Effect.delay(Effect.succeed(size(page)), 40 * page)))
  )

  it.effect("example keeps the order of the pages whatever the order of their arrival", () =>
    Effect.gen(function* () {
      const example = yield* Effect.fork(Executors.example)
      yield* TestClock.adjust("399 millis")
      assert.deepStrictEqual(yield* printed, lines.slice(0, 1))
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* printed, lines)
      yield* Fiber.join(example)
    }).pipe(answering((page) => Effect.delay(Effect.succeed(size(page)), 100 * (5 - page))))
  )

  it.effect("example cancels the other downloads when one fails, and waits for their clean-up", () => {
    const cleaned: Array<number> = []
    const failure = new ExecutorError.WorkerCrashed({ job: "downloadSize", reason: "memory", detail: "full" })
    return Effect.gen(function* () {
      const example = yield* Effect.fork(Effect.exit(Executors.example))
      yield* TestClock.adjust("99 millis")
      assert.deepStrictEqual(cleaned, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(example), Exit.fail(failure))
      assert.deepStrictEqual(cleaned.sort(), [1, 3, 4])
      assert.deepStrictEqual(yield* printed, lines.slice(0, 1))
    }).pipe(
      answering((page) =>
        page === 2
          ? Effect.delay(Effect.fail(failure), "100 millis")
          : Effect.onInterrupt(Effect.never, () => Effect.sync(() => cleaned.push(page)))
      )
    )
  })

  it.effect("example cancels its downloads when it is cancelled, with the reason", () =>
    Effect.gen(function* () {
      const reasons = yield* Deferred.make<ReadonlyArray<Cancellation.Cancellation>>()
      const reason = { reason: "enough", origin: "test" }
      yield* Effect.gen(function* () {
        const example = yield* Effect.fork(Executors.example)
        yield* TestClock.adjust("1 seconds")
        yield* Cancellation.cancel(example, reason)
      }).pipe(
        answering(() =>
          Effect.onExit(Effect.never, (exit) => Deferred.succeed(reasons, Cancellation.fromExit(exit)))
        )
      )
      assert.deepInclude(yield* Deferred.await(reasons), reason)
    })
  )

  it.live("example downloads on threads that block, from a server on this one", () =>
    Effect.gen(function* () {
      yield* Executors.example
      assert.deepStrictEqual(yield* printed, lines)
    }).pipe(
      Effect.provide(
        Layer.mergeAll(Executor.layerThreads({ maxWorkers: 5 }), GuideServer.layer, Output.layerTest)
      )
    )
  )

  it.live("a download that fails is the failure of its job", () =>
    Effect.gen(function* () {
      const { origin } = yield* GuideServer.GuideServer
      const missing = yield* Effect.flip(Executor.blocking(Executors.downloadSize, `${origin}/nothing`))
      assert.strictEqual(
        missing.message,
        `job downloadSize failed: Error: cannot download ${origin}/nothing: status 404`
      )
      const nobody = yield* Effect.flip(Executor.blocking(Executors.downloadSize, "http://127.0.0.1:1/"))
      assert.match(nobody.message, /cannot download http:\/\/127\.0\.0\.1:1\/: .+/)
    }).pipe(Effect.provide(Layer.mergeAll(Executor.layerThreads({ maxWorkers: 1 }), GuideServer.layer)))
  )
})
