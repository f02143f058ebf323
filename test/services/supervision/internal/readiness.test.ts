import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option } from "effect"
import * as readiness from "../../../../src/services/supervision/internal/readiness.js"
import { suspended } from "../../../support/Waits.js"

/** The exit of the fiber, if it has one, once it no longer runs. */
const poll = <A, E>(fiber: Fiber.RuntimeFiber<A, E>) => Effect.zipRight(suspended(fiber), Fiber.poll(fiber))

describe("readiness", () => {
  it.effect("waits for a moment in which all are ready", () =>
    Effect.gen(function* () {
      const ready = readiness.make()
      const fiber = yield* Effect.fork(ready.await(["db", "cache"]))
      yield* ready.up("db")
      expect(ready.missing(["db", "cache"])).toEqual(["cache"])
      ready.down("db")
      yield* ready.up("cache")
      expect(yield* poll(fiber)).toEqual(Option.none())
      yield* ready.up("db")
      yield* Fiber.join(fiber)
      expect(ready.missing(["db", "cache"])).toEqual([])
      yield* ready.await([])
    })
  )

  it.effect("keeps a service ready that has ended well, and takes effect with changed", () =>
    Effect.gen(function* () {
      const ready = readiness.make()
      const fiber = yield* Effect.fork(ready.await(["job"]))
      yield* poll(fiber)
      ready.settle("job", true)
      expect(yield* poll(fiber)).toEqual(Option.none())
      yield* ready.changed
      yield* Fiber.join(fiber)
    })
  )

  it.effect("fails with the reason when a service will never be ready", () =>
    Effect.gen(function* () {
      const ready = readiness.make()
      const fiber = yield* Effect.fork(ready.await(["db", "cache"]))
      yield* poll(fiber)
      ready.settle("cache", false)
      yield* ready.changed
      expect(yield* Fiber.await(fiber)).toEqual(
        Exit.fail(new readiness.NeverReady({ other: "cache", message: "cache was never ready" }))
      )
      ready.reached("db")
      ready.settle("db", false)
      expect((yield* Effect.flip(ready.await(["db"]))).message).toBe("db has ended for good")
    })
  )
})
