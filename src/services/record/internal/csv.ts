import { isUtf8 } from "node:buffer"
import * as Records from "../Records.js"
import { type Setting, tooLong, without } from "./limits.js"

// Rows of a CSV as in RFC 4180, or of a TSV, which has escapes in place of quotes: one state machine over bytes.

const mark = Buffer.from("\ufeff")
const lineFeed = 10
const carriageReturn = 13
const quote = 34
const [comma, tab] = [44, 9]

/** The state of the parser before the next byte of a row. */
enum At {
  FieldStart,
  Field,
  Quotes,
  /** After a quote within quotes: the first of two, or the closing one. */
  Quote,
  /** After a closing quote and a CR that may belong to the row's end. */
  QuoteReturn
}

const escaped: Readonly<Record<string, string>> = { t: "\t", n: "\n", r: "\r", "\\": "\\" }

/** The fields of a row of a TSV: a backslash before any other character is itself. */
const unescapedFields = (text: string): ReadonlyArray<string> => {
  const fields = text.split("\t")
  return text.includes("\\")
    ? fields.map((field) => field.replace(/\\([tnr\\])/g, (_, c: string) => escaped[c]!))
    : fields
}

/** The fields of a row of a CSV, or its problem. */
export const fieldsOf = (text: string): ReadonlyArray<string> | string => {
  const fields: Array<string> = []
  let behind = false // there is text after a closing quote
  for (let at = 0; ; at++) {
    const from = at
    const isQuoted = text.charCodeAt(at) === quote
    if (isQuoted) {
      let doubled = false
      at = text.indexOf('"', from + 1)
      while (at >= 0 && text.charCodeAt(at + 1) === quote) {
        doubled = true
        at = text.indexOf('"', at + 2)
      }
      if (at < 0) return "a quote that is not closed"
      const field = text.slice(from + 1, at)
      fields.push(doubled ? field.replaceAll('""', '"') : field)
      at++
    }
    const place = text.charCodeAt(at) === comma ? at : text.indexOf(",", at)
    const to = place < 0 ? text.length : place
    if (!isQuoted) fields.push(text.slice(from, to))
    else if (to > at) behind = true
    at = to
    if (at >= text.length) return behind ? "text after a closing quote" : fields
  }
}

/** The problem of a header with two columns of one name, because an object could hold only one of them. */
export const sameNames = (names: ReadonlyArray<string>): string | undefined => {
  const places = new Map<string, number>()
  for (const [i, name] of names.entries()) {
    const before = places.get(name)
    if (before === undefined) places.set(name, i + 1)
    else if (name === "") return `columns ${before} and ${i + 1} have no name; give each a name of its own`
    else {
      const shown = name.length > 60 ? `${name.slice(0, 60)}…` : name
      return `columns ${before} and ${i + 1} are both named '${shown}'; give each a name of its own`
    }
  }
  return undefined
}

const rowOf = (names: ReadonlyArray<string>, fields: ReadonlyArray<string>): object => {
  const row: { [name: string]: string } = {}
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!
    const value = fields[i]!
    // Assigning it would set the prototype.
    if (name !== "__proto__") row[name] = value
    else Object.defineProperty(row, name, { value, enumerable: true, writable: true, configurable: true })
  }
  return row
}

