import { Cause, Duration, Effect, Exit, Fiber, FiberId, Option } from "effect"
import { dual } from "effect/Function"
import { checkedDuration } from "../text/Numbers.js"
import * as Cancellation from "./Cancellation.js"
import * as Causes from "./Causes.js"
import * as Sleep from "./Sleep.js"

/**
 * Settings of {@link timeout}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options<E> {
  /** How long the effect may run; it may be longer than 2^31-1 ms. */
  readonly limit: Duration.DurationInput
  /** The reason for which a late effect is cancelled. */
  readonly late: Cancellation.Cancellation
  /** Makes the error that a late effect fails with. */
  readonly onTimeout: () => E
}

/**
 * Limits the time of the effect. A late one is cancelled with a reason and fails when its clean-up is done; defects of the
 * clean-up are in the cause as well. An effect that ends exactly at the limit has made it, on every clock. The reason of
 * its own cancellation is passed on.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Deadline from "effect-asyncio/services/Deadline"
 *
 * export const answered = Deadline.timeout(Effect.never, {
 *   limit: "5 seconds",
 *   late: { reason: "no answer within 5s", origin: "example" },
 *   onTimeout: () => new Error("no answer within 5s")
 * })
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const timeout: {
  <E2>(options: Options<E2>): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | E2, R>
  <A, E, R, E2>(effect: Effect.Effect<A, E, R>, options: Options<E2>): Effect.Effect<A, E | E2, R>
} = dual(2, <A, E, R, E2>(effect: Effect.Effect<A, E, R>, options: Options<E2>) =>
  Effect.suspend(() => {
    const limit = checkedDuration("limit", options.limit)
    return Duration.isFinite(limit) ? limited(effect, limit, options) : effect
  })
)

const limited = <A, E, R, E2>(
  effect: Effect.Effect<A, E, R>,
  limit: Duration.Duration,
  { late, onTimeout }: Options<E2>
): Effect.Effect<A, E | E2, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const why = { ...late } // its identity tells this limit from others with the same reason
      let running: Fiber.RuntimeFiber<A, E> | undefined
      // Among equal deadlines the body's comes first: a turn of the clock follows those that wake in order of request, and
      // Effect's TestClock, which wakes the latest request first, has this one before the body's.
      const watchdog = yield* Sleep.sleep(limit).pipe(
        Effect.zipRight(Sleep.sleep(0)),
        Effect.zipRight(Effect.suspend(() => Fiber.interruptAsFork(running!, Cancellation.toFiberId(why)))),
        Effect.interruptible,
        Effect.fork
      )
      running = yield* Effect.fork(restore(effect))
      const exit = yield* restore(Fiber.await(running)).pipe(
        Effect.onInterrupt((by) =>
          Fiber.interruptAs(running!, FiberId.combineAll(by)).pipe(
            Effect.zipLeft(Fiber.interrupt(watchdog)),
            Effect.flatMap((exit) => Causes.raise(Causes.failuresOf(exit)))
          )
        )
      )
      yield* Fiber.interrupt(watchdog)
      yield* Fiber.inheritAll(running)
      if (Exit.isSuccess(exit) || !Cancellation.fromCause(exit.cause).includes(why)) return yield* exit
      const broken = Option.getOrElse(Cause.keepDefects(exit.cause), () => Cause.empty)
      return yield* Effect.failCause(Causes.sequential<E | E2>(Cause.fail(onTimeout()), broken))
    })
  )
