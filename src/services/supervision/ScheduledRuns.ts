import type * as Command from "@effect/platform/Command"
import { Clock, type DateTime, Deferred, Duration, Effect } from "effect"
import * as EventLine from "../host/EventLine.js"
import type { Status } from "../host/Events.js"
import { codes, ofMany } from "../host/ExitCodes.js"
import * as CommandText from "../process/CommandText.js"
import * as Processes from "../process/Processes.js"
import * as ProcessOutcome from "../process/ProcessOutcome.js"
import * as Backoff from "../task/Backoff.js"
import * as Cancellation from "../task/Cancellation.js"
import * as Race from "../task/Race.js"
import * as Sleep from "../task/Sleep.js"
import * as TaskGroup from "../task/TaskGroup.js"
import { anyCount, anyTime, checkedDuration, checkOptions, time } from "../text/Numbers.js"
import type * as CivilTime from "../time/CivilTime.js"
import type * as Cron from "../time/Cron.js"
import * as Timers from "../time/Timers.js"
import * as CommandRun from "./CommandRun.js"
import * as CommandNames from "./internal/commandNames.js"
import * as LogFiles from "./LogFiles.js"

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
 * An event of {@link run}; `index` is the number of the run, `name` that of the schedule. Times are milliseconds since the
 * epoch, durations milliseconds.
 *
 * @since 0.1.0
 * @category events
 */
export type RunEvent =
  | ({ readonly name: string } & (
      | {
          readonly event: "retrying"
          readonly index: number
          readonly attempt: number
          readonly delay: number
          readonly reason: string
        }
      | { readonly event: "scheduled"; readonly at: number; readonly skipped: string | undefined }
      | {
          readonly event: "started"
          readonly index: number
          readonly at: number
          readonly skipped: string | undefined
        }
      | {
          readonly event: "output"
          readonly index: number
          readonly stream: "stdout" | "stderr"
          readonly bytes: Uint8Array
        }
      /** The process was asked to end and still runs; it is killed after `left`. */
      | { readonly event: "lingering"; readonly index: number; readonly pid: number; readonly left: number }
      | RunFinished
      /** Runs that do not take place: `count` of them, the first due at `at` and the last at `until`. */
      | {
          readonly event: "skipped"
          readonly at: number
          readonly until: number
          readonly count: number
          readonly reason: string
        }
    ))
  | RunsSummary

/**
 * How a run of a command has ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunFinished {
  readonly event: "finished"
  readonly index: number
  readonly status: Exclude<Status, "skipped">
  readonly duration: number
  /** Why, unless it succeeded. */
  readonly reason?: string
  /** Without one the run was cancelled. */
  readonly exitCode?: number
  readonly signal?: NodeJS.Signals
}

/**
 * The last event: the counts of all runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunsSummary extends Readonly<Record<Status, number>> {
  readonly event: "summary"
  readonly duration: number
  /** As `ExitCodes.ofMany`. */
  readonly exitCode: number
}

/**
 * Settings of {@link run}.
 *
 * @since 0.1.0
 * @category options
 */
export interface RunsOptions extends StartOptions {
  /** The grace period from the stop signal to KILL; default 5 seconds. */
  readonly grace?: Duration.DurationInput | undefined
  /** The signal that asks a run to end; default TERM. */
  readonly stopSignal?: NodeJS.Signals | undefined
  /** The longest an attempt of a run may take; default no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Further attempts of a run that failed; default 0. */
  readonly retries?: number | undefined
  /** The pauses before further attempts; default as in `Backoff.make`. */
  readonly backoff?: Backoff.Backoff | undefined
  /** Receives every event. The command's pipe is held until its output has been handled. */
  readonly handle: (event: RunEvent) => Effect.Effect<void>
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
  const { backoff, grace, handle, retries = 0, stopSignal, timeout, ...series } = options
  checkOptions(options, { grace: time, timeout: time, retries: anyCount })
  const pauseBefore = Backoff.make(backoff)
  const processes = yield* Processes.Processes
  const line = CommandText.commandLine(command)
  const { name = line } = options
  const begun = yield* Clock.currentTimeNanos
  const counts = EventLine.tally([])
  const failures: Array<number> = []
  const since = (nanos: bigint) =>
    Effect.map(Clock.currentTimeNanos, (now) => EventLine.ms(Duration.toMillis(Duration.nanos(now - nanos))))

