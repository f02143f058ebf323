import { Cause, Data, Duration, Effect, Exit, Fiber, FiberId, FiberRef, Layer } from "effect"
import { dual } from "effect/Function"
import * as Cancellation from "../task/Cancellation.js"
import * as EventLoop from "../task/EventLoop.js"
import { watchForever } from "../task/internal/fiberRuntime.js"
import type { Waiting } from "../task/internal/waiting.js"
import * as Fibers from "../task/internal/waiting.js"
import { anyNumber, checkedDuration, checkOptions } from "../text/Numbers.js"
import * as VirtualTime from "./internal/virtualTime.js"

// model

/**
 * Settings of a virtual clock.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Its first time, in milliseconds since the epoch. Default 0. */
  readonly start?: number | undefined
  /**
   * How long, in real time, open sockets, workers and real timers hold the clock without activity; after that they count
   * as idle, like a kept-alive connection. A deadlock is reported after the same time, or after 20 times that (at least
   * 100 ms) if timers or channels were open before (a test runner's). Default 100 ms.
   */
  readonly patience?: Duration.DurationInput | undefined
}

export type { Waiting } from "../task/internal/waiting.js"

// errors

/**
 * All fibers wait, no deadline is left and no real work is active: a defect of the program.
 *
 * @since 0.1.0
 * @category errors
 */
export class Deadlock extends Data.TaggedError("Deadlock")<{
  readonly fibers: ReadonlyArray<Waiting>
  /** The time of the deadlock, in milliseconds of the clock. */
  readonly time: number
}> {
  override get message() {
    const { length } = this.fibers
    const lines = this.fibers.map((one) => `\n  ${Fibers.named(one)} waits ${one.waits}`)
    return `nothing can happen any more: ${length === 1 ? "the only fiber waits" : `all ${length} fibers wait`}${lines.join("")}`
  }
}

// make

const make = (options: Options = {}) =>
  Effect.gen(function* () {
    // Lets timers of the surroundings start first, such as the one that keeps a runtime alive: they are not the program's.
    yield* EventLoop.nextTurn
    const scheduler = new VirtualTime.CountingScheduler(yield* FiberRef.get(FiberRef.currentScheduler))
    checkOptions(options, { start: anyNumber })
    const patience = Duration.toMillis(checkedDuration("patience", options.patience ?? "100 millis"))
    const surroundings = new VirtualTime.Surroundings(patience, scheduler)
    return { clock: new VirtualTime.Virtual(options.start ?? 0, surroundings, scheduler), scheduler }
  })

const cancellation = () =>
  Cancellation.toFiberId({ reason: "nothing can happen any more", origin: "VirtualClock" })

/**
 * Runs the effect in virtual time: whenever all its fibers wait, the clock jumps to the next deadline. {@link layer}
 * lists what holds it. Fibers that the effect forks end with it. When no fiber is ready, no deadline is left and no real
 * work is active, the fibers are interrupted, and this dies with {@link Deadlock}.
 *
 * @example
 * ```ts
 * import { Clock, Effect } from "effect"
 * import * as VirtualClock from "effect-asyncio/services/VirtualClock"
 *
 * // 86400000, at once
 * export const program = Clock.currentTimeMillis.pipe(Effect.delay("1 day"), VirtualClock.run())
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const run: {
  (options?: Options): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(effect: Effect.Effect<A, E, R>, options?: Options): Effect.Effect<A, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(effect: Effect.Effect<A, E, R>, options?: Options): Effect.Effect<A, E, R> =>
    Effect.flatMap(make(options), ({ clock, scheduler }) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const close = watchForever()
          // In a fiber of its own, so that a deadlock is reported even if that fiber cannot be interrupted.
          const fiber = yield* restore(effect).pipe(
            Effect.withClock(clock),
            Effect.withScheduler(scheduler),
            Effect.forkDaemon
          )
          let deadlock: Deadlock | undefined
          const ended = Effect.async<Exit.Exit<A, E> | undefined>((resume) => {
            fiber.addObserver((exit) => resume(Effect.succeed(exit)))
            clock.watchOver((waiting) => {
              if (deadlock !== undefined) return resume(Effect.succeed(undefined))
              deadlock = new Deadlock({ fibers: waiting, time: clock.unsafeCurrentTimeMillis() })
              fiber.unsafeInterruptAsFork(cancellation())
            })
          })
          const exit = yield* restore(ended).pipe(
            Effect.onInterrupt((by) => Fiber.interruptAs(fiber, FiberId.combineAll(by))),
            Effect.ensuring(
              Effect.sync(() => {
                clock.close()
                close()
              })
            )
          )
          if (deadlock !== undefined) return yield* Effect.failCause(alongside(deadlock, exit))
          yield* Fiber.inheritAll(fiber)
          return yield* exit!
        })
      )
    )
)

// Failures of the clean-up are added to the cause.
const alongside = <A, E>(deadlock: Deadlock, exit: Exit.Exit<A, E> | undefined): Cause.Cause<E> => {
  const own = exit !== undefined && Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)
  return own ? Cause.sequential(Cause.die(deadlock), exit.cause) : Cause.die(deadlock)
}

// layers

/**
 * {@link layer} with settings.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (options: Options): Layer.Layer<never> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const { clock, scheduler } = yield* make(options)
      const close = watchForever()
      let deadlock: Deadlock | undefined
      yield* Effect.addFinalizer(() =>
        Effect.suspend(() => {
          clock.close()
          close()
          return deadlock === undefined ? Effect.void : Effect.die(deadlock)
        })
      )
      clock.watchOver((waiting, fibers) => {
        // A runtime that has not run any effect yet has no fibers.
        if (fibers.length === 0) return
        if (deadlock !== undefined) return process.emitWarning(deadlock)
        deadlock = new Deadlock({ fibers: waiting, time: clock.unsafeCurrentTimeMillis() })
        for (const fiber of Fibers.roots(fibers)) fiber.unsafeInterruptAsFork(cancellation())
      })
      yield* Effect.withClockScoped(clock)
      yield* Effect.locallyScoped(FiberRef.currentScheduler, scheduler)
    })
  )

/**
 * A clock that advances by itself (trio's autojump): its time stands still while a fiber runs, and jumps to the next
 * deadline when every fiber waits. Equal deadlines wake in order of request, one after the other. It starts at the epoch.
 * A sleep of zero is a turn that takes no time, but after a hundred in a row each takes 1 ms.
 *
 * Real work holds it: system requests (files, names, connecting, writing) and child processes until they are done; open
 * sockets, workers and real timers until {@link Options.patience} has passed without activity. So a server that takes
 * longer than that answers late in virtual time, and so does a promise without an open handle. Handles that were open
 * before the clock was made do not hold it, nor do listening servers and `Effect.never`.
 *
 * In a deadlock the fibers that sleep on this clock are interrupted, and the layer's scope dies with {@link Deadlock}.
 *
 * Provide it to a layer that uses time (`Timers.layer`) with `Layer.provideMerge`; merging the two does not.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as VirtualClock from "effect-asyncio/services/VirtualClock"
 *
 * export const program = Effect.sleep("30 days").pipe(Effect.provide(VirtualClock.layer))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<never> = layerWith({})
