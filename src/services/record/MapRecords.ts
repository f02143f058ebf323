import { Cause, Chunk, Data, type Duration, Effect, Exit, Stream } from "effect"
import { dual } from "effect/Function"
import * as EventLine from "../host/EventLine.js"
import type * as Events from "../host/Events.js"
import { codes } from "../host/ExitCodes.js"
import * as Generators from "../stream/Generators.js"
import * as MapConcurrent from "../stream/MapConcurrent.js"
import * as Pacing from "../stream/Pacing.js"
import { takesStream } from "../stream/TakesStream.js"
import * as Backoff from "../task/Backoff.js"
import * as Cancellation from "../task/Cancellation.js"
import { headline } from "../task/Causes.js"
import * as Deadline from "../task/Deadline.js"
import * as Sleep from "../task/Sleep.js"
import { notDoneIn } from "../text/Durations.js"
import { anyCount, checkOptions, time } from "../text/Numbers.js"
import type * as Columns from "./Columns.js"
import * as Unchanged from "./internal/unchanged.js"
import * as LosslessJson from "./LosslessJson.js"
import * as Records from "./Records.js"

// The model of a mapped record, and the mapping. The mapping stays whole: the path without a closure for each record, the
// attempts and the batches share what a record was before and how it may fail.

/**
 * The second argument of the function, after the record's value.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecordContext {
  /** Its number among the records, from 1. */
  readonly index: number
  /** The number of its line, from 1. */
  readonly line: number
  /** 1 for the first attempt. */
  readonly attempt: number
  /** Aborted when the record is cancelled or times out. */
  readonly signal: AbortSignal
  /** The record itself, or those of a batch. */
  readonly records: ReadonlyArray<Records.Record>
}

/**
 * Settings of {@link mapRecords}.
 *
 * @since 0.1.0
 * @category options
 */
export interface MapRecordsOptions extends Omit<MapConcurrent.MapConcurrentOptions<never>, "key"> {
  /** Records of the same key are mapped one after the other, in their order. Ignored with `batch`. */
  readonly key?: ((value: unknown) => unknown) | undefined
  /** Passes arrays of records to the function; an array that it returns is its results. */
  readonly batch?: Pacing.BatchOptions | undefined
  /** Limits how many records (or batches) are begun in an interval; retries are not counted. */
  readonly rate?: Pacing.RateOptions | undefined
  /** Further attempts of a failed record; default 0. */
  readonly retries?: number | undefined
  /** The pauses before further attempts; default as in `Backoff.make`. */
  readonly backoff?: Backoff.Backoff | undefined
  /** How long an attempt may take; default unlimited. A synchronous computation is not interrupted. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Whether a failing record ends the stream with {@link Records.RecordFailed}, or is emitted as {@link FailedRecord}; default `"cancel"`. */
  readonly onFailure?: "cancel" | "continue" | undefined
  /** Runs before the pause of a retry, and for a record that is cancelled while it is mapped. */
  readonly onEvent?: ((event: RecordEvent) => Effect.Effect<void>) | undefined
  /** How results are written: strings as they are, everything as JSON, or objects as rows of a table. Default `"ndjson"`. */
  readonly output?: "lines" | "ndjson" | Columns.Columns | undefined
  /** Whether a value that is returned unchanged is written as its record's bytes; default true. */
  readonly untouched?: boolean | undefined
}

/**
 * A record is retried, or it has ended without a result.
 *
 * @since 0.1.0
 * @category events
 */
export type RecordEvent = Extract<typeof Events.Loop.Type, { readonly event: "retrying" | "finished" }>

/**
 * The results of a record, or a batch: text without a line end, bytes as they are, or an unchanged record.
 *
 * @since 0.1.0
 * @category models
 */
export class MappedRecord {
  constructor(
    readonly records: ReadonlyArray<Records.Record>,
    readonly results: ReadonlyArray<string | Uint8Array | Records.Record>
  ) {}
}

/**
 * A record, or a batch, that failed, and why.
 *
 * @since 0.1.0
 * @category models
 */
