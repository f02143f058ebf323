import { Cause, Effect, Fiber, FiberId, Option } from "effect"
import * as Cancellation from "./Cancellation.js"
import { failuresOf, parallel, raise } from "./Causes.js"

/**
 * The first to end, however it ends; the other is cancelled and its clean-up waited for. Unlike `Effect.raceFirst`,
 * which leaves both to themselves until its fiber ends when it is interrupted, it waits for both then too: what comes
 * after in that fiber finds nothing of them running. What breaks in the clean-up of either is not lost.
 */
export const first = <A, E, R, A2, E2, R2>(
  one: Effect.Effect<A, E, R>,
  other: Effect.Effect<A2, E2, R2>
): Effect.Effect<A | A2, E | E2, R | R2> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      type Racing = Fiber.RuntimeFiber<A | A2, E | E2>
      const racing: readonly [Racing, Racing] = [
        yield* Effect.fork(restore(one)),
        yield* Effect.fork(restore(other))
      ]
      const ended = Effect.raceFirst(Fiber.await(racing[0]), Fiber.await(racing[1]))
      const exit = yield* Effect.onInterrupt(restore(ended), (interruptors) => {
        const [why] = Cancellation.fromInterruptors(interruptors)
        const id = why === undefined ? FiberId.none : Cancellation.toFiberId(why)
        // Both are asked at once, and then waited for.
        return Effect.forEach(racing, (fiber) => fiber.interruptAsFork(id)).pipe(
          Effect.zipRight(Fiber.awaitAll(racing)),
          Effect.flatMap((exits) => raise(exits.map((exit) => failuresOf(exit)).reduce(parallel)))
        )
      })
      const [a, b] = [yield* Fiber.interrupt(racing[0]), yield* Fiber.interrupt(racing[1])]
      // The loser's clean-up; what else it fails with is as late as a success would be.
      const broken = Option.getOrElse(Cause.keepDefects(failuresOf(exit === a ? b : a)), () => Cause.empty)
      return yield* Effect.ensuring(exit, raise(broken))
    })
  )
