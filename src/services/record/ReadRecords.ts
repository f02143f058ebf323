import { Channel, Chunk, Stream } from "effect"
import { dual } from "effect/Function"
import { codes } from "../host/ExitCodes.js"
import { takesStream } from "../stream/TakesStream.js"
import { proper } from "./internal/proper.js"
import * as LosslessJson from "./LosslessJson.js"
import * as Records from "./Records.js"
import * as Splitter from "./Splitter.js"

/**
 * Splits bytes into records; a record that is not one of its format has a `problem`. Fails with
 * {@link Records.RecordFailed} if the header of a CSV cannot be used, and where JSON values cannot be told apart.
 *
 * @since 0.1.0
 * @category streams
 */
export const records: {
  (
    options: Splitter.Options
  ): <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>
  ) => Stream.Stream<Records.Record, E | Records.RecordFailed, R>
  <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    options: Splitter.Options
  ): Stream.Stream<Records.Record, E | Records.RecordFailed, R>
} = dual(
  2,
  <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    options: Splitter.Options
  ): Stream.Stream<Records.Record, E | Records.RecordFailed, R> =>
    Stream.suspend(() => {
      const splitter = Splitter.make(options)
      type Step = Channel.Channel<
        Chunk.Chunk<Records.Record>,
        Chunk.Chunk<Uint8Array>,
        E | Records.RecordFailed,
        E,
        unknown,
        unknown
      >
      const write = (found: ReadonlyArray<Records.Record>, next: Step): Step => {
        if (found.length === 0) return next
        const last = found.at(-1)!
        if (last.index > 0) return Channel.flatMap(Channel.write(Chunk.unsafeFromArray(found)), () => next)
        const failed: Step = Channel.fail(
          new Records.RecordFailed({ record: last, detail: last.problem!, exitCode: codes.usage })
        )
        return found.length === 1
          ? failed
          : Channel.flatMap(Channel.write(Chunk.unsafeFromArray(found.slice(0, -1))), () => failed)
      }
      // A channel rather than `Stream.mapChunksEffect`: the effect of each chunk would outlive it, and its records with
      // it, by some collections of the young generation, each of which copies them (a third of the time of a whole run).
      const step: Step = Channel.readWithCause({
        onInput: (chunk) => {
          const [only] = chunk
          const found =
            chunk.length === 1
              ? splitter.push(only!)
              : Chunk.toReadonlyArray(chunk).flatMap((part) => splitter.push(part))
          return write(found, step)
        },
        onFailure: Channel.failCause,
        onDone: () => write(splitter.end(), Channel.void)
      })
      return Stream.fromChannel(Channel.pipeTo(Stream.toChannel(bytes), step))
    })
)

/**
 * Settings of {@link lines} and {@link ndjson}.
 *
 * @since 0.1.0
 * @category options
 */
export interface LinesOptions {
  /** Most bytes of a line; a longer line is a failure and is not kept in memory. Default 16 MiB. */
  readonly maxLine?: number | undefined
}

/**
 * Splits bytes into lines of text, wherever chunks end; CRLF ends a line too. Fails with {@link Records.RecordFailed}
 * at a line that is not UTF-8 or too long.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as ReadRecords from "effect-asyncio/services/ReadRecords"
 * import * as Input from "effect-asyncio/services/Input"
 *
 * export const program = Effect.flatMap(Input.Input, ({ stdin }) =>
 *   Stream.runForEach(ReadRecords.lines(stdin), (line) => Effect.log(line))
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const lines: {
  (
    options?: LinesOptions
  ): <E, R>(bytes: Stream.Stream<Uint8Array, E, R>) => Stream.Stream<string, E | Records.RecordFailed, R>
  <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    options?: LinesOptions
  ): Stream.Stream<string, E | Records.RecordFailed, R>
} = dual(
  takesStream,
  <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    options: LinesOptions = {}
  ): Stream.Stream<string, E | Records.RecordFailed, R> =>
    Stream.mapChunks(
      proper(records(bytes, { format: "lines", ...options })),
      Chunk.map((record) => record.value as string)
    )
)

/**
 * Splits bytes into records of lines of JSON; blank lines are skipped. A record has its value, its original text and
 * bytes, and its line number. Integers beyond 2^53 are BigInts. {@link encode} writes a result in place of a record: the
 * record's own bytes if the result is its value, unchanged. Fails with {@link Records.RecordFailed} at a line that is not
 * JSON, not UTF-8 or too long.
 *
 * @example
 * ```ts
 * import { Stream } from "effect"
 * import * as ReadRecords from "effect-asyncio/services/ReadRecords"
 *
 * const bytes = Stream.make(new TextEncoder().encode('{"id":12345678901234567890}\n'))
 *
 * export const same = ReadRecords.ndjson(bytes).pipe(
 *   Stream.map((record) => ReadRecords.encode(record, record.value)),
 *   Stream.runCollect
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const ndjson: {
  (
    options?: LinesOptions
  ): <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>
  ) => Stream.Stream<Records.Record, E | Records.RecordFailed, R>
  <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    options?: LinesOptions
  ): Stream.Stream<Records.Record, E | Records.RecordFailed, R>
} = dual(
  takesStream,
  <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    options: LinesOptions = {}
  ): Stream.Stream<Records.Record, E | Records.RecordFailed, R> =>
    proper(records(bytes, { format: "ndjson", ...options }))
)

/**
 * Encodes a result as a line of JSON: the record's own bytes if the result is its value, unchanged since it was read.
 * Throws a `TypeError` if the result cannot be represented in JSON, like NaN or undefined.
 *
 * @since 0.1.0
 * @category formatting
 */
export const encode = (record: Records.Record, result: unknown): Uint8Array =>
  result === record.value && Records.isAsRead(record)
    ? record.bytes
    : new TextEncoder().encode(`${LosslessJson.encode(result)}\n`)
