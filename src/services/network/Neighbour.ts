import {
  Array as Arr,
  Cause,
  Clock,
  Context,
  Data,
  DefaultServices,
  Duration,
  Effect,
  type Fiber,
  FiberRef,
  Metric,
  MetricBoundaries,
  MetricLabel,
  Option,
  Tracer
} from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Workload from "../http/Workload.js"
import * as Backoff from "../task/Backoff.js"
import * as Bulkhead from "../task/Bulkhead.js"
import * as Cancellation from "../task/Cancellation.js"
import * as Causes from "../task/Causes.js"
import * as CircuitBreaker from "../task/CircuitBreaker.js"
import * as Deadline from "../task/Deadline.js"
import * as Race from "../task/Race.js"
import * as Sleep from "../task/Sleep.js"
import { formatDuration } from "../text/Durations.js"
import { anyCount, checkOptions, someTime, time } from "../text/Numbers.js"

// model

/**
 * How the calls to one service are made.
 *
 * @since 0.1.0
 * @category options
 */
export interface Policy {
  /** The time limit of a call with all its attempts. Default 1 second. */
  readonly deadline?: Duration.DurationInput | undefined
  /** Further attempts after an error that is transient. Default 2. */
  readonly retries?: number | undefined
  /** The pauses between attempts; `Retry-After` wins if it is longer. Default from 20 ms to 250 ms. */
  readonly backoff?: Backoff.Backoff | undefined
  /**
   * A second attempt is made beside the first after this time without an answer, and the first answer counts: for calls that
   * may run twice. Default: none.
   */
  readonly hedge?: Duration.DurationInput | undefined
  readonly bulkhead?: Omit<Bulkhead.Options, "name"> | undefined
  readonly breaker?: Omit<CircuitBreaker.Options, "name" | "isFailure"> | undefined
  /** How many last answers are kept for calls that accept them. Default 1,000. */
  readonly remember?: number | undefined
  /** Spoils each attempt, to see what a bad service does to its callers. */
  readonly fault?: Fault | undefined
}

/**
 * What is wrong with each attempt of a spoilt service.
 *
 * @since 0.1.0
 * @category options
 */
export interface Fault {
  /** It takes so much longer. */
  readonly slow?: Duration.DurationInput | undefined
  /** It fails with this reason. */
  readonly fail?: string | undefined
  /** Its client blocks the thread for so long, as one that is not asynchronous does. */
  readonly block?: Duration.DurationInput | undefined
}

/**
 * The calls to one service.
 *
 * @since 0.1.0
 * @category models
 */
export interface Neighbour {
  readonly name: string
  /** Makes a call by the policy; every failure and defect is {@link Unavailable}. */
  readonly call: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, Unavailable, R>
  /**
   * {@link call}, or the last answer to the same key, with the reason why it is not a new one.
   */
  readonly callOrLast: <A, E, R>(
    key: string,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<{ readonly value: A; readonly stale: Unavailable | undefined }, Unavailable, R>
  /** The state of its circuit breaker. */
  readonly state: Effect.Effect<CircuitBreaker.State>
  /** How many calls run and wait now. */
  readonly usage: Bulkhead.Bulkhead["usage"]
}

// errors

class Late extends Data.TaggedError("Late")<{ readonly reason: string }> {}

/**
 * A service failed, or did not answer within its deadline.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unavailable extends Data.TaggedError("Unavailable")<{
  readonly name: string
  /** `"connection refused"`, `"no answer within 500 ms"`. */
  readonly reason: string
  /** The failure of the service, or the interruption of a call that timed out. */
  readonly cause: Cause.Cause<unknown>
}> {
  readonly exitCode = codes.failed
  /** Whether it did not answer within its deadline. */
  get isLate(): boolean {
    return Option.exists(Cause.failureOption(this.cause), (error) => error instanceof Late)
  }
  override get message() {
    return `${this.name} is unavailable: ${this.reason}`
  }
}

// make

class Spoilt extends Data.TaggedError("Spoilt")<{ readonly reason: string }> {
  readonly isTransient = true
}

const field = (error: unknown, name: "isTransient" | "reason" | "retryAfter"): unknown =>
  typeof error === "object" && error !== null ? (error as Record<string, unknown>)[name] : undefined

const isRefusal = (error: unknown): boolean => error instanceof CircuitBreaker.CircuitOpen

/** An attempt that the deadline of its call ended is a failure of the service; an answer that refuses the request is none. */
const isOfService =
  (late: Cancellation.Cancellation) =>
  (cause: Cause.Cause<unknown>): boolean => {
    if (Cause.isInterruptedOnly(cause)) {
      return Cancellation.fromCause(cause).some(
        ({ origin, reason }) => reason === late.reason && origin === late.origin
      )
    }
    const error = Option.getOrUndefined(Cause.failureOption(cause))
    return error === undefined || field(error, "isTransient") === true
  }

// What `Metric.timer` makes, which unites its own label with the others at each update.
const durations = Metric.histogram(
  "network_call",
  MetricBoundaries.exponential({ start: 0.5, factor: 2, count: 35 }),
  "time of the calls, by neighbour"
)
const unit = MetricLabel.make("time_unit", "milliseconds")
const calls = Metric.counter("network_calls", {
  description: "calls, by neighbour and outcome",
  incremental: true
})

