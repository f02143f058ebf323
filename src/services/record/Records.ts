import { createHash } from "node:crypto"
import { Data } from "effect"
import * as LosslessJson from "./LosslessJson.js"

// The model of records. Splitter.ts makes them of bytes.

/**
 * What a record is: a line (`"lines"`), a line of JSON (`"ndjson"`; blank lines are not records), what ends with NUL
 * (`"null"`), or a row of a CSV whose first row names the columns (`"csv"`).
 */
export type Format = "lines" | "ndjson" | "null" | "csv"

/** All formats, for options and schemas. */
export const formats = ["lines", "ndjson", "null", "csv"] as const satisfies ReadonlyArray<Format>

const unread: unique symbol = Symbol("unread")

/** How a record's bytes are read. */
export type Reading = "line" | "null" | "json" | "jsonDigits"

/** What Buffer has below `toString`, which costs as much again for short strings. */
interface Slices {
  readonly utf8Slice: (from: number, to: number) => string
}

/** A place to go on at, behind a record, as JSON; the origin of the record knows what it has beside these. */
export interface Resume {
  /** Records so far. */
  readonly index: number
  /** Lines so far. */
  readonly line: number
  readonly format: Format
}

/** The input, or the file, that records are from. */
export interface Origin {
  /** The place to go on at behind one of its records; what is costly in it is made when it is asked for. */
  readonly behind: (record: Record) => Resume
}

/** What the records of a run of bytes have in common. */
export interface Block {
  /** Holds the bytes of its records. */
  readonly bytes: Buffer
  /** `"jsonDigits"`: JSON in which a large integer may be. */
  readonly reading: Reading
  /** The bytes from `begin` on as text, where both have the same places; else undefined. */
  readonly text: string | undefined
  readonly begin: number
  readonly origin: Origin | undefined
}

/**
 * A record, and where it is from. Its value is read when it is asked for: what is parsed and dropped at once costs the
 * garbage collector nothing, while the values of a whole chunk would each be copied by it, which took longer than
 * parsing them.
 */
export class Record {
  /** Why it is not a record of its format, as far as that is known: JSON that was not read may be wrong. */
  wrong: string | undefined
  private found: unknown = unread

  constructor(
    /** Its number among the records, from 1. */
    readonly index: number,
    /** The number of its line, from 1; of a `"null"` record its own. */
    readonly line: number,
    private readonly block: Block,
    /** Where its bytes are in {@link chunk}: from `from` to `to`, and with what ends it to `next`. */
    readonly from: number,
    readonly to: number,
    readonly next: number,
    /** How many bytes of the input end with it. */
    readonly position: number
  ) {}

  /** Sets what is known of it without reading it: a value, or what is wrong. */
  known(value: unknown, wrong: string | undefined): this {
    this.found = value
    this.wrong = wrong
    return this
  }

  /** {@link value} without keeping it: another object each time. */
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

  /** What its bytes are in, with those of other records. */
  get chunk(): Buffer {
    return this.block.bytes
  }

  /** Where it is from; undefined where the splitter was not given that. */
  get origin(): Origin | undefined {
    return this.block.origin
  }

  /** How much of the input is behind it. */
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

/** A row of a CSV. */
export class Row extends Record {
  /** Its values in the order of the columns; undefined where it has a problem. */
  fields: ReadonlyArray<string> | undefined
}

/** A record that is too long, found before its end has come: its position is where it begins. */
export class Cut extends Record {
  override get place(): Place {
    const { index, line, position } = this
    return { index: index - 1, line: line - 1, position }
  }
}

/** Places in an input: behind so many bytes, lines and records. */
export interface Place {
  readonly position: number
  readonly line: number
  readonly index: number
}

/** A record is not one of its format, or its function failed: names the line, and what is wrong. */
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

/** Whether the value is unchanged since it was read: reads the record once more. */
export const isAsRead = ({ text, value }: Record): boolean =>
  typeof value !== "object" || value === null || LosslessJson.isEqual(LosslessJson.parse(text), value)

/** SHA-256 of bytes, in hex. */
export const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
