import {
  Cause,
  Clock,
  Context,
  Data,
  type DateTime,
  DefaultServices,
  Duration,
  Effect,
  Either,
  type Exit,
  FiberRef,
  FiberRefs,
  Layer,
  Option,
  Random,
  Runtime,
  type Scope,
  Utils
} from "effect"
import * as Cancellation from "../task/Cancellation.js"
import * as Causes from "../task/Causes.js"
import * as FiberRuntime from "../task/internal/fiberRuntime.js"
import {
  anyCount,
  anyNumber,
  anyTime,
  checkedDuration,
  checkedNumber,
  checkOptions,
  someTime,
  time
} from "../text/Numbers.js"
import * as CivilTime from "./CivilTime.js"
import * as Cron from "./Cron.js"
import { type Asker, Call, SeriesHandle } from "./internal/calls.js"
import { anchored, byRule } from "./internal/plans.js"
import {
  type Overlap,
  type Plan,
  Series,
  type SeriesEvent,
  type Settings,
  type Tally,
  type Tick
} from "./internal/series.js"
import * as TimerFibers from "./internal/timerFibers.js"

// What is due, the series and the fibers that wait are in internal/. The service itself stays whole: its
// methods are one closure over two clocks, the fibers that wait and the handles that are open.

// model

/**
 * A scheduled callback (asyncio: `Handle`, `TimerHandle`).
 *
 * @since 0.1.0
 * @category models
 */
export interface Handle<out A, out E = never> {
  /** Its name in reports; default `timer N`. */
  readonly name: string
  /**
   * When it is due, or the next run of a series: milliseconds since the epoch, by the current wall clock. Infinity after
   * the last run.
   */
  readonly when: number
  /**
   * Before its time, the callback never runs. A running callback is interrupted and its clean-up awaited. After its end
   * this does nothing. The origin is by default the calling task, or `timers`.
   */
  readonly cancel: (reason: string, options?: { readonly origin?: string }) => Effect.Effect<void>
  /** Whether it was cancelled before it had ended. */
  readonly cancelled: Effect.Effect<boolean>
  /** Waits for its end and returns its exit. `Cancellation.fromExit` reads why it was cancelled. */
  readonly await: Effect.Effect<Exit.Exit<A, E>>
}

/**
 * Settings of one callback.
 *
 * @since 0.1.0
 * @category options
 */
export interface CallOptions {
  /** For reports; default `timer N`. */
  readonly name?: string | undefined
}

/**
 * A time of day: a `DateTime`, a `Date`, or milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export type Time = DateTime.DateTime | Date | number

export type { Overlap, SeriesEvent, Tally, Tick } from "./internal/series.js"

/**
 * Settings of a series of runs.
 *
 * @since 0.1.0
 * @category options
 */
export interface SeriesOptions extends CallOptions {
  /**
   * The policy for a run that is due while the previous one still runs. `"skip"`: it does not run. `"queueOne"`: it runs
   * right after, but only one may wait. `"queueAll"`: all wait. `"cancelRunning"`: the previous one is cancelled, and it
   * runs after that one's clean-up. `"parallel"`: both run. Default `"skip"`.
   */
  readonly overlap?: Overlap | undefined
  /** Whether the first run is due at once, before the times of the series. Default false. */
  readonly now?: boolean | undefined
  /** Most runs. Default: no limit. */
  readonly times?: number | undefined
  /** No run is due after this. Default: no limit. */
  readonly until?: Time | undefined
  /** Each run is delayed by a random part of this, at most until the next run. Default 0. */
  readonly jitter?: Duration.DurationInput | undefined
  /** For the jitter: the same seed gives the same delays. Default: drawn from Effect's `Random`. */
  readonly seed?: number | undefined
  /**
   * The policy for missed runs: due more than {@link Options.recheck} ago, or more than one at a time, because the machine
   * slept, the clock was set or the event loop was blocked. `"none"`: they do not run. `"last"`: the last of them runs at
   * once. `"all"`: all run, as far as `overlap` allows. Default `"none"`.
   */
  readonly catchUp?: "none" | "last" | "all" | undefined
  /** Runs that were due longer ago than this are not caught up. Default 1 day. */
  readonly window?: Duration.DurationInput | undefined
  /** Observes when the next run is due, and which runs do not take place. */
  readonly observe?: ((event: SeriesEvent) => Effect.Effect<void>) | undefined
}

/**
 * Settings of `cron`.
 *
 * @since 0.1.0
 * @category options
 */
