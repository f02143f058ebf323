import { Cause, Data, Duration, Effect, Exit } from "effect"
import { codes } from "../host/ExitCodes.js"
import { formatDuration } from "../text/Durations.js"
import { checkOptions, count, someTime } from "../text/Numbers.js"

// model

/**
 * `closed` lets all calls through, `open` refuses all, `half-open` lets a few probes through to see whether the service
 * works again.
 *
 * @since 0.1.0
 * @category models
 */
export type State = "closed" | "open" | "half-open"

/**
 * A change of state.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transition {
  readonly name: string
  readonly from: State
  readonly to: State
}

/**
 * Settings of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The name of what is called, for messages and transitions. */
  readonly name: string
  /** So many failures open the breaker. Default 5. */
  readonly failures?: number | undefined
  /**
   * The failures that count are those within the last `window`. Default: those in a row, which a success ends.
   */
  readonly window?: Duration.DurationInput | undefined
  /** How long it stays open before the first probe. Default 10 seconds. */
  readonly reset?: Duration.DurationInput | undefined
  /** How many probes run at once when half-open; as many successes in a row close the breaker. Default 1. */
  readonly probes?: number | undefined
  /** Whether a cause counts as a failure of the service. Default: all but plain interruptions. */
  readonly isFailure?: ((cause: Cause.Cause<unknown>) => boolean) | undefined
  /** Receives each change of state, within the call that causes it. It must not fail. */
  readonly onTransition?: ((transition: Transition) => Effect.Effect<void>) | undefined
}

/**
 * A circuit breaker.
 *
 * @since 0.1.0
 * @category models
 */
export interface CircuitBreaker {
  /** Runs the effect, or fails with {@link CircuitOpen} without running it. */
  readonly protect: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
  /** The state that the next call will find. */
  readonly state: Effect.Effect<State>
}

// errors

/**
 * A call was refused because the calls before it failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class CircuitOpen extends Data.TaggedError("CircuitOpen")<{
  readonly name: string
  /** Milliseconds until the next probe; 0 while probes are running. */
  readonly retryAfter: number
}> {
  readonly exitCode = codes.failed
  /** The sentence without the name. */
  get reason() {
    const next =
      this.retryAfter > 0 ? `next probe in ${formatDuration(this.retryAfter)}` : "a probe is running"
    return `circuit breaker is open; ${next}`
  }
  override get message() {
    return `${this.name}: ${this.reason}`
  }
}

// make

/**
 * Makes a breaker that refuses calls to a service that keeps failing, so that callers fail at once and the service can
 * recover. An interrupted call counts neither as a success nor as a failure. A call that began before the last change of
 * state has no influence. Times are of the monotonic clock. Dies with a `RangeError` when a setting is out of range.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as CircuitBreaker from "effect-asyncio/services/CircuitBreaker"
 *
 * export const program = Effect.gen(function* () {
 *   const breaker = yield* CircuitBreaker.make({ name: "database", failures: 3, reset: "5 seconds" })
 *   yield* breaker.protect(Effect.log("a query"))
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<CircuitBreaker> =>
  Effect.sync(() => {
    checkOptions(options, { failures: count, window: someTime, reset: someTime, probes: count })
    const { failures = 5, isFailure = failed, name, onTransition, probes = 1 } = options
    const reset = nanos(options.reset ?? "10 seconds")
    const window = options.window === undefined ? undefined : nanos(options.window)

    let state: State = "closed"
    /** Counts the changes of state: a call that began in another generation is ignored. */
    let generation = 0
    /** Closed: the times of the last failures, the oldest first. */
    let failedAt: Array<number> = []
    let openedAt = 0
    let probing = 0
    let succeeded = 0

    const change = (to: State, now: number): Effect.Effect<void> => {
      const from = state
      state = to
      generation++
      failedAt = []
      probing = 0
      succeeded = 0
      if (to === "open") openedAt = now
      return onTransition?.({ name, from, to }) ?? Effect.void
    }

    const settle = (began: number, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
      if (began !== generation) return Effect.void
      const isOpening = Exit.isFailure(exit) && isFailure(exit.cause)
      if (state === "half-open") {
        probing--
        if (isOpening) return withNow((now) => change("open", now))
        if (Exit.isSuccess(exit) || !Cause.isInterrupted(exit.cause)) succeeded++
        return succeeded < probes ? Effect.void : change("closed", 0)
      }
      if (isOpening) {
        return withNow((now) => {
          if (began !== generation) return Effect.void
          failedAt.push(now)
          if (failedAt.length > failures) failedAt.shift()
          const isFull = failedAt.length === failures
          return isFull && (window === undefined || now - failedAt[0]! <= window)
            ? change("open", now)
            : Effect.void
        })
      }
      if (window === undefined && Exit.isSuccess(exit)) failedAt.length = 0
      return Effect.void
    }

    const run = <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      restore: <A, E, R>(e: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    ) => {
      const began = generation
      return Effect.onExit(restore(effect), (exit) => settle(began, exit))
    }

    return {
      protect: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.uninterruptibleMask((restore): Effect.Effect<A, E | CircuitOpen, R> => {
          if (state === "closed") return run(effect, restore)
          return withNow((now): Effect.Effect<A, E | CircuitOpen, R> => {
            const wait = openedAt + reset - now
            if (state === "open" && wait > 0) return new CircuitOpen({ name, retryAfter: wait / 1e6 })
            const changed = state === "open" ? change("half-open", now) : Effect.void
            if (state === "half-open" && probing + succeeded >= probes) {
              return new CircuitOpen({ name, retryAfter: 0 })
            }
            if (state === "half-open") probing++
            const began = run(effect, restore)
            return Effect.zipRight(changed, began)
          })
        }),
      state: withNow((now) =>
        Effect.succeed(state === "open" && now - openedAt >= reset ? "half-open" : state)
      )
    }
  })

const failed = (cause: Cause.Cause<unknown>): boolean => !Cause.isInterruptedOnly(cause)

const nanos = (duration: Duration.DurationInput): number => Duration.toMillis(duration) * 1e6

const withNow = <A, E, R>(body: (now: number) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) => body(Number(clock.unsafeCurrentTimeNanos())))
