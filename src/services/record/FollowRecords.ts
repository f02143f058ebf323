import { Chunk, type Duration, Effect, Stream } from "effect"
import type * as Input from "../host/Input.js"
import { proper } from "./internal/proper.js"
import type { LinesOptions } from "./ReadRecords.js"
import type * as Records from "./Records.js"
import * as ResumePoint from "./ResumePoint.js"
import * as Splitter from "./Splitter.js"
import * as Tail from "./Tail.js"

/**
 * Settings of {@link follow}.
 *
 * @since 0.1.0
 * @category options
 */
export interface FollowOptions<out E = never> extends LinesOptions {
  /** Where to resume, after a record of an earlier run. */
  readonly from?: ResumePoint.FollowPlace | undefined
  /** How long a rotated file must have been quiet before the next one is read; default 5 seconds. */
  readonly rotateWait?: Duration.DurationInput | undefined
  /** Runs when records may have been lost; by default a warning is logged. `(gap) => gap` fails with it. */
  readonly onGap?: ((gap: Tail.Gap) => Effect.Effect<void, E>) | undefined
  /** Runs with the reason when there is nothing to read, once until there is; by default it is logged. */
  readonly onWaiting?: ((detail: string) => Effect.Effect<void>) | undefined
}

/**
 * The lines of a file that other programs append to, without end: all of it, then what is appended. Rotation loses and
 * splits no line: the old file is read until its writer is quiet, then those that had the name in between, then the new
 * one. After a truncation the new content is read, and `onGap` is called. A file that does not exist is awaited; fails with
 * `InputError` if the path names something else.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as FollowRecords from "effect-asyncio/services/FollowRecords"
 * import * as Tail from "effect-asyncio/services/Tail"
 *
 * export const errors = FollowRecords.follow("/var/log/app.log", { rotateWait: "10 seconds" }).pipe(
 *   Stream.filter((line) => line.includes("ERROR")),
 *   Stream.runForEach((line) => Effect.log(line)),
 *   Effect.provide(Tail.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const follow = <E = never>(
  path: string,
  options: FollowOptions<E> = {}
): Stream.Stream<string, Input.InputError | Records.RecordFailed | E, Tail.Follow> =>
  Stream.mapChunks(
    proper(followed(path, { format: "lines", ...options })),
    Chunk.map((record) => record.value as string)
  )

/**
 * `ReadRecords.records` of a file that is followed. The origin of each record is a `ResumePoint.FollowedFile`, so that
 * `ResumePoint.behind` returns the place to resume from.
 *
 * @since 0.1.0
 * @category streams
 */
export const followed = <E = never>(
  path: string,
  {
    from,
    onGap,
    onWaiting,
    rotateWait,
    ...options
  }: Omit<Splitter.Options, "from" | "origin"> & FollowOptions<E>
): Stream.Stream<Records.Record, Input.InputError | E, Tail.Follow> =>
  Stream.unwrap(
    Effect.map(Tail.Follow, ({ open }) =>
      Stream.suspend(() => {
        let splitter: Splitter.Splitter | undefined
        let file: Tail.File | undefined
        let index = from?.index ?? 0
        // The start of a line that an earlier run emitted without its end; until the first record.
        let given = from !== undefined && from.file.given > 0 ? from.file : undefined
        const noted = (found: ReadonlyArray<Records.Record>) => {
          if (found.length > 0) {
            index = found.at(-1)!.index
            given = undefined
          }
          return found
        }
        const ended = () => {
          if (splitter === undefined) return []
          const found = splitter.end()
          // A line that an earlier run emitted is emitted again only if more was written to it.
          const isGiven =
            given !== undefined &&
            found[0]?.position === given.position + given.given &&
            Tail.placeBehind(file!, 0, found[0].bytes).tail.sha256 === given.tail.sha256
          given = undefined
          return isGiven ? [] : noted(found)
        }
        const begin = ({ file: next, position }: Tail.Piece) => {
          const goesOn =
            from !== undefined && file === undefined && next.inode === from.file.inode && position > 0
          file = next
          const line = goesOn ? from.line - (from.file.given > 0 ? 1 : 0) : 0
          const origin = new ResumePoint.FollowedFile(next, options.format)
          splitter = Splitter.make({ ...options, from: { index, line, position }, origin })
        }
        return Stream.mapChunks(open(path, { from: from?.file, onGap, onWaiting, rotateWait }), (pieces) => {
          const found: Array<Records.Record> = []
          for (const piece of pieces) {
            if (piece.anew) {
              // The rest of the previous file is a line, although no line end follows it.
              found.push(...ended())
              begin({ ...piece, position: piece.position - piece.bytes.length })
            }
            if (piece.bytes.length > 0) found.push(...noted(splitter!.push(piece.bytes)))
          }
          return Chunk.unsafeFromArray(found)
        })
      })
    )
  )
