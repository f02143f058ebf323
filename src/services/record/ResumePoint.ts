import { Chunk, Data, Effect, Either, Schema, Stream } from "effect"
import { records } from "./ReadRecords.js"
import * as Records from "./Records.js"
import type * as Splitter from "./Splitter.js"
import * as Tail from "./Tail.js"

const Count = Schema.Int.pipe(Schema.between(0, Number.MAX_SAFE_INTEGER))

const Format = Schema.Literal(...Records.formats)

/** A place behind a record of a file that is followed, and what proves which file that is. */
export const FollowPlace = Schema.Struct({
  /** Records so far. */
  index: Count,
  /** Lines of the file so far. */
  line: Count,
  format: Format,
  file: Tail.Place
})

export type FollowPlace = typeof FollowPlace.Type

/** The place behind a record of a file that is followed; its digests are made when they are asked for. */
export class BehindRecord implements FollowPlace {
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

const headBytes = 4096

/** A place in an input that is read from its beginning, and what tells that input from another. */
export const InputPlace = Schema.Struct({
  /** Records so far. */
  index: Count,
  /** Lines so far. */
  line: Count,
  /** Bytes so far. */
  position: Count,
  format: Format,
  /** What the input begins with: so many bytes have this SHA-256. */
  head: Schema.Struct({
    bytes: Schema.Int.pipe(Schema.between(0, headBytes)),
    sha256: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/))
  })
})

export type InputPlace = typeof InputPlace.Type

const damaged = "its position is not one of this kind of input; name another file, or remove it to begin anew"

const decodeInputPlace = Schema.decodeUnknownEither(InputPlace)
const decodeFollowPlace = Schema.decodeUnknownEither(FollowPlace)

/** Checks a place that was read from a checkpoint of {@link recordsFrom}. */
export const inputPlace = (position: unknown): Either.Either<InputPlace, string> =>
  Either.mapLeft(decodeInputPlace(position), () => damaged)

/** Checks a place that was read from a checkpoint of {@link followed}, of records in this format. */
export const followPlace =
  (format: Records.Format) =>
  (position: unknown): Either.Either<FollowPlace, string> => {
    const before =
      typeof position === "object" && position !== null && "file" in position ? position.file : ""
    if (typeof before === "string") {
      return Either.left(
        "it has no digest of the file, so that it cannot be proved where to go on (it is of an earlier version, or of standard input); name another file, or remove it to begin anew"
      )
    }
    return Either.filterOrLeft(
      Either.mapLeft(decodeFollowPlace(position), () => damaged),
      (place) => place.format === format,
      (place) => (typeof place === "string" ? place : `it is of records as ${place.format}, not ${format}`)
    )
  }

/** The input is not the one that the place is in. */
export class OtherInput extends Data.TaggedError("OtherInput")<{ readonly detail: string }> {
  override get message() {
    return this.detail
  }
}

/**
 * {@link records} behind a place, and the places of these: for {@link checkpointed}. The bytes are those of the whole
 * input; what is before the place is read and dropped. Fails with {@link OtherInput} when they begin with something
 * else, are fewer, or are taken for records of another format.
 */
export const recordsFrom = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  options: Omit<Splitter.Options, "from">,
  from: InputPlace | undefined
): {
  readonly records: Stream.Stream<Records.Record, E | OtherInput | Records.RecordFailed, R>
  readonly place: (record: Records.Record) => InputPlace
} => {
  const { format } = options
  let head = new Uint8Array(0)
  let seen = 0
  let known: InputPlace["head"] | undefined
  let checked = from === undefined
  const check = Effect.suspend(() => {
    if (checked || from === undefined || head.length < Math.min(from.head.bytes, headBytes))
      return Effect.void
    checked = true
    return Records.digest(head.subarray(0, from.head.bytes)) === from.head.sha256
      ? Effect.void
      : Effect.fail(new OtherInput({ detail: "it is of another input: this one begins with something else" }))
  })
  const skipped = from === undefined || format === "csv" ? 0 : from.position
  const rest = (chunk: Uint8Array) => {
    const left = skipped - seen
    seen += chunk.length
    return left <= 0 ? chunk : chunk.subarray(Math.min(left, chunk.length))
  }
  const located = Stream.mapChunksEffect(bytes, (chunks) => {
    for (const chunk of chunks) {
      if (head.length >= headBytes) break
      const more = chunk.subarray(0, headBytes - head.length)
      const joined = new Uint8Array(head.length + more.length)
      joined.set(head)
      joined.set(more, head.length)
      head = joined
    }
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
  const wrongFormat =
    from === undefined || from.format === format
      ? Stream.empty
      : Stream.fail(new OtherInput({ detail: `it is of records as ${from.format}, not ${format}` }))
  return {
    records: Stream.concat(
      wrongFormat,
      records(Stream.concat(located, ended), from === undefined ? options : { ...options, from })
    ),
    place: (record) => {
      const { index, line, position } = record.place
      const bytes = Math.min(headBytes, position, head.length)
      if (known?.bytes !== bytes) known = { bytes, sha256: Records.digest(head.subarray(0, bytes)) }
      return { index, line, position, format, head: known }
    }
  }
}
