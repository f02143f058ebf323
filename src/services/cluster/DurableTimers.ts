import {
  Cause,
  Context,
  Data,
  DateTime,
  Deferred,
  Duration,
  Effect,
  Either,
  Exit,
  Fiber,
  Layer,
  Random,
  Schema,
  type Scope
} from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Backoff from "../task/Backoff.js"
import * as Causes from "../task/Causes.js"
import {
  anyCount,
  anyNumber,
  anyTime,
  checkedDuration,
  checkOptions,
  someTime,
  time
} from "../text/Numbers.js"
import * as Printable from "../text/Printable.js"
import * as CivilTime from "../time/CivilTime.js"
import type * as Cron from "../time/Cron.js"
import type * as Timers from "../time/Timers.js"
import { problem } from "./internal/problem.js"
import * as ScheduleServer from "./ScheduleServer.js"
import * as Schedules from "./Schedules.js"
import * as Store from "./Store.js"

// Timers that outlive their process: the store has a name and a payload, the program has the code of that name.

// model

/**
 * A run of a timer, for its code.
 *
 * @since 0.1.0
 * @category models
 */
export interface Run {
  /** The key for what must not happen twice: a run that was cut off before it was recorded as started has the same again. */
  readonly runId: string
  /** What {@link Handle} has as `id`. */
  readonly id: string
  /** The number of the run in its series, from 1. */
  readonly number: number
  /** From 1; more for a run that is tried again. */
  readonly attempt: number
  /** When it was due, in milliseconds since the epoch. */
  readonly due: number
}

/**
 * A timer that {@link make} has declared: the store knows it by its name.
 *
 * @since 0.1.0
 * @category models
 */
export interface Timer<A, out R = never> {
  readonly name: string
  readonly payload: Schema.Schema<A, any>
  readonly run: (payload: A, run: Run) => Effect.Effect<unknown, unknown, R>
}

/**
 * What a timer requires, without a scope: each run has its own.
 *
 * @since 0.1.0
 * @category models
 */
export type Requirements<T> = T extends Timer<any, infer R> ? Exclude<R, Scope.Scope> : never

/**
 * A recorded call or series. After the end of the process, `id` is what `Schedules` and `aio schedule` need.
 *
 * @since 0.1.0
 * @category models
 */
export interface Handle {
  readonly id: string
  /** No further run starts, and those that run are interrupted by their server. False if it was over already. */
  readonly cancel: Effect.Effect<boolean, Schedules.ScheduleError | Store.StoreError>
}

/**
 * Settings of one call.
 *
 * @since 0.1.0
 * @category options
 */
export interface CallOptions extends Timers.CallOptions {
  /** Further attempts of a run that failed, or that was cut off because its process ended; default 0. */
  readonly retries?: number | undefined
  /** The pauses before them. */
  readonly backoff?: Backoff.Backoff | undefined
}

/**
 * Settings of `cron`: those of `Timers`, recorded with the timer.
 *
 * @since 0.1.0
 * @category options
 */
export interface CronOptions extends CallOptions, Omit<Timers.CronOptions, "observe"> {}

/**
 * Settings of `every`: those of `Timers`, recorded with the timer.
 *
 * @since 0.1.0
 * @category options
 */
export interface EveryOptions extends CallOptions, Omit<Timers.EveryOptions, "observe"> {}

/**
 * Settings of {@link layer}, as in `ScheduleServer.Options`.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Pick<ScheduleServer.Options, "poll" | "concurrency" | "keep" | "drain"> {
  /** Observes the runs. Default: logs what fails. */
  readonly handle?: ScheduleServer.Options["handle"] | undefined
}

// errors

/**
 * A payload cannot be recorded: it does not match its schema, or not any more after a round trip through JSON. Exit code 2.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidPayload extends Data.TaggedError("InvalidPayload")<{
  readonly timer: string
  readonly reason: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    return `the payload of the timer ${this.timer} cannot be recorded: ${this.reason}`
  }
}

// tag

type Recorded = Effect.Effect<Handle, InvalidPayload | Schedules.ScheduleError | Store.StoreError>

/**
 * The durable counterpart of `Timers`: each call is in the store before its effect succeeds, and runs in any process that
 * serves the timer, now or after a restart. Fails with `InvalidPayload`, with `ScheduleError` if it has no run, and with
 * `StoreError`.
 *
 * @since 0.1.0
 * @category services
 */
export class DurableTimers extends Context.Tag("effect-asyncio/services/DurableTimers")<
  DurableTimers,
  {
    /** A run after a delay, by the wall clock; zero and less is due at once. */
    readonly callLater: <A>(
      timer: Timer<A, any>,
      delay: Duration.DurationInput,
      payload: NoInfer<A>,
      options?: CallOptions
    ) => Recorded
    /** A run at a time of the wall clock; a past time is due at once. */
    readonly callAt: <A>(
      timer: Timer<A, any>,
      at: Timers.Time,
      payload: NoInfer<A>,
      options?: CallOptions
    ) => Recorded
    /** A run every interval, by the wall clock; first after one interval. Dies when the interval is zero or less. */
    readonly every: <A>(
      timer: Timer<A, any>,
      interval: Duration.DurationInput,
      payload: NoInfer<A>,
      options?: EveryOptions
    ) => Recorded
    /** A run at the times of a cron expression, as in `Cron.parse`. */
    readonly cron: <A>(
      timer: Timer<A, any>,
      expression: string | Cron.Cron,
      payload: NoInfer<A>,
      options?: CronOptions
    ) => Recorded
    /** Fails when the server of the layer has failed for good; else never ends before the layer. */
    readonly failed: Effect.Effect<never, ServeError>
  }
