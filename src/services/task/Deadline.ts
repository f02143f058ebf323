import {
  Cause,
  Clock,
  Context,
  DefaultServices,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberId,
  FiberRef,
  Option
} from "effect"
import { dual } from "effect/Function"
import { checkedDuration } from "../text/Numbers.js"
import * as Cancellation from "./Cancellation.js"
import * as Causes from "./Causes.js"
import { type AnyFiber, childrenOf, interruptChildren } from "./internal/fiberRuntime.js"
import * as Sleep from "./Sleep.js"

/**
 * Settings of {@link timeout}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options<E> {
  /** How long the effect may run; it may be longer than 2^31-1 ms. */
  readonly limit: Duration.DurationInput
  /** The reason for which a late effect is cancelled. */
  readonly late: Cancellation.Cancellation
  /** Makes the error that a late effect fails with. */
  readonly onTimeout: () => E
}

/**
 * Limits the time of the effect. A late one is cancelled with a reason and fails when its clean-up is done; defects of the
 * clean-up are in the cause as well. An effect that ends exactly at the limit has made it, on every clock. The reason of
 * its own cancellation is passed on.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Deadline from "effect-asyncio/services/Deadline"
 *
 * export const answered = Deadline.timeout(Effect.never, {
 *   limit: "5 seconds",
 *   late: { reason: "no answer within 5s", origin: "example" },
 *   onTimeout: () => new Error("no answer within 5s")
 * })
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const timeout: {
  <E2>(options: Options<E2>): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | E2, R>
  <A, E, R, E2>(effect: Effect.Effect<A, E, R>, options: Options<E2>): Effect.Effect<A, E | E2, R>
} = dual(2, <A, E, R, E2>(effect: Effect.Effect<A, E, R>, options: Options<E2>) =>
  Effect.suspend(() => {
    const limit = checkedDuration("limit", options.limit)
    return Duration.isFinite(limit) ? limited(effect, limit, options) : effect
  })
)

/** The longest delay of `setTimeout`. */
const longest = 2 ** 31 - 1

const limited = <A, E, R, E2>(
  effect: Effect.Effect<A, E, R>,
  limit: Duration.Duration,
  options: Options<E2>
): Effect.Effect<A, E | E2, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiberRuntime<A, E | E2, R>((fiber) => {
      const isLive =
        Context.get(fiber.currentDefaultServices, Clock.Clock) ===
        Context.get(DefaultServices.liveServices, Clock.Clock)
      const why = { ...options.late } // its identity tells this limit from others with the same reason
      const body = restore(effect)
      // An interruption reaches all children of a fiber: those of the caller would be cancelled with the body.
      const [child] = childrenOf(fiber)
      return isLive && child === undefined
        ? inPlace(fiber, body, Duration.toMillis(limit), why, options)
        : forked(body, limit, why, isLive, restore, options)
    })
  )

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const late = <E, E2>(cause: Cause.Cause<E>, { onTimeout }: Options<E2>): Effect.Effect<never, E | E2> => {
  const broken = Option.getOrElse(Cause.keepDefects(cause), () => Cause.empty)
  return Effect.failCause(Causes.sequential<E | E2>(Cause.fail(onTimeout()), broken))
}

/**
 * Runs the body in the fiber of the caller, which costs a fraction of a fiber of its own: the limit interrupts the caller, and
 * that interruption ends here. The children of the body end with it.
 */
const inPlace = <A, E, R, E2>(
  fiber: AnyFiber,
  body: Effect.Effect<A, E, R>,
  limit: number,
  why: Cancellation.Cancellation,
  options: Options<E2>
): Effect.Effect<A, E | E2, R> => {
  let isOver = false
  const stop = setTimer(limit, () => {
    isOver = true
    fiber.unsafeInterruptAsFork(Cancellation.toFiberId(why))
  })
  const settle = (exit: Exit.Exit<A, E>): Effect.Effect<A, E | E2> => {
    if (!isOver) return exit
    return Effect.flatMap(FiberRef.get(FiberRef.interruptedCause), (interrupted) => {
      const others = without(interrupted, why)
      return Effect.zipRight(
        FiberRef.set(FiberRef.interruptedCause, others),
        Exit.isSuccess(exit)
          ? exit
          : Cause.isEmpty(others)
            ? Cancellation.fromCause(exit.cause).includes(why)
              ? late(exit.cause, options)
              : exit
            : Effect.failCause(Causes.sequential(others, Causes.failures(exit.cause)))
      )
    })
  }
  const ended = (exit: Exit.Exit<A, E>): Effect.Effect<A, E | E2> => {
    stop()
    const children = interruptChildren(fiber)
    return children === null ? settle(exit) : Effect.flatMap(children, () => settle(exit))
  }
  return Effect.matchCauseEffect(body, {
    onFailure: (cause) => ended(Exit.failCause(cause)),
    onSuccess: (value) => ended(Exit.succeed(value))
  })
}

