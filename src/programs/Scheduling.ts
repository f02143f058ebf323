import type * as Command from "@effect/platform/Command"
import { Cause, Clock, type DateTime, Duration, Effect, Exit } from "effect"
import { codes } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as Processes from "../services/process/Processes.js"
import * as Cancellation from "../services/task/Cancellation.js"
import { headline } from "../services/task/Causes.js"
import * as Race from "../services/task/Race.js"
import * as Sleep from "../services/task/Sleep.js"
import { anyTime, checkedDuration, checkOptions, time } from "../services/text/Numbers.js"
import type * as CivilTime from "../services/time/CivilTime.js"
import type * as Cron from "../services/time/Cron.js"
import * as Timers from "../services/time/Timers.js"

/**
 * Runs the effect on the next turn, never inline (asyncio: `loop.call_soon`). The handle waits for it, cancels it and
 * tells when it is due.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 * import * as Timers from "effect-asyncio/services/Timers"
 *
 * export const program = Effect.gen(function* () {
 *   const handle = yield* Scheduling.callSoon(Effect.log("second"))
 *   yield* Effect.log("first")
 *   yield* handle.await
 * }).pipe(Effect.provide(Timers.layer))
 * ```
 */
export const callSoon = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options?: Timers.CallOptions
): Effect.Effect<Timers.Handle<A, E>, never, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.callSoon(effect, options))

/**
 * Runs the effect after a delay by the monotonic clock (asyncio: `loop.call_later`). A delay of zero or less is
 * {@link callSoon}.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 *
 * export const reminder = Scheduling.callLater("10 minutes", Effect.log("tea is ready"), { name: "tea" })
 * ```
 */
export const callLater = <A, E, R>(
  delay: Duration.DurationInput,
  effect: Effect.Effect<A, E, R>,
  options?: Timers.CallOptions
): Effect.Effect<Timers.Handle<A, E>, never, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.callLater(delay, effect, options))

/**
 * Runs the effect at a time of day: a `DateTime`, a `Date`, or milliseconds since the epoch (asyncio: `loop.call_at`,
 * whose times are those of the loop's own clock). It follows the wall clock when that is set. A time that is past is
 * {@link callSoon}.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 *
 * export const party = Scheduling.callAt(Date.UTC(2030, 0, 1), Effect.log("happy new year"))
 * ```
 */
export const callAt = <A, E, R>(
  time: Timers.Time,
  effect: Effect.Effect<A, E, R>,
  options?: Timers.CallOptions
): Effect.Effect<Timers.Handle<A, E>, never, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.callAt(time, effect, options))

/**
 * Runs the effect every interval, first after one has passed. How long a run takes moves none of those that follow; what
 * becomes of one that is due meanwhile is the `overlap` of the options. The handle's `await` gives how many there were.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 *
 * export const heartbeat = Scheduling.every("30 seconds", Effect.log("still here"), { jitter: "5 seconds", seed: 1 })
 * // At :00, :15, :30 and :45
 * export const quarters = Scheduling.every("15 minutes", (tick) => Effect.log(tick.run), { align: true })
 * ```
 */
export const every = <A, E, R>(
  interval: Duration.DurationInput,
  body: Timers.Body<A, E, R>,
  options?: Timers.EveryOptions
): Effect.Effect<Timers.Handle<Timers.Tally>, never, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.every(interval, body, options))

/**
 * Runs the effect at the times of a cron expression in a time zone, by the rule of Debian's cron where the clock changes
 * (see `Cron.next`). Fails with `InvalidCron` when the expression cannot be read or never fires.
 *
 * @example
 * ```ts
 * import { Effect, Either } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 * import * as CivilTime from "effect-asyncio/services/CivilTime"
 *
 * export const backup = Scheduling.cron("30 2 * * *", Effect.log("backing up"), {
 *   zone: Either.getOrThrow(CivilTime.zone("Europe/Berlin")),
 *   catchUp: "last",
 *   name: "backup"
 * })
 * ```
 */