type Labels = ReadonlyArray<MetricLabel.MetricLabel>
const nativeTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/** The labels with those of `Effect.tagMetrics`. */
const withOwn = (labels: Labels, fiber: Fiber.RuntimeFiber<any, any>): Labels => {
  const own = fiber.getFiberRef(FiberRef.currentMetricLabels)
  return own.length === 0 ? labels : Arr.union(labels, own)
}

/**
 * Makes the calls to one service by a policy: a deadline, within it retries and hedging, and for each attempt a place in the
 * bulkhead and the circuit breaker, so that an open one refuses the calls that wait, too. A call that is cancelled cancels its
 * attempts, with its reason. Dies with a `RangeError` when a setting is out of range.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Neighbour from "effect-asyncio/services/Neighbour"
 *
 * export const program = Effect.gen(function* () {
 *   const database = yield* Neighbour.make("database", { deadline: "300 millis", retries: 1 })
 *   return yield* database.call(Effect.succeed("a row"))
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (name: string, policy: Policy = {}): Effect.Effect<Neighbour> =>
  Effect.gen(function* () {
    checkOptions(policy, { deadline: someTime, retries: anyCount, hedge: time, remember: anyCount })
    checkOptions(policy.fault ?? {}, { slow: time, block: time })
    const { fault, hedge, remember = 1000, retries = 2 } = policy
    const limit = Duration.decode(policy.deadline ?? "1 second")
    const pause = Backoff.make({ first: 20, max: 250, ...policy.backoff })
    const bulkhead = yield* Bulkhead.make({ name, ...policy.bulkhead })
    const reason = `no answer within ${formatDuration(Duration.toMillis(limit))}`
    const late = { reason, origin: name }
    const breaker = yield* CircuitBreaker.make({ name, ...policy.breaker, isFailure: isOfService(late) })

    const spoilt = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | Spoilt, R> => {
      const { block, fail, slow } = fault ?? {}
      const failing: Effect.Effect<A, E | Spoilt, R> =
        fail === undefined ? effect : Effect.fail(new Spoilt({ reason: fail }))
      const slowed = slow === undefined ? failing : Effect.zipRight(Sleep.sleep(slow), failing)
      return block === undefined ? slowed : Effect.zipRight(Workload.block(Duration.toMillis(block)), slowed)
    }
    const retried = <A, E, R>(attempt: Effect.Effect<A, E, R>, nth = 0): Effect.Effect<A, E, R> =>
      nth >= retries
        ? attempt
        : Effect.catchAll(attempt, (error) =>
            field(error, "isTransient") !== true
              ? Effect.fail(error)
              : Effect.flatMap(pause(nth), (ms) =>
                  Effect.zipRight(
                    Sleep.sleep(Math.max(ms, Number(field(error, "retryAfter") ?? 0))),
                    // The failure says more than the breaker that it opened.
                    Effect.catchIf(retried(attempt, nth + 1), isRefusal, () => Effect.fail(error))
                  )
                )
          )
    const hedged = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      hedge === undefined ? effect : Race.first(effect, Effect.zipRight(Sleep.sleep(hedge), effect))

    const unavailable = (cause: Cause.Cause<unknown>) => {
      const said = Option.match(Cause.failureOption(cause), {
        onNone: () => Causes.headline(cause),
        onSome: (error) => field(error, "reason") ?? Causes.headline(cause)
      })
      return new Unavailable({ name, reason: String(said), cause })
    }
    const label = MetricLabel.make("neighbour", name)
    // The same arrays at each call: with `Metric.tagged` a metric is looked up by all of its labels each time.
    const tags = [unit, label]
    const succeeded = [label, MetricLabel.make("outcome", "succeeded")]
    const failed = [label, MetricLabel.make("outcome", "failed")]
    const remembered = new Map<string, unknown>()

    const call = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, Unavailable, R> => {
      const answered = retried(hedged(bulkhead.limit(breaker.protect(spoilt(effect))))).pipe(
        Deadline.timeout({ limit, late, onTimeout: () => new Late({ reason }) })
      )
      return Effect.withFiberRuntime<A, Unavailable, R>((fiber) => {
        const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
        const begun = clock.unsafeCurrentTimeNanos()
        const measured = Effect.matchCauseEffect(answered, {
          onFailure: (cause) => {
            if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
            calls.unsafeUpdate(1, withOwn(failed, fiber))
            return unavailable(cause)
          },
          onSuccess: (value) => {
            const took = Number(clock.unsafeCurrentTimeNanos() - begun) / 1e6
            durations.unsafeUpdate(took, withOwn(tags, fiber))
            calls.unsafeUpdate(1, withOwn(succeeded, fiber))
            return Effect.succeed(value)
          }
        })
        // A span costs more than the rest of a call: only where a tracer was installed.
        return Context.get(fiber.currentDefaultServices, Tracer.Tracer) === nativeTracer
          ? measured
          : Effect.withSpan(measured, `network.${name}`)
      })
    }
    return {
      name,
      call,
      callOrLast: (key, effect) =>
        call(effect).pipe(
          Effect.map((value) => {
            remembered.delete(key)
            remembered.set(key, value)
            for (const oldest of remembered.keys()) {
              if (remembered.size <= remember) break
              remembered.delete(oldest)
            }
            return { value, stale: undefined }
          }),
          Effect.catchAll((stale) =>
            remembered.has(key)
              ? Effect.succeed({ value: remembered.get(key) as Effect.Effect.Success<typeof effect>, stale })
              : stale
          )
        ),
      state: breaker.state,
      usage: bulkhead.usage
    }
  })
