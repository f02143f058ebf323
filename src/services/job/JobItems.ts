import { Chunk, Data, Effect, Stream } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Input from "../host/Input.js"
import * as Lines from "../text/Lines.js"
import * as RawText from "../text/RawText.js"
import * as Sizes from "../text/Sizes.js"

/**
 * An item is longer than the limit.
 *
 * @since 0.1.0
 * @category errors
 */
export class ItemTooLong extends Data.TaggedError("ItemTooLong")<{
  readonly path: string
  /** The item's number, from 1. */
  readonly number: number
  /** The limit in bytes. */
  readonly maxLine: number
}> {
  readonly exitCode = codes.usage
  override get message() {
    return `item ${this.number} of ${this.path} is longer than ${Sizes.formatSize(this.maxLine)}; --max-line sets the limit`
  }
}

/**
 * Settings of {@link read}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Items end with a NUL byte, as `find -print0` writes them; default false: with a line end. */
  readonly nul?: boolean | undefined
  /** Most bytes of an item; default 16 MiB. */
  readonly maxLine?: number | undefined
}

/**
 * The items of a file, or of standard input under the name `-`, as `RawText`. Without `nul`, empty lines are left out and
 * a CR before a line end is dropped. Fails with `ItemTooLong`, or as the file cannot be read.
 *
 * @example
 * ```ts
 * import { Stream } from "effect"
 * import * as JobItems from "effect-asyncio/services/JobItems"
 *
 * export const count = Stream.runCount(JobItems.read("files.txt"))
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const read = (
  path: string,
  { maxLine = 16 * 1024 * 1024, nul = false }: Options = {}
): Stream.Stream<string, ItemTooLong | Input.InputError, Input.Input> =>
  Stream.unwrap(
    Effect.map(Input.Input, ({ open }) =>
      Stream.suspend(() => {
        let found: Array<string> = []
        let number = 0
        let tooLong: number | undefined
        const lines = Lines.make({
          delimiter: nul ? 0 : 10,
          maxLine,
          onLine: (line, cut) => {
            number++
            if (cut) tooLong ??= number
            const text = RawText.decode(line)
            const item = nul ? text : text.replace(/\r$/, "")
            if (nul || item !== "") found.push(item)
          }
        })
        const take = () => {
          const taken = found
          found = []
          return tooLong === undefined
            ? Effect.succeed(Chunk.unsafeFromArray(taken))
            : new ItemTooLong({ path, number: tooLong, maxLine })
        }
        const whole = Stream.mapChunksEffect(open(path), (chunks) => {
          for (const bytes of chunks) lines.push(bytes)
          return take()
        })
        const last = Stream.unwrap(
          Effect.suspend(() => {
            lines.end()
            return Effect.map(take(), Stream.fromChunk)
          })
        )
        return Stream.concat(whole, last)
      })
    )
  )
