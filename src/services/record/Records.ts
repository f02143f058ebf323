import { constants, isAscii, isUtf8 } from "node:buffer"
import { createHash } from "node:crypto"
import { Data } from "effect"
import { checkOptions, countOrInfinity } from "../text/Numbers.js"
import { plural } from "../text/Units.js"
import * as LosslessJson from "./LosslessJson.js"

// Bytes taken apart into records, in plain code: `npm run bench -- loop` measures it beside a bare splitter.

/**
 * What a record is: a `"line"`, a line of JSON (`"ndjson"`; blank lines are none), what ends with NUL (`"null"`), or a
 * row of a CSV whose first row names the columns (`"csv"`).
 */
export type Format = "lines" | "ndjson" | "null" | "csv"

export const formats = ["lines", "ndjson", "null", "csv"] as const satisfies ReadonlyArray<Format>

const unread: unique symbol = Symbol("unread")

/** How a record's bytes are read. */
enum Reading {
  Line,
  Null,
  Json,
  /** JSON in which a large integer may be. */
  JsonDigits
}

/** What Buffer has below `toString`, which costs as much again for short strings. */
interface Slices {
  readonly latin1Slice: (from: number, to: number) => string
  readonly utf8Slice: (from: number, to: number) => string
}

/**
 * A record, and where it is from. Its value is read when it is asked for: what is parsed and dropped at once costs the
 * garbage collector nothing, while the values of a whole chunk would each be copied by it, which took longer than
 * parsing them.
 */
export class Record {
  /** Why it is no record of its format, as far as that is known: JSON that nobody has read may be none. */
  wrong: string | undefined
  private found: unknown = unread

  constructor(
    /** Its number among the records, from 1. */
    readonly index: number,
    /** The number of its line, from 1; of a `"null"` record its own. */
    readonly line: number,
    /** Holds its bytes: from `from` to `to`, and with what ends it to `next`. */
    readonly chunk: Buffer,
    readonly from: number,
    readonly to: number,
    readonly next: number,
    /** How many bytes of the input end with it. */
    readonly position: number,
    private readonly reading: number,
    /** The chunk as text, if that has the same places, and where it begins; else undefined. */
    private readonly source: string | undefined,
    private readonly begin: number
  ) {}

  /** What is known of it without reading it: a value, or what is wrong. */
  known(value: unknown, wrong: string | undefined): this {
    this.found = value
    this.wrong = wrong
    return this
  }