export const cron = <A, E, R>(
  expression: string | Cron.Rule,
  body: Timers.Body<A, E, R>,
  options?: Timers.CronOptions
): Effect.Effect<Timers.Handle<Timers.Tally>, Cron.InvalidCron, R | Timers.Timers> =>
  Effect.flatMap(Timers.Timers, (timers) => timers.cron(expression, body, options))

/** When something is to run. */
export type When =
  | { readonly _tag: "Later"; readonly delay: Duration.DurationInput }
  | { readonly _tag: "At"; readonly time: CivilTime.Time }
  | { readonly _tag: "Every"; readonly interval: Duration.DurationInput; readonly align: boolean }
  | { readonly _tag: "Cron"; readonly cron: Cron.Rule }

/** Settings of {@link start}. */
export interface StartOptions extends Timers.SeriesOptions {
  /** For what goes by times of day; default: that of the machine. */
  readonly zone?: DateTime.TimeZone | undefined
}

/**
 * Runs the effect once or again and again, whichever it is to be, and gives the handle. Of the options those of a series
 * are for `Every` and `Cron`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 *
 * export const once = Scheduling.start({ _tag: "Later", delay: "1 hour" }, () => Effect.log("an hour later"))
 * ```
 */
export const start = <A, R>(
  when: When,
  body: (tick: Timers.Tick) => Effect.Effect<A, never, R>,
  options: StartOptions = {}
): Effect.Effect<Timers.Handle<unknown>, never, R | Timers.Timers> => {
  const once = (time: CivilTime.Time, asked: ReturnType<typeof callAt<A, never, R>>) =>
    Effect.zipRight(options.observe?.({ _tag: "Scheduled", ...time }) ?? Effect.void, asked)
  switch (when._tag) {
    case "Later":
      return Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const time = {
          at: now + Duration.toMillis(checkedDuration("delay", when.delay, anyTime)),
          skipped: undefined
        }
        return once(time, callLater(when.delay, body({ run: 1, ...time }), options))
      })
    case "At":
      return once(when.time, callAt(when.time.at, body({ run: 1, ...when.time }), options))
    case "Every":
      return every(when.interval, body, { ...options, align: when.align })
    case "Cron":
      // It has been read already.
      return Effect.orDie(cron(when.cron, body, options))
  }
}

/** How a run of a command has ended. */
export interface Outcome {
  readonly outcome: "succeeded" | "failed" | "timedOut" | "notStarted" | "cancelled"
  /** In words, unless it succeeded. */
  readonly detail?: string | undefined
  readonly exitCode: number
  readonly signal?: NodeJS.Signals | undefined
}

/** What happens in {@link runs}; times are milliseconds since the epoch, durations milliseconds. */
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
  | ({ readonly event: "finished"; readonly run: number; readonly duration: number } & Outcome)
  /** Runs that do not take place: `count` of them, the first at `at` and the last at `until`. */
  | {
      readonly event: "skipped"
      readonly at: number
      readonly until: number
      readonly count: number
      readonly reason: string
    }
  | RunsSummary

/** The last event: what has become of all. */
export interface RunsSummary {
  readonly event: "summary"
  readonly runs: number
  readonly succeeded: number
  readonly failed: number
  readonly cancelled: number
  readonly skipped: number
  readonly elapsed: number
  /** Of the first run that failed: 1, 124 when it took too long, 126 and 127 when it could not start; else 0. */
  readonly exitCode: number
}

/** Settings of {@link runs}. */
export interface RunsOptions extends StartOptions {
  /** From TERM to KILL when a run is to end; default 5 seconds. */
  readonly grace?: Duration.DurationInput | undefined
  /** The longest a run may take; default no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Is told of everything. What it does with output holds the command's pipe. */
  readonly handle: (event: RunEvent) => Effect.Effect<void>
}

