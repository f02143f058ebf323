// Values of a user's program may be anything: a getter, a proxy or a `toString` may throw, and a text may be of any
// length. Every read of such a value goes through this module. Threads of an executor load it: Node's own modules only.
import { types } from "node:util"
import { plural } from "./Plural.js"

/**
 * The result of the body, or `otherwise` if it throws.
 *
 * @since 0.1.0
 * @category functions
 */
export const guarded = <A, B>(body: () => A, otherwise: B): A | B => {
  try {
    return body()
  } catch {
    return otherwise
  }
}

/**
 * The text that the body returns; empty if it returns another type or throws.
 *
 * @since 0.1.0
 * @category functions
 */
export const guardedText = (body: () => unknown): string => {
  const text = guarded(body, undefined)
  return typeof text === "string" ? text : ""
}

/**
 * The object's property; undefined if it is missing, or if reading it throws.
 *
 * @since 0.1.0
 * @category parsing
 */
export const read = (value: unknown, key: PropertyKey): unknown =>
  typeof value === "object" && value !== null
    ? guarded(() => (value as Record<PropertyKey, unknown>)[key], undefined)
    : undefined

/**
 * The object's property if it is a text; else empty.
 *
 * @since 0.1.0
 * @category parsing
 */
export const readText = (value: unknown, key: PropertyKey): string => guardedText(() => read(value, key))

/**
 * Whether the value is an error, of this realm or of another.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isError = (value: unknown): value is Error =>
  types.isNativeError(value) || guarded(() => value instanceof Error, false)

/** Most characters of one text that are shown. */
const longest = 64 * 1024

/**
 * The beginning of a text that is too long to be shown, and how much is left out.
 *
 * @since 0.1.0
 * @category functions
 */
export const clipped = (text: string): string =>
  text.length <= longest
    ? text
    : `${text.slice(0, longest).replace(/[\ud800-\udbff]$/, "")}… (${plural(text.length - longest, "more character is", "more characters are")} left out)`

/**
 * The text that the body makes of a foreign value, clipped; if the body throws, one line that reports it.
 *
 * @since 0.1.0
 * @category functions
 */
export const printable = (what: string, body: () => string): string => {
  try {
    return clipped(body())
  } catch (thrown) {
    const why = guarded(
      () => clipped(String(thrown)).split("\n", 1)[0],
      "an error that cannot be printed either"
    )
    return `${what} that cannot be printed: reading it throws ${why}`
  }
}