>() {}

type ServeError = ScheduleServer.AlreadyServed | Schedules.ScheduleError | Store.StoreError

// make

/**
 * Declares a timer. `name` is what the store knows: it stays the same from one version of the program to the next.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <A, I, E, R = never>(timer: {
  readonly name: string
  /** Its encoded side goes through JSON. */
  readonly payload: Schema.Schema<A, I>
  /** Runs at least once for each due run. Its failure is recorded and tried again as `retries` say; its value is dropped. */
  readonly run: (payload: A, run: Run) => Effect.Effect<unknown, E, R>
}): Timer<A, R> => timer

/** JSON has no `undefined`: that of a timer without a payload is recorded as null. */
const decode = <A>(timer: Timer<A, any>, recorded: unknown): Effect.Effect<A, string> => {
  const read = Schema.decodeUnknown(timer.payload)
  const first = Effect.mapError(read(recorded), problem)
  return recorded === null
    ? Effect.catchAll(first, (why) => Effect.mapError(read(undefined), () => why))
    : first
}

const encode = <A>(timer: Timer<A, any>, payload: A): Effect.Effect<unknown, InvalidPayload> =>
  Effect.gen(function* () {
    const encoded = yield* Effect.mapError(Schema.encode(timer.payload)(payload), problem)
    const recorded: unknown = yield* Effect.try({
      try: () => JSON.parse(JSON.stringify(encoded ?? null)),
      catch: (error) => Printable.line(String(error))
    })
    // What JSON changes (a Map, a Date, NaN) would fail each run.
    yield* Effect.mapError(decode(timer, recorded), (why) => `after JSON, ${why}`)
    return recorded
  }).pipe(Effect.mapError((reason) => new InvalidPayload({ timer: timer.name, reason })))

const runnerOf =
  (timer: Timer<any, never>): ScheduleServer.Runner =>
  ({ attempt, due, id: runId, number, schedule: id, work }, { started }) =>
    Effect.gen(function* () {
      if (work._tag !== "Timer") return yield* Effect.dieMessage(`${timer.name} is no command`)
      yield* started
      const failed = (reason: string) => ({ status: "failed", reason, failureCode: codes.failed }) as const
      const payload = yield* Effect.either(decode(timer, work.payload))
      if (Either.isLeft(payload))
        return failed(`the payload on record does not have the type of the timer now: ${payload.left}`)
      const run = Effect.suspend(() => timer.run(payload.right, { runId, id, number, attempt, due }))
      const exit = yield* Effect.exit(run)
      if (Exit.isSuccess(exit)) return { status: "succeeded" } as const
      return Cause.isInterruptedOnly(exit.cause)
        ? yield* Effect.failCause(exit.cause as Cause.Cause<never>)
        : failed(Causes.headline(exit.cause))
    })

const logged: ScheduleServer.Options["handle"] = (event) =>
  event.event === "note"
    ? Effect.logWarning(event.reason)
    : event.event === "finished" && event.status === "failed"
      ? Effect.logError(`${event.name}, run ${event.index} failed: ${event.reason}`)
      : Effect.void

// Infinity is no number of JSON.
const millis = (duration: Duration.DurationInput) =>
  Math.min(Duration.toMillis(duration), Number.MAX_SAFE_INTEGER)

const given = <A extends object>(fields: A) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof A]?: Exclude<A[K], undefined>
  }

const rulesOf = (options: EveryOptions) =>
  Effect.gen(function* () {
    const { backoff = {}, catchUp, jitter, now, overlap, retries, times, until, window } = options
    checkOptions(options, { times: anyCount, retries: anyCount, jitter: time, seed: anyNumber, window: time })
    // The delays of a series stay the same in the next process.
    const seed = options.seed ?? (jitter === undefined ? undefined : yield* Random.nextIntBetween(0, 2 ** 31))
    const ms = (duration: Duration.DurationInput | undefined) => duration && millis(duration)
    return given({
      ...{ catchUp, now, overlap, retries, seed, times },
      until: until === undefined ? undefined : DateTime.unsafeMake(until).epochMillis,
      jitter: ms(jitter),
      window: ms(window),
      backoff: given(Backoff.inMillis(backoff))
    }) as Schedules.Spec["rules"]
  })

