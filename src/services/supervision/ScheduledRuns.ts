import type * as Command from "@effect/platform/Command"
import { Cause, Clock, type DateTime, Duration, Effect, Exit } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as CommandText from "../process/CommandText.js"
import * as ProcessError from "../process/ProcessError.js"
import * as Processes from "../process/Processes.js"
import * as ProcessOutcome from "../process/ProcessOutcome.js"
import * as Cancellation from "../task/Cancellation.js"
import { headline } from "../task/Causes.js"
import * as Race from "../task/Race.js"
import * as Sleep from "../task/Sleep.js"
import { anyTime, checkedDuration, checkOptions, time } from "../text/Numbers.js"
import type * as CivilTime from "../time/CivilTime.js"
import type * as Cron from "../time/Cron.js"
import * as Timers from "../time/Timers.js"

/**
 * When an effect or a command runs: once after a delay (`Later`) or at a time that `CivilTime.read` gave (`At`); every
 * interval (`Every`), from now or, with `align`, on full intervals of the wall clock; at the times of a rule (`Cron`).
 *
 * @since 0.1.0
 * @category models
 */
export type When =
  | { readonly _tag: "Later"; readonly delay: Duration.DurationInput }
  | { readonly _tag: "At"; readonly time: CivilTime.Time }
  | { readonly _tag: "Every"; readonly interval: Duration.DurationInput; readonly align: boolean }
  | { readonly _tag: "Cron"; readonly cron: Cron.Rule }

/**
 * Settings of {@link start}.
 *
 * @since 0.1.0
 * @category options
 */
export interface StartOptions extends Timers.SeriesOptions {
  /** The time zone of times of day; default: the machine's own. */
  readonly zone?: DateTime.TimeZone | undefined
}

/**
 * Runs the effect once (`Later`, `At`) or repeatedly (`Every`, `Cron`) and returns the handle. The options of a series
 * apply to `Every` and `Cron` only.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as ScheduledRuns from "effect-asyncio/services/ScheduledRuns"
 *
 * export const once = ScheduledRuns.start({ _tag: "Later", delay: "1 hour" }, () => Effect.log("an hour later"))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const start = <A, R>(
  when: When,
  body: (tick: Timers.Tick) => Effect.Effect<A, never, R>,
  options: StartOptions = {}
): Effect.Effect<Timers.Handle<unknown>, never, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers): Effect.Effect<Timers.Handle<unknown>, never, R> => {
    const announce = (time: CivilTime.Time) =>
      options.observe?.({ _tag: "Scheduled", ...time }) ?? Effect.void
    switch (when._tag) {
      case "Later":
        return Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const delay = Duration.toMillis(checkedDuration("delay", when.delay, anyTime))
          const time = { at: now + delay, skipped: undefined }
          return Effect.zipRight(
            announce(time),
            timers.callLater(when.delay, body({ run: 1, ...time }), options)
          )
        })
      case "At":
        return Effect.zipRight(
          announce(when.time),
          timers.callAt(when.time.at, body({ run: 1, ...when.time }), options)
        )
      case "Every":
        return timers.every(when.interval, body, { ...options, align: when.align })
      case "Cron":
        // Cannot fail: the rule has been parsed.
        return Effect.orDie(timers.cron(when.cron, body, options))
    }
  })

/**
 * How a run of a command has ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunOutcome {
  readonly outcome: "succeeded" | "failed" | "timedOut" | "notStarted" | "cancelled"
  /** Why, unless it succeeded. */
  readonly detail?: string | undefined
  readonly exitCode: number
  readonly signal?: NodeJS.Signals | undefined
}

/**
 * An event of {@link run}; times are milliseconds since the epoch, durations milliseconds.
 *
 * @since 0.1.0
 * @category events
 */
export type RunEvent =
  | { readonly event: "scheduled"; readonly at: number; readonly skipped: string | undefined }
  | {
      readonly event: "started"
      readonly run: number
      readonly at: number
      readonly skipped: string | undefined
    }
  | {
      readonly event: "output"
      readonly run: number
      readonly stream: "stdout" | "stderr"
      readonly bytes: Uint8Array
    }
  | ({ readonly event: "finished"; readonly run: number; readonly duration: number } & RunOutcome)
  /** Runs that do not take place: `count` of them, the first due at `at` and the last at `until`. */
  | {
      readonly event: "skipped"
      readonly at: number
      readonly until: number
      readonly count: number
      readonly reason: string
    }
  | RunsSummary

/**
 * The last event: the counts of all runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunsSummary {
  readonly event: "summary"
  readonly runs: number
  readonly succeeded: number
  readonly failed: number
  readonly cancelled: number
  readonly skipped: number
  readonly elapsed: number
  /** Of the first run that failed: 1, 124 when it timed out, 126 or 127 when it could not start; else 0. */
  readonly exitCode: number
}

/**
 * Settings of {@link run}.
 *
 * @since 0.1.0
 * @category options
 */
export interface RunsOptions extends StartOptions {
  /** The grace period from TERM to KILL; default 5 seconds. */
  readonly grace?: Duration.DurationInput | undefined
  /** The longest a run may take; default no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Receives every event. The command's pipe is held until its output has been handled. */
  readonly handle: (event: RunEvent) => Effect.Effect<void>
}

