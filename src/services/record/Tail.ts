import { Chunk, Context, Data, Duration, Effect, Layer, Schema, Stream } from "effect"
import { codes } from "../host/ExitCodes.js"
import { InputError } from "../host/Input.js"
import { checkedDuration, someTime } from "../text/Numbers.js"
import * as followed from "./internal/followed.js"
import * as openFile from "./internal/openFile.js"

/**
 * A followed file, or its content since a truncation: two contents of one inode are two of these.
 *
 * @since 0.1.0
 * @category models
 */
export interface File {
  readonly device: string
  readonly inode: string
  /** Its first bytes, as far as they were read: at most 4 KiB. */
  readonly head: Uint8Array
}

/**
 * Bytes of a followed file.
 *
 * @since 0.1.0
 * @category models
 */
export interface Piece {
  /** Empty if a file only begins, or ends and the next one begins. */
  readonly bytes: Uint8Array
  readonly file: File
  /** Bytes of that file up to the end of these. */
  readonly position: number
  /** Whether these do not continue the previous piece: the first piece, and one of another file or of new content. */
  readonly anew: boolean
}

const Digest = Schema.Struct({
  bytes: Schema.Int.pipe(Schema.between(0, openFile.headBytes)),
  sha256: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/))
})

const Count = Schema.Int.pipe(Schema.between(0, Number.MAX_SAFE_INTEGER))

const Id = Schema.String.pipe(Schema.pattern(/^\d{1,20}$/))

/**
 * A place in a followed file, with digests that prove which file it is.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Place = Schema.Struct({
  device: Id,
  inode: Id,
  /** In bytes; reading continues there. */
  position: Count,
  /** Bytes after the position that were already emitted, because the file ended with them without a line end. */
  given: Count,
  /** The digest of the beginning of the file. */
  head: Digest,
  /** The digest of the last bytes before the position and those emitted after it. */
  tail: Digest
})

/**
 * A decoded {@link Place}.
 *
 * @since 0.1.0
 * @category models
 */
export type Place = typeof Place.Type

/**
 * The place after `end` bytes of the file: `last` are the last of them, of which `given` have no line end.
 *
 * @since 0.1.0
 * @category functions
 */
export const placeBehind = (file: File, end: number, last: Uint8Array, given = 0): Place =>
  openFile.placeOf(file, end, last, given)

/**
 * Records may have been lost, or continuity cannot be proved; names what may be lost and where reading continues.
 *
 * @since 0.1.0
 * @category errors
 */
export class Gap extends Data.TaggedError("Gap")<{ readonly path: string; readonly detail: string }> {
  readonly exitCode = codes.gap
  override get message() {
    return `${this.path}: ${this.detail}`
  }
}

/**
 * Settings of the service.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Time between two checks of a file without new content; default 100 ms. */
  readonly interval?: Duration.DurationInput | undefined
}

/**
 * Settings of {@link Follow}'s `open`.
 *
 * @since 0.1.0
 * @category options
 */
export interface OpenOptions<out E = never> {
  /** Where to resume: in the file of the place, whatever its name is now, if that can be proved. */
  readonly from?: Place | undefined
  /** How long a rotated file must have been quiet before the next one is read; default 5 seconds. */
  readonly rotateWait?: Duration.DurationInput | undefined
  /** Runs at a gap; by default a warning is logged. `(gap) => gap` fails with it. */
  readonly onGap?: ((gap: Gap) => Effect.Effect<void, E>) | undefined
  /** Runs with the reason when there is nothing to read, once until there is; by default it is logged. */
  readonly onWaiting?: ((detail: string) => Effect.Effect<void>) | undefined
}

/**
 * Follows files that other programs append to, as `tail -F` does.
 *
 * @since 0.1.0
 * @category services
 */
export class Follow extends Context.Tag("effect-asyncio/services/Tail")<
  Follow,
  {
    /**
     * All of the file, then the bytes that are appended to it, without end. A file is identified by its device, its inode
     * and a digest of its beginning. When another file takes the name, the old one is read until its writer has been quiet
     * for `rotateWait`, then those that had the name in between, then the new one. A file that does not exist is awaited.
     * Content that was truncated or replaced is a gap, and so is a place whose file cannot be found.
     *
     * Fails with `InputError` if the path names a folder, a device or a file without read permission.
     */
    readonly open: <E = never>(path: string, options?: OpenOptions<E>) => Stream.Stream<Piece, InputError | E>
  }
>() {}

/**
 * {@link layer} with settings.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = ({ interval = "100 millis" }: Options): Layer.Layer<Follow> =>
  Layer.sync(Follow, () => {
    const pause = Effect.sleep(checkedDuration("interval", interval, someTime))
    const open = <E = never>(
      path: string,
      { from, onGap, onWaiting, rotateWait = "5 seconds" }: OpenOptions<E> = {}
    ): Stream.Stream<Piece, InputError | E> => {
      const notice = ({ _tag, detail }: followed.Notice): Effect.Effect<void, E> =>
        _tag === "Gap"
          ? (onGap ?? (({ message }) => Effect.logWarning(message)))(new Gap({ path, detail }))
          : (onWaiting ?? ((why) => Effect.logInfo(`waiting for ${path}: ${why}`)))(detail)
      return Stream.unwrapScoped(
        Effect.gen(function* () {
          const clock = yield* Effect.clock
          const wait = Duration.toMillis(checkedDuration("rotateWait", rotateWait))
          const now = () => Number(clock.unsafeCurrentTimeNanos()) / 1e6
          const files = yield* Effect.acquireRelease(
            Effect.sync(() => new followed.Followed(path, from, wait, now)),
            (files) => Effect.promise(() => files.close())
          )
          // Runs concurrently with reading, which a slow consumer delays.
          const look = Effect.promise(() => files.look())
          yield* Effect.forkScoped(Effect.forever(Effect.zipRight(pause, look)))
          const step = Effect.tryPromise({
            try: () => files.next(),
            catch: (error) => new InputError({ path, detail: followed.reason(error) })
          })
          const next: Effect.Effect<Chunk.Chunk<Piece>, InputError | E> = Effect.flatMap(step, (found) =>
            found === undefined
              ? Effect.zipRight(pause, next)
              : found._tag === "Piece"
                ? Effect.succeed(Chunk.of<Piece>(found))
                : Effect.zipRight(notice(found), next)
          )
          return Stream.repeatEffectChunk(next)
        })
      )
    }
    return { open }
  })

/**
 * Checks the files ten times a second, which works on network file systems too.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Follow> = layerWith({})

/**
 * Emits these pieces of each file and never ends; `from` is ignored.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (files: Readonly<Record<string, ReadonlyArray<Piece>>>): Layer.Layer<Follow> =>
  Layer.succeed(Follow, {
    open: (path, { onWaiting = () => Effect.void } = {}) =>
      files[path] === undefined
        ? Stream.concat(Stream.execute(onWaiting("it does not exist yet")), Stream.never)
        : Stream.concat(Stream.fromIterable(files[path]), Stream.never)
  })