export interface CronOptions extends SeriesOptions {
  /** The time zone of its clock. Default: that of the machine. */
  readonly zone?: DateTime.TimeZone | undefined
}

/**
 * Settings of `every`.
 *
 * @since 0.1.0
 * @category options
 */
export interface EveryOptions extends CronOptions {
  /**
   * On full intervals of the wall clock in the zone, as `Cron.aligned` defines them. Default false: counted from now, by
   * the monotonic clock.
   */
  readonly align?: boolean | undefined
}

/**
 * The body of a series: an effect, or a function that makes one for each tick.
 *
 * @since 0.1.0
 * @category models
 */
export type Body<A, E, R> = Effect.Effect<A, E, R> | ((tick: Tick) => Effect.Effect<A, E, R>)

/**
 * Settings of the service.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Reports each callback that fails (asyncio: `loop.call_exception_handler`). Default: logs an error. */
  readonly report?: ((failure: TimerFailed) => Effect.Effect<void>) | undefined
  /**
   * The longest delay until `callAt` notices that the wall clock was set or the machine slept. Default 1 minute.
   */
  readonly recheck?: Duration.DurationInput | undefined
}

// errors

/**
 * A callback failed. For the report only: other callbacks are not affected.
 *
 * @since 0.1.0
 * @category errors
 */
export class TimerFailed extends Data.TaggedError("TimerFailed")<{
  readonly timer: string
  readonly cause: Cause.Cause<unknown>
}> {
  override get message() {
    return `${this.timer} failed: ${Causes.headline(this.cause)}`
  }
}

// tag

/**
 * Effects that run later, in the scope of the service (asyncio: `loop.call_soon`, `call_later`, `call_at`).
 *
 * Each runs as a fiber of its own, with the services and FiberRefs of the requesting fiber, and never inline: a callback
 * that is due at once runs on the next turn. Callbacks due at the same time start in order of request. Closing the
 * service's scope cancels pending callbacks, and interrupts and awaits running ones.
 *
 * @since 0.1.0
 * @category services
 */
export class Timers extends Context.Tag("effect-asyncio/services/Timers")<
  Timers,
  {
    /** Runs an effect on the next turn. */
    readonly callSoon: <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      options?: CallOptions
    ) => Effect.Effect<Handle<A, E>, never, R>
    /** Runs an effect after a delay of any length by the monotonic clock; zero and less is `callSoon`. */
    readonly callLater: <A, E, R>(
      delay: Duration.DurationInput,
      effect: Effect.Effect<A, E, R>,
      options?: CallOptions
    ) => Effect.Effect<Handle<A, E>, never, R>
    /**
     * `callLater` for code that is not an effect: the callback of a library, or a loop that schedules very many. The
     * effect runs with the FiberRefs of the calling fiber, or with those of the service outside of any fiber.
     */
    readonly unsafeCallLater: <A, E>(
      delay: Duration.DurationInput,
      effect: Effect.Effect<A, E>,
      options?: CallOptions
    ) => Handle<A, E>
    /** Runs an effect at a time of the wall clock, whose changes it follows; a past time is `callSoon`. */
    readonly callAt: <A, E, R>(
      time: Time,
      effect: Effect.Effect<A, E, R>,
      options?: CallOptions
    ) => Effect.Effect<Handle<A, E>, never, R>
    /**
     * Runs an effect every interval, first after one interval. The series is anchored: the duration and the delay of a run
     * do not shift later ones. A run that fails is reported, and the series continues. Dies when the interval is zero or
     * less.
     */
    readonly every: <A, E, R>(
      interval: Duration.DurationInput,
      body: Body<A, E, R>,
      options?: EveryOptions
    ) => Effect.Effect<Handle<Tally>, never, R>
    /**
     * Runs an effect at the times of a cron expression; clock changes follow the rule of Debian's cron, see `Cron.parse`
     * and `Cron.next`. Fails when the expression cannot be read or never fires.
     */
    readonly cron: <A, E, R>(
      expression: string | Cron.Rule,
      body: Body<A, E, R>,
      options?: CronOptions
    ) => Effect.Effect<Handle<Tally>, Cron.InvalidCron, R>
  }
>() {}

// make

// Checks for an effect first, because a tag is an effect and a function.
const bodyOf = <A, E>(body: Body<A, E, never>, tick: Tick): Effect.Effect<A, E> =>
  Effect.isEffect(body) || typeof body !== "function" ? body : Effect.suspend(() => body(tick))

const epochOf = (time: Time): number =>
  typeof time === "number" ? time : time instanceof Date ? time.getTime() : time.epochMillis

