// Without Effect, for what has to load quickly.

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
 * Reads a duration as people write it, `90s` or `1h30m`, and returns milliseconds, or the problem.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (text: string): number | string => {
  const given = text.trim()
  if (given === "") return "a duration is empty; write one like 90s or 1h30m"
  const end = given.length
  let total = 0
  let rest = given
  const seen = new Set<number>()
  const wrong = (part: string, what: string) => {
    const at = end - rest.length
    return `${part}${at > 0 ? ` at character ${at + 1}` : ""} in duration '${text}' ${what}`
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
    ? total
    : `duration '${text}' is too long; the longest is ${Math.floor(Number.MAX_SAFE_INTEGER / 86_400_000)} days`
}