  const execute = (index: number) =>
    CommandRun.attempt(command, {
      grace,
      stopSignal,
      timeout,
      onOutput: (stream, bytes) => handle({ event: "output", index, name, stream, bytes }),
      onLingering: (left, pid) => handle({ event: "lingering", index, name, pid, left: EventLine.ms(left) })
    }).pipe(Effect.provideService(Processes.Processes, processes))
  const attempts = (index: number, nth: number): ReturnType<typeof execute> =>
    Effect.gen(function* () {
      const ended = yield* Effect.either(execute(index))
      const { detail: reason } = ProcessOutcome.of(ended)
      if (reason === undefined || nth > retries) return yield* ended
      const pause = yield* pauseBefore(nth - 1)
      const delay = EventLine.ms(pause)
      yield* handle({ event: "retrying", index, name, attempt: nth + 1, delay, reason })
      yield* Sleep.sleep(pause)
      return yield* attempts(index, nth + 1)
    })
  const once = ({ at, run: index, skipped }: Timers.Tick) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const started = yield* Clock.currentTimeNanos
        yield* handle({ event: "started", index, name, at, skipped })
        const { failureCode, ...ended } = yield* CommandRun.ended(
          yield* Effect.exit(restore(attempts(index, 1)))
        )
        if (failureCode !== undefined) failures.push(failureCode)
        counts[ended.status]++
        yield* handle({ event: "finished", index, name, duration: yield* since(started), ...ended })
      })
    )
  const observe = (event: Timers.SeriesEvent) => {
    if (event._tag === "Scheduled") {
      return handle({ event: "scheduled", name, at: event.at, skipped: event.skipped })
    }
    const { _tag, ...skipped } = event
    counts.skipped += skipped.count
    return handle({ event: "skipped", name, ...skipped })
  }
  const summary = (stopped?: string) =>
    Effect.gen(function* () {
      const all: RunsSummary = {
        event: "summary",
        ...counts,
        duration: yield* since(begun),
        exitCode: ofMany(failures, stopped)
      }
      yield* handle(all)
      return all
    })
  const scheduled = yield* start(when, once, { ...series, observe })
  return yield* scheduled.await.pipe(
    Effect.onInterrupt((by) => {
      const [why] = Cancellation.fromInterruptors(by)
      return Effect.zipRight(
        scheduled.cancel(why?.reason ?? "it was cancelled", { origin: why?.origin ?? "schedule" }),
        summary(why?.reason)
      )
    }),
    // A defect of `handle` ends everything: it is not the failure of one run.
    Effect.flatten,
    Effect.zipRight(Effect.suspend(summary))
  )
})

/**
 * A command of {@link runAll}, and when it runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface ScheduledCommand {
  readonly command: Command.Command
  readonly when: When
  /** The name in its events. */
  readonly name: string
  /** Default that of the options. */
  readonly zone?: DateTime.TimeZone | undefined
}

/**
 * Settings of {@link runAll}.
 *
 * @since 0.1.0
 * @category options
 */
export interface ScheduledOptions extends Omit<RunsOptions, "name"> {
  /** A folder for a log of each command's output, named after its program. */
  readonly logs?: ({ readonly directory: string } & LogFiles.Options) | undefined
}

/**
 * As {@link run}, for several commands, each by its own schedule: the summary of all is the last event. The exit code is
 * that of all runs together. Fails with `LogFilesError` when a log cannot be written.
 *
 * @since 0.1.0
 * @category effects
 */
export const runAll = Effect.fn("ScheduledRuns.runAll")(function* (
  jobs: ReadonlyArray<ScheduledCommand>,
  { logs, ...options }: ScheduledOptions
) {
  const taken = new Set<string>()
  const unwritten = yield* Deferred.make<never, LogFiles.LogFilesError>()
  const files = yield* Effect.forEach(jobs, ({ name }) =>
    logs === undefined
      ? Effect.succeed(undefined)
      : LogFiles.open(logs.directory, CommandNames.take(taken, name), logs)
  )
  const begun = yield* Clock.currentTimeNanos
  const summaries: Array<RunsSummary> = []
  const body = ({ command, name, when, zone = options.zone }: ScheduledCommand, i: number) => {
    const file = files[i]
    const handle = (event: RunEvent): Effect.Effect<void> => {
      if (event.event === "summary") return Effect.sync(() => void summaries.push(event))
      if (event.event !== "output" || file === undefined) return options.handle(event)
      const written = Effect.catchAll(file.write(event.bytes), (error) => Deferred.fail(unwritten, error))
      return Effect.zipRight(written, options.handle(event))
    }
    return Race.first(run(command, when, { ...options, name, zone, handle }), Deferred.await(unwritten))
  }
  // A group passes the reason of a cancellation on to the runs.
  const all = Effect.zipRight(
    Effect.forEach(jobs, (job, i) => TaskGroup.start(job.name, body(job, i)), { discard: true }),
    TaskGroup.join
  ).pipe(TaskGroup.scoped({ name: "schedule" }))
  const summary = Effect.gen(function* () {
    const exitCodes = summaries.flatMap(({ exitCode }) => (exitCode === codes.ok ? [] : [exitCode]))
    const counts = EventLine.tally([])
    for (const one of summaries)
      for (const status of Object.keys(counts) as Array<Status>) counts[status] += one[status]
    const total: RunsSummary = {
      event: "summary",
      ...counts,
      duration: EventLine.ms(Duration.toMillis(Duration.nanos((yield* Clock.currentTimeNanos) - begun))),
      exitCode: exitCodes.find((code) => code > 128) ?? ofMany(exitCodes)
    }
    yield* options.handle(total)
    return total
  })
  // The summary is the last event of an interrupted run, too.
  return yield* Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.exit(restore(all)), (exit) => Effect.zipLeft(summary, exit))
  )
}, Effect.scoped)
