/** What an option accepts, beside finite numbers. */
export interface Range {
  /** Default 1. */
  readonly least?: number
  /** Default: no bound, and `Infinity` itself is accepted where `infinite` is. */
  readonly most?: number
  /** Whether fractions are refused; default true. */
  readonly whole?: boolean
  /** Whether `Infinity` is accepted; default false. */
  readonly infinite?: boolean
}

/**
 * Returns an option that is a number, or throws a `RangeError` with the option's name, its value and what is accepted:
 * within `Effect.suspend` or `Effect.gen`, a defect. Every option of the library that is a number is checked here,
 * because NaN compares as false with everything and turns a loop into one that never ends or never begins.
 */
export const checkedNumber = (
  option: string,
  value: number,
  { infinite = false, least = 1, most = Number.POSITIVE_INFINITY, whole = true }: Range = {}
): number => {
  const finite = whole ? Number.isSafeInteger(value) : Number.isFinite(value)
  const accepted = typeof value === "number" && (finite || (infinite && value === Number.POSITIVE_INFINITY))
  if (accepted && value >= least && value <= most) return value
  const kind = whole ? "a whole number" : "a number"
  const range = most === Number.POSITIVE_INFINITY ? `${least} or more` : `from ${least} to ${most}`
  throw new RangeError(`${option}: ${value} is out of range; expected ${kind}, ${range}`)
}
