import { Duration, Either } from "effect"
import { parse } from "./DurationText.js"

/**
 * Reads a duration as people write it (`90s`, `1h30m`, `250ms`, `2 days`; a bare number is seconds) and returns
 * milliseconds. The problem names the part that is wrong, and its place unless it is the first.
 *
 * @since 0.1.0
 * @category parsing
 */
export const duration = (text: string): Either.Either<number, string> => {
  const read = parse(text)
  return typeof read === "number" ? Either.right(read) : Either.left(read)
}

/**
 * A duration that a person gave, not rounded: `1h 30m`, `700ms`, `2.5s`; zero is `0s`.
 *
 * @since 0.1.0
 * @category formatting
 */
export const formatGiven = (duration: Duration.DurationInput): string => {
  const ms = Duration.toMillis(duration)
  if (ms === 0) return "0s"
  if (ms < 1000 || !Number.isInteger(ms)) return ms < 1000 ? `${ms}ms` : Duration.format(duration)
  return Duration.format(duration).replace(
    /(\d+)s (\d+)ms$/,
    (_, s, rest: string) => `${s}.${rest.padStart(3, "0").replace(/0+$/, "")}s`
  )
}

/**
 * The reason of work that was ended by its time limit: `not done in 1h 30m`.
 *
 * @since 0.1.0
 * @category formatting
 */
export const notDoneIn = (limit: Duration.DurationInput): string => `not done in ${formatGiven(limit)}`

/**
 * Milliseconds for people, rounded: `250 ms`, `1.5 s`, `2 m 05 s`, `1 h 05 m`.
 *
 * @since 0.1.0
 * @category formatting
 */
export const formatDuration = (ms: number): string => {
  // The rounded value decides the unit: 999.6 ms are 1.0 s.
  if (Math.round(ms) < 1000) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`
  const two = (n: number) => String(Math.floor(n)).padStart(2, "0")
  const seconds = Math.round(ms / 1000)
  return seconds < 3600
    ? `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`
    : `${Math.floor(seconds / 3600)} h ${two((seconds % 3600) / 60)} m`
}
