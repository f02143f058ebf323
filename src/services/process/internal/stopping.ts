import { Duration, Effect, Fiber } from "effect"
import { checkedDuration } from "../../text/Numbers.js"

/** From the stop signal to KILL, unless the caller says otherwise. */
export const graceDefault = "5 seconds"

/** How long a process may take to end, in milliseconds, before it counts as lingering. */
const lingers = 1000

/** Runs an effect that ends a process, and calls `onLingering` when it takes longer than a second by `sleep`. */
export const reporting = (
  pid: number,
  {
    grace = graceDefault,
    onLingering
  }: {
    readonly grace?: Duration.DurationInput | undefined
    readonly onLingering?: ((left: number, pid: number) => Effect.Effect<void>) | undefined
  },
  sleep: (ms: number) => Effect.Effect<void>,
  ending: Effect.Effect<void>
): Effect.Effect<void> => {
  const left = Duration.toMillis(checkedDuration("grace", grace)) - lingers
  if (onLingering === undefined || left <= 0) return ending
  const report = Effect.zipRight(sleep(lingers), onLingering(left, pid))
  return Effect.flatMap(Effect.fork(Effect.interruptible(report)), (reporter) =>
    Effect.zipRight(ending, Fiber.interrupt(reporter))
  )
}
