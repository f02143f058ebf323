import { Cause, Effect, type Exit, Fiber, FiberId, Option } from "effect"
import { dual } from "effect/Function"
import * as Cancellation from "./Cancellation.js"
import { failuresOf, parallel, raise } from "./Causes.js"

/**
 * Ends as the first of two effects ends, with success or failure; the other one is cancelled and awaited. When it is
 * interrupted itself, it awaits both as well, unlike `Effect.raceFirst`: no later step of the fiber runs beside them.
 * Failures in the clean-up of either are in the cause.
 *
 * @since 0.1.0
 * @category effects
 */
export const first: {
  <A2, E2, R2>(
    other: Effect.Effect<A2, E2, R2>
  ): <A, E, R>(one: Effect.Effect<A, E, R>) => Effect.Effect<A | A2, E | E2, R | R2>
  <A, E, R, A2, E2, R2>(
    one: Effect.Effect<A, E, R>,
    other: Effect.Effect<A2, E2, R2>
  ): Effect.Effect<A | A2, E | E2, R | R2>
} = dual(
  2,
  <A, E, R, A2, E2, R2>(
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
        // Observers: `Effect.raceFirst` would fork a fiber for each wait.
        const ended = Effect.async<Exit.Exit<A | A2, E | E2>>((resume) => {
          for (const fiber of racing) fiber.addObserver((exit) => resume(Effect.succeed(exit)))
        })
        const exit = yield* Effect.onInterrupt(restore(ended), (interruptors) => {
          const [why] = Cancellation.fromInterruptors(interruptors)
          const id = why === undefined ? FiberId.none : Cancellation.toFiberId(why)
          // Interrupts both at once, then awaits them.
          return Effect.forEach(racing, (fiber) => fiber.interruptAsFork(id)).pipe(
            Effect.zipRight(Fiber.awaitAll(racing)),
            Effect.flatMap((exits) => raise(exits.map((exit) => failuresOf(exit)).reduce(parallel)))
          )
        })
        const [a, b] = [yield* Fiber.interrupt(racing[0]), yield* Fiber.interrupt(racing[1])]
        // Only defects of the loser's clean-up count; its other failures came too late, as its success would have.
        const broken = Option.getOrElse(Cause.keepDefects(failuresOf(exit === a ? b : a)), () => Cause.empty)
        return yield* Effect.ensuring(exit, raise(broken))
      })
    )
)