export class FailedRecord<out E = unknown> {
  constructor(
    readonly records: ReadonlyArray<Records.Record>,
    readonly reason: string,
    /** 1 for a failure, 124 for a timeout, 126 or 127 for a command that cannot be run. */
    readonly exitCode: number,
    /** Why the function failed; none for a timeout, and for a record that is not one of its format. */
    readonly failure?: Cause.Cause<E> | undefined
  ) {}
}

/**
 * The outcome of a record or a batch; a record itself is written unchanged.
 *
 * @since 0.1.0
 * @category models
 */
export type RecordOutcome<E = unknown> = Records.Record | MappedRecord | FailedRecord<E>

type ErrorOf<T> =
  T extends Effect.Effect<infer _A, infer E, infer _R>
    ? E
    : T extends Stream.Stream<infer _A, infer E, infer _R>
      ? E
      : never
type ContextOf<T> =
  T extends Effect.Effect<infer _A, infer _E, infer R>
    ? R
    : T extends Stream.Stream<infer _A, infer _E, infer R>
      ? R
      : never

type Mapped<E, R, T> = Stream.Stream<
  RecordOutcome<ErrorOf<T>>,
  E | Records.RecordFailed<ErrorOf<T>>,
  R | ContextOf<T>
>

/**
 * A result that is written as these bytes.
 *
 * @since 0.1.0
 * @category models
 */
export class RawResult {
  constructor(readonly bytes: Uint8Array) {}
}

type Failed = Records.RecordFailed<unknown>

class TimedOut extends Data.TaggedError("TimedOut")<{ readonly message: string }> {
  readonly exitCode = codes.timedOut
}

type Later =
  | Effect.Effect<unknown, unknown>
  | Stream.Stream<unknown, unknown>
  | PromiseLike<unknown>
  | AsyncIterable<unknown>
  | Iterator<unknown>

/** Whether a result is to be awaited or iterated. */
const isLater = (value: unknown): value is Later =>
  typeof value === "object" &&
  value !== null &&
  (Effect.isEffect(value) ||
    Stream.StreamTypeId in value ||
    ("then" in value && typeof value.then === "function") ||
    Symbol.asyncIterator in value ||
    (Symbol.iterator in value && "next" in value && typeof value.next === "function"))

const giving = (value: unknown) => () => value
const throwing = (error: unknown) => () => {
  throw error
}

// An error may be any value: reading its fields may throw, and its `exitCode` may be any value.
const exitCodeOf = (error: unknown): number => {
  try {
    const { exitCode } = (error ?? {}) as { readonly exitCode?: unknown }
    const isCode = Number.isInteger(exitCode) && (exitCode as number) > 0 && (exitCode as number) < 256
    return isCode ? (exitCode as number) : codes.failed
  } catch {
    return codes.failed
  }
}

/** A reason may quote the whole record. */
const clipped = (reason: string): string => (reason.length > 1000 ? `${reason.slice(0, 1000)}…` : reason)

class Several {
  constructor(readonly values: ReadonlyArray<unknown>) {}
}

// A defect: what is thrown has no type. `Effect.die` reads fields of the error, which a proxy may refuse.
const failWith = (error: unknown): Effect.Effect<never> => Effect.failCause(Cause.die(error))

// Catches what the user's code throws: Effect would read its fields, and if a proxy refuses that, the fiber's run
// loop ends without an exit.
const attempted = <A>(make: () => Effect.Effect<A, unknown>): Effect.Effect<A, unknown> =>
  Effect.suspend(() => {
    try {
      return make()
    } catch (error) {
      return failWith(error)
    }
  })

const waitFor = (later: Later): Effect.Effect<unknown, unknown> => {
  if (Effect.isEffect(later)) return later as Effect.Effect<unknown, unknown>
  const several = (stream: Stream.Stream<unknown, unknown>) =>
    Effect.map(Stream.runCollect(stream), (all) => new Several(Chunk.toReadonlyArray(all)))
  if (Stream.StreamTypeId in later) return several(later as Stream.Stream<unknown, unknown>)
  if ("then" in later) {
    return Effect.async((resume) => {
      try {
        later.then(
          (value) => resume(Effect.succeed(value)),
          (error) => resume(failWith(error))
        )
      } catch (error) {
        resume(failWith(error))
      }
    })
  }
  const iterable = Symbol.asyncIterator in later ? later : { [Symbol.iterator]: () => later }
  return several(
    Stream.catchAll(
      Generators.fromGenerator(() => iterable, { onError: (error) => Cause.die(error) }),
      Stream.failCause
    )
  )
}

