import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Option, TestClock } from "effect"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as Deadline from "../../../src/services/task/Deadline.js"

const late = { reason: "no answer within 1 s", origin: "test" }
const limit = Duration.seconds(1)

describe("Deadline", () => {
  it.effect("gives what the effect gives in time", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Deadline.within(Effect.succeed(1), limit, late), Exit.succeed(1))
      assert.deepStrictEqual(yield* Deadline.within(Effect.fail("no"), limit, late), Exit.fail("no"))
    })
  )

  it.effect("cancels at the limit, with the reason, and awaits the clean-up", () =>
    Effect.gen(function* () {
      const cleaned: Array<string> = []
      const slow = Effect.never.pipe(
        Effect.onInterrupt((ids) =>
          Effect.sync(() =>
            cleaned.push(...Cancellation.fromInterruptors(ids).map(({ reason }) => reason))
          ).pipe(Effect.delay("1 second"))
        )
      )
      const fiber = yield* Effect.fork(Deadline.within(slow, limit, late))
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(cleaned, [])
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(cleaned, [late.reason])
      assert.deepStrictEqual(Cancellation.fromExit(yield* Fiber.join(fiber)), [late])
    })
  )

  it.effect("passes on the reason for which it is interrupted itself", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const effect = Effect.never.pipe(
        Effect.onInterrupt((ids) =>
          Effect.sync(() => seen.push(...Cancellation.fromInterruptors(ids).map(({ reason }) => reason)))
        )
      )
      const fiber = yield* Effect.fork(Deadline.within(effect, limit, late))
      yield* TestClock.adjust("1 millis")
      yield* Cancellation.cancel(fiber, { reason: "enough", origin: "test" })
      assert.deepStrictEqual(seen, ["enough"])
    })
  )
})
