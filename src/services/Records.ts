import { isAscii, isUtf8 } from "node:buffer"
import { createHash } from "node:crypto"
import { isDeepStrictEqual } from "node:util"
import { type Options as CsvOptions, type Info, Parser } from "csv-parse"
import * as Json from "./Json.js"

// Bytes taken apart into records, in plain code: `npm run bench -- loop` measures it beside a bare splitter.

/**
 * What a record is: a `"line"`, a line of JSON (`"ndjson"`; blank lines are none), what ends with NUL (`"null"`), or a
 * row of a CSV whose first row names the columns (`"csv"`).
 */
export type Format = "lines" | "ndjson" | "null" | "csv"

export const formats = ["lines", "ndjson", "null", "csv"] as const satisfies ReadonlyArray<Format>

/** A record, and where it is from. */
export class Record {
  constructor(
    /** Its number among the records, from 1. */
    readonly index: number,
    /** The number of its line, from 1; of a `"null"` record its own. */
    readonly line: number,
    /** A string; a JSON value whose large integers are BigInts; an object of strings by column. */
    readonly value: unknown,
    /** Why it is no record of its format; then `value` is undefined. */
    readonly problem: string | undefined,
    /** Holds its bytes: from `from` to `to`, and with what ends it to `next`. */
    readonly chunk: Buffer,
    readonly from: number,
    readonly to: number,
    readonly next: number,
    /** How many bytes of the input end with it. */
    readonly position: number
  ) {}

  /** As it came, without what ends it. */
  get text(): string {
    return this.chunk.toString("utf8", this.from, this.to)
  }

  /** As it came, with what ends it. */
  get bytes(): Buffer {
    return this.chunk.subarray(this.from, this.next)
  }
}

/** Whether nobody has changed the value since: reads the record once more. */
export const isAsRead = ({ text, value }: Record): boolean =>
  typeof value !== "object" ||
  value === null ||
  isDeepStrictEqual(Json.parse(text.replace(/^\ufeff/, "")), value)

/** SHA-256 of bytes, in hex. */
export const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** Settings of {@link make}. */
export interface Options {
  readonly format: Format
  /** Most bytes of a record; a longer one is a problem, and is not kept. Default 16 MiB. */
  readonly maxLine?: number | undefined
  /** What has been read before: so many bytes, lines and records. */
  readonly from?: { readonly position: number; readonly line: number; readonly index: number } | undefined
}

export interface Records {
  /** The records that end in these bytes; the bytes are theirs from now on. */
  readonly push: (bytes: Uint8Array) => ReadonlyArray<Record>
  /** The last record, if nothing ended it. */
  readonly end: () => ReadonlyArray<Record>
}

export const maxLineDefault = 16 * 1024 * 1024

const none = Buffer.alloc(0)

/** What Buffer has below `toString`, which costs as much again for short strings. */
interface Slices {
  readonly latin1Slice: (from: number, to: number) => string
  readonly utf8Slice: (from: number, to: number) => string
}

/** Takes bytes apart into records, in time proportional to the bytes. */
export const make = (options: Options): Records => (options.format === "csv" ? rows(options) : lines(options))

const tooLong = (limit: number) => `longer than ${limit} bytes`

const isBlank = (text: string) => /^[ \t\r]*$/.test(text)

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

  // `text` is the record without its end; `digits`: a large integer may be in it.
  const record = (
    text: string | undefined,
    digits: boolean,
    chunk: Buffer,
    from: number,
    to: number,
    next: number
  ): Record | undefined => {
    line++
    position += next - from
    if (text === undefined)
      return new Record(++index, line, undefined, "not UTF-8", chunk, from, to, next, position)
    if (!isJson) {
      const value = format === "lines" && text.endsWith("\r") ? text.slice(0, -1) : text
      return new Record(++index, line, value, undefined, chunk, from, to, next, position)
    }
    try {
      const value: unknown = digits ? Json.parse(text) : JSON.parse(text)
      return new Record(++index, line, value, undefined, chunk, from, to, next, position)
    } catch (error) {
      if (position === next - from && text.startsWith("\ufeff")) {
        // a byte order mark: no part of the first record
        line--
        position = 3
        return record(text.slice(1), digits, chunk, from + 3, to, next)
      }
      if (isBlank(text)) return undefined
      const why = (error as Error).message.replace(/, "?[\s\S]*$| in JSON at position.*$/, "")
      return new Record(++index, line, undefined, `not JSON: ${why}`, chunk, from, to, next, position)
    }
  }
  const one = (chunk: Buffer, from: number, to: number, next: number) => {
    const bytes = chunk.subarray(from, to)
    return record(isUtf8(bytes) ? bytes.toString() : undefined, true, chunk, from, to, next)
  }
  const overlong = () => {
    skipping = true
    parts = []
    // Its position is where it begins: who goes on from there meets it again.
    return new Record(++index, line + 1, undefined, tooLong(maxLine), none, 0, 0, 0, position)
  }

  // Records that begin and end in the chunk.
  const whole = (chunk: Buffer, from: number, end: number, found: Array<Record>) => {
    const bytes = chunk.subarray(from, end)
    const digits = isJson && mayRound(bytes)
    const ascii = isAscii(bytes)
    if (!ascii && !isUtf8(bytes)) {
      for (let at = from; at < end; ) {
        const to = chunk.indexOf(byte, at)
        add(found, one(chunk, at, to, to + 1))
        at = to + 1
      }
      return
    }
    // What is ASCII has the same places as text; otherwise they are counted beside. JSON.parse is faster on a string of
    // its own than on a slice of a long one.
    const slices = chunk as Buffer & Slices
    const text = ascii ? slices.latin1Slice(from, end) : slices.utf8Slice(from, end)
    let at = from
    for (let start = 0; at < end; ) {
      const stop = text.indexOf(delimiter, start)
      const to = ascii ? from + stop : chunk.indexOf(byte, at)
      if (to - at > maxLine) {
        line++
        position += to + 1 - at
        found.push(new Record(++index, line, undefined, tooLong(maxLine), none, 0, 0, 0, position))
      } else {
        const own = ascii && isJson ? slices.latin1Slice(at, to) : text.slice(start, stop)
        add(found, record(own, digits, chunk, at, to, to + 1))
      }
      at = to + 1
      start = stop + 1
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
        if (!skipping && size + more > maxLine) found.push(overlong())
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
          add(found, one(joined, 0, joined.length - 1, joined.length))
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
        if (size > maxLine) found.push(overlong())
        else parts.push(chunk.subarray(from))
      }
      return found
    },
    end: () => {
      if (size === 0 || skipping) return []
      const joined = Buffer.concat(parts)
      const found: Array<Record> = []
      add(found, one(joined, 0, joined.length, joined.length))
      return found
    }
  }
}

