import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream, TestClock } from "effect"
import * as ExecutorTest from "../../../src/services/thread/ExecutorTest.js"
import * as Job from "../../../src/services/thread/Job.js"
import * as MapJobs from "../../../src/services/thread/MapJobs.js"

describe("ExecutorTest", () => {
  it.effect("answers in virtual time, on as many threads as it is given", () =>
    Effect.gen(function* () {
      const done: Array<number> = []
      const job = Job.fromFunction(function nap(seconds: number) {
        return seconds
      })
      const all = yield* MapJobs.map(job, [2, 1, 2]).pipe(
        Stream.runForEach((seconds) => Effect.sync(() => done.push(seconds))),
        Effect.fork
      )
      yield* TestClock.adjust("1999 millis")
      assert.deepStrictEqual(done, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(done, [2, 1])
      yield* TestClock.adjust("1 seconds") // the third began at 1 s
      assert.deepStrictEqual(done, [2, 1, 2])
      yield* Fiber.join(all)
    }).pipe(
      Effect.provide(
        ExecutorTest.layer(
          (job, [seconds]) => Effect.delay(Effect.succeed(job === "nap" && seconds), `${seconds} seconds`),
          {
            maxWorkers: 2
          }
        )
      )
    )
  )
})
