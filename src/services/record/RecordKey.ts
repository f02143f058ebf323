import { Either } from "effect"
import * as LosslessJson from "./LosslessJson.js"

const compile = (text: string): Either.Either<(value: unknown) => unknown, string> => {
  if (/^\d+$/.test(text)) {
    const place = Number(text)
    if (place === 0) return Either.left(`'${text}' is not a field of a line; expected 1 or more`)
    return Either.right((value) =>
      typeof value === "string"
        ? value.trim().split(/\s+/)[place - 1]
        : (value as ReadonlyArray<unknown>)?.[place - 1]
    )
  }
  if (/^(?!record\b)[A-Za-z_$][\w$]*(?:\.[\w$]+|\[\d+\])*$/.test(text)) {
    const steps = text.split(/[.[\]]+/).filter((step) => step !== "")
    return Either.right((value) => {
      let found = value
      for (const step of steps)
        found = (found as Readonly<Record<string, unknown>> | null | undefined)?.[step]
      return found
    })
  }
  try {
    return Either.right(
      new Function("record", `"use strict"; return (${text}\n)`) as (value: unknown) => unknown
    )
  } catch (error) {
    return Either.left(
      `'${text}' is not an expression (${(error as Error).message}); expected a path like user.id, or an expression of record like record.id % 10`
    )
  }
}

/**
 * Reads the text of a key: a path like `user.id`, the number of a field of a line, or a JavaScript expression of
 * `record`. The left side is the problem. An object is a key by its JSON.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (text: string): Either.Either<(value: unknown) => unknown, string> =>
  Either.map(compile(text), (read) => (value) => {
    const found = read(value)
    return typeof found === "object" && found !== null ? LosslessJson.encode(found) : found
  })
