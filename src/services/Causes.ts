import { Cause } from "effect"
import { isError, printable } from "./internal/foreign.js"

const ofError = (error: unknown): string => {
  if (typeof error === "object" && error !== null) {
    const { _tag, message, name } = error as { _tag?: unknown; message?: unknown; name?: unknown }
    if (typeof message === "string" && message !== "") return message
    if (isError(error) && typeof name === "string") return name
    if (typeof _tag === "string") return _tag
  }
  return String(error)
}

/** What a cause says in a few words, for reasons and reports of one line; an error that cannot be read says that. */
export const headline = (cause: Cause.Cause<unknown>): string =>
  Cause.isInterruptedOnly(cause)
    ? "cancelled"
    : printable("an error", () => ofError(Cause.squash(cause)).split("\n", 1)[0] ?? "")