/** Splits the rows of a CSV. */
export const rows = ({ format, from, limit, origin }: Setting) => {
  const isTsv = format === "tsv"
  const separator = isTsv ? tab : comma
  const name = format.toUpperCase()
  const nothing = without(origin)
  const skip = from?.index ?? 0 // the columns are at the top, so earlier rows are read again
  let names: ReadonlyArray<string> | undefined
  let index = 0
  let line = 1 // of the next byte
  let begun = 1 // the line of the row
  let received = 0 // bytes in the earlier chunks
  let parts: Array<Buffer> = [] // of a row whose end has not arrived
  let size = 0
  let skipping = false // the rest of a row that was too long
  let over = false
  // The header decides: a lone CR ends all rows, or a LF, with or without a CR before it.
  let end: number | undefined
  let returned = false // there was a CR; the next byte decides
  let at: At = At.FieldStart
  let marks = 0 // bytes of a byte order mark so far
  let lead = 0 // bytes of a complete mark in the row

  let block = nothing
  const blockOf = (bytes: Buffer): Records.Block => {
    if (block.bytes !== bytes) block = { ...nothing, bytes }
    return block
  }
  const give = (
    row: Records.Record,
    value: unknown,
    problem: string | undefined,
    found: Array<Records.Record>
  ) => {
    if (names === undefined) {
      over = true
      found.push(row.known(undefined, problem))
    } else if (row.index > skip) found.push(row.known(value, problem))
  }
  const overlong = (position: number, found: Array<Records.Record>) => {
    skipping = true
    parts = []
    const problem = tooLong(limit) + (at === At.Quotes ? "; a quote in it is not closed so far" : "")
    const number = names === undefined ? 0 : ++index
    const row = new Records.Cut(number, begun, nothing, 0, 0, 0, position)
    give(row, undefined, problem, found)
  }
  // A row that ends before `next`.
  const put = (
    chunk: Buffer,
    first: number,
    next: number,
    position: number,
    found: Array<Records.Record>
  ) => {
    let to = next
    if (at !== At.Quotes) {
      if (to > first && chunk[to - 1] === end) to--
      if (to > first && end !== carriageReturn && chunk[to - 1] === carriageReturn) to--
    }
    const header = names === undefined
    const start = first + lead
    // An empty line is skipped, unless it is the empty value of the only column: a TSV has no other way to write that.
    if (to === start && !(isTsv && names?.length === 1)) return
    if (to - start > limit) {
      overlong(position - (next - first), found)
      return
    }
    if (!header && ++index <= skip) return
    const row = new Records.Row(header ? 0 : index, begun, blockOf(chunk), start, to, next, position)
    if (!isUtf8(chunk.subarray(start, to))) return give(row, undefined, "not UTF-8", found)
    const text = chunk.toString("utf8", start, to)
    const fields = isTsv ? unescapedFields(text) : fieldsOf(text)
    const problem = typeof fields === "string" ? fields : header ? sameNames(fields) : undefined
    if (typeof fields === "string" || problem !== undefined) {
      return give(row, undefined, `not ${name}: ${problem}`, found)
    }
    if (names === undefined) names = fields
    else if (fields.length !== names.length) {
      give(row, undefined, `not ${name}: another number of fields than columns`, found)
    } else {
      row.fields = fields
      give(row, rowOf(names, fields), undefined, found)
    }
  }

  return {
    push: (bytes: Uint8Array): ReadonlyArray<Records.Record> => {
      const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
      const found: Array<Records.Record> = []
      let first = 0 // of the row, in this chunk
      let most = limit + 2 + lead - size // from here on the row is too long, with any end
      const finish = (next: number) => {
        if (!skipping && size === 0) put(chunk, first, next, received + next, found)
        else if (!skipping) {
          parts.push(chunk.subarray(0, next))
          const joined = Buffer.concat(parts)
          put(joined, 0, joined.length, received + next, found)
        }
        skipping = false
        parts = []
        size = 0
        first = next
        lead = 0
        most = first + limit + 2
        begun = line
        at = At.FieldStart
      }
      for (let i = 0; i < chunk.length && !over; i++) {
        const byte = chunk[i]!
        if (returned) {
          returned = false
          end = byte === lineFeed ? lineFeed : carriageReturn
          if (end === carriageReturn) {
            line++
            finish(i)
          }
        }
        if (marks < 3) {
          if (byte === mark[marks]) {
            if (++marks === 3) lead = 3
            most = first + limit + 2 + lead - size
            continue
          }
          if (marks > 0) at = At.Field
          marks = 3
        }
        if (at === At.Quotes) {
          if (byte === quote) at = At.Quote
          else if (byte === (end ?? lineFeed)) line++
        } else if (byte === lineFeed && end !== carriageReturn) {
          end = lineFeed
          line++
          finish(i + 1)
        } else if (byte === carriageReturn && end === carriageReturn) {
          line++
          finish(i + 1)
        } else if (byte === carriageReturn && end === undefined) returned = true
        else if (byte === lineFeed && size === 0 && i === first) {
          first++ // belongs to the CR before it
          most++
        } else if (byte === separator) at = At.FieldStart
        else if (byte === quote && !isTsv && at !== At.Field && at !== At.QuoteReturn) at = At.Quotes
        else if (byte === carriageReturn && at === At.Quote) at = At.QuoteReturn
        else at = At.Field
        if (i >= most && !skipping && !over) overlong(received + first - size, found)
      }
      received += chunk.length
      if (!over && first < chunk.length) {
        size += chunk.length - first
        if (!skipping) parts.push(chunk.subarray(first))
      }
      return found
    },
    end: (): ReadonlyArray<Records.Record> => {
      const found: Array<Records.Record> = []
      if (over || size === 0 || skipping) return found
      const joined = Buffer.concat(parts)
      if (returned) end = carriageReturn
      put(joined, 0, joined.length, received, found)
      return found
    }
  }
}