  /** {@link value} without keeping it: another object each time. */
  read(): unknown {
    if (this.found !== unread) return this.found
    const { begin, chunk, from, reading, source, to } = this
    const text =
      source === undefined
        ? (chunk as Buffer & Slices).utf8Slice(from, to)
        : source.slice(from - begin, to - begin)
    if (reading === Reading.Null) return text
    if (reading === Reading.Line) return text.endsWith("\r") ? text.slice(0, -1) : text
    try {
      return reading === Reading.JsonDigits ? LosslessJson.parse(text) : JSON.parse(text)
    } catch (error) {
      const why = (error as Error).message.replace(/, "?[\s\S]*$| in JSON at position.*$/, "")
      this.known(undefined, error instanceof SyntaxError ? `not JSON: ${why}` : `cannot be read: ${why}`)
      return undefined
    }
  }

  /** A string; a JSON value whose large integers are BigInts; an object of strings by column. */
  get value(): unknown {
    if (this.found === unread) this.found = this.read()
    return this.found
  }

  /** Why it is no record of its format; then `value` is undefined. */
  get problem(): string | undefined {
    if (this.found === unread) this.found = this.read()
    return this.wrong
  }

  /** Where to go on behind it. */
  get place(): Place {
    const { index, line, position } = this
    return { index, line, position }
  }

  /** As it came, without what ends it. */
  get text(): string {
    return this.chunk.toString("utf8", this.from, this.to)
  }

  /** As it came, with what ends it. */
  get bytes(): Buffer {
    return this.chunk.subarray(this.from, this.next)
  }
}

/** Places in an input: behind so many bytes, lines and records. */
export interface Place {
  readonly position: number
  readonly line: number
  readonly index: number
}

// Found too long before its end has come: its position is where it begins.
class Cut extends Record {
  override get place(): Place {
    const { index, line, position } = this
    return { index: index - 1, line: line - 1, position }
  }
}

/** What was read is no record of its format, or a record's function failed: names the line, and says what is wrong. */
export class RecordFailed extends Data.TaggedError("RecordFailed")<{
  readonly record: Record
  readonly detail: string
  /** What failed: 1; what took too long: 124; a command that cannot be run: 126 or 127. */
  readonly exitCode: number
}> {
  override get message() {
    return `line ${this.record.line}: ${this.detail}`
  }
}

/** Whether nobody has changed the value since: reads the record once more. */
export const isAsRead = ({ text, value }: Record): boolean =>
  typeof value !== "object" || value === null || LosslessJson.isEqual(LosslessJson.parse(text), value)

/** SHA-256 of bytes, in hex. */
export const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** Settings of {@link make}. */
export interface Options {
  readonly format: Format
  /** Most bytes of a record; a longer one is a problem, and is not kept. Default 16 MiB. */
  readonly maxLine?: number | undefined
  /** What has been read before. */
  readonly from?: Place | undefined
}

export interface Records {
  /**
   * The records that end in these bytes; the bytes are theirs from now on. One with the index 0 is a CSV's header that
   * cannot be used: none follows it.
   */
  readonly push: (bytes: Uint8Array) => ReadonlyArray<Record>
  /** The last record, if nothing ended it. */
  readonly end: () => ReadonlyArray<Record>
}

export const maxLineDefault = 16 * 1024 * 1024

const none = Buffer.alloc(0)

// A record must fit into a string, with what --json puts around it.
const longest = constants.MAX_STRING_LENGTH - 4096

/** Takes bytes apart into records, in time proportional to the bytes. */
export const make = (options: Options): Records => {
  checkOptions(options, { maxLine: countOrInfinity })
  return options.format === "csv" ? rows(options) : lines(options)
}

const tooLong = (limit: number) => `longer than ${plural(limit, "byte")}`

// Positions that are a multiple of 16 apart meet every run of 16 digits: a fraction of the price of a regular
// expression over the chunk (0.04 instead of 0.6 µs for a record of 190 bytes).
const mayRound = (bytes: Buffer): boolean => {
  const isDigit = (at: number) => bytes[at]! >= 48 && bytes[at]! <= 57
  for (let at = 15; at < bytes.length; at += 16) {
    if (!isDigit(at)) continue
    let first = at
    let last = at
    while (isDigit(first - 1)) first--
    while (isDigit(last + 1)) last++
    if (last - first >= 15) return true
  }
  return false
}

const lines = ({ format, from, maxLine = maxLineDefault }: Options): Records => {
  const delimiter = format === "null" ? "\0" : "\n"
  const byte = delimiter.charCodeAt(0)
  const isJson = format === "ndjson"
  let { index, line, position } = from ?? { index: 0, line: 0, position: 0 }
  let parts: Array<Buffer> = [] // of a record whose end has not come
  let size = 0
  let skipping = false // the rest of a record that was too long

  const plain = format === "lines" ? Reading.Line : Reading.Null
  const limit = Math.min(maxLine, longest)
  const overlong = () => {
    skipping = true
    parts = []
    const record = new Cut(++index, line + 1, none, 0, 0, 0, position, plain, undefined, 0)
    return record.known(undefined, tooLong(limit))
  }

  // Records that begin and end in the chunk, the last one even without an end.
  const whole = (chunk: Buffer, from: number, end: number, found: Array<Record>) => {
    const bytes = chunk.subarray(from, end)
    const reading = isJson ? (mayRound(bytes) ? Reading.JsonDigits : Reading.Json) : plain
    const ascii = isAscii(bytes)
    const valid = ascii || isUtf8(bytes)
    // What is ASCII has the same places as text, where they are found in a third of the time.
    const source =
      ascii && bytes.length < longest ? (chunk as Buffer & Slices).latin1Slice(from, end) : undefined
    for (let at = from; at < end; ) {
      const place = source === undefined ? chunk.indexOf(byte, at) : source.indexOf(delimiter, at - from)
      const to = place < 0 ? end : source === undefined ? place : place + from
      const next = Math.min(to + 1, end)
      line++
      position += next - at
      // A byte order mark is no part of the first record.
      const start = isJson && position === next - at && !ascii && hasMark(chunk, at, to) ? at + 3 : at
      if (to - at > limit) {
        // Without its bytes, as where they came in several chunks.
        const record = new Record(++index, line, none, 0, 0, 0, position, plain, undefined, 0)
        found.push(record.known(undefined, tooLong(limit)))
      } else if (!isJson || !isBlank(chunk, start, to)) {
        const record = new Record(++index, line, chunk, start, to, next, position, reading, source, from)
        if (!valid && !isUtf8(chunk.subarray(at, to))) record.known(undefined, "not UTF-8")
        found.push(record)
      }
      at = next
    }
  }

  return {
    push: (bytes) => {
      const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
      const found: Array<Record> = []
      let from = 0
      if (size > 0) {
        const to = chunk.indexOf(byte)
        const more = to < 0 ? chunk.length : to
        if (!skipping && size + more > limit) found.push(overlong())
        if (to < 0) {
          size += more
          if (!skipping) parts.push(chunk)
          return found
        }
        if (skipping) {
          line++
          position += size + more + 1
        } else {
          parts.push(chunk.subarray(0, to + 1))
          const joined = Buffer.concat(parts)
          whole(joined, 0, joined.length, found)
        }
        parts = []
        size = 0
        skipping = false
        from = to + 1
      }
      const end = chunk.lastIndexOf(byte) + 1
      if (end > from) {
        whole(chunk, from, end, found)
        from = end
      }
      if (from < chunk.length) {
        size = chunk.length - from
        if (size > limit) found.push(overlong())
        else parts.push(chunk.subarray(from))
      }
      return found
    },
    end: () => {
      if (size === 0 || skipping) return []
      const joined = Buffer.concat(parts)
      const found: Array<Record> = []
      whole(joined, 0, joined.length, found)
      return found
    }
  }
}

const hasMark = (chunk: Buffer, from: number, to: number): boolean =>
  to - from >= 3 && chunk[from] === 0xef && chunk[from + 1] === 0xbb && chunk[from + 2] === 0xbf

const isBlank = (chunk: Buffer, from: number, to: number): boolean => {
  for (let at = from; at < to; at++) {
    const byte = chunk[at]
    if (byte !== 32 && byte !== 9 && byte !== 13) return false
  }
  return true
}

/** A row of a CSV. */
export class Row extends Record {
  /** Its values in the order of the columns; undefined where it has a problem. */
  fields: ReadonlyArray<string> | undefined
}

const mark = Buffer.from("\ufeff")
const lineFeed = 10
const carriageReturn = 13
const quote = 34
const comma = 44

/** Where the next byte of a row is. */
enum At {
  FieldStart,
  Field,
  Quotes,
  /** Behind a quote within quotes: the first of two, or the closing one. */
  Quote,
  /** Behind a closing quote and a CR that may belong to the row's end. */
  QuoteReturn
}

/** A row's fields, or what is wrong with it. */
const fieldsOf = (text: string): ReadonlyArray<string> | string => {
  const fields: Array<string> = []
  let behind = false // there is text behind a closing quote
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
    if (at >= text.length) return behind ? "text behind a closing quote" : fields
  }
}

