import { Cause, Clock, Data, Duration, Effect, Exit } from "effect"
import { dual } from "effect/Function"
import * as Backoff from "../task/Backoff.js"
import * as Causes from "../task/Causes.js"
import * as Deadline from "../task/Deadline.js"
import * as Race from "../task/Race.js"
import * as Sleep from "../task/Sleep.js"
import { formatDuration } from "../text/Durations.js"
import { anyCount, checkOptions, countOrInfinity, time } from "../text/Numbers.js"
import { plural } from "../text/Plural.js"

/**
 * After which ends the effect runs again: all, failures only, or none.
 *
 * @since 0.1.0
 * @category models
 */
export type Restart = "always" | "on-failure" | "never"

/**
 * A check that is repeated while a run is ready.
 *
 * @since 0.1.0
 * @category models
 */
export interface Health<R = never> {
  /** Any failure counts as bad health. */
  readonly check: Effect.Effect<unknown, unknown, R>
  /** The pause before each check; default 10 seconds. */
  readonly every?: Duration.DurationInput | undefined
  /** A check that takes longer has failed; default 5 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** How many failed checks in a row end the run; default 3. */
  readonly failures?: number | undefined
}

/**
 * Settings of {@link supervise}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Policy<R = never, E = never> {
  /** Awaited before each run, the first included. Its failure ends the supervision. */
  readonly waitFor?: Effect.Effect<unknown, E, R> | undefined
  /** Default `"on-failure"`. */
  readonly restart?: Restart | undefined
  /** How many restarts there may be within {@link window}; default unlimited. */
  readonly maxRestarts?: number | undefined
  /** Default 1 minute. */
  readonly window?: Duration.DurationInput | undefined
  /** The pauses before restarts; default as in `Backoff.make`. */
  readonly backoff?: Backoff.Backoff | undefined
  /** After a run that was ready for this long, the back-off begins again; default 10 seconds. */
  readonly resetAfter?: Duration.DurationInput | undefined
  /** Runs beside each run, which is ready when this succeeds and fails when this fails. Default: ready at once. */
  readonly ready?: Effect.Effect<unknown, unknown, R> | undefined
  /** A run that is not ready within this time has failed; default 1 minute. */
  readonly readyTimeout?: Duration.DurationInput | undefined
  readonly health?: Health<R> | undefined
  /** Receives every event; the supervisor waits for its effect. */
  readonly onEvent?: ((event: Event) => Effect.Effect<void, never, R>) | undefined
}

/**
 * An event of {@link supervise}. Runs count from 1; times are milliseconds.
 *
 * @since 0.1.0
 * @category events
 */
export type Event =
  | { readonly event: "started"; readonly run: number }
  | { readonly event: "ready"; readonly run: number; readonly duration: number }
  /** A health check failed, the `failures`th in a row. */
  | { readonly event: "unhealthy"; readonly run: number; readonly failures: number; readonly reason: string }
  | {
      readonly event: "exited"
      readonly run: number
      readonly duration: number
      readonly exit: Exit.Exit<unknown, unknown>
    }
  /** The next run starts after the pause. */
  | { readonly event: "restarting"; readonly run: number; readonly delay: number }

/**
 * A run was not ready in time, or its readiness check failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotReady extends Data.TaggedError("NotReady")<{ readonly detail: string }> {
  override get message() {
    return `not ready: ${this.detail}`
  }
}

/**
 * Too many health checks in a row failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unhealthy extends Data.TaggedError("Unhealthy")<{
  readonly failures: number
  readonly detail: string
}> {
  override get message() {
    return `unhealthy: ${plural(this.failures, "check")} in a row failed, the last with: ${this.detail}`
  }
}

/**
 * The effect ended once more than `maxRestarts` allows.
 *
 * @since 0.1.0
 * @category errors
 */
export class TooManyRestarts extends Data.TaggedError("TooManyRestarts")<{
  readonly restarts: number
  readonly window: Duration.Duration
  /** How the last run ended. */
  readonly last: Exit.Exit<unknown, unknown>
}> {
  override get message() {
    const { last, restarts, window } = this
    const how = Exit.isSuccess(last) ? "it ended" : Causes.headline(last.cause)
    return restarts === 0
      ? `${how}; no restart is allowed`
      : `restarted ${plural(restarts, "time")} within ${formatDuration(Duration.toMillis(window))}, and again: ${how}`
  }
}

