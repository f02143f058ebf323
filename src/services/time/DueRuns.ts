import { type DateTime, Utils } from "effect"
import type * as CivilTime from "./CivilTime.js"
import type * as Cron from "./Cron.js"
import { byRule } from "./internal/plans.js"
import { Series } from "./internal/series.js"
import type { Overlap, SeriesEvent, Tick } from "./Timers.js"

// The rules of `Timers` for series whose state is kept elsewhere, in a database: one decision at a time, without clocks,
// fibers and waiting.

/**
 * The times of a series, all by the wall clock.
 *
 * @since 0.1.0
 * @category models
 */
export interface Times {
  readonly byWall: boolean
  /** Whether they keep times of day when the wall clock is set back. */
  readonly fixed: boolean
  readonly after: (time: number) => { readonly at: number; readonly skipped?: string | undefined } | undefined
  /** The number of times after `time` and until `until`. */
  readonly count: (time: number, until: number) => number
}

/**
 * The rules of a series; durations are milliseconds, times milliseconds since the epoch. As `Timers.SeriesOptions`.
 *
 * @since 0.1.0
 * @category options
 */
export interface Rules {
  /** Default `"skip"`. */
  readonly overlap?: Overlap | undefined
  /** Whether the first run is due at once. Default false. */
  readonly now?: boolean | undefined
  /** Default: no limit. */
  readonly times?: number | undefined
  /** Default: no limit. */
  readonly until?: number | undefined
  /** Default 0. */
  readonly jitter?: number | undefined
  /** For the jitter: the same seed gives the same delays. Default 0. */
  readonly seed?: number | undefined
  /** Default `"none"`. */
  readonly catchUp?: "none" | "last" | "all" | undefined
  /** Default 1 day. */
  readonly window?: number | undefined
}

/**
 * A time at which a run is due.
 *
 * @since 0.1.0
 * @category models
 */
export interface Due {
  readonly at: number
  /** The time of day of the rule, if a clock change skips it. */
  readonly skipped: string | undefined
  /** When it starts: `at` with its jitter. */
  readonly deadline: number
}

/**
 * What a series has come to.
 *
 * @since 0.1.0
 * @category models
 */
export interface State {
  /** Undefined after the last run. */
  readonly next: Due | undefined
  /** The number of the last run that was started or waits. */
  readonly accepted: number
  /** Runs that wait for the end of another, by `overlap`. */
  readonly waiting: ReadonlyArray<Tick>
  /** How many runs have started and not ended. */
  readonly running: number
}

/**
 * What is to be done: the runs that start now, and the runs that do not take place. `state` counts the former as running.
 *
 * @since 0.1.0
 * @category models
 */
export interface Decision {
  readonly state: State
  readonly starts: ReadonlyArray<Tick>
  readonly skips: ReadonlyArray<Extract<SeriesEvent, { readonly _tag: "Skipped" }>>
  /** Whether the runs that were running are to be cancelled. */
  readonly cancels: boolean
}

/** A run that was due longer ago is missed, in milliseconds: as `Timers.Options.recheck`. */
const recheck = 60_000

/**
 * One time only, however late it is.
 *
 * @since 0.1.0
 * @category constructors
 */
export const once = (time: CivilTime.Time): Times => ({
  byWall: true,
  fixed: true,
  after: (after) => (after < time.at ? time : undefined),
  count: (after, until) => (after < time.at && time.at <= until ? 1 : 0)
})

/**
 * Every so many milliseconds after `anchor`, to the millisecond and at least one apart.
 *
 * @since 0.1.0
 * @category constructors
 */
export const every = (interval: number, anchor: number): Times => {
  const step = Math.max(1, interval)
  return {
    byWall: true,
    fixed: true,
    after: (time) => {
      const passed = Math.floor((time - anchor) / step)
      const at = Math.round(anchor + (passed + 1) * step)
      return { at: at > time ? at : Math.round(anchor + (passed + 2) * step) }
    },
    count: (time, until) => Math.round((until - time) / step)
  }
}

/**
 * The times of a rule, by the clock of a zone; `Cron.aligned` gives that of full intervals.
 *
 * @since 0.1.0
 * @category constructors
 */
