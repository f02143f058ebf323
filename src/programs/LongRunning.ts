import { Cause, Duration, Effect, Exit, Option, Random, Scope } from "effect"
import { dual } from "effect/Function"
import * as Output from "../services/host/Output.js"
import * as Sleep from "../services/task/Sleep.js"
import * as TaskGroup from "../services/task/TaskGroup.js"
import { formatDuration } from "../services/text/Durations.js"
import { anyTime, checkedDuration } from "../services/text/Numbers.js"

/**
 * Pauses and runs the effect, repeatedly, until it is interrupted or a round fails: a task that never ends by itself
 * (asyncio: `while True` around `sleep`).
 *
 * @param effect the work of a round, or a function from the pause before it.
 * @param pause the time before each round, or an effect that draws it for each round. A pause of zero still takes a turn, so
 * that other fibers run.
 *
 * @example
 * ```ts
 * import { Duration, Effect, Random } from "effect"
 * import * as LongRunning from "effect-asyncio/programs/LongRunning"
 *
 * const pause = Effect.map(Random.nextIntBetween(1, 10), Duration.seconds)
 *
 * export const heartbeat = LongRunning.forever(Effect.log("still here"), pause)
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const forever: {
  <E2 = never, R2 = never>(
    pause: Duration.DurationInput | Effect.Effect<Duration.DurationInput, E2, R2>
  ): <A, E, R>(
    effect: Effect.Effect<A, E, R> | ((pause: Duration.Duration) => Effect.Effect<A, E, R>)
  ) => Effect.Effect<never, E | E2, R | R2>
  <A, E, R, E2 = never, R2 = never>(
    effect: Effect.Effect<A, E, R> | ((pause: Duration.Duration) => Effect.Effect<A, E, R>),
    pause: Duration.DurationInput | Effect.Effect<Duration.DurationInput, E2, R2>
  ): Effect.Effect<never, E | E2, R | R2>
} = dual(
  2,
  <A, E, R, E2 = never, R2 = never>(
    effect: Effect.Effect<A, E, R> | ((pause: Duration.Duration) => Effect.Effect<A, E, R>),
    pause: Duration.DurationInput | Effect.Effect<Duration.DurationInput, E2, R2>
  ): Effect.Effect<never, E | E2, R | R2> => {
    const draw: Effect.Effect<Duration.DurationInput, E2, R2> = Effect.isEffect(pause)
      ? pause
      : Effect.succeed(pause)
    return Effect.forever(
      Effect.flatMap(draw, (drawn) => {
        const pause = checkedDuration("pause", drawn, anyTime)
        return Effect.zipRight(Sleep.sleep(pause), Effect.isEffect(effect) ? effect : effect(pause))
      })
    )
  }
)

/**
 * Settings of {@link cancelAfter}.
 *
 * @since 0.1.0
 * @category options
 */
export interface CancelAfterOptions<R = never> {
  /** Names the task; default `"task"`. */
  readonly name?: string | undefined
  /** Runs after the task was started and before its first step. */
  readonly onStart?: Effect.Effect<void, never, R> | undefined
  /** Runs when the time is up, before the task is cancelled. */
  readonly onDue?: Effect.Effect<void, never, R> | undefined
}

/**
 * Runs the effect as a task for at most this long, then cancels it and waits for its clean-up (asyncio: `create_task`,
 * `sleep`, `Task.cancel`). Returns its result when it ends in time, and `Option.none` when it was cancelled. Fails as the
 * task fails. A task that ends exactly at the deadline counts as in time if it requested that moment before the deadline did.
 * Resources that it acquires in the scope of the caller stay open until that scope closes.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as LongRunning from "effect-asyncio/programs/LongRunning"
 *
 * const beat = LongRunning.forever(Effect.log("still here"), "1 second")
 *
 * export const program = LongRunning.cancelAfter(beat, "1 hour", { name: "heartbeat" })
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const cancelAfter: {
  <R2 = never>(
    duration: Duration.DurationInput,
    options?: CancelAfterOptions<R2>
  ): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<Option.Option<A>, E, R | R2>
  <A, E, R, R2 = never>(
    effect: Effect.Effect<A, E, R>,
    duration: Duration.DurationInput,
    options?: CancelAfterOptions<R2>
  ): Effect.Effect<Option.Option<A>, E, R | R2>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R, R2 = never>(
    effect: Effect.Effect<A, E, R>,
    duration: Duration.DurationInput,
    options: CancelAfterOptions<R2> = {}
  ): Effect.Effect<Option.Option<A>, E, R | R2> => {
    const { name = "task", onDue = Effect.void, onStart = Effect.void } = options
    // A scope for the group alone: resources that the effect acquires in the scope of the caller outlive it.
    const use = (scope: Scope.Scope) =>
      Effect.gen(function* () {
        const group = yield* Scope.extend(
          TaskGroup.make({ name: "cancelAfter", onFailure: "collect" }),
          scope
        )
        const task = yield* group.start(name, effect)
        yield* onStart
        const due = yield* Effect.raceFirst(
          Effect.as(task.await, false),
          Effect.as(Sleep.sleep(duration), true)
        )
        if (due) {
          yield* onDue
          yield* task.cancel(`its run time of ${formatDuration(Duration.toMillis(duration))} is over`)
        }
        const exit = yield* task.await
        if (Exit.isSuccess(exit)) return Option.some(exit.value)
        return Cause.isInterruptedOnly(exit.cause) ? Option.none() : yield* Effect.failCause(exit.cause)
      })
    return Effect.acquireUseRelease(Scope.make(), use, Scope.close).pipe(
      Effect.withSpan("LongRunning.cancelAfter", { captureStackTrace: false })
    )
  }
)

/**
 * Settings of {@link example}.
 *
 * @since 0.1.0
 * @category options
 */
export interface ExampleOptions {
  /** The same seed draws the same pauses. Default: random. */
  readonly seed?: number | undefined
}

// #region example
/**
 * The guide's Long running tasks: prints `Hello N` after a random pause of N seconds (0 to 3), repeatedly, until the task
 * is cancelled after ten seconds.
 *
 * @since 0.1.0
 * @category examples
 */
export const example = ({ seed }: ExampleOptions = {}): Effect.Effect<void, never, Output.Output> => {
  const seconds = Effect.map(Random.nextIntBetween(0, 4), Duration.seconds)
  const helloMany = forever((pause) => Output.print(`Hello ${Duration.toSeconds(pause)}`), seconds)
  const program = cancelAfter(helloMany, "10 seconds", {
    name: "hello_many",
    onStart: Output.print("task running now..."),
    onDue: Output.print("we waited 10 seconds")
  }).pipe(Effect.zipRight(Output.print("task cancelled")))
  return seed === undefined ? program : Effect.withRandom(program, Random.make(seed))
}
// #endregion
