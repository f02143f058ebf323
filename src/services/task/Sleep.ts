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
  if (ms <= longest) return Effect.sleep(ms)
  // Two parts at a time, so an odd number of them: Effect's TestClock wakes equal deadlines in reverse, and two long sleeps
  // must wake in the order of two short ones.
  const part = Math.min(longest, Math.floor(ms / 3))
  return Effect.sleep(part).pipe(
    Effect.zipRight(Effect.sleep(part)),
    Effect.zipRight(Effect.suspend(() => sleep(ms - 2 * part)))
  )
}
