import { Duration, Option } from "effect"

/**
 * The numbers that an option accepts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Range {
  /** The least number; default 1. */
  readonly least?: number
  /** The greatest number; default: no bound. `Infinity` itself is accepted with `infinite` only. */
  readonly most?: number
  /** Whether fractions are refused; default true. */
  readonly whole?: boolean
  /** Whether `Infinity` is accepted; default false. */
  readonly infinite?: boolean
  /** Whether `least` itself is refused; default false. */
  readonly above?: boolean
}

/**
 * Returns an option that is a number, or throws a `RangeError` with the option's name, its value and what is accepted:
 * within `Effect.suspend` or `Effect.gen`, a defect. Every option of the library that is a number is checked here,
 * because NaN compares as false with everything and turns a loop into one that never ends or never begins.
 *
 * @since 0.1.0
 * @category functions
 */
export const checkedNumber = (
  option: string,
  value: number,
  { above = false, infinite = false, least = 1, most = Number.POSITIVE_INFINITY, whole = true }: Range = {}
): number => {
  const finite = whole ? Number.isSafeInteger(value) : Number.isFinite(value)
  const accepted = typeof value === "number" && (finite || (infinite && value === Number.POSITIVE_INFINITY))
  if (accepted && (above ? value > least : value >= least) && value <= most) return value
  const kind = whole ? "a whole number" : "a number"
  const from = above ? `above ${least}` : `${least} or more`
  const range = most === Number.POSITIVE_INFINITY ? from : `from ${least} to ${most}`
  throw new RangeError(`${option}: ${value} is out of range; expected ${kind}, ${range}`)
}

/**
 * The durations that an option accepts; `Infinity` always.
 *
 * @since 0.1.0
 * @category models
 */
export interface Span {
  /** `"any"` accepts negative durations, which take no time, `"some"` refuses zero. */
  readonly duration: "any" | "none" | "some"
}

const sound = (value: unknown): number => {
  if (typeof value === "number") return value
  if (typeof value === "bigint") return Number(value)
  if (typeof value === "string") return value.trim().startsWith("-") ? -1 : 0
  return Array.isArray(value) ? (value.some(Number.isNaN) ? Number.NaN : Math.min(...value)) : 0
}

/**
 * {@link checkedNumber} for a duration: `Duration.decode` turns NaN and negative durations into zero, and throws without
 * the option's name if a text is not a duration.
 *
 * @since 0.1.0
 * @category functions
 */
export const checkedDuration = (
  option: string,
  value: Duration.DurationInput,
  { duration }: Span = { duration: "none" }
): Duration.Duration => {
  const decoded = Duration.decodeUnknown(value)
  const amount = sound(value)
  if (
    Option.isSome(decoded) &&
    (duration === "any" ? !Number.isNaN(amount) : amount >= 0) &&
    (duration !== "some" || Duration.greaterThan(decoded.value, Duration.zero))
  ) {
    return decoded.value
  }
  const range = { any: "", none: ", 0 or more", some: ", above 0" }[duration]
  const wrong = Option.isSome(decoded) ? "is out of range" : "is not a duration"
  throw new RangeError(
    `${option}: ${String(value)} ${wrong}; expected milliseconds or text like "2 seconds"${range}`
  )
}

/**
 * 1, 2, 3 …; {@link checkedNumber}'s default.
 *
 * @since 0.1.0
 * @category constants
 */
export const count: Range = {}
/**
 * Returns how many may run at once, `Infinity` for `"unbounded"`; throws as {@link checkedNumber} does.
 *
 * @since 0.1.0
 * @category functions
 */
export const checkedConcurrency = (concurrency: number | "unbounded"): number =>
  concurrency === "unbounded"
    ? Number.POSITIVE_INFINITY
    : checkedNumber("concurrency", concurrency, countOrInfinity)
/**
 * {@link count}, or `Infinity`.
 *
 * @since 0.1.0
 * @category constants
 */
export const countOrInfinity: Range = { infinite: true }
/**
 * 0, 1, 2 …
 *
 * @since 0.1.0
 * @category constants
 */
export const countOrNone: Range = { least: 0 }
/**
 * {@link countOrNone}, or `Infinity`.
 *
 * @since 0.1.0
 * @category constants
 */
export const anyCount: Range = { least: 0, infinite: true }
/**
 * Any finite number.
 *
 * @since 0.1.0
 * @category constants
 */
export const anyNumber: Range = { least: Number.NEGATIVE_INFINITY, whole: false }
/**
 * A time that may be zero.
 *
 * @since 0.1.0
 * @category constants
 */
export const time: Span = { duration: "none" }
/**
 * A time above zero.
 *
 * @since 0.1.0
 * @category constants
 */
export const someTime: Span = { duration: "some" }
/**
 * {@link time}, or a negative one, which counts as zero.
 *
 * @since 0.1.0
 * @category constants
 */
export const anyTime: Span = { duration: "any" }

/**
 * Checks the options that are not undefined; throws as {@link checkedNumber} and {@link checkedDuration} do.
 *
 * @since 0.1.0
 * @category functions
 */
export const checkOptions = <O extends object>(
  options: O,
  accepted: { readonly [Name in keyof O]?: Range | Span }
): void => {
  for (const name in accepted) {
    const value = options[name]
    const range = accepted[name]
    if (value === undefined || range === undefined) continue
    if ("duration" in range) checkedDuration(name, value as Duration.DurationInput, range)
    else checkedNumber(name, value as number, range)
  }
}
