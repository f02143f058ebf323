import { type Duration, Effect, type Exit, Fiber, FiberId } from "effect"
import * as Cancellation from "./Cancellation.js"

/**
 * Limits the time of the effect and gives how it has ended, after its clean-up. Unlike `Effect.timeout` it cancels with a
 * reason, `late`, and passes on the reason of its own cancellation. An effect that ends exactly at the limit has made
 * it, if the clock wakes equal deadlines in order of request (Effect's `TestClock` does not).
 *
 * @since 0.1.0
 * @category effects
 */
export const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  limit: Duration.Duration,
  late: Cancellation.Cancellation
): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(restore(effect))
      const watchdog = yield* Effect.sleep(limit).pipe(
        Effect.zipRight(Fiber.interruptAsFork(fiber, Cancellation.toFiberId(late))),
        Effect.interruptible,
        Effect.fork
      )
      const exit = yield* restore(Fiber.await(fiber)).pipe(
        Effect.onInterrupt((by) => Fiber.interruptAs(fiber, FiberId.combineAll(by)))
      )
      yield* Fiber.interrupt(watchdog)
      return exit
    })
  )
