import { Cause, Clock, Data, Duration, Effect, Exit, Random } from "effect"
import * as Causes from "../task/Causes.js"
import * as Race from "../task/Race.js"
import * as Sleep from "../task/Sleep.js"
import { anyCount, checkOptions, countOrInfinity, type Range, time } from "../text/Numbers.js"
import { formatGiven, plural } from "../text/Units.js"

/** Which ends are followed by another run: every one, failures only, or none. */
export type Restart = "always" | "on-failure" | "never"

/** The pause before a restart: `first · factor^n` for the nth in a row, spread by `jitter`, and `max` at most. */
export interface Backoff {
  /** Default 500 milliseconds. */
  readonly first?: Duration.DurationInput | undefined
  /** Default 2. */
  readonly factor?: number | undefined
  /** Default 30 seconds. */
  readonly max?: Duration.DurationInput | undefined
  /** The part of the pause that is drawn at random, 0 to 1: 0.2 makes 1 s anything from 0.8 s to 1.2 s. Default 0.2. */
  readonly jitter?: number | undefined
}

/** A question that is asked again and again while a run is ready. */
export interface Health<R = never> {
  /** Its failure, whatever it is, is a sign of bad health. */
  readonly check: Effect.Effect<unknown, unknown, R>
  /** The pause before each; default 10 seconds. */
  readonly every?: Duration.DurationInput | undefined
  /** What takes longer has failed; default 5 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** How many in a row end the run; default 3. */
  readonly failures?: number | undefined
}

/** Settings of {@link supervise}. */
export interface Policy<R = never, E = never> {
  /** Is awaited before each run, the first included: for what the run needs. Its failure ends the supervision. */
  readonly waitFor?: Effect.Effect<unknown, E, R> | undefined
  /** Default `"on-failure"`. */
  readonly restart?: Restart | undefined
  /** How many restarts there may be within {@link window}; default unlimited. */
  readonly maxRestarts?: number | undefined
  /** Default 1 minute. */
  readonly window?: Duration.DurationInput | undefined
  readonly backoff?: Backoff | undefined
  /** Who has been ready for so long starts the back-off anew; default 10 seconds. */
  readonly resetAfter?: Duration.DurationInput | undefined
  /** Is run beside each run; the run is ready when it succeeds, and has failed when it fails. Default: ready at once. */
  readonly ready?: Effect.Effect<unknown, unknown, R> | undefined
  /** How long it may take to be ready; default 1 minute. */
  readonly readyTimeout?: Duration.DurationInput | undefined
  readonly health?: Health<R> | undefined
  /** Is told what happens; the supervisor goes on when it has taken it. */
  readonly onEvent?: ((event: Event) => Effect.Effect<void, never, R>) | undefined
}

/** What happens in {@link supervise}. Runs count from 1; times are milliseconds. */
export type Event =
  | { readonly event: "started"; readonly run: number }
  | { readonly event: "ready"; readonly run: number; readonly after: number }
  /** A health check failed, the `failures`th in a row. */
  | { readonly event: "unhealthy"; readonly run: number; readonly failures: number; readonly detail: string }
  | {
      readonly event: "ended"
      readonly run: number
      readonly runtime: number
      readonly exit: Exit.Exit<unknown, unknown>
    }
  /** The next run comes after the pause. */
  | { readonly event: "restarting"; readonly run: number; readonly pause: number }

/** It was not ready in time, or what asks whether it is has failed. */
export class NotReady extends Data.TaggedError("NotReady")<{ readonly detail: string }> {
  override get message() {
    return `not ready: ${this.detail}`
  }
}

/** So many health checks in a row have failed. */
export class Unhealthy extends Data.TaggedError("Unhealthy")<{
  readonly failures: number
  readonly detail: string
}> {
  override get message() {
    return `unhealthy: ${plural(this.failures, "check")} in a row failed, the last with: ${this.detail}`
  }
}

/** It ended more often than it may be restarted. */
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
      ? `${how}; it may not be restarted`
      : `restarted ${plural(restarts, "time")} within ${formatGiven(window)}, and again: ${how}`
  }
}

const positive: Range = { least: 0, above: true, whole: false }
const share: Range = { least: 0, most: 1, whole: false }

