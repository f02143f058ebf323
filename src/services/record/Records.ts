import { createHash } from "node:crypto"
import { type Cause, Data } from "effect"
import * as LosslessJson from "./LosslessJson.js"

// The model of records. Splitter.ts makes them of bytes.

/**
 * The format of records: a line (`"lines"`), a line of JSON (`"ndjson"`; blank lines are skipped), a text that ends with
 * NUL (`"null"`), a row of a CSV whose first row names the columns (`"csv"`), the same
 * with tabs (`"tsv"`), or a JSON value among others, over any number of
 * lines, where the elements of an array at the top are records (`"json"`).
 *
 * @since 0.1.0
 * @category models
 */
export type Format = "lines" | "ndjson" | "null" | "csv" | "tsv" | "json"

/**
 * All formats, for options and schemas.
 *
 * @since 0.1.0
 * @category constants
 */
export const formats = [
  "lines",
  "ndjson",
  "null",
  "csv",
  "tsv",
  "json"
] as const satisfies ReadonlyArray<Format>

const unread: unique symbol = Symbol("unread")

/**
 * How a record's bytes are read.
 *
 * @since 0.1.0
 * @category models
 */
export type Reading = "line" | "null" | "json" | "jsonDigits"

/** Methods of Buffer below `toString`, which doubles the cost for short strings. */
interface Slices {
  readonly utf8Slice: (from: number, to: number) => string
}

/**
 * A place after a record to resume from, as JSON; the record's origin adds further fields.
 *
 * @since 0.1.0
 * @category models
 */
export interface Resume {
  /** Records so far. */
  readonly index: number
  /** Lines so far. */
  readonly line: number
  readonly format: Format
}

/**
 * The input, or the file, that records are from.
 *
 * @since 0.1.0
 * @category models
 */
export interface Origin {
  /** The place to resume from after one of its records; costly parts of it are computed on demand. */
  readonly behind: (record: Record) => Resume
}

/**
 * Shared by the records of a run of bytes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Block {
  /** Holds the bytes of its records. */
  readonly bytes: Buffer
  /** `"jsonDigits"`: JSON that may contain a large integer. */
  readonly reading: Reading
  /** The bytes from `begin` on as text, if both have the same indexes; else undefined. */
  readonly text: string | undefined
  readonly begin: number
  readonly origin: Origin | undefined
}

/**
 * A record and its origin. Its value is parsed on demand: a value that is dropped at once costs the garbage collector
 * nothing, while it would copy each value of a whole chunk, which took longer than parsing them.
 *
 * @since 0.1.0
 * @category models
 */
export class Record {
  /** Why it is not a record of its format, if known: JSON that was not read yet may be invalid. */
  wrong: string | undefined
  private found: unknown = unread

  constructor(
    /** Its number among the records, from 1. */
    readonly index: number,
    /** The number of its line, from 1; of a `"null"` record its own. */
    readonly line: number,
    private readonly block: Block,
    /** Its bytes in {@link chunk}: from `from` to `to`, and with its end to `next`. */
    readonly from: number,
    readonly to: number,
    readonly next: number,
    /** Bytes of the input up to its end. */
    readonly position: number
  ) {}

  /** Sets its value, or its problem, without reading it. */
  known(value: unknown, wrong: string | undefined): this {
    this.found = value
    this.wrong = wrong
    return this
  }

  /** {@link value} without keeping it: a new object each time. */
  read(): unknown {
    if (this.found !== unread) return this.found
    const { block, from, to } = this
    const { begin, bytes, reading, text: source } = block
    const text =
      source === undefined
        ? (bytes as Buffer & Slices).utf8Slice(from, to)
        : source.slice(from - begin, to - begin)
    if (reading === "null") return text
    if (reading === "line") return text.endsWith("\r") ? text.slice(0, -1) : text
    try {
      return reading === "jsonDigits" ? LosslessJson.parse(text) : JSON.parse(text)
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

  /** Why it is not a record of its format; then `value` is undefined. */
  get problem(): string | undefined {
    if (this.found === unread) this.found = this.read()
    return this.wrong
  }

  /** The buffer that contains its bytes and those of other records. */
  get chunk(): Buffer {
    return this.block.bytes
  }

  /** Its origin; undefined if the splitter has none. */
  get origin(): Origin | undefined {
    return this.block.origin
  }

  /** The place in the input after it. */
  get place(): Place {
    const { index, line, position } = this
    return { index, line, position }
  }

  /** Its original text, without its end. */
  get text(): string {
    return this.chunk.toString("utf8", this.from, this.to)
  }

  /** Its original bytes, with its end. */
  get bytes(): Buffer {
    return this.chunk.subarray(this.from, this.next)
  }
}

/**
 * A row of a CSV.
 *
 * @since 0.1.0
 * @category models
 */
export class Row extends Record {
  /** Its values in the order of the columns; undefined if it has a problem. */
  fields: ReadonlyArray<string> | undefined
}

/**
 * A record that is too long, detected before its end has arrived: its position is its beginning.
 *
 * @since 0.1.0
 * @category models
 */
export class Cut extends Record {
  override get place(): Place {
    const { index, line, position } = this
    return { index: index - 1, line: line - 1, position }
  }
}

/**
 * A place in an input, by the bytes, lines and records before it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Place {
  readonly position: number
  readonly line: number
  readonly index: number
}

/**
 * A record is not one of its format, or its function failed; names the line and the problem.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecordFailed<out E = never> extends Data.TaggedError("RecordFailed")<{
  readonly record: Record
  readonly detail: string
  /** 1 for a failure, 124 for a timeout, 126 or 127 for a command that cannot be run. */
  readonly exitCode: number
  /** Why the function failed; none for a timeout, and for a record that is not one of its format. */
  readonly failure?: Cause.Cause<unknown> | undefined
}> {
  declare readonly failure?: Cause.Cause<E> | undefined
  override get message() {
    return `line ${this.record.line}: ${this.detail}`
  }
}

/**
 * Whether the value is unchanged since it was read: reads the record once more.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isAsRead = ({ text, value }: Record): boolean =>
  typeof value !== "object" || value === null || LosslessJson.isEqual(LosslessJson.parse(text), value)

/**
 * SHA-256 of bytes, in hex.
 *
 * @since 0.1.0
 * @category functions
 */
export const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