const settingsOf = (options: SeriesOptions, name: string, recheck: number, seed: number): Settings => {
  checkOptions(options, { times: anyCount, jitter: time, seed: anyNumber, window: time })
  if (options.until !== undefined)
    checkedNumber("until", epochOf(options.until), { ...anyNumber, infinite: true })
  const random = new Utils.PCGRandom(options.seed ?? seed)
  return {
    name,
    recheck,
    overlap: options.overlap ?? "skip",
    now: options.now === true,
    times: options.times ?? Number.POSITIVE_INFINITY,
    until: options.until === undefined ? Number.POSITIVE_INFINITY : epochOf(options.until),
    jitter: Duration.toMillis(options.jitter ?? 0),
    catchUp: options.catchUp ?? "none",
    window: Duration.toMillis(options.window ?? "1 day"),
    random: () => random.number()
  }
}

/**
 * Opens the service in the current scope. See {@link layer}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Timers["Type"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const runtime = yield* Effect.runtime()
    const report =
      options.report ?? ((failure: TimerFailed) => Effect.logError(failure.message, failure.cause))
    const recheck = Math.max(1, Duration.toMillis(checkedDuration("recheck", options.recheck ?? "1 minute")))

    // Milliseconds since this origin: small numbers keep fractions of a microsecond, those since the epoch do not.
    // The live clock's nanoseconds allocate three objects at each read.
    const [origin, begun] = [clock.unsafeCurrentTimeNanos(), performance.now()]
    const isLive = clock === Context.get(DefaultServices.liveServices, Clock.Clock)
    const virtual = clock as { readonly unsafeElapsed?: () => number }
    const monotonic = isLive
      ? () => performance.now() - begun
      : virtual.unsafeElapsed !== undefined
        ? () => virtual.unsafeElapsed!()
        : () => Number(clock.unsafeCurrentTimeNanos() - origin) / 1e6
    const wall = () => clock.unsafeCurrentTimeMillis()
    const runtimeOf = (fiberRefs: FiberRefs.FiberRefs) => {
      const context = Option.getOrThrow(FiberRefs.get(fiberRefs, FiberRef.currentContext))
      return Runtime.make({ context, fiberRefs, runtimeFlags: runtime.runtimeFlags })
    }
    const fork = (effect: Effect.Effect<void>, fiberRefs: FiberRefs.FiberRefs) =>
      Runtime.runFork(runtimeOf(fiberRefs), effect)
    const series = new Set<SeriesHandle>()
    let calls = 0
    const fibers = TimerFibers.make({
      runtime,
      clock,
      monotonic,
      wall,
      recheck,
      fork,
      told: (call, cause) =>
        Cause.isInterruptedOnly(cause)
          ? Effect.void
          : Effect.uninterruptible(
              Effect.catchAllCause(
                Effect.suspend(() => report(new TimerFailed({ timer: call.name, cause }))),
                (broken) =>
                  Effect.logError(`the report of ${call.name} failed`, Cause.sequential(cause, broken))
              )
            ),
      onPutBack: () => {
        for (const { series: one } of series) if (one.byWall) one.unsafeReplan()
      },
      onlyCalls: () => series.size === 0
    })
    const host = { launch: fibers.launch, withdraw: fibers.withdraw, monotonic, wall }

    let asker: Asker = { host, fiberRefs: runtime.fiberRefs, byWall: false }
    const request = <A, E>(
      effect: Effect.Effect<A, E>,
      wait: number,
      callOptions: CallOptions | undefined,
      at?: number // of the wall clock
    ): Call<A, E> => {
      const fiber = FiberRuntime.currentFiber()
      const byWall = at !== undefined
      // To the nanosecond, so that 0.1 + 0.2 and 0.3 are one deadline.
      const deadline = at ?? Math.round((monotonic() + wait) * 1e6) / 1e6
      const fiberRefs = fiber === undefined ? runtime.fiberRefs : FiberRuntime.refsOf(fiber)
      // Mostly the same fiber requests several in a row.
      if (asker.fiberRefs !== fiberRefs || asker.byWall !== byWall) asker = { host, fiberRefs, byWall }
      const call = new Call<A, E>(asker, ++calls, callOptions?.name, effect, deadline)
      const closing = fibers.closing()
      if (closing !== undefined) call.unsafeCancel(closing)
      else if (wait > 0) fibers.add(call)
      else fibers.addDue(call)
      return call
    }

    yield* Effect.addFinalizer((exit) =>
      fibers.close(
        Cancellation.fromExit(exit)[0] ?? { reason: "the timers were closed", origin: "timers" },
        series
      )
    )

    const begin = <A, E, R>(plan: Plan, body: Body<A, E, R>, seriesOptions: SeriesOptions = {}) =>
      Effect.flatMap(Random.nextInt, (seed) =>
        Effect.withFiberRuntime<Handle<Tally>, never, R>((fiber) => {
          const name = seriesOptions.name ?? `timer ${++calls}`
          const fiberRefs = FiberRuntime.refsOf(fiber)
          const asker: Asker = { host, fiberRefs, byWall: plan.byWall }
          const settings = settingsOf(seriesOptions, name, recheck, seed)
          const { observe } = seriesOptions
          const open = (ended: (tally: Tally) => void) =>
            new Series<Call<any, any>>(
              {
                monotonic,
                wall,
                ended,
                nextId: () => ++calls,
                add: fibers.add,
                withdraw: fibers.withdraw,
                launch: fibers.launch,
                runOf: (tick) =>
                  new Call(
                    asker,
                    ++calls,
                    `${name}, run ${tick.run}`,
                    // What it requires is in the FiberRefs.
                    bodyOf(body as Body<A, E, never>, tick),
                    plan.byWall ? wall() : monotonic()
                  ),
                tell: (event) => {
                  if (observe === undefined) return
                  const observed = Effect.catchAllCause(
                    Effect.suspend(() => observe(event)),
                    (cause) => Effect.logError(`observe of ${name} failed`, cause)
                  )
                  fork(observed, fiberRefs)
                }
              },
              plan,
              settings
            )
          const made = new SeriesHandle(name, open, (handle) => series.delete(handle))
          const closing = fibers.closing()
          if (closing !== undefined) made.unsafeCancel(closing)
          else if (made.exit === undefined) series.add(made)
          return Effect.succeed(made)
        })
      )
    const unsafeCallLater: Timers["Type"]["unsafeCallLater"] = (delay, effect, callOptions) => {
      // A negative wait is due at once.
      const wait =
        typeof delay === "number" && delay > 0
          ? delay
          : Duration.toMillis(checkedDuration("delay", delay, anyTime))
      return request(effect, Math.max(0, wait), callOptions)
    }
    // What it requires is in the FiberRefs.
    const callLater: Timers["Type"]["callLater"] = (delay, effect, callOptions) =>
      Effect.sync(() => unsafeCallLater(delay, effect as Effect.Effect<any, any>, callOptions))
    return Timers.of({
      callSoon: (effect, callOptions) => callLater(0, effect, callOptions),
      callLater,
      unsafeCallLater,
      callAt: (time, effect, callOptions) =>
        Effect.suspend(() => {
          const at = epochOf(time)
          if (Number.isNaN(at)) {
            return Effect.dieMessage("callAt: the time is not a number; give milliseconds or a valid Date")
          }
          const wait = at - wall()
          const call = effect as Effect.Effect<any, any>
          return Effect.succeed(
            wait > 0 ? request(call, wait, callOptions, at) : request(call, 0, callOptions)
          )
        }),
      every: (interval, body, everyOptions = {}) =>
        Effect.suspend(() => {
          const ms = Duration.toMillis(checkedDuration("interval", interval, someTime))
          const plan =
            everyOptions.align === true
              ? byRule(Cron.aligned(ms), everyOptions.zone ?? CivilTime.local())
              : anchored(ms, monotonic())
          return begin(plan, body, everyOptions)
        }),
      cron: (expression, body, cronOptions = {}) =>
        Effect.suspend(() => {
          const parsed =
            typeof expression === "string" ? Cron.parse(expression) : Either.right<Cron.Rule>(expression)
          return Either.isLeft(parsed)
            ? Effect.fail(new Cron.InvalidCron({ message: parsed.left }))
            : begin(byRule(parsed.right, cronOptions.zone ?? CivilTime.local()), body, cronOptions)
        })
    })
  })

// layers

/**
 * The service in the layer's scope, with the clock that is current when the layer is built.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Timers from "effect-asyncio/services/Timers"
 *
 * export const program = Effect.gen(function* () {
 *   const timers = yield* Timers.Timers
 *   const handle = yield* timers.callLater("5 seconds", Effect.log("five seconds later"), { name: "reminder" })
 *   yield* handle.cancel("it is not needed any more")
 * }).pipe(Effect.provide(Timers.layer))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Timers> = Layer.scoped(Timers, make())

/**
 * {@link layer} with settings.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (options: Options): Layer.Layer<Timers> => Layer.scoped(Timers, make(options))
