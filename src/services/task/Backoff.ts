import { Duration, Effect, Random } from "effect"
import { checkOptions, type Range, time } from "../text/Numbers.js"

/**
 * The pause before a retry: `first · factor^n` for the nth in a row, spread by `jitter`, and at most `max`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Backoff {
  /** Default 500 milliseconds. */
  readonly first?: Duration.DurationInput | undefined
  /** Default 2. */
  readonly factor?: number | undefined
  /** The longest pause, jitter included. Default 30 seconds. */
  readonly max?: Duration.DurationInput | undefined
  /** The random part of the pause, 0 to 1: 0.2 makes 1 s anything from 0.8 s to 1.2 s. Default 0.2. */
  readonly jitter?: number | undefined
}

/**
 * The same, with durations as numbers of milliseconds, for JSON. Throws a `RangeError` when a setting is out of range.
 *
 * @since 0.1.0
 * @category functions
 */
export const inMillis = (backoff: Backoff): Backoff => {
  check(backoff)
  const ms = (duration: Duration.DurationInput | undefined) =>
    duration === undefined ? undefined : Math.min(Duration.toMillis(duration), Number.MAX_SAFE_INTEGER)
  return { ...backoff, first: ms(backoff.first), max: ms(backoff.max) }
}

const positive: Range = { least: 0, above: true, whole: false }
const share: Range = { least: 0, most: 1, whole: false }

const check = (backoff: Backoff) =>
  checkOptions(backoff, { first: time, factor: positive, max: time, jitter: share })

/**
 * The pause before the nth retry in a row, counted from 0, in milliseconds; its jitter is drawn from Effect's `Random`.
 * Throws a `RangeError` when a setting is out of range: within `Effect.gen`, a defect.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Backoff from "effect-asyncio/services/Backoff"
 *
 * const pause = Backoff.make({ first: "1 second", max: "10 seconds", jitter: 0 })
 *
 * // [1000, 2000, 4000, 8000, 10000]
 * export const pauses = Effect.forEach([0, 1, 2, 3, 4], pause)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (backoff: Backoff = {}): ((nth: number) => Effect.Effect<number>) => {
  check(backoff)
  const { factor = 2, jitter = 0.2 } = backoff
  const first = Duration.toMillis(backoff.first ?? "500 millis")
  const max = Duration.toMillis(backoff.max ?? "30 seconds")
  return (nth) =>
    Effect.map(Random.next, (drawn) => {
      if (first === 0) return 0 // 0 times a growth to Infinity is NaN
      const spread = 1 + jitter * (2 * drawn - 1)
      // The spread applies to a bounded pause: growth to Infinity times 0 is NaN.
      return Math.min(max, Math.min(max, first * factor ** nth) * spread)
    })
}