const outcomeOf = (exit: Exit.Exit<Processes.Exited, Processes.ProcessError>): Outcome => {
  if (Exit.isSuccess(exit)) {
    const { exitCode, signal } = exit.value
    if (exitCode === 0) return { outcome: "succeeded", exitCode }
    const detail = Processes.howEnded(exit.value)
    return { outcome: "failed", detail, exitCode, ...(signal === undefined ? {} : { signal }) }
  }
  if (Cause.isInterruptedOnly(exit.cause)) {
    const [why] = Cancellation.fromCause(exit.cause)
    return { outcome: "cancelled", detail: why?.reason ?? "cancelled", exitCode: codes.failed }
  }
  const error = Cause.squash(exit.cause) as Processes.ProcessError
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
 * Runs a command once or again and again, tells of all that happens, and ends when no more run can come. A run that
 * fails stops no other. Cancelled, it ends those that go on, with everyone whom they have started, and still tells how
 * they and all have ended.
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import { Effect, Either } from "effect"
 * import * as Scheduling from "effect-asyncio/programs/Scheduling"
 * import * as Cron from "effect-asyncio/services/Cron"
 *
 * const nightly = Either.getOrThrow(Cron.parse("30 2 * * *"))
 *
 * export const program = Scheduling.runs(
 *   Command.make("restic", "backup", "/home"),
 *   { _tag: "Cron", cron: nightly },
 *   { timeout: "3 hours", handle: (event) => Effect.log(event.event) }
 * )
 * ```
 */
export const runs = Effect.fn("Scheduling.runs")(function* (
  command: Command.Command,
  when: When,
  options: RunsOptions
) {
  const { grace, handle, timeout, ...series } = options
  checkOptions(options, { grace: time, timeout: time })
  const processes = yield* Processes.Processes
  const line = Processes.commandLine(command)
  const begun = yield* Clock.currentTimeNanos
  const counts = { runs: 0, succeeded: 0, failed: 0, cancelled: 0, skipped: 0, exitCode: 0 }
  const since = (nanos: bigint) =>
    Effect.map(Clock.currentTimeNanos, (now) => Duration.toMillis(Duration.nanos(now - nanos)))

  const execute = (run: number) => {
    const body = Effect.scoped(
      Effect.flatMap(
        processes.start(command, {
          grace,
          onOutput: (stream, bytes) => handle({ event: "output", run, stream, bytes })
        }),
        ({ exit }) => exit
      )
    )
    if (timeout === undefined) return body
    const after = Duration.decode(timeout)
    // Not `Effect.timeout`, which never comes when it is longer than Node's timers.
    const late = Effect.zipRight(
      Sleep.sleep(after),
      Effect.fail(new Processes.CommandTimedOut({ command: line, after }))
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
  const asked = yield* start(when, once, { ...series, observe })
  return yield* asked.await.pipe(
    Effect.onInterrupt((by) => {
      const [why] = Cancellation.fromInterruptors(by)
      return Effect.zipRight(
        asked.cancel(why?.reason ?? "it was cancelled", { origin: why?.origin ?? "schedule" }),
        summary
      )
    }),
    // A defect of `handle` is none of a run that may be passed over.
    Effect.flatten,
    Effect.zipRight(summary)
  )
})

// In tenths of a second. Callbacks come late, not early: so rounding starts only from 0.09 s on, and what is left of it
// below covers a wall clock that counts whole milliseconds.
const offset = (nanos: bigint): string => (Math.floor(Number(nanos) / 1e8 + 0.1) / 10).toFixed(1)

// #region example
/**
 * The guide's Scheduling: a callback by `callLater`, `callAt` and `callSoon` each, asked for in this order, printed as
 * they fire with the offset from the start.
 */
export const example: Effect.Effect<void, never, Output.Output | Timers.Timers> = Effect.gen(function* () {
  const start = yield* Clock.currentTimeNanos
  const now = yield* Clock.currentTimeMillis
  const show = (name: string) =>
    Effect.flatMap(Clock.currentTimeNanos, (nanos) =>
      Output.print(`${name.padEnd(10)}  at ${offset(nanos - start)} s`)
    )
  const handles = [
    yield* callLater("400 millis", show("call_later")),
    yield* callAt(now + 200, show("call_at")),
    yield* callSoon(show("call_soon"))
  ]
  yield* Effect.forEach(handles, (handle) => handle.await, { discard: true })
})
// #endregion
