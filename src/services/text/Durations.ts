import { Duration, Either } from "effect"

const milliseconds: Readonly<Record<string, number>> = Object.fromEntries(
  (
    [
      [1, "ms", "msec", "msecs", "millisecond", "milliseconds"],
      [1000, "s", "sec", "secs", "second", "seconds"],
      [60_000, "m", "min", "mins", "minute", "minutes"],
      [3_600_000, "h", "hr", "hrs", "hour", "hours"],
      [86_400_000, "d", "day", "days"],
      [604_800_000, "w", "week", "weeks"]
    ] as const
  ).flatMap(([ms, ...names]) => names.map((name) => [name, ms]))
)

/**
 * Reads a duration as people write it (`90s`, `1h30m`, `250ms`, `2 days`; a bare number is seconds) and returns
 * milliseconds. The problem names the part that is wrong, and its place unless it is the first.
 *
 * @since 0.1.0
 * @category parsing
 */
export const duration = (text: string): Either.Either<number, string> => {
  const given = text.trim()
  if (given === "") return Either.left("a duration is empty; write one like 90s or 1h30m")
  const end = given.length
  let total = 0
  let rest = given
  const seen = new Set<number>()
  const wrong = (part: string, what: string) => {
    const at = end - rest.length
    return Either.left(`${part}${at > 0 ? ` at character ${at + 1}` : ""} in duration '${text}' ${what}`)
  }
  while (rest !== "") {
    const match = /^(\d+(?:\.\d+)?|\.\d+)\s*([a-zA-Z\u00b5\u03bc]*)\s*/.exec(rest)
    if (match === null) {
      return wrong(
        `'${rest}'`,
        rest.startsWith("-")
          ? "is negative; write one like 90s or 1h30m"
          : "is not a number; write one like 90s or 1h30m"
      )
    }
    const [part, number, unit] = match as unknown as readonly [string, string, string]
    const ms = unit === "" && part.length === end ? 1000 : milliseconds[unit.toLowerCase()]
    if (ms === undefined) {
      if (unit !== "") {
        const why = /^(mo|y)/i.test(unit) ? "has no fixed length" : "is unknown"
        return wrong(`unit '${unit}'`, `${why}; use ms, s, m, h, d or w`)
      }
      const decimal = /^\d+,\d+/.exec(rest)
      if (decimal !== null) {
        return wrong(`'${decimal[0]}'`, `has a comma; write ${decimal[0].replace(",", ".")}`)
      }
      return wrong(`'${number}'`, "has no unit; use ms, s, m, h, d or w")
    }
    if (seen.has(ms)) return wrong(`unit '${unit}'`, "occurs twice; add them up")
    seen.add(ms)
    total += Number(number) * ms
    rest = rest.slice(part.length)
  }
  return total <= Number.MAX_SAFE_INTEGER
    ? Either.right(total)
    : Either.left(
        `duration '${text}' is too long; the longest is ${Math.floor(Number.MAX_SAFE_INTEGER / 86_400_000)} days`
      )
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
