// Values of a person's own program may be anything: a getter, a proxy or a toString of theirs may throw, and a text may be
// of any length. Whatever reads them goes through here.

import { plural } from "./Units.js"

/** What the body gives, or this where it throws. */
export const guarded = <A, B>(body: () => A, otherwise: B): A | B => {
  try {
    return body()
  } catch {
    return otherwise
  }
}

/** The value's property; undefined where there is none, or where reading it throws. */
export const read = (value: unknown, key: PropertyKey): unknown =>
  typeof value === "object" && value !== null
    ? guarded(() => (value as Record<PropertyKey, unknown>)[key], undefined)
    : undefined

/** The property where it is a text, else nothing. */
export const readText = (value: unknown, key: PropertyKey): string => {
  const text = read(value, key)
  return typeof text === "string" ? text : ""
}

export const isError = (value: unknown): value is Error => guarded(() => value instanceof Error, false)

/** Most characters of one text that are shown. */
const longest = 64 * 1024

/** The beginning of a text that is too long to be shown, and how much is left out. */
export const clipped = (text: string): string =>
  text.length <= longest
    ? text
    : `${text.slice(0, longest)}… (${plural(text.length - longest, "more character is", "more characters are")} left out)`

/** The text that the body makes of a value of theirs, clipped; where that throws, one line that says so. */
export const printable = (what: string, body: () => string): string => {
  try {
    return clipped(body())
  } catch (thrown) {
    const why = guarded(() => clipped(String(thrown)).split("\n", 1)[0], "what cannot be printed either")
    return `${what} that cannot be printed: reading it throws ${why}`
  }
}