const outcomeOf = (exit: Exit.Exit<ProcessOutcome.Exited, ProcessError.ProcessError>): RunOutcome => {
  if (Exit.isSuccess(exit)) {
    const { exitCode, signal } = exit.value
    if (exitCode === 0) return { outcome: "succeeded", exitCode }
    const detail = ProcessOutcome.howEnded(exit.value)
    return { outcome: "failed", detail, exitCode, ...(signal === undefined ? {} : { signal }) }
  }
  if (Cause.isInterruptedOnly(exit.cause)) {
    const [why] = Cancellation.fromCause(exit.cause)
    return { outcome: "cancelled", detail: why?.reason ?? "cancelled", exitCode: codes.failed }
  }
  const error = Cause.squash(exit.cause) as ProcessError.ProcessError
  switch (error._tag) {
    case "CommandTimedOut":
      return { outcome: "timedOut", detail: error.message, exitCode: error.exitCode }
    case "CommandNotFound":
    case "CommandNotExecutable":
    case "CommandNotStarted":
      return { outcome: "notStarted", detail: error.message, exitCode: error.exitCode }
    default:
      return { outcome: "failed", detail: headline(exit.cause), exitCode: codes.failed }
  }
}

/**
 * Runs a command once or repeatedly, reports events, and returns the summary when no further run can start. A run
 * that fails does not stop later runs. Interruption stops the running commands with their whole process trees, and the
 * ends of those runs and the summary are still reported.
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import { Effect, Either } from "effect"
 * import * as Cron from "effect-asyncio/services/Cron"
 * import * as ScheduledRuns from "effect-asyncio/services/ScheduledRuns"
 *
 * const nightly = Either.getOrThrow(Cron.parse("30 2 * * *"))
 *
 * export const program = ScheduledRuns.run(
 *   Command.make("restic", "backup", "/home"),
 *   { _tag: "Cron", cron: nightly },
 *   { timeout: "3 hours", handle: (event) => Effect.log(event.event) }
 * )
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const run = Effect.fn("ScheduledRuns.run")(function* (
  command: Command.Command,
  when: When,
  options: RunsOptions
) {
  const { grace, handle, timeout, ...series } = options
  checkOptions(options, { grace: time, timeout: time })
  const processes = yield* Processes.Processes
  const line = CommandText.commandLine(command)
  const begun = yield* Clock.currentTimeNanos
  const counts = { runs: 0, succeeded: 0, failed: 0, cancelled: 0, skipped: 0, exitCode: 0 }
  const since = (nanos: bigint) =>
    Effect.map(Clock.currentTimeNanos, (now) => Duration.toMillis(Duration.nanos(now - nanos)))

  const execute = (run: number) => {
    const body = Effect.scoped(
      Effect.flatMap(
        processes.start(command, {
          grace,
          until: "leader",
          onOutput: (stream, bytes) => handle({ event: "output", run, stream, bytes })
        }),
        ({ exit }) => exit
      )
    )
    if (timeout === undefined) return body
    const after = Duration.decode(timeout)
    // Not `Effect.timeout`, which never fires for a duration beyond Node's timers (2^31-1 ms).
    const late = Effect.zipRight(
      Sleep.sleep(after),
      Effect.fail(new ProcessError.CommandTimedOut({ command: line, after }))
    )
    return Race.first(body, late)
  }
  const once = ({ at, run, skipped }: Timers.Tick) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const started = yield* Clock.currentTimeNanos
        counts.runs++
        yield* handle({ event: "started", run, at, skipped })
        const exit = yield* Effect.exit(restore(execute(run)))
        if (Exit.isFailure(exit) && Cause.isDie(exit.cause))
          return yield* Effect.die(Cause.squash(exit.cause))
        const ended = outcomeOf(exit)
        if (ended.outcome === "succeeded" || ended.outcome === "cancelled") counts[ended.outcome]++
        else {
          counts.failed++
          if (counts.exitCode === 0) {
            counts.exitCode = ended.outcome === "failed" ? codes.failed : ended.exitCode
          }
        }
        yield* handle({ event: "finished", run, duration: yield* since(started), ...ended })
      })
    )
  const observe = (event: Timers.SeriesEvent) => {
    if (event._tag === "Scheduled") {
      return handle({ event: "scheduled", at: event.at, skipped: event.skipped })
    }
    const { _tag, ...skipped } = event
    counts.skipped += skipped.count
    return handle({ event: "skipped", ...skipped })
  }
  const summary = Effect.gen(function* () {
    const all: RunsSummary = { event: "summary", ...counts, elapsed: yield* since(begun) }
    yield* handle(all)
    return all
  })
  const scheduled = yield* start(when, once, { ...series, observe })
  return yield* scheduled.await.pipe(
    Effect.onInterrupt((by) => {
      const [why] = Cancellation.fromInterruptors(by)
      return Effect.zipRight(
        scheduled.cancel(why?.reason ?? "it was cancelled", { origin: why?.origin ?? "schedule" }),
        summary
      )
    }),
    // A defect of `handle` ends everything: it is not the failure of one run.
    Effect.flatten,
    Effect.zipRight(summary)
  )
})
