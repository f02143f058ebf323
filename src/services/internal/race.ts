import { Effect, type Exit, Fiber, FiberId } from "effect"
import * as Cancellation from "../Cancellation.js"

/**
 * The first to end, however it ends; the other is cancelled and its clean-up waited for. Unlike `Effect.raceFirst`,
 * which leaves both to themselves until its fiber ends when it is interrupted, it waits for both then too: what comes
 * after in that fiber finds nothing of them running.
 */
export const first = <A, E, R, A2, E2, R2>(
  one: Effect.Effect<A, E, R>,
  other: Effect.Effect<A2, E2, R2>
): Effect.Effect<A | A2, E | E2, R | R2> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const fibers = [yield* Effect.fork(restore(one)), yield* Effect.fork(restore(other))] as const
      const ended: Effect.Effect<Exit.Exit<A | A2, E | E2>> = Effect.raceFirst(
        Fiber.await(fibers[0]),
        Fiber.await(fibers[1])
      )
      const exit = yield* Effect.onInterrupt(restore(ended), (interruptors) => {
        const [why] = Cancellation.fromInterruptors(interruptors)
        const id = why === undefined ? FiberId.none : Cancellation.toFiberId(why)
        // Both are asked at once, and then waited for.
        return Effect.forEach(fibers, (fiber) => fiber.interruptAsFork(id)).pipe(
          Effect.zipRight(Fiber.awaitAll(fibers))
        )
      })
      yield* Fiber.interruptAll(fibers)
      return yield* exit
    })
  )