export const byCron = (rule: Cron.Rule, zone: DateTime.TimeZone): Times => byRule(rule, zone)

class Started {
  readonly failed = false
  cancelled = false
  constructor(readonly tick?: Tick) {}
  readonly onEnd = () => undefined
  unsafeCancel() {
    this.cancelled = true
  }
}

const decide = (
  times: Times,
  rules: Rules,
  now: number,
  state: State | undefined,
  step: (series: Series<Started>) => void
): Decision => {
  const starts: Array<Tick> = []
  const skips: Array<Decision["skips"][number]> = []
  const random = new Utils.PCGRandom((rules.seed ?? 0) + 7919 * (state?.accepted ?? 0))
  const active = Array.from({ length: state?.running ?? 0 }, () => new Started())
  const nothing = () => undefined
  const series = new Series<Started>(
    {
      monotonic: () => now,
      wall: () => now,
      nextId: () => 0,
      add: nothing,
      withdraw: nothing,
      ended: nothing,
      runOf: (tick) => new Started(tick),
      launch: ({ tick }) => void starts.push(tick!),
      tell: (event) => {
        if (event._tag === "Skipped") skips.push(event)
      }
    },
    times,
    {
      name: "",
      recheck,
      overlap: rules.overlap ?? "skip",
      now: rules.now === true,
      times: rules.times ?? Number.POSITIVE_INFINITY,
      until: rules.until ?? Number.POSITIVE_INFINITY,
      jitter: rules.jitter ?? 0,
      catchUp: rules.catchUp ?? "none",
      window: rules.window ?? 86_400_000,
      random: () => random.number()
    },
    state === undefined
      ? undefined
      : {
          next: state.next && { ...state.next, time: state.next.at },
          accepted: state.accepted,
          queue: state.waiting,
          active
        }
  )
  step(series)
  const { accepted, next, queue } = series.state
  return {
    starts,
    skips,
    cancels: active.some(({ cancelled }) => cancelled),
    state: {
      next: next && { at: next.at, skipped: next.skipped, deadline: next.deadline },
      accepted,
      waiting: queue,
      running: series.active.size
    }
  }
}

/**
 * The state of a series that begins at `now`.
 *
 * @since 0.1.0
 * @category functions
 */
export const begin = (times: Times, rules: Rules, now: number): State =>
  decide(times, rules, now, undefined, () => undefined).state

/**
 * The decision when the next run's deadline has passed: which runs start, wait, or do not take place, and when the
 * next one is due.
 *
 * @example
 * ```ts
 * import * as DueRuns from "effect-asyncio/services/DueRuns"
 *
 * const times = DueRuns.every(60_000, 0)
 * const state = DueRuns.begin(times, {}, 0)
 *
 * // One run starts, which is due at 60 s; the next one is due at 120 s.
 * export const decision = DueRuns.fire(times, {}, state, 60_000)
 * ```
 *
 * @since 0.1.0
 * @category functions
 */
export const fire = (times: Times, rules: Rules, state: State, now: number): Decision =>
  decide(times, rules, now, state, (series) => {
    if (state.next !== undefined && state.next.deadline <= now) series.unsafeFire()
  })

/**
 * The state after the wall clock was set back, or after a pause: the next run is due after `now`, unless the times are
 * fixed times of day, which keep their place.
 *
 * @since 0.1.0
 * @category functions
 */
export const replan = (times: Times, rules: Rules, state: State, now: number): State => {
  const first = times.fixed ? undefined : times.after(now)
  if (first === undefined || state.next === undefined || first.at >= state.next.at) return state
  return { ...state, next: begin(times, { ...rules, now: false, times: undefined }, now).next }
}

/**
 * The state of a series that continues after a pause: what was due meanwhile does not run.
 *
 * @since 0.1.0
 * @category functions
 */
export const resume = (times: Times, rules: Rules, state: State, now: number): State =>
  state.next === undefined || state.next.at > now
    ? state
    : { ...state, next: begin(times, { ...rules, now: false, times: undefined }, now).next }
