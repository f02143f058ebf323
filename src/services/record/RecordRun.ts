import { resolve } from "node:path"
import { Stream } from "effect"
import type * as Input from "../host/Input.js"
import * as Checkpoints from "../stream/Checkpoints.js"
import { checkOptions, countOrNone } from "../text/Numbers.js"
import * as FollowRecords from "./FollowRecords.js"
import { doneInOrder } from "./internal/doneInOrder.js"
import * as MapRecords from "./MapRecords.js"
import * as Records from "./Records.js"
import * as ResumePoint from "./ResumePoint.js"
import type * as Tail from "./Tail.js"

/**
 * Records that are read once, from the beginning of the bytes.
 *
 * @since 0.1.0
 * @category models
 */
export interface InputSource<out E> {
  readonly _tag: "Input"
  /** Its name in a checkpoint. */
  readonly name: string
  readonly bytes: Stream.Stream<Uint8Array, E>
}

/**
 * Records of a file that other programs append to.
 *
 * @since 0.1.0
 * @category models
 */
export interface FileSource<out E>
  extends Pick<FollowRecords.FollowOptions<E>, "onGap" | "onWaiting" | "rotateWait"> {
  readonly _tag: "File"
  readonly path: string
}

/**
 * The source of a run's records.
 *
 * @since 0.1.0
 * @category models
 */
export type Source<E> = InputSource<E> | FileSource<E>

/**
 * Settings of {@link run}, including those of the mapping.
 *
 * @since 0.1.0
 * @category options
 */
export interface RunOptions extends MapRecords.MapRecordsOptions {
  readonly format: Records.Format
  /** Most bytes of a record; default 16 MiB. */
  readonly maxLine?: number | undefined
  /** How many records to skip at the beginning; default 0. */
  readonly skip?: number | undefined
  /** How many records to take after those; default all. */
  readonly take?: number | undefined
  /** The file that keeps the position from which the next run resumes. */
  readonly checkpoint?: string | undefined
}

/**
 * The failures of a run, besides those of its source.
 *
 * @since 0.1.0
 * @category errors
 */
export type RunError =
  | Checkpoints.CheckpointError
  | Input.InputError
  | Records.RecordFailed
  | ResumePoint.OtherInput

/**
 * The records of an outcome.
 *
 * @since 0.1.0
 * @category functions
 */
export const recordsOf = (outcome: MapRecords.RecordOutcome): ReadonlyArray<Records.Record> =>
  outcome instanceof Records.Record ? [outcome] : outcome.records

const recordsBehind = <E>(
  source: Source<E>,
  { format, maxLine, skip = 0, take }: RunOptions,
  from: ResumePoint.Place | undefined
): Stream.Stream<Records.Record, E | RunError, Tail.Follow> => {
  const last = take === undefined ? undefined : take + skip
  if (last !== undefined && last <= Math.max(from?.index ?? 0, skip)) return Stream.empty
  const limits = { format, maxLine }
  // The decoder of the checkpoint has refused a place of the other kind.
  const all: Stream.Stream<Records.Record, E | RunError, Tail.Follow> =
    source._tag === "File"
      ? FollowRecords.followed(source.path, {
          ...limits,
          onGap: source.onGap,
          onWaiting: source.onWaiting,
          rotateWait: source.rotateWait,
          from: from as ResumePoint.FollowPlace | undefined
        })
      : ResumePoint.recordsFrom(source.bytes, limits, from as ResumePoint.InputPlace | undefined)
  const wanted = skip === 0 ? all : Stream.filter(all, ({ index }) => index > skip)
  return last === undefined ? wanted : Stream.takeUntil(wanted, ({ index }) => index >= last)
}

/**
 * Maps the records of a source by a function: reads or follows, skips, maps, and keeps a checkpoint. With a checkpoint
 * each record is done at least once, over any number of runs that were ended in any way; a record is done when the
 * consumer requests the outcome after its own.
 *
 * Fails with {@link Records.RecordFailed} at a record that fails under `onError: "stop"`, with
 * {@link ResumePoint.OtherInput} if the checkpoint is of another input, with `CheckpointError` if it cannot be used, and
 * as the source fails.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as RecordRun from "effect-asyncio/services/RecordRun"
 *
 * const bytes = Stream.make(new TextEncoder().encode("1\n2\n3\n"))
 *
 * export const program = RecordRun.run({ _tag: "Input", name: "numbers", bytes }, (n) => (n as number) * 2, {
 *   format: "ndjson",
 *   skip: 1
 * }).pipe(Stream.runForEach((outcome) => Effect.log(outcome)))
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const run = <E = never>(
  source: Source<E>,
  f: (value: unknown, context: MapRecords.RecordContext) => unknown,
  options: RunOptions
): Stream.Stream<MapRecords.RecordOutcome, E | RunError, Checkpoints.Checkpoints | Tail.Follow> =>
  Stream.suspend(
    (): Stream.Stream<MapRecords.RecordOutcome, E | RunError, Checkpoints.Checkpoints | Tail.Follow> => {
      checkOptions(options, { skip: countOrNone, take: countOrNone })
      const { checkpoint, format, skip = 0 } = options
      const mapped = (from: ResumePoint.Place | undefined) =>
        MapRecords.mapRecords(recordsBehind(source, options, from), f, options)
      if (checkpoint === undefined) return mapped(undefined)
      let finish = doneInOrder(skip + 1)
      return Checkpoints.checkpointed<MapRecords.RecordOutcome, E | RunError, Tail.Follow, ResumePoint.Place>(
        {
          path: checkpoint,
          input: source._tag === "File" ? resolve(source.path) : source.name,
          decode: source._tag === "File" ? ResumePoint.followPlace(format) : ResumePoint.inputPlace,
          position: (outcome) => {
            const done = finish(recordsOf(outcome))
            return done && ResumePoint.behind(done)
          }
        },
        (from) => {
          finish = doneInOrder(Math.max(from?.index ?? 0, skip) + 1)
          return mapped(from)
        }
      )
    }
  )