/**
 * Runs an effect repeatedly, by the policy, until it ends for good (as systemd and supervisord do). The pauses between runs
 * grow. A run that is not ready in time, or whose health checks fail, is interrupted, awaits its clean-up, and has failed.
 *
 * Returns the result of the last run, or fails as it did, when the policy requires no further run. Fails with
 * `TooManyRestarts` when the policy allows no further run, and as `waitFor` does. Interruption ends the run. A defect is
 * a failure like others.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Supervisor from "effect-asyncio/services/Supervisor"
 *
 * const consumer = Effect.zipRight(Effect.log("consuming"), Effect.fail("connection lost"))
 *
 * export const program = Supervisor.supervise(consumer, {
 *   restart: "always",
 *   backoff: { first: "1 second", max: "1 minute" },
 *   maxRestarts: 5,
 *   onEvent: (event) => Effect.logDebug(event.event)
 * })
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const supervise: {
  <R2 = never, E2 = never>(
    policy?: Policy<R2, E2>
  ): <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | E2 | NotReady | Unhealthy | TooManyRestarts, R | R2>
  <A, E, R, R2 = never, E2 = never>(
    effect: Effect.Effect<A, E, R>,
    policy?: Policy<R2, E2>
  ): Effect.Effect<A, E | E2 | NotReady | Unhealthy | TooManyRestarts, R | R2>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R, R2 = never, E2 = never>(
    effect: Effect.Effect<A, E, R>,
    policy: Policy<R2, E2> = {}
  ): Effect.Effect<A, E | E2 | NotReady | Unhealthy | TooManyRestarts, R | R2> =>
    Effect.gen(function* () {
      const { health, maxRestarts = Number.POSITIVE_INFINITY, ready, restart = "on-failure" } = policy
      checkOptions(policy, { maxRestarts: anyCount, window: time, resetAfter: time, readyTimeout: time })
      const pauseBefore = Backoff.make(policy.backoff)
      checkOptions(health ?? {}, { every: time, timeout: time, failures: countOrInfinity })
      const window = Duration.decode(policy.window ?? "1 minute")
      const resetAfter = Duration.toMillis(policy.resetAfter ?? "10 seconds")
      const emit = policy.onEvent ?? (() => Effect.void)
      const now = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

      /** Fails with the reason to end the run; never succeeds. */
      const watch = (run: number, begun: number, readyAt: (at: number) => void) =>
        Effect.gen(function* () {
          if (ready !== undefined) {
            const readyTimeout = Duration.decode(policy.readyTimeout ?? "1 minute")
            const detail = `not within ${formatDuration(Duration.toMillis(readyTimeout))}`
            yield* Effect.catchAllCause(ready, (cause) =>
              Cause.isInterruptedOnly(cause)
                ? Effect.interrupt
                : Effect.fail(new NotReady({ detail: Causes.headline(cause) }))
            ).pipe(
              Deadline.timeout({
                limit: readyTimeout,
                late: { reason: detail, origin: "ready" },
                onTimeout: () => new NotReady({ detail })
              })
            )
          }
          const at = yield* now
          readyAt(at)
          yield* emit({ event: "ready", run, duration: at - begun })
          if (health === undefined) return yield* Effect.never
          const { check, every = "10 seconds", failures: most = 3 } = health
          const timeout = Duration.decode(health.timeout ?? "5 seconds")
          const late = `no answer within ${formatDuration(Duration.toMillis(timeout))}`
          for (let failures = 0; ; ) {
            yield* Sleep.sleep(every)
            const detail = yield* Effect.matchCause(check, {
              onSuccess: () => undefined,
              onFailure: Causes.headline
            }).pipe(
              Deadline.timeout({
                limit: timeout,
                late: { reason: late, origin: "health" },
                onTimeout: () => late
              }),
              Effect.merge
            )
            if (detail === undefined) {
              failures = 0
              continue
            }
            yield* emit({ event: "unhealthy", run, failures: ++failures, reason: detail })
            if (failures >= most) return yield* new Unhealthy({ failures, detail })
          }
        })

      const restarts: Array<number> = []
      let inARow = 0
      for (let run = 1; ; run++) {
        if (policy.waitFor !== undefined) yield* policy.waitFor
        yield* emit({ event: "started", run })
        const begun = yield* now
        let readyAt: number | undefined
        const exit = yield* Effect.exit(
          Race.first(
            effect,
            watch(run, begun, (at) => {
              readyAt = at
            })
          )
        )
        const ended = yield* now
        yield* emit({ event: "exited", run, duration: ended - begun, exit })
        if (restart === "never" || (restart === "on-failure" && Exit.isSuccess(exit))) return yield* exit
        while (restarts.length > 0 && restarts[0]! <= ended - Duration.toMillis(window)) restarts.shift()
        if (restarts.length >= maxRestarts) {
          return yield* new TooManyRestarts({ restarts: restarts.length, window, last: exit })
        }
        if (readyAt !== undefined && ended - readyAt >= resetAfter) inARow = 0
        const delay = yield* pauseBefore(inARow++)
        restarts.push(ended)
        yield* emit({ event: "restarting", run: run + 1, delay })
        yield* Sleep.sleep(delay)
      }
    })
)
