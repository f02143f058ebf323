import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import * as Command from "@effect/platform/Command"
import { Chunk, Data, Effect, Predicate, Stream } from "effect"
import { dual } from "effect/Function"
import { codes } from "../host/ExitCodes.js"
import * as CommandText from "../process/CommandText.js"
import { checkOptions, count } from "../text/Numbers.js"
import * as Printable from "../text/Printable.js"
import * as RawText from "../text/RawText.js"
import * as ShellWords from "../text/ShellWords.js"
import * as Sizes from "../text/Sizes.js"
import * as blocks from "./internal/blocks.js"
import type { JobRequest } from "./Jobs.js"
import * as Template from "./Template.js"

/**
 * Jobs of one command with places for items.
 *
 * @since 0.1.0
 * @category models
 */
export interface TemplateJobs {
  /** The program of every job; undefined if it depends on the item, or a shell looks it up. */
  readonly program: string | undefined
  /**
   * Why a shell would interpret one of these items; undefined if all are harmless. The function itself is undefined if no
   * item can be misread.
   */
  readonly misread: ((values: ReadonlyArray<string>) => string | undefined) | undefined
  /** The bytes of the command line with these items, each word with an end; without the words that call a shell. */
  readonly length: (values: ReadonlyArray<string>) => number
  /** The next job, from 1, with one item of each source, or with several items. */
  readonly next: (values: ReadonlyArray<string>) => JobRequest
  /** The next job, which reads these bytes as its stdin, as often as it is tried. */
  readonly feed: (block: Uint8Array) => JobRequest
}

/**
 * Settings of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** A shell reads the command; default: if it is one word with blanks. */
  readonly shell?: boolean | undefined
  /** What stands for the item in place of `{}`. */
  readonly place?: string | undefined
  /**
   * Whether the key of a job with a block has a digest of the block, so that a log of another input, or of blocks of another
   * size, is no reason to skip it; default true. It takes some milliseconds for a MiB.
   */
  readonly digest?: boolean | undefined
}

/**
 * Jobs from a command's words as `Template` reads them. A shell reads the command if `shell` is set, or if it is one word
 * with blanks in it that is not the path of a file; items are then quoted for the shell. Without words, each item is itself
 * a command for the shell.
 *
 * @example
 * ```ts
 * import * as Jobs from "effect-asyncio/services/Jobs"
 * import * as TemplateJobs from "effect-asyncio/services/TemplateJobs"
 *
 * const jobs = TemplateJobs.make(["gzip", "-k", "{}"])
 * export const events = Jobs.stream([["a.txt"], ["b.txt"]].map(jobs.next))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  words: ReadonlyArray<string>,
  { digest = true, place, shell }: Options = {}
): TemplateJobs => {
  const [first = ""] = words
  const isCommand = words.length === 0
  const inShell =
    isCommand ||
    shell === true ||
    (words.length === 1 && /\s/.test(first) && !(first.includes("/") && existsSync(first)))
  const template: Template.Template = isCommand
    ? ({ values }) => values
    : inShell
      ? Template.make([words.join(" ")], ShellWords.quote, false, place)
      : Template.make(words, undefined, false, place)
  const misread = inShell && !isCommand ? Template.misread(words.join(" "), false, place) : undefined
  const isFixed = !first.includes("{") && !Template.hasPlace(first, false, place)
  const perSlot = words.some((word) => word.includes("{%}"))
  let seq = 0
  const wordsOf = (at: Template.Place): ReadonlyArray<string> => {
    const [program = "", ...rest] = template(at)
    return inShell ? [[program, ...rest].join(" ")] : [program, ...rest]
  }
  const commandOf = (at: Template.Place) => {
    const [program = "", ...rest] = wordsOf(at)
    return inShell ? CommandText.shell(program) : Command.make(program, ...rest)
  }
  const next = (values: ReadonlyArray<string>): JobRequest => {
    const number = ++seq
    const at = (slot: number | undefined) => commandOf({ values, seq: number, slot })
    const label = values.join(" ")
    if (perSlot) return { label, command: at, key: () => CommandText.commandText(at(undefined)) }
    const everywhere = at(undefined)
    return { label, command: () => everywhere }
  }
  return {
    program: inShell || !isFixed ? undefined : first,
    misread: misread && ((values) => misread({ values })),
    length: (values) =>
      wordsOf({ values, seq: 999_999, slot: 999 }).reduce(
        (sum, word) => sum + RawText.encode(word).length + 1,
        0
      ),
    next,
    feed: (block) => {
      const { command } = next([])
      const number = seq
      return {
        label: `block ${number}`,
        command: (slot) => Command.stdin(command(slot), Stream.succeed(block)),
        key: () => {
          const named = `${CommandText.commandText(commandOf({ values: [], seq: number }))} # block ${number}`
          if (!digest) return named
          return `${named} ${createHash("sha256").update(block).digest("hex").slice(0, 16)}`
        }
      }
    }
  }
}

/**
 * An item does not fit in a command line by itself, or is too long for a block.
 *
 * @since 0.1.0
 * @category errors
 */