const add = (found: Array<Record>, record: Record | undefined) => {
  if (record !== undefined) found.push(record)
}

const csvReasons: Readonly<{ [code: string]: string }> = {
  CSV_MAX_RECORD_SIZE: "too long",
  CSV_RECORD_INCONSISTENT_COLUMNS: "another number of fields than columns",
  CSV_RECORD_INCONSISTENT_FIELDS_LENGTH: "another number of fields than columns",
  CSV_QUOTE_NOT_CLOSED: "a quote that is not closed",
  CSV_INVALID_CLOSING_QUOTE: "text behind a closing quote",
  INVALID_OPENING_QUOTE: "a quote within an unquoted field"
}

const rows = ({ from, maxLine = maxLineDefault }: Options): Records => {
  let found: Array<Record> = []
  let index = 0
  let broken = false // there are bytes that are not UTF-8; they have become U+FFFD
  let received = 0
  let done = 0 // bytes of the records so far
  let over = false
  const skip = from?.index ?? 0 // the columns are at the top, so what has been read before is read again
  const put = (value: unknown, problem: string | undefined, raw: string, { bytes, lines }: Info) => {
    done = bytes
    if (++index <= skip) return
    const text = raw.replace(/[\r\n]+$/, "")
    const chunk = Buffer.from(`${text}\n`)
    const line = lines - (text.match(/\n/g)?.length ?? 0)
    const to = chunk.length - 1
    const wrong = to > maxLine ? tooLong(maxLine) : broken && raw.includes("\ufffd") ? "not UTF-8" : problem
    const right = wrong === undefined ? value : undefined
    found.push(new Record(index, line, right, wrong, chunk, 0, to, chunk.length, bytes))
  }
  // Not its own max_record_size: from the first record that is too long on, it finds fault with all.
  const parser = new Parser({
    bom: true,
    columns: true,
    raw: true,
    info: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    on_record: ((row: { readonly info: Info; readonly raw: string; readonly record: unknown }) => {
      put(row.record, undefined, row.raw, row.info)
      return null // nothing goes through the parser's own stream: all of it happens within a write
    }) as unknown as NonNullable<CsvOptions["on_record"]>
  })
  parser.on("skip", (error: Error & Info & { readonly code: string }, raw: string | undefined) =>
    put(undefined, `not CSV: ${csvReasons[error.code] ?? error.message}`, raw ?? "", error)
  )
  const failed = (error: Error & { readonly code?: string }) => {
    over = true
    put(undefined, `not CSV: ${csvReasons[error.code ?? ""] ?? error.message}`, "", parser.info)
  }
  parser.on("error", failed)
  const taken = () => {
    const all = found
    found = []
    return all
  }
  return {
    push: (bytes) => {
      if (over) return []
      broken ||= !isUtf8(bytes)
      parser.write(bytes)
      received += bytes.length
      // Nothing tells where the next record begins.
      if (received - done > maxLine + bytes.length && !over) {
        over = true
        put(undefined, `${tooLong(maxLine)}; what follows is not read`, "", parser.info)
      }
      return taken()
    },
    end: () => {
      if (!over) {
        parser._flush((error) => {
          if (error != null) failed(error)
        })
      }
      return taken()
    }
  }
}
