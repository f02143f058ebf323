import { ParseResult } from "effect"
import * as Printable from "../../text/Printable.js"

/** Where a value does not match its schema, in one line. */
export const problem = (error: ParseResult.ParseError): string => {
  const [first] = ParseResult.ArrayFormatter.formatErrorSync(error)
  const path = first?.path.map(String).join(".") ?? ""
  return Printable.line(`${path === "" ? "" : `${path}: `}${first?.message ?? error.message}`)
}
