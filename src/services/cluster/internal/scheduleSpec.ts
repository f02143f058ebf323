import { type DateTime, Either, ParseResult, Schema } from "effect"
import * as CivilTime from "../../time/CivilTime.js"
import * as Cron from "../../time/Cron.js"
import * as DueRuns from "../../time/DueRuns.js"

// What a schedule is: when it runs, by which rules, and what. The record of it is text, which is read here.

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })
const milliseconds = Schema.NonNegative.pipe(Schema.finite())

/**
 * When a schedule runs; times and durations are milliseconds. `Later` counts from the creation of the schedule, and so does
 * `Every` without `align`, by the wall clock.
 *
 * @since 0.1.0
 * @category schemas
 */
export const When = Schema.Union(
  Schema.TaggedStruct("Later", { delay: milliseconds }),
  Schema.TaggedStruct("At", { at: Schema.Finite, skipped: optional(Schema.String) }),
  Schema.TaggedStruct("Every", { interval: Schema.Positive.pipe(Schema.finite()), align: Schema.Boolean }),
  Schema.TaggedStruct("Cron", { expression: Schema.String })
)

/**
 * The rules of its runs: those of `DueRuns.Rules`, and what happens to a run that fails.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Rules = Schema.Struct({
  overlap: optional(Schema.Literal("skip", "queueOne", "queueAll", "cancelRunning", "parallel")),
  now: optional(Schema.Boolean),
  times: optional(Schema.NonNegativeInt),
  until: optional(Schema.Finite),
  jitter: optional(milliseconds),
  seed: optional(Schema.Finite),
  catchUp: optional(Schema.Literal("none", "last", "all")),
  window: optional(milliseconds),
  /** Further attempts of a run that failed or was cut off; default 0. */
  retries: optional(Schema.NonNegativeInt),
  /** As `Backoff.Backoff`. */
  backoff: optional(
    Schema.Struct({
      first: optional(milliseconds),
      max: optional(milliseconds),
      factor: optional(Schema.Positive),
      jitter: optional(Schema.Number)
    })
  )
})

/**
 * A command, as it was given: its words, its folder, and variables beyond those of the process that runs it.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Command = Schema.TaggedStruct("Command", {
  file: Schema.String,
  args: Schema.Array(Schema.String),
  cwd: optional(Schema.String),
  env: optional(Schema.Record({ key: Schema.String, value: Schema.String })),
  /** Its standard input; default none. */
  stdin: optional(Schema.String),
  timeout: optional(milliseconds),
  grace: optional(milliseconds),
  stopSignal: optional(Schema.String)
})

/**
 * What a schedule runs: a command, or a timer that a program has declared by name (`DurableTimers`).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Work = Schema.Union(
  Command,
  Schema.TaggedStruct("Timer", { timer: Schema.String, payload: Schema.Unknown })
)

/**
 * What {@link add} records.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Spec = Schema.Struct({
  when: When,
  /** The name of a time zone, or an offset. */
  zone: Schema.String,
  rules: Rules,
  work: Work
})

/**
 * The type of {@link Spec}.
 *
 * @since 0.1.0
 * @category models
 */
export type Spec = typeof Spec.Type

// times

const decode = Schema.decodeUnknownEither(Schema.parseJson(Spec))

/**
 * The times and the rules of a schedule that was created at `created`; the left is why its text cannot be read.
 *
 * @since 0.1.0
 * @category functions
 */
export const timesOf = (
  { rules, when, zone: name }: Spec,
  created: number
): Either.Either<{ readonly times: DueRuns.Times; readonly rules: DueRuns.Rules }, string> =>
  Either.gen(function* () {
    const zone: DateTime.TimeZone = yield* CivilTime.zone(name)
    // A single run is never missed: it starts late.
    const single = { catchUp: "last", window: Number.MAX_SAFE_INTEGER, times: 1 } as const
    switch (when._tag) {
      case "Later":
        return {
          times: DueRuns.once({ at: created + when.delay, skipped: undefined }),
          rules: single
        }
      case "At":
        return { times: DueRuns.once({ at: when.at, skipped: when.skipped }), rules: single }
      case "Every":
        return {
          rules,
          times: when.align
            ? DueRuns.byCron(Cron.aligned(when.interval), zone)
            : DueRuns.every(when.interval, created)
        }
      case "Cron":
        return { rules, times: DueRuns.byCron(yield* Cron.parse(when.expression), zone) }
    }
  })

/**
 * Reads the text of a schedule in a store.
 *
 * @since 0.1.0
 * @category parsing
 */
export const specOf = (text: string): Either.Either<Spec, string> =>
  Either.mapLeft(
    decode(text),
    (error) => ParseResult.TreeFormatter.formatErrorSync(error).split("\n").at(-1)!
  )