const service = (
  store: Store.Store["Type"],
  wake: Effect.Effect<void>,
  failed: Effect.Effect<never, ServeError>
): DurableTimers["Type"] => {
  const inStore = <A, E>(effect: Effect.Effect<A, E, Store.Store>) =>
    Effect.zipLeft(Effect.provideService(effect, Store.Store, store), wake)
  const record = <A>(
    timer: Timer<A, any>,
    when: () => Schedules.Spec["when"],
    payload: A,
    options: EveryOptions = {}
  ): Recorded =>
    Effect.gen(function* () {
      const spec: Schedules.Spec = {
        when: when(),
        zone: DateTime.zoneToString(options.zone ?? CivilTime.local()),
        rules: yield* rulesOf(options),
        work: { _tag: "Timer", timer: timer.name, payload: yield* encode(timer, payload) }
      }
      const id = yield* inStore(Schedules.add(options.name ?? timer.name, spec))
      return { id, cancel: inStore(Schedules.cancel(id)) }
    })
  return {
    callLater: (timer, delay, payload, options) =>
      record(
        timer,
        () => ({ _tag: "Later", delay: Math.max(0, millis(checkedDuration("delay", delay, anyTime))) }),
        payload,
        options
      ),
    callAt: (timer, at, payload, options) =>
      record(timer, () => ({ _tag: "At", at: DateTime.unsafeMake(at).epochMillis }), payload, options),
    every: (timer, interval, payload, options) =>
      record(
        timer,
        () => ({
          _tag: "Every",
          interval: millis(checkedDuration("interval", interval, someTime)),
          align: options?.align === true
        }),
        payload,
        options
      ),
    cron: (timer, expression, payload, options) =>
      record(
        timer,
        () => ({ _tag: "Cron", expression: typeof expression === "string" ? expression : expression.text }),
        payload,
        options
      ),
    failed
  }
}

/** Two timers of one name would run each other's payloads. */
const checkNames = (timers: ReadonlyArray<Timer<any, any>>) => {
  const names = timers.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw new RangeError(`there are two timers '${twice}'; give each another name`)
  if (names.length === 0)
    throw new RangeError("there are no timers; DurableTimers.layerClient records without running")
}

const serving = <R>(timers: ReadonlyArray<Timer<any, R>>, options: Options) =>
  Effect.gen(function* () {
    checkNames(timers)
    const store = yield* Store.Store
    const context = yield* Effect.context<R>()
    const ready = yield* Deferred.make<Effect.Effect<void>, ServeError>()
    const { handle = logged, ...settings } = options
    const runners = timers.map((timer) => {
      const run: Timer<any, never>["run"] = (payload, of) =>
        Effect.provide(Effect.scoped(timer.run(payload, of)), context)
      return [`timer:${timer.name}`, runnerOf({ ...timer, run })] as const
    })
    const server = yield* ScheduleServer.serve({
      ...settings,
      runners: new Map(runners),
      handle,
      onServing: (wake) => Deferred.succeed(ready, wake)
    }).pipe(
      Effect.scoped,
      Effect.tapErrorCause((cause) =>
        Effect.flatMap(Deferred.failCause(ready, cause), (isFirst) =>
          isFirst || Cause.isInterruptedOnly(cause)
            ? Effect.void
            : Effect.logError("the server of the durable timers has failed", cause)
        )
      ),
      Effect.forkScoped
    )
    const wake = yield* Deferred.await(ready)
    return service(store, wake, Effect.zipRight(Fiber.join(server), Effect.never))
  })

// layers

/**
 * Serves these timers in the layer's scope, as `ScheduleServer.serve` does, and records calls. A timer that is not among
 * them is left to other servers of the store. The scope's end starts no further run, waits for those that run as long as
 * `drain`, and cancels the others; what is due later runs in the next process. Fails with `AlreadyServed` if another
 * process serves the SQLite file, and with `StoreError`.
 *
 * @example
 * ```ts
 * import { Effect, Either, Layer, Schema } from "effect"
 * import * as DurableTimers from "effect-asyncio/services/DurableTimers"
 * import * as Schedules from "effect-asyncio/services/Schedules"
 * import * as Store from "effect-asyncio/services/Store"
 *
 * const reminder = DurableTimers.make({
 *   name: "reminder",
 *   payload: Schema.Struct({ to: Schema.String }),
 *   run: ({ to }, { runId }) => Effect.log(`remind ${to}, once for ${runId}`)
 * })
 *
 * const store = Store.layer(Either.getOrThrow(Store.parse("timers.sqlite")), [Schedules.tables])
 *
 * export const program = Effect.gen(function* () {
 *   const timers = yield* DurableTimers.DurableTimers
 *   const { id } = yield* timers.callLater(reminder, "3 days", { to: "ada" }, { retries: 3 })
 *   yield* Effect.log(id)
 * }).pipe(Effect.provide(DurableTimers.layer([reminder])), Effect.provide(store))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <const T extends ReadonlyArray<Timer<any, any>>>(
  timers: T,
  options: Options = {}
): Layer.Layer<DurableTimers, ServeError, Store.Store | Requirements<T[number]>> =>
  Layer.scoped(DurableTimers, serving<Requirements<T[number]>>(timers, options))

/**
 * Records calls for timers that another process serves.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient: Layer.Layer<DurableTimers, never, Store.Store> = Layer.effect(
  DurableTimers,
  Effect.map(Store.Store, (store) => service(store, Effect.void, Effect.never))
)
