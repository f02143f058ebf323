import { Duration, Effect } from "effect"
import { anyTime, checkedDuration } from "../text/Numbers.js"

/** The longest delay of `setTimeout`, and so of `Effect.sleep`: 2^31-1 ms; a longer sleep never wakes. */
const longest = 2 ** 31 - 1

/**
 * `Effect.sleep` without its limits: it also wakes from delays beyond 2^31-1 ms, and a sleep of zero or less takes a turn
 * on every clock, so that a loop of them starves no other fiber. Requires only the clock.
 *
 * @since 0.1.0
 * @category effects
 */
export const sleep = (duration: Duration.DurationInput): Effect.Effect<void> => {
  if (typeof duration !== "number" || Number.isNaN(duration)) {
    return Effect.suspend(() => sleep(Duration.toMillis(checkedDuration("duration", duration, anyTime))))
  }
  const ms = duration
  if (ms <= 0) return Effect.zipRight(Effect.yieldNow(), Effect.sleep(0))
  if (ms === Number.POSITIVE_INFINITY) return Effect.never
  return ms <= longest
    ? Effect.sleep(ms)
    : Effect.zipRight(
        Effect.sleep(longest),
        Effect.suspend(() => sleep(ms - longest))
      )
}