/** What is wrong with a header: two columns of one name, of which an object could hold one only. */
const sameNames = (names: ReadonlyArray<string>): string | undefined => {
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
    // By assignment it would set the prototype.
    if (name !== "__proto__") row[name] = value
    else Object.defineProperty(row, name, { value, enumerable: true, writable: true, configurable: true })
  }
  return row
}

const rows = ({ from, maxLine = maxLineDefault }: Options): Records => {
  const limit = Math.min(maxLine, longest)
  const skip = from?.index ?? 0 // the columns are at the top, so what has been read before is read again
  let names: ReadonlyArray<string> | undefined
  let index = 0
  let line = 1 // of the next byte
  let begun = 1 // the line of the row
  let received = 0 // bytes in the chunks before
  let parts: Array<Buffer> = [] // of a row whose end has not come
  let size = 0
  let skipping = false // the rest of a row that was too long
  let over = false
  // The header decides: a lone CR ends all rows, or a LF, with or without a CR before it.
  let end: number | undefined
  let returned = false // there was a CR; what follows it decides
  let at: At = At.FieldStart
  let marks = 0 // bytes of a byte order mark so far
  let lead = 0 // bytes of a whole one in the row

  const give = (row: Record, value: unknown, problem: string | undefined, found: Array<Record>) => {
    if (names === undefined) {
      over = true
      found.push(row.known(undefined, problem))
    } else if (row.index > skip) found.push(row.known(value, problem))
  }
  const overlong = (position: number, found: Array<Record>) => {
    skipping = true
    parts = []
    const problem = tooLong(limit) + (at === At.Quotes ? "; a quote in it is not closed so far" : "")
    const number = names === undefined ? 0 : ++index
    const row = new Cut(number, begun, none, 0, 0, 0, position, Reading.Line, undefined, 0)
    give(row, undefined, problem, found)
  }
  // A row that ends before `next`.
  const put = (chunk: Buffer, first: number, next: number, position: number, found: Array<Record>) => {
    let to = next
    if (at !== At.Quotes) {
      if (to > first && chunk[to - 1] === end) to--
      if (to > first && end !== carriageReturn && chunk[to - 1] === carriageReturn) to--
    }
    const header = names === undefined
    const start = first + lead
    if (to === start) return // an empty line is none
    if (to - start > limit) {
      overlong(position - (next - first), found)
      return
    }
    if (!header && ++index <= skip) return
    const row = new Row(
      header ? 0 : index,
      begun,
      chunk,
      start,
      to,
      next,
      position,
      Reading.Line,
      undefined,
      0
    )
    if (!isUtf8(chunk.subarray(start, to))) return give(row, undefined, "not UTF-8", found)
    const fields = fieldsOf(chunk.toString("utf8", start, to))
    const problem = typeof fields === "string" ? fields : header ? sameNames(fields) : undefined
    if (typeof fields === "string" || problem !== undefined) {
      return give(row, undefined, `not CSV: ${problem}`, found)
    }
    if (names === undefined) names = fields
    else if (fields.length !== names.length) {
      give(row, undefined, "not CSV: another number of fields than columns", found)
    } else {
      row.fields = fields
      give(row, rowOf(names, fields), undefined, found)
    }
  }

  return {
    push: (bytes) => {
      const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
      const found: Array<Record> = []
      let first = 0 // of the row, in this chunk
      let most = limit + 2 + lead - size // where the row is too long, whatever ends it
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
        } else if (byte === comma) at = At.FieldStart
        else if (byte === quote && at !== At.Field && at !== At.QuoteReturn) at = At.Quotes
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
    end: () => {
      const found: Array<Record> = []
      if (over || size === 0 || skipping) return found
      const joined = Buffer.concat(parts)
      if (returned) end = carriageReturn
      put(joined, 0, joined.length, received, found)
      return found
    }
  }
}
