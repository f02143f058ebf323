import { Chunk, Data, Effect, Either, Schema, Stream } from "effect"
import { dual } from "effect/Function"
import { records } from "./ReadRecords.js"
import * as Records from "./Records.js"
import type * as Splitter from "./Splitter.js"
import * as Tail from "./Tail.js"

const Count = Schema.Int.pipe(Schema.between(0, Number.MAX_SAFE_INTEGER))

const Format = Schema.Literal(...Records.formats)

/**
 * The place after a record of a followed file, with digests that identify the file.
 *
 * @since 0.1.0
 * @category schemas
 */
export const FollowPlace = Schema.Struct({
  /** Records so far. */
  index: Count,
  /** Lines of the file so far. */
  line: Count,
  format: Format,
  file: Tail.Place
})

/**
 * A decoded {@link FollowPlace}.
 *
 * @since 0.1.0
 * @category models
 */
export type FollowPlace = typeof FollowPlace.Type

// Its digests are computed on demand: most places are replaced before they are written.
class BehindRecord implements FollowPlace {
  constructor(
    private readonly record: Records.Record,
    private readonly of: Tail.File,
    readonly format: Records.Format
  ) {}
  get index() {
    return this.record.place.index
  }
  get line() {
    return this.record.place.line
  }
  get file(): Tail.Place {
    const { bytes, from, next, position, to } = this.record
    return Tail.placeBehind(this.of, position, bytes, next === to ? next - from : 0)
  }
  toJSON(): FollowPlace {
    const { file, format, index, line } = this
    return { index, line, format, file }
  }
}

/**
 * A followed file, as the origin of its records: the place after one is a {@link FollowPlace}.
 *
 * @since 0.1.0
 * @category models
 */
export class FollowedFile implements Records.Origin {
  constructor(
    readonly file: Tail.File,
    readonly format: Records.Format
  ) {}
  behind(record: Records.Record): FollowPlace {
    return new BehindRecord(record, this.file, this.format)
  }
}

const headBytes = 4096

/**
 * A place in an input that is read from its beginning, with a digest that identifies the input.
 *
 * @since 0.1.0
 * @category schemas
 */
export const InputPlace = Schema.Struct({
  /** Records so far. */
  index: Count,
  /** Lines so far. */
  line: Count,
  /** Bytes so far. */
  position: Count,
  format: Format,
  /** The SHA-256 of the first bytes of the input. */
  head: Schema.Struct({
    bytes: Schema.Int.pipe(Schema.between(0, headBytes)),
    sha256: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/))
  })
})

/**
 * A decoded {@link InputPlace}.
 *
 * @since 0.1.0
 * @category models
 */
export type InputPlace = typeof InputPlace.Type

/**
 * The place after a record, of an input or of a followed file.
 *
 * @since 0.1.0
 * @category models
 */
export type Place = InputPlace | FollowPlace

/**
 * The place after a record of {@link recordsFrom} or `FollowRecords.followed`; undefined for other records.
 *
 * @since 0.1.0
 * @category functions
 */
export const behind = (record: Records.Record): Place | undefined => {
  const { origin } = record
  return origin instanceof FollowedFile || origin instanceof WholeInput ? origin.behind(record) : undefined
}

const damaged = "its position does not fit this kind of input; name another file, or remove it to start over"

const decodeInputPlace = Schema.decodeUnknownEither(InputPlace)
const decodeFollowPlace = Schema.decodeUnknownEither(FollowPlace)

/**
 * Checks a place that was read from a checkpoint of {@link recordsFrom}.
 *
 * @since 0.1.0
 * @category parsing
 */
export const inputPlace = (position: unknown): Either.Either<InputPlace, string> =>
  Either.mapLeft(decodeInputPlace(position), () => damaged)

/**
 * Checks a place that was read from a checkpoint of `FollowRecords.followed`, of records in this format.
 *
 * @since 0.1.0
 * @category parsing
 */
export const followPlace =
  (format: Records.Format) =>
  (position: unknown): Either.Either<FollowPlace, string> => {
    const before =
      typeof position === "object" && position !== null && "file" in position ? position.file : ""
    if (typeof before === "string") {
      return Either.left(
        "it has no digest of the file, so the place to continue from cannot be proved (it was written by an earlier version, or for standard input); name another file, or remove it to start over"
      )
    }
    return Either.filterOrLeft(
      Either.mapLeft(decodeFollowPlace(position), () => damaged),
      (place) => place.format === format,
      (place) => (typeof place === "string" ? place : `it is of records as ${place.format}, not ${format}`)
    )
  }

