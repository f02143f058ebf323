import { Cause } from "effect"

const ofError = (error: unknown): string => {
  if (error instanceof Error) return error.message || error.name
  if (typeof error === "object" && error !== null) {
    if ("message" in error && typeof error.message === "string" && error.message !== "") return error.message
    if ("_tag" in error && typeof error._tag === "string") return error._tag
  }
  return String(error)
}

/** What a cause says in a few words, for reasons and reports of one line. Never throws: an error is anything. */
export const headline = (cause: Cause.Cause<unknown>): string => {
  if (Cause.isInterruptedOnly(cause)) return "cancelled"
  try {
    return ofError(Cause.squash(cause)).split("\n", 1)[0] ?? ""
  } catch {
    return "an error that cannot be printed"
  }
}
