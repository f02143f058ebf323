import { resolve } from "node:path"
import { Chunk, Clock, Deferred, Effect, Exit, Fiber, Stream } from "effect"
import * as EventLine from "../host/EventLine.js"
import type * as Events from "../host/Events.js"
import { codes, ofMany } from "../host/ExitCodes.js"
import type * as Input from "../host/Input.js"
import * as Signals from "../host/Signals.js"
import * as Checkpoints from "../stream/Checkpoints.js"
import * as Cancellation from "../task/Cancellation.js"
import { checkOptions, countOrNone } from "../text/Numbers.js"
import * as DeadLetters from "./DeadLetters.js"
import * as FollowRecords from "./FollowRecords.js"
import { doneInOrder } from "./internal/doneInOrder.js"
import * as MapRecords from "./MapRecords.js"
import * as Records from "./Records.js"
import * as RecordWriter from "./RecordWriter.js"
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
  /** `"raw"` accepts bytes that are not UTF-8 in lines and in texts that end with NUL, as `RawText`; default `"utf8"`. */
  readonly encoding?: "raw" | "utf8" | undefined
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
export type RunError = Checkpoints.CheckpointError | Input.InputError | Records.RecordFailed

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
  { encoding, format, maxLine, skip = 0, take }: RunOptions,
  from: ResumePoint.Place | undefined
): Stream.Stream<Records.Record, E | RunError | ResumePoint.OtherInput, Tail.Follow> => {
  const last = take === undefined ? undefined : take + skip
  if (last !== undefined && last <= Math.max(from?.index ?? 0, skip)) return Stream.empty
  const limits = { encoding, format, maxLine }
  // The decoder of the checkpoint has refused a place of the other kind.
  const all: ReturnType<typeof recordsBehind<E>> =
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
 * Fails with {@link Records.RecordFailed} at a record that fails under `onFailure: "cancel"`, with
 * `CheckpointError` if the checkpoint cannot be used or is of another input, and as the source fails.
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
        recordsBehind(source, options, from).pipe(
          Stream.mapError((error) =>
            error instanceof ResumePoint.OtherInput
              ? new Checkpoints.CheckpointError({ path: checkpoint ?? "", detail: error.message })
              : error
          ),
          (records) => MapRecords.mapRecords(records, f, options)
        )
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

/**
 * The failures of {@link reported}, besides those of its source.
 *
 * @since 0.1.0
 * @category errors
 */
export type ReportedError = RunError | Tail.Gap | DeadLetters.DeadLetterError

type LoopEvent = typeof Events.Loop.Type

/**
 * The events of {@link reported}: those of `--json`, but results are a chunk of outcomes, output is bytes, and `refused`
 * is the record that is not one of its format and ends the run.
 *
 * @since 0.1.0
 * @category events
 */
export type RunEvent =
  | {
      readonly event: "results"
      readonly records: number
      readonly outcomes: ReadonlyArray<RecordWriter.Written>
    }
  | (Omit<Extract<LoopEvent, { readonly event: "output" }>, "text"> & { readonly bytes: Uint8Array })
  | { readonly event: "refused"; readonly index: number; readonly line: number; readonly reason: string }
  | Exclude<LoopEvent, { readonly event: "result" | "output" }>

/**
 * Settings of {@link reported}.
 *
 * @since 0.1.0
 * @category options
 */
export interface ReportedOptions extends Omit<RunOptions, "drain" | "onEvent"> {
  /** Whether a gap of a followed file ends the run with {@link Tail.Gap}; default `"warn"`. */
  readonly onGap?: "warn" | "fail" | undefined
  /** The file that failed records are appended to, byte for byte; then the run continues after them. */
  readonly deadLetters?: string | undefined
  /** Receives the events, in order. Outcomes are not kept after the call: its effect has what it needs of them. */
  readonly report: (events: ReadonlyArray<RunEvent>) => Effect.Effect<void>
}

const failedEvents = ({ exitCode, reason, records }: MapRecords.FailedRecord): ReadonlyArray<RunEvent> =>
  records.map(({ index, line }) => ({
    event: "finished",
    index,
    line,
    status: exitCode === codes.timedOut ? "timed_out" : "failed",
    reason
  }))

/**
 * {@link run} with events instead of outcomes, and with the signals of the process: SIGINT ends the input, and records in
 * progress are finished; another signal cancels them. The last event is the summary, also where the run fails after the
 * first event. Returns the exit code.
 *
 * @since 0.1.0
 * @category effects
 */
export const reported = <E = never>(
  source: InputSource<E> | Omit<FileSource<never>, "onGap" | "onWaiting">,
  f: (value: unknown, context: MapRecords.RecordContext) => unknown,
  { deadLetters, onGap, report, ...options }: ReportedOptions
): Effect.Effect<number, E | ReportedError, Checkpoints.Checkpoints | Tail.Follow | Signals.Signals> =>
  Effect.gen(function* () {
    const signals = yield* Signals.Signals
    const begun = yield* Clock.currentTimeNanos
    const letters = deadLetters === undefined ? undefined : yield* DeadLetters.open(deadLetters)
    const drain = yield* Deferred.make<void>()
    const counts = { ...EventLine.tally([]), results: 0 }
    const failures = new Set<number>()
    let hasEvents = false
    const emit = (events: ReadonlyArray<RunEvent>): Effect.Effect<void> => {
      hasEvents = true
      for (const event of events) if (event.event === "finished") counts[event.status]++
      return report(events)
    }

    // Plain code rather than an effect that captures the outcomes: those would outlive it by some collections of the
    // young generation, each of which copies them (a fifth of the time of a whole run).
    const handle = (
      chunk: Chunk.Chunk<MapRecords.RecordOutcome>
    ): Effect.Effect<void, DeadLetters.DeadLetterError> => {
      const outcomes = Chunk.toReadonlyArray(chunk)
      const events: Array<RunEvent> = []
      const failed: Array<Records.Record> = []
      let from = 0
      let records = 0
      const flush = (to: number) => {
        if (to > from) {
          const some = from === 0 && to === outcomes.length ? outcomes : outcomes.slice(from, to)
          events.push({ event: "results", records, outcomes: some as ReadonlyArray<RecordWriter.Written> })
        }
        counts.succeeded += records
        records = 0
        from = to + 1
      }
      for (let at = 0; at < outcomes.length; at++) {
        const outcome = outcomes[at]!
        if (outcome instanceof Records.Record) {
          records++
          counts.results++
        } else if (outcome instanceof MapRecords.MappedRecord) {
          records += outcome.records.length
          counts.results += outcome.results.length
        } else {
          flush(at)
          failures.add(outcome.exitCode)
          events.push(...failedEvents(outcome))
          failed.push(...outcome.records)
        }
      }
      flush(outcomes.length)
      const reporting = emit(events)
      if (letters === undefined || failed.length === 0) return reporting
      const lost = failed.filter(({ from, next }) => next > from)
      const append = (record: Records.Record) => letters(RecordWriter.ended(record, options.format))
      return Effect.zipRight(reporting, Effect.forEach(lost, append, { discard: true }))
    }

    const summary = (exitCode: number) =>
      Effect.flatMap(Clock.currentTimeNanos, (now) =>
        report([{ event: "summary", ...counts, duration: EventLine.ms(Number(now - begun) / 1e6), exitCode }])
      )
    const stopped = (error: E | ReportedError) =>
      Effect.gen(function* () {
        let exitCode = (error as { readonly exitCode?: number }).exitCode ?? codes.usage
        if (error instanceof Records.RecordFailed && error.record.index > 0) {
          const { detail: reason, record } = error
          const { index, line } = record
          if (record.problem === undefined) {
            exitCode = ofMany([exitCode])
            yield* emit(failedEvents(new MapRecords.FailedRecord([record], reason, exitCode)))
          } else {
            exitCode = codes.usage
            counts.failed++
            yield* emit([{ event: "refused", index, line, reason }])
          }
        }
        if (hasEvents) yield* summary(exitCode)
      })
    const finish = (stopped?: string) =>
      Effect.flatMap(signals.first, (signal) => {
        const exitCode = ofMany(failures, signal ?? stopped)
        return Effect.as(signal === "SIGPIPE" ? Effect.void : summary(exitCode), exitCode)
      })

    const events: Source<E | Tail.Gap> =
      source._tag === "Input"
        ? source
        : {
            ...source,
            onGap: (gap) => {
              const { detail: reason, path } = gap
              const reporting = emit([{ event: "gap", path, reason }])
              return onGap === "fail" ? Effect.zipRight(reporting, Effect.fail(gap)) : reporting
            },
            onWaiting: (reason) => emit([{ event: "waiting", path: source.path, reason }])
          }
    const main = run<E | Tail.Gap>(events, f, {
      ...options,
      ...(letters === undefined ? {} : { onFailure: "continue" }),
      drain: Deferred.await(drain),
      onEvent: (event) => emit([event])
    }).pipe(
      Stream.runForEachChunk(handle),
      Effect.tapError(stopped),
      Effect.zipRight(Effect.suspend(finish)),
      Effect.onInterrupt(() => finish("the run was cancelled"))
    )
    // The first SIGINT ends the input and drains what is in progress; every other signal cancels that too.
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        // A daemon: an interrupted fiber interrupts its children at once.
        const fiber = yield* Effect.forkDaemon(Effect.interruptible(main))
        const waited = yield* Effect.exit(restore(Fiber.await(fiber)))
        if (Exit.isSuccess(waited)) return yield* waited.value
        const signal = yield* signals.first
        if (signal === "SIGINT") {
          yield* Deferred.succeed(drain, undefined)
          return yield* Effect.flatten(Fiber.await(fiber))
        }
        return yield* Effect.flatten(
          Cancellation.cancel(fiber, { reason: signal ?? "the command has ended", origin: "loop" })
        )
      })
    )
  }).pipe(Effect.scoped)
