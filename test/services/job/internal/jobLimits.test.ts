import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, TestClock } from "effect"
import * as jobLimits from "../../../../src/services/job/internal/jobLimits.js"

describe("jobLimits", () => {
  const limited = (limits: jobLimits.JobLimits) =>
    Effect.flatMap(Clock.currentTimeNanos, (now) =>
      Effect.fork(Effect.flip(limits.limit("job", Effect.never, now)))
    )

  it.effect("ends an attempt at a fixed time, and none without a timeout", () =>
    Effect.gen(function* () {
      const fiber = yield* limited(jobLimits.make("5 seconds"))
      const free = yield* limited(jobLimits.make(undefined))
      yield* TestClock.adjust("4999 millis")
      assert.isNull(fiber.unsafePoll())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).message, "job was not done in 5s")
      yield* TestClock.adjust("1 day")
      assert.isNull(free.unsafePoll())
      yield* Fiber.interrupt(free)
    })
  )

  it.effect("ends an attempt at a multiple of the median, once three have succeeded", () =>
    Effect.gen(function* () {
      const limits = jobLimits.make({ median: 2 })
      const fiber = yield* limited(limits)
      limits.succeeded(3000)
      limits.succeeded(1000)
      yield* TestClock.adjust("3500 millis")
      assert.isNull(fiber.unsafePoll())
      limits.succeeded(2000)
      // 2 × 2 s from the attempt's start, not from the third success.
      yield* TestClock.adjust("499 millis")
      assert.isNull(fiber.unsafePoll())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).message, "job was not done in 4s")
    })
  )
})