/** Whether a function may read its second argument: by a parameter, by rest parameters, or by `arguments`. */
const readsContext = (f: (...args: ReadonlyArray<never>) => unknown): boolean => {
  if (f.length > 1) return true
  const source = Function.prototype.toString.call(f)
  if (/\barguments\b/.test(source)) return true
  if (/^(async\s+)?[\w$]+\s*=>/.test(source)) return false
  // Only a spread among the parameters counts: they end at the first `)`, unless a default has parentheses.
  const parameters = /^[^(]*\(([^()]*)\)/.exec(source)?.[1] ?? source
  return parameters.includes("...")
}

/**
 * Maps records by a user's function, several at once: one that returns a value, a promise or an Effect, or a generator
 * or Stream of many results. `undefined` drops the record. A record that is not one of its format, a function that
 * throws, and a result that cannot be written are failures of the record. Its results are written whole or not at all.
 * The errors of an Effect or Stream are in the types of `failure`, its requirements in those of the result.
 *
 * @example
 * ```ts
 * import { Stream } from "effect"
 * import * as MapRecords from "effect-asyncio/services/MapRecords"
 * import * as ReadRecords from "effect-asyncio/services/ReadRecords"
 *
 * const bytes = Stream.make(new TextEncoder().encode("1\n2\nx\n"))
 *
 * export const doubled = ReadRecords.records(bytes, { format: "ndjson" }).pipe(
 *   MapRecords.mapRecords((n) => (n as number) * 2, { concurrency: 4, onFailure: "continue" }),
 *   Stream.runCollect
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const mapRecords: {
  <T>(
    f: (value: unknown, context: RecordContext) => T,
    options?: MapRecordsOptions
  ): <E, R>(self: Stream.Stream<Records.Record, E, R>) => Mapped<E, R, T>
  <E, R, T>(
    self: Stream.Stream<Records.Record, E, R>,
    f: (value: unknown, context: RecordContext) => T,
    options?: MapRecordsOptions
  ): Mapped<E, R, T>
} = dual(
  takesStream,
  <E, R>(
    self: Stream.Stream<Records.Record, E, R>,
    f: (value: unknown, context: RecordContext) => unknown,
    options: MapRecordsOptions = {}
  ): Stream.Stream<RecordOutcome, E | Failed, R> => {
    const {
      batch,
      key,
      onEvent = () => Effect.void,
      onFailure = "cancel",
      output = "ndjson",
      rate,
      retries = 0,
      timeout,
      untouched: keepsBytes = true
    } = options
    const untouched = keepsBytes && typeof output === "string"
    let pauseBefore: (nth: number) => Effect.Effect<number>
    const source = Stream.suspend(() => {
      checkOptions(options, { retries: anyCount, timeout: time })
      pauseBefore = Backoff.make(options.backoff)
      return self
    })
    const innocent = Unchanged.changesNothing(f)
    const wantsContext = readsContext(f)

    type Cells = ReadonlyArray<Columns.Cells>
    const text = (value: unknown): string | Uint8Array | Columns.Cells => {
      if (typeof output === "object") return output.cells(value)
      if (value instanceof RawResult) return value.bytes
      if (output === "lines" && typeof value === "string") {
        if (value.isWellFormed()) return value
        throw new TypeError("a lone surrogate cannot be written as UTF-8")
      }
      return LosslessJson.encode(value)
    }
    const failed = (
      records: ReadonlyArray<Records.Record>,
      why: string,
      cause?: Cause.Cause<unknown>
    ): Effect.Effect<FailedRecord, Failed> => {
      const detail = clipped(why)
      const error = cause === undefined ? undefined : Cause.squash(cause)
      const exitCode = exitCodeOf(error)
      const failure = error instanceof TimedOut ? undefined : cause
      if (onFailure === "continue")
        return Effect.succeed(new FailedRecord(records, detail, exitCode, failure))
      return Effect.fail(new Records.RecordFailed({ record: records[0]!, detail, exitCode, failure }))
    }
    const settled = (
      step: Effect.Effect<FailedRecord, Failed>
    ): MapConcurrent.Ready<FailedRecord> | Effect.Effect<FailedRecord, Failed> =>
      Exit.isExit(step) && Exit.isSuccess(step) ? new MapConcurrent.Ready(step.value as FailedRecord) : step

    // `was`: the records' snapshots.
    type Was = Unchanged.Snapshot | undefined | null
    const outcome = (
      records: ReadonlyArray<Records.Record>,
      values: ReadonlyArray<unknown>,
      was: ReadonlyArray<Was>,
      result: unknown
    ): RecordOutcome => {
      const results =
        result instanceof Several
          ? result.values
          : batch !== undefined && Array.isArray(result)
            ? result
            : [result]
      // An object is matched by identity at any place; a primitive value only at its own.
      const kept = (value: unknown, place: number): Records.Record | undefined => {
        if (!untouched) return undefined
        const isObject = typeof value === "object" && value !== null
        if (!isObject && results.length !== records.length) return undefined
        const at = isObject ? values.indexOf(value) : place
        if (at < 0 || values[at] !== value) return undefined
        return was[at] === null || Unchanged.isUnchanged(value, was[at]) ? records[at] : undefined
      }
      const written: Array<Records.Record | ReturnType<typeof text>> = []
      for (const [place, value] of results.entries()) {
        if (value !== undefined) written.push(kept(value, place) ?? text(value))
      }
      return new MappedRecord(records, written as MappedRecord["results"]) // cells become rows below
    }
    const remember = (value: unknown): Was => (innocent || !untouched ? null : Unchanged.snapshot(value))

    const attempts = (
      records: ReadonlyArray<Records.Record>,
      values: ReadonlyArray<unknown>,
      was: ReadonlyArray<Was>,
      first: (() => unknown) | undefined
    ): Effect.Effect<RecordOutcome, Failed> => {
      const attempt = (number: number): Effect.Effect<RecordOutcome, Failed> => {
        let controller: AbortController | undefined // made when its signal is read: it costs more than most functions
        const { index, line } = records[0]!
        const body = attempted(() => {
          const result =
            number === 1 && first !== undefined
              ? first()
              : f(batch === undefined ? values[0] : values, {
                  index,
                  line,
                  attempt: number,
                  get signal() {
                    controller ??= new AbortController()
                    return controller.signal
                  },
                  records
                })
          return isLater(result) ? waitFor(result) : Effect.succeed(result)
        }).pipe(
          Effect.flatMap((result) => attempted(() => Effect.succeed(outcome(records, values, was, result)))),
          Effect.onInterrupt(() => Effect.sync(() => controller?.abort()))
        )
        const limited =
          timeout === undefined
            ? body
            : Effect.suspend(() => {
                const message = notDoneIn(timeout)
                return Deadline.timeout(body, {
                  limit: timeout,
                  late: { reason: message, origin: "timeout" },
                  onTimeout: () => new TimedOut({ message })
                })
              })
        return Effect.matchCauseEffect(limited, {
          onSuccess: Effect.succeed,
          onFailure: (cause) => {
            // Only an interruption of the record itself: an interruption of the loop is not handled here.
            const detail = Cause.isInterruptedOnly(cause) ? "it has interrupted itself" : headline(cause)
            if (number > retries) return failed(records, detail, cause)
            return Effect.flatMap(pauseBefore(number - 1), (pause) => {
              const reason = clipped(detail)
              const delay = EventLine.ms(pause)
              const retried = onEvent({ event: "retrying", index, line, attempt: number + 1, delay, reason })
              return Effect.zipRight(Effect.zipRight(retried, Sleep.sleep(pause)), attempt(number + 1))
            })
          }
        })
      }
      if (options.onEvent === undefined) return attempt(1)
      return Effect.onInterrupt(attempt(1), (by) => {
        const [why] = Cancellation.fromInterruptors(by)
        const reason = clipped(why?.reason ?? "it was interrupted")
        return Effect.forEach(
          records,
          ({ index, line }) => onEvent({ event: "finished", index, line, status: "cancelled", reason }),
          { discard: true }
        )
      })
    }

    // Rows are made in the order of the results, because the columns may be those of the first.
    const inRows = (outcomes: Stream.Stream<RecordOutcome, E | Failed, R>) => {
      if (typeof output === "string") return outcomes
      let stop: FailedRecord | undefined
      const rows = Stream.map(outcomes, (outcome): RecordOutcome => {
        if (!(outcome instanceof MappedRecord)) return outcome
        const { records } = outcome
        try {
          return new MappedRecord(records, output.rows(outcome.results as ReadonlyArray<unknown> as Cells))
        } catch (error) {
          const cause = Cause.die(error)
          return new FailedRecord(records, clipped(headline(cause)), codes.failed, cause)
        }
      })
      if (onFailure === "continue") return rows
      return Stream.concat(
        Stream.takeWhile(rows, (outcome) => {
          if (outcome instanceof FailedRecord) stop = outcome
          return stop === undefined
        }),
        Stream.suspend(() =>
          stop === undefined
            ? Stream.empty
            : Stream.fromEffect(failed(stop.records, stop.reason, stop.failure))
        )
      )
    }

    // A record whose key throws is a key of its own, and fails when its turn comes.
    const keyless = new WeakMap<Records.Record, unknown>()
    const keyOf = (record: Records.Record): unknown => {
      if (record.problem !== undefined) return record
      try {
        return key!(record.value)
      } catch (error) {
        keyless.set(record, error)
        return record
      }
    }

    type Step = MapConcurrent.Ready<RecordOutcome> | Effect.Effect<RecordOutcome, Failed>
    // Without closures, which would cost an object for each record.
    const one = (record: Records.Record): Step => {
      if (key !== undefined && keyless.has(record)) {
        return settled(failed([record], `it has no key: ${headline(Cause.fail(keyless.get(record)))}`))
      }
      let value: unknown
      let was: Was = null
      let result: unknown
      try {
        value = record.read()
        if (record.wrong !== undefined) return settled(failed([record], record.wrong))
        was = remember(value)
        if (timeout !== undefined || wantsContext) return attempts([record], [value], [was], undefined)
        result = f(value, undefined as never)
        // The common case: the function returns synchronously the value itself, another value, or undefined.
        if (result === value && untouched && (was === null || Unchanged.isUnchanged(value, was)))
          return new MapConcurrent.Ready(record)
        if (!isLater(result)) return new MapConcurrent.Ready(outcome([record], [value], [was], result))
      } catch (error) {
        return retries > 0
          ? attempts([record], [value], [was], throwing(error))
          : settled(failed([record], headline(Cause.die(error)), Cause.die(error)))
      }
      return attempts([record], [value], [was], giving(result))
    }
    if (batch === undefined) {
      const limited = rate === undefined ? source : Pacing.rateLimited(source, rate)
      const keyed = key === undefined ? {} : { key: keyOf }
      // Without concurrency no result waits for a slow record, so all records of a chunk may be taken at once.
      const { backpressure = (options.concurrency ?? 1) === 1 ? 1024 : undefined } = options
      return inRows(MapConcurrent.mapReady(limited, one, { ...options, ...keyed, backpressure }))
    }
    const many = (
      all: ReadonlyArray<Records.Record>
    ): Effect.Effect<ReadonlyArray<RecordOutcome>, Failed> => {
      const bad = all.filter(({ problem }) => problem !== undefined)
      const good = all.filter(({ problem }) => problem === undefined)
      return Effect.gen(function* () {
        const outcomes: Array<RecordOutcome> = []
        for (const record of bad) outcomes.push(yield* failed([record], record.problem!))
        if (good.length > 0) {
          const values = good.map(({ value }) => value)
          outcomes.push(yield* attempts(good, values, values.map(remember), undefined))
        }
        return outcomes
      })
    }
    const batches = Pacing.batchWithin(source, batch)
    const { key: _, ...plain } = options
    const outcomes = MapConcurrent.mapConcurrent(
      rate === undefined ? batches : Pacing.rateLimited(batches, rate),
      many,
      plain
    )
    return inRows(
      Stream.mapChunks(outcomes, (chunk) => Chunk.unsafeFromArray(Chunk.toReadonlyArray(chunk).flat()))
    )
  }
)