/**
 * Runs an effect again and again, as the policy says, until it ends for good (the tools: systemd, supervisord). Between
 * runs it waits, longer each time; a run that is not ready in time, or whose health checks fail, is ended first, with
 * its clean-up, and has failed.
 *
 * Gives the result of the last run, or fails as it did, where the policy wants no more; fails with `TooManyRestarts`
 * where it allows no more, and as `waitFor` does. Interrupted, it ends the run. A defect is a failure like others.
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
 */
export const supervise = <A, E, R, R2 = never, E2 = never>(
  effect: Effect.Effect<A, E, R>,
  policy: Policy<R2, E2> = {}
): Effect.Effect<A, E | E2 | NotReady | Unhealthy | TooManyRestarts, R | R2> =>
  Effect.gen(function* () {
    const {
      backoff = {},
      health,
      maxRestarts = Number.POSITIVE_INFINITY,
      ready,
      restart = "on-failure"
    } = policy
    checkOptions(policy, { maxRestarts: anyCount, window: time, resetAfter: time, readyTimeout: time })
    checkOptions(backoff, { first: time, factor: positive, max: time, jitter: share })
    checkOptions(health ?? {}, { every: time, timeout: time, failures: countOrInfinity })
    const { factor = 2, jitter = 0.2 } = backoff
    const first = Duration.toMillis(backoff.first ?? "500 millis")
    const max = Duration.toMillis(backoff.max ?? "30 seconds")
    const window = Duration.decode(policy.window ?? "1 minute")
    const resetAfter = Duration.toMillis(policy.resetAfter ?? "10 seconds")
    const emit = policy.onEvent ?? (() => Effect.void)
    const now = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

    /** Ends with what ends the run; never succeeds. */
    const watch = (run: number, begun: number, readyAt: (at: number) => void) =>
      Effect.gen(function* () {
        if (ready !== undefined) {
          const readyTimeout = Duration.decode(policy.readyTimeout ?? "1 minute")
          const late = new NotReady({
            detail: `not within ${formatGiven(readyTimeout)}`
          })
          yield* Race.first(
            Effect.catchAllCause(ready, (cause) =>
              Cause.isInterruptedOnly(cause)
                ? Effect.interrupt
                : Effect.fail(new NotReady({ detail: Causes.headline(cause) }))
            ),
            Effect.zipRight(Sleep.sleep(readyTimeout), Effect.fail(late))
          )
        }
        const at = yield* now
        readyAt(at)
        yield* emit({ event: "ready", run, after: at - begun })
        if (health === undefined) return yield* Effect.never
        const { check, every = "10 seconds", failures: most = 3 } = health
        const timeout = Duration.decode(health.timeout ?? "5 seconds")
        const late = `no answer within ${formatGiven(timeout)}`
        for (let failures = 0; ; ) {
          yield* Sleep.sleep(every)
          const detail = yield* Race.first(
            Effect.matchCause(check, { onSuccess: () => undefined, onFailure: Causes.headline }),
            Effect.as(Sleep.sleep(timeout), late)
          )
          if (detail === undefined) {
            failures = 0
            continue
          }
          yield* emit({ event: "unhealthy", run, failures: ++failures, detail })
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
      yield* emit({ event: "ended", run, runtime: ended - begun, exit })
      if (restart === "never" || (restart === "on-failure" && Exit.isSuccess(exit))) return yield* exit
      while (restarts.length > 0 && restarts[0]! <= ended - Duration.toMillis(window)) restarts.shift()
      if (restarts.length >= maxRestarts) {
        return yield* new TooManyRestarts({ restarts: restarts.length, window, last: exit })
      }
      if (readyAt !== undefined && ended - readyAt >= resetAfter) inARow = 0
      const spread = 1 + jitter * (2 * (yield* Random.next) - 1)
      // Bounded before, because what has grown to Infinity times a spread of 0 is NaN; and after, so that `max` holds.
      const pause = Math.min(max, Math.min(max, first * factor ** inARow++) * spread)
      restarts.push(ended)
      yield* emit({ event: "restarting", run: run + 1, pause })
      yield* Sleep.sleep(pause)
    }
  })
