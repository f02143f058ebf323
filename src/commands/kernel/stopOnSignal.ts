import { Deferred, Effect, Exit, Fiber } from "effect"
import * as Output from "../../services/host/Output.js"
import * as Cancellation from "../../services/task/Cancellation.js"
import { headline } from "../../services/task/Causes.js"

/**
 * Runs an effect that a signal stops gracefully: `stop` completes with the signal's name, and the effect can still report
 * its end. Any other interruption, and SIGPIPE, after which nothing can be written, interrupts it.
 */
export const stopOnSignal = <A, E, R>(
  make: (stop: Effect.Effect<string>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Output.Output> =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const stop = yield* Deferred.make<string>()
    const running = make(Deferred.await(stop))
    return yield* Effect.uninterruptibleMask((restore) =>
      // A daemon, because children are interrupted with their parent.
      Effect.flatMap(Effect.forkDaemon(Effect.interruptible(running)), (fiber) =>
        Effect.onInterrupt(restore(Fiber.join(fiber)), (interruptors) => {
          const reason = Cancellation.fromInterruptors(interruptors)[0]?.reason ?? "cancelled"
          return reason === "SIGPIPE" || !reason.startsWith("SIG")
            ? Fiber.interrupt(fiber)
            : Effect.zipRight(Deferred.succeed(stop, reason), Fiber.await(fiber)).pipe(
                Effect.flatMap((exit) =>
                  Exit.isFailure(exit) ? output.note(headline(exit.cause)) : Effect.void
                )
              )
        })
      )
    )
  })
