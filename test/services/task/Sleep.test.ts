import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, TestClock } from "effect"
import * as Sleep from "../../../src/services/task/Sleep.js"

describe("Sleep.sleep", () => {
  it.effect("wakes from more than 2^31-1 ms", () =>
    Effect.gen(function* () {
      let awake = false
      yield* Effect.fork(
        Effect.zipRight(
          Sleep.sleep("60 days"),
          Effect.sync(() => {
            awake = true
          })
        )
      )
      yield* TestClock.adjust(Duration.toMillis("60 days") - 1)
      expect(awake).toBe(false)
      yield* TestClock.adjust(1)
      expect(awake).toBe(true)
    })
  )

  it.effect("takes a turn for zero and for less", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      yield* Effect.fork(Effect.sync(() => void log.push("other")))
      yield* Sleep.sleep(0)
      log.push("zero")
      yield* Effect.fork(Effect.sync(() => void log.push("another")))
      yield* Sleep.sleep(-1)
      log.push("less")
      expect(log).toEqual(["other", "zero", "another", "less"])
    })
  )
})