export class ItemTooLong extends Data.TaggedError("ItemTooLong")<{
  /** The number of the item among those of the input, from 1; undefined for a block. */
  readonly index: number | undefined
  readonly item: string
  /** The bytes that are allowed. */
  readonly most: number
}> {
  readonly exitCode = codes.usage
  override get message() {
    const most = Sizes.formatGiven(this.most)
    return this.index === undefined
      ? `an item on standard input is longer than ${most}; it cannot be part of a block`
      : `item ${this.index} ('${Printable.line(this.item.slice(0, 40))}') does not fit in a command line of ${most}`
  }
}

/** What Linux accepts as one word of a command, and what xargs fills by default. */
const longestLine = 128 * 1024

/**
 * Settings of {@link batches}.
 *
 * @since 0.1.0
 * @category options
 */
export interface BatchOptions {
  /** Most items of a command; default no limit. */
  readonly maxArgs?: number | undefined
  /** Most bytes of a command line, with the end of each word; default 128 KiB. */
  readonly maxChars?: number | undefined
}

/**
 * Several items for each command: as many as are allowed and fit in its line. Fails with {@link ItemTooLong} at an item
 * that does not fit by itself.
 *
 * @since 0.1.0
 * @category streams
 */
export const batches =
  ({ length }: Pick<TemplateJobs, "length">, { maxArgs, maxChars = longestLine }: BatchOptions) =>
  <E, R>(items: Stream.Stream<string, E, R>): Stream.Stream<ReadonlyArray<string>, E | ItemTooLong, R> =>
    Stream.suspend(() => {
      checkOptions({ maxArgs, maxChars }, { maxArgs: count, maxChars: count })
      const most = maxArgs ?? Number.POSITIVE_INFINITY
      const fixed = length([])
      // In a part of a word there is a blank between two items.
      const between = Math.max(0, length(["", ""]) - 2 * length([""]) + fixed)
      let index = 0
      let batch: Array<string> = []
      let size = fixed
      const taken = (): ReadonlyArray<string> => {
        const all = batch
        batch = []
        size = fixed
        return all
      }
      const full = Stream.mapChunksEffect(items, (chunk) => {
        const found: Array<ReadonlyArray<string>> = []
        for (const item of chunk) {
          index++
          const more = length([item]) - fixed
          if (fixed + more > maxChars) return new ItemTooLong({ index, item, most: maxChars })
          if (batch.length > 0 && size + between + more > maxChars) found.push(taken())
          size += more + (batch.length > 0 ? between : 0)
          batch.push(item)
          if (batch.length === most) found.push(taken())
        }
        return Effect.succeed(Chunk.unsafeFromArray(found))
      })
      return Stream.concat(
        full,
        Stream.suspend(() => (batch.length > 0 ? Stream.succeed(taken()) : Stream.empty))
      )
    })

/**
 * Settings of {@link cut}.
 *
 * @since 0.1.0
 * @category options
 */
export interface BlockOptions {
  /** Bytes of a block, cut after the last item that fits; default 1 MiB. */
  readonly block?: number | undefined
  /** Items of a block, in place of a size. */
  readonly items?: number | undefined
  /** The byte that ends an item; default 10, a line end. */
  readonly end?: number | undefined
  /** Most bytes of an item; default 16 MiB. */
  readonly maxLine?: number | undefined
}

/**
 * The blocks of an input, for the stdin of jobs: each of whole items. An item longer than a block is a block of its own.
 * Fails with {@link ItemTooLong} at an item longer than `maxLine`.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Input from "effect-asyncio/services/Input"
 * import * as Jobs from "effect-asyncio/services/Jobs"
 * import * as TemplateJobs from "effect-asyncio/services/TemplateJobs"
 *
 * const { feed } = TemplateJobs.make(["wc", "-l"])
 * export const events = Stream.unwrap(
 *   Effect.map(Input.Input, ({ stdin }) =>
 *     Jobs.stream(Stream.map(TemplateJobs.cut(stdin, { block: 1024 * 1024 }), feed))
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const cut: {
  (
    options?: BlockOptions
  ): <E, R>(bytes: Stream.Stream<Uint8Array, E, R>) => Stream.Stream<Uint8Array, E | ItemTooLong, R>
  <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    options?: BlockOptions
  ): Stream.Stream<Uint8Array, E | ItemTooLong, R>
} = dual(
  (args) => Predicate.hasProperty(args[0], Stream.StreamTypeId),
  <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    { block = 1024 * 1024, end = 10, items, maxLine = 16 * 1024 * 1024 }: BlockOptions = {}
  ): Stream.Stream<Uint8Array, E | ItemTooLong, R> =>
    Stream.suspend(() => {
      checkOptions({ block, items, maxLine }, { block: count, items: count, maxLine: count })
      const cutter = blocks.make({ size: block, records: items, end, longest: maxLine })
      const found = (push: () => ReadonlyArray<Uint8Array>) =>
        Effect.try({
          try: () => Chunk.unsafeFromArray(push()),
          catch: () => new ItemTooLong({ index: undefined, item: "", most: maxLine })
        })
      return bytes.pipe(
        // One chunk at a time: a block is passed on before the next is read.
        Stream.rechunk(1),
        Stream.mapChunksEffect((chunk) => found(() => [...chunk].flatMap((part) => cutter.push(part)))),
        Stream.concat(Stream.unwrap(Effect.map(found(cutter.end), Stream.fromChunk)))
      )
    })
)
