import * as Printable from "../../text/Printable.js"

// What is wrong, in one line, from the errors of clients: they wrap the reason in causes and lists.

const inner = (error: unknown): unknown => {
  const { cause, errors } = (error ?? {}) as { cause?: unknown; errors?: ReadonlyArray<unknown> }
  if (Array.isArray(errors) && errors.length > 0) return inner(errors[0])
  return cause instanceof Error ? inner(cause) : error
}

/** The code of the innermost error: `ECONNREFUSED`, `28P01`. */
export const codeOf = (error: unknown): string => {
  const { code } = (inner(error) ?? {}) as { code?: unknown }
  return typeof code === "string" ? code : ""
}

const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  ENOTFOUND: "the host has no address",
  EAI_AGAIN: "the name of the host cannot be resolved",
  ETIMEDOUT: "no connection in time"
}

/** One line without control characters and without the error's type. */
export const reasonOf = (error: unknown): string => {
  const one = inner(error)
  const { message } = (one ?? {}) as { message?: unknown }
  const said = typeof message === "string" && message !== "" ? message : String(one)
  return words[codeOf(error)] ?? Printable.line(said.split("\n", 1)[0] ?? "")
}

/** Whether the error is of the connection, and the same call may succeed later. */
export const isOfConnection = (error: unknown): boolean =>
  /^(ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE|EHOSTUNREACH|ENETUNREACH|UND_ERR_)/.test(codeOf(error))