/**
 * The input is not the one of the place.
 *
 * @since 0.1.0
 * @category errors
 */
export class OtherInput extends Data.TaggedError("OtherInput")<{ readonly detail: string }> {
  override get message() {
    return this.detail
  }
}

/** An input that is read from its beginning, as the origin of its records. */
class WholeInput implements Records.Origin {
  /** Its first bytes, as far as they were read: at most 4 KiB. */
  head = new Uint8Array(0)
  private known: InputPlace["head"] | undefined

  constructor(readonly format: Records.Format) {}

  add(chunk: Uint8Array): void {
    const { head } = this
    if (head.length >= headBytes) return
    const more = chunk.subarray(0, headBytes - head.length)
    this.head = new Uint8Array(head.length + more.length)
    this.head.set(head)
    this.head.set(more, head.length)
  }

  behind({ place }: Records.Record): InputPlace {
    const { format, head } = this
    const { index, line, position } = place
    const bytes = Math.min(headBytes, position, head.length)
    if (this.known?.bytes !== bytes) {
      this.known = { bytes, sha256: Records.digest(head.subarray(0, bytes)) }
    }
    return { index, line, position, format, head: this.known }
  }
}

/**
 * `ReadRecords.records` after a place: for `Checkpoints.checkpointed`, whose position of a record is {@link behind} it.
 * The bytes are those of the whole input; bytes before the place are read and dropped. Fails with {@link OtherInput} when
 * they begin differently, are fewer, or are read as records of another format.
 *
 * @since 0.1.0
 * @category streams
 */
export const recordsFrom: {
  (
    options: Omit<Splitter.Options, "from" | "origin">,
    from: InputPlace | undefined
  ): <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>
  ) => Stream.Stream<Records.Record, E | OtherInput | Records.RecordFailed, R>
  <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    options: Omit<Splitter.Options, "from" | "origin">,
    from: InputPlace | undefined
  ): Stream.Stream<Records.Record, E | OtherInput | Records.RecordFailed, R>
} = dual(
  3,
  <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    options: Omit<Splitter.Options, "from" | "origin">,
    from: InputPlace | undefined
  ): Stream.Stream<Records.Record, E | OtherInput | Records.RecordFailed, R> =>
    Stream.suspend((): Stream.Stream<Records.Record, E | OtherInput | Records.RecordFailed, R> => {
      const { format } = options
      if (from !== undefined && from.format !== format) {
        return Stream.fail(new OtherInput({ detail: `it is of records as ${from.format}, not ${format}` }))
      }
      const origin = new WholeInput(format)
      let seen = 0
      let checked = from === undefined
      const check = Effect.suspend(() => {
        const { head } = origin
        if (checked || from === undefined || head.length < Math.min(from.head.bytes, headBytes))
          return Effect.void
        checked = true
        return Records.digest(head.subarray(0, from.head.bytes)) === from.head.sha256
          ? Effect.void
          : Effect.fail(
              new OtherInput({ detail: "it is of another input: this one begins with something else" })
            )
      })
      const skipped = from === undefined || ["csv", "tsv", "json"].includes(format) ? 0 : from.position
      const rest = (chunk: Uint8Array) => {
        const left = skipped - seen
        seen += chunk.length
        return left <= 0 ? chunk : chunk.subarray(Math.min(left, chunk.length))
      }
      const located = Stream.mapChunksEffect(bytes, (chunks) => {
        for (const chunk of chunks) origin.add(chunk)
        const wanted = Chunk.map(chunks, rest)
        return checked ? Effect.succeed(wanted) : Effect.as(check, wanted)
      })
      const ended = Stream.execute(
        Effect.suspend(() =>
          from === undefined || (checked && seen >= from.position)
            ? Effect.void
            : Effect.fail(new OtherInput({ detail: "it is of another input: this one is shorter" }))
        )
      )
      return records(Stream.concat(located, ended), { ...options, from, origin })
    })
)
