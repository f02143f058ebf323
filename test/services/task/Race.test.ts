import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber } from "effect"
import * as Race from "../../../src/services/task/Race.js"

const broken = (name: string) => Effect.onInterrupt(Effect.never, () => Effect.die(name))
const parts = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? [[...Cause.failures(exit.cause)], [...Cause.defects(exit.cause)].sort()] : [[], []]

describe("race.first", () => {
  it.effect("a defect of the loser's clean-up is added to the exit of the first", () =>
    Effect.gen(function* () {
      const wins = yield* Effect.exit(
        Race.first(Effect.zipRight(Effect.yieldNow(), Effect.succeed(1)), broken("b"))
      )
      expect(parts(wins)).toEqual([[], ["b"]])
      const fails = yield* Effect.exit(
        Race.first(broken("a"), Effect.zipRight(Effect.yieldNow(), Effect.fail("no")))
      )
      expect(parts(fails)).toEqual([["no"], ["a"]])
      expect(yield* Race.first(Effect.never, Effect.succeed(2))).toBe(2)
    })
  )

  it.effect("interrupted, both clean up, and defects there are in the cause", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        Race.first(broken("a"), Effect.zipRight(Deferred.succeed(begun, undefined), broken("b")))
      )
      yield* Deferred.await(begun)
      const exit = yield* Fiber.interrupt(fiber)
      expect([Exit.isInterrupted(exit), parts(exit)]).toEqual([true, [[], ["a", "b"]]])
    })
  )
})
