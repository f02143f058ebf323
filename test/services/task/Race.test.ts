import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber } from "effect"
import * as Race from "../../../src/services/task/Race.js"

const broken = (name: string) => Effect.onInterrupt(Effect.never, () => Effect.die(name))
const parts = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? [[...Cause.failures(exit.cause)], [...Cause.defects(exit.cause)].sort()] : [[], []]

describe("race.first", () => {
  it.effect("a defect of the loser's clean-up is added to the exit of the first", () =>
    Effect.gen(function* () {
      const losing = (name: string) =>
        Effect.map(Deferred.make<void>(), (begun) => ({
          begun: Deferred.await(begun),
          run: Effect.zipRight(Deferred.succeed(begun, undefined), broken(name))
        }))
      const a = yield* losing("a")
      const b = yield* losing("b")
      const wins = yield* Effect.exit(Race.first(Effect.as(b.begun, 1), b.run))
      expect(parts(wins)).toEqual([[], ["b"]])
      const fails = yield* Effect.exit(Race.first(a.run, Effect.zipRight(a.begun, Effect.fail("no"))))
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