/** The interruptions of a fiber without those of this limit. */
const without = (cause: Cause.Cause<never>, why: Cancellation.Cancellation): Cause.Cause<never> =>
  Cause.reduce(cause, Cause.empty as Cause.Cause<never>, (others, one) =>
    Cause.isInterruptType(one) && !Cancellation.fromCause(one).includes(why)
      ? Option.some(Causes.parallel(others, one))
      : Option.none()
  )

/** Runs the body in a fiber of its own, on any clock. */
const forked = <A, E, R, E2>(
  body: Effect.Effect<A, E, R>,
  limit: Duration.Duration,
  why: Cancellation.Cancellation,
  isLive: boolean,
  restore: Restore,
  options: Options<E2>
): Effect.Effect<A, E | E2, R> => {
  let running: Fiber.RuntimeFiber<A, E> | undefined
  const interrupt = () => running!.unsafeInterruptAsFork(Cancellation.toFiberId(why))
  // A fiber that sleeps costs more than most bodies, so on the live clock a timer is set instead.
  const begun = isLive
    ? Effect.map(Effect.fork(body), (fiber): Effect.Effect<unknown> => {
        running = fiber
        return Effect.sync(setTimer(Duration.toMillis(limit), interrupt))
      })
    : Effect.flatMap(watch(limit, interrupt), (watchdog) =>
        Effect.map(Effect.fork(body), (fiber): Effect.Effect<unknown> => {
          running = fiber
          return Fiber.interrupt(watchdog)
        })
      )
  return Effect.flatMap(begun, (stop) =>
    Effect.flatMap(awaited(running!, restore, stop), (exit) =>
      Exit.isSuccess(exit) || !Cancellation.fromCause(exit.cause).includes(why)
        ? exit
        : late(exit.cause, options)
    )
  )
}

/** The exit of the fiber, which has been joined; an interruption is passed on to it, with what its clean-up raises. */
const awaited = <A, E>(
  running: Fiber.RuntimeFiber<A, E>,
  restore: Restore,
  stop: Effect.Effect<unknown>
): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.matchCauseEffect(restore(Fiber.await(running)), {
    onFailure: (cause) =>
      Fiber.interruptAs(running, FiberId.combineAll(Cause.interruptors(cause))).pipe(
        Effect.zipLeft(stop),
        Effect.flatMap((exit) => Effect.failCause(Causes.sequential(cause, Causes.failuresOf(exit) as never)))
      ),
    onSuccess: (exit) => Effect.as(Effect.zipRight(stop, Fiber.inheritAll(running)), exit)
  })

/** Calls the function after the limit, unless the function that it returns is called before. */
const setTimer = (limit: number, onLimit: () => void): (() => void) => {
  let timer: NodeJS.Timeout
  const wait = (left: number) => {
    // The timers of the body that are due now come first.
    timer =
      left > longest
        ? setTimeout(wait, longest, left - longest)
        : setTimeout(() => (timer = setTimeout(onLimit)), left)
  }
  wait(limit)
  return () => clearTimeout(timer)
}

// Among equal deadlines the body's comes first: a turn of the clock follows those that wake in order of request, and
// Effect's TestClock, which wakes the latest request first, has this one before the body's.
const watch = (limit: Duration.Duration, onLimit: () => void) =>
  Sleep.sleep(limit).pipe(
    Effect.zipRight(Sleep.sleep(0)),
    Effect.zipRight(Effect.sync(onLimit)),
    Effect.interruptible,
    Effect.fork
  )
