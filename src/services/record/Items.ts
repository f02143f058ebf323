import { Chunk, Data, Effect, Option, Stream } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Input from "../host/Input.js"
import * as Printable from "../text/Printable.js"
import * as RawText from "../text/RawText.js"
import * as LosslessJson from "./LosslessJson.js"
import * as ReadRecords from "./ReadRecords.js"
import type * as Records from "./Records.js"

/**
 * An item of a file, of standard input or of the arguments.
 *
 * @since 0.1.0
 * @category models
 */
export interface Item {
  /** Its number among the items, from 1. */
  readonly index: number
  /** The number of its line, from 1; of an item between NUL bytes and of an argument its own. */
  readonly line: number
  /** Its original text without its end: a `RawText` where its bytes are not UTF-8; empty if it is too long. */
  readonly text: string
  /** A string; a JSON value whose large integers are BigInts; an object of strings by column. Undefined with a problem. */
  readonly value: unknown
  /** Why it is not an item of its format, like `longer than 16 MiB`, `not UTF-8` or `not JSON: …`. */
  readonly problem: string | undefined
  /** `line 3 of items.txt`, `item 3 of standard input` or `argument 3`. */
  readonly place: string
}

/**
 * Settings of {@link read}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Default `"lines"`. */
  readonly format?: Records.Format | undefined
  /** Most bytes of an item; a longer one has a problem and is not kept in memory. Default 16 MiB. */
  readonly maxLine?: number | undefined
  /**
   * `"utf8"` (default): bytes that are not UTF-8 are a problem. `"raw"`: lines and texts between NUL bytes keep them, as
   * `RawText`; for what goes to a command, or back out.
   */
  readonly encoding?: "raw" | "utf8" | undefined
}

/**
 * An item is not one of its format, or the header of a CSV cannot be used; names the place and the problem.
 *
 * @since 0.1.0
 * @category errors
 */
export class ItemFailed extends Data.TaggedError("ItemFailed")<{
  readonly place: string
  readonly problem: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    return describe(this.place, this.problem)
  }
}

/**
 * The place and the problem as a sentence: `line 3 of items.txt is not UTF-8`.
 *
 * @since 0.1.0
 * @category formatting
 */
export const describe = (place: string, problem: string): string =>
  `${place} ${problem.startsWith("cannot") ? "" : "is "}${problem}`

const mark = "\ufeff"
const isBlank = (text: string): boolean => /^[ \t\r]*$/.test(text)

const sourceOf = (path: string): string => (path === "-" ? "standard input" : Printable.line(path))

// Values and texts are read on demand, as those of its record are.
class FromRecord implements Item {
  constructor(
    readonly index: number,
    private readonly record: Records.Record,
    private readonly format: Records.Format,
    private readonly where: string
  ) {}
  get line() {
    return this.record.line
  }
  get problem() {
    return this.record.problem
  }
  get value() {
    const { line, value } = this.record
    // A byte order mark belongs to the file, not to its first line.
    const isMarked = this.format === "lines" && line === 1 && String(value).startsWith(mark)
    return isMarked ? (value as string).slice(1) : value
  }
  get text() {
    const { value } = this
    if (typeof value === "string" && this.format !== "ndjson" && this.format !== "json") return value
    const { chunk, from, to } = this.record
    return RawText.decode(chunk.subarray(from, to)).replace(/\r$/, "")
  }
  get place() {
    return this.where.replace("#", String(this.record.line))
  }
}

/**
 * The items of a file, or of standard input under the name `-`: lines (LF or CRLF), texts between NUL bytes, lines of JSON
 * or rows of a CSV. Blank lines are left out, and so is a byte order mark at the beginning. An item that is not one of its
 * format has a `problem`; {@link proper} makes it a failure. Fails where the file cannot be read, and with
 * {@link ItemFailed} where the header of a CSV cannot be used.
 *
 * @example
 * ```ts
 * import { Stream } from "effect"
 * import * as Items from "effect-asyncio/services/Items"
 *
 * export const count = Stream.runCount(Items.proper(Items.read("files.txt", { encoding: "raw" })))
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const read = (
  path: string,
  { encoding, format = "lines", maxLine }: Options = {}
): Stream.Stream<Item, ItemFailed | Input.InputError, Input.Input> =>
  Stream.unwrap(
    Effect.map(Input.Input, ({ open }) => {
      const where = `${format === "null" ? "item" : "line"} # of ${sourceOf(path)}`
      return Stream.suspend(() => {
        let index = 0
        return ReadRecords.records(open(path), { format, maxLine, encoding }).pipe(
          Stream.mapError((error) =>
            error._tag === "RecordFailed"
              ? new ItemFailed({
                  place: where.replace("#", String(error.record.line)),
                  problem: error.detail
                })
              : error
          ),
          Stream.mapChunks(
            Chunk.filterMap((record) => {
              const item = new FromRecord(index + 1, record, format, where)
              const { value } = format === "lines" ? item : { value: undefined }
              if (typeof value === "string" && isBlank(value)) return Option.none()
              index++
              return Option.some(item)
            })
          )
        )
      })
    })
  )

/**
 * The items that arguments are: JSON for `"ndjson"` and `"json"`, else texts as they are.
 *
 * @since 0.1.0
 * @category constructors
 */
export const words = (
  texts: Iterable<string>,
  { format = "lines" }: Pick<Options, "format"> = {}
): ReadonlyArray<Item> =>
  Array.from(texts, (text, i): Item => {
    const common = { index: i + 1, line: i + 1, text, place: `argument ${i + 1}` }
    if (format !== "ndjson" && format !== "json") return { ...common, value: text, problem: undefined }
    try {
      return { ...common, value: LosslessJson.parse(text), problem: undefined }
    } catch (error) {
      return { ...common, value: undefined, problem: `not JSON: ${(error as Error).message}` }
    }
  })

/**
 * The items before the first that has a problem, then its failure.
 *
 * @since 0.1.0
 * @category streams
 */
export const proper = <E, R>(items: Stream.Stream<Item, E, R>): Stream.Stream<Item, E | ItemFailed, R> =>
  Stream.suspend(() => {
    let bad: Item | undefined
    const upTo = Stream.takeUntil(items, (item) => {
      if (item.problem !== undefined) bad = item
      return bad !== undefined
    })
    const failure = Stream.suspend(() =>
      bad === undefined
        ? Stream.empty
        : Stream.fail(new ItemFailed({ place: bad.place, problem: bad.problem! }))
    )
    return Stream.concat(
      Stream.filter(upTo, ({ problem }) => problem === undefined),
      failure
    )
  })

/**
 * The bytes of several inputs, one after the other: the last item of each is ended with the byte `end` if it has no end, so
 * that it does not run into the first item of the next.
 *
 * @since 0.1.0
 * @category streams
 */
export const joined = <E, R>(
  inputs: ReadonlyArray<Stream.Stream<Uint8Array, E, R>>,
  end: number
): Stream.Stream<Uint8Array, E, R> => {
  const [only, ...others] = inputs
  if (only === undefined) return Stream.empty
  if (others.length === 0) return only
  return Stream.fromIterable(inputs.entries()).pipe(
    Stream.flatMap(([i, input]) =>
      Stream.suspend(() => {
        let last = end
        const ended = Stream.suspend(() =>
          last === end || i === inputs.length - 1 ? Stream.empty : Stream.make(Uint8Array.of(end))
        )
        return Stream.concat(
          Stream.tap(input, (bytes) =>
            Effect.sync(() => {
              last = bytes.at(-1) ?? last
            })
          ),
          ended
        )
      })
    )
  )
}
