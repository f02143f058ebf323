import { Cause, Effect, Exit, type Fiber, FiberId, type HashSet, Runtime } from "effect"
import { checkOptions, countOrInfinity } from "../text/Numbers.js"
import { type Cancellation, fromInterruptors, toFiberId } from "./Cancellation.js"
import { headline, parallel, raise } from "./Causes.js"
import {
  flagsOf,
  hasMessages,
  interruptChildren,
  isExit,
  isInterrupted,
  observersOf,
  refsOf,
  setFlags,
  setRefs,
  thunkOf
} from "./internal/fiberRuntime.js"

// Many tasks on few fibers. Effect spends 30 to 90 µs on each item of an unbounded `forEach`, most of it on making,
// starting and joining a fiber. Here a worker fiber runs one item after the other, and another worker is made only
// when all others wait: ready items share one fiber, and n waiting items have n. `npm run bench -- gather` measures.

/**
 * What to run and what to do with each outcome.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options<A, E, R> {
  /**
   * The next item, undefined when none is left, or {@link later}. Called once for each item, in order, as often as
   * `concurrency` allows.
   */
  readonly pull: () => Effect.Effect<A, E, R> | undefined | typeof later
  /** Receives the function to call when there may be an item again after {@link later}. */
  readonly onSleep?: ((wake: () => void) => void) | undefined
  /** Most items that run at once. */
  readonly concurrency: number
  /**
   * Takes the outcome of the item with this index (in the order of `pull`). Returning a cancellation stops the run: running
   * items are cancelled with it and awaited, and no other is started.
   */
  readonly settle: (index: number, exit: Exit.Exit<A, E>) => Cancellation | undefined
}

/**
 * `pull` returns it when no item is ready: no more workers are made until an item ends or the run is woken.
 *
 * @since 0.1.0
 * @category functions
 */
export const later: unique symbol = Symbol("later")

/** All workers together start this many items before they let timers and I/O have a turn. */
const itemsPerTurn = 2048

const attempt = <A>(compute: () => A): Exit.Exit<A> => {
  try {
    return Exit.succeed(compute())
  } catch (error) {
    return Exit.die(error)
  }
}

/**
 * Runs every item and ends when all have settled. Each item is a task of its own: its changes to FiberRefs and runtime
 * flags are invisible to the others and to the caller, fibers that it forks end with it, and its defects and interruptions
 * are its own outcome. Interrupting the caller interrupts the items, with the same reason. Dies when `pull` or `settle`
 * throws, after the items' clean-up.
 *
 * An item's fiber is its worker's. An interruption of it from outside ends the running item and then the worker, which is
 * replaced. A handle on that fiber is of use only while the item runs.
 *
 * @since 0.1.0
 * @category effects
 */
export const run = <A, E, R>(options: Options<A, E, R>): Effect.Effect<void, never, R> =>
  Effect.flatMap(Effect.runtime<R>(), (runtime) =>
    Effect.suspend(() => {
      checkOptions(options, { concurrency: countOrInfinity })
      const fork = Runtime.runFork(runtime)
      const workers = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
      let started = 0
      let live = 0 // workers that have not ended, including one that is being started
      let exhausted = false
      let asleep = false // since `pull` returned `later`
      let stopped: FiberId.FiberId | undefined
      let wake: (() => void) | undefined // called when a worker has ended
      let broken: Cause.Cause<never> = Cause.empty // errors that `pull` and `settle` threw

      let sinceTurn = 0 // items started in this turn of the event loop
      let parked: Set<() => void> | undefined
      // One wait for all workers: otherwise each would have a budget of its own.
      const giveWay = Effect.async<void>((resume) => {
        if (parked === undefined) {
          const all = new Set<() => void>()
          parked = all
          setImmediate(() => {
            parked = undefined
            sinceTurn = 0
            for (const resumed of all) resumed()
          })
        }
        const mine = parked
        const resumed = () => resume(Effect.void)
        mine.add(resumed)
        return Effect.sync(() => mine.delete(resumed))
      })

      const stop = (id: FiberId.FiberId) => {
        if (stopped !== undefined) return
        stopped = id
        for (const worker of workers) worker.unsafeInterruptAsFork(id)
      }
      const breakOff = (thrown: unknown) => {
        const cause = Cause.die(thrown)
        broken = parallel(broken, cause)
        stop(toFiberId({ reason: `a callback of the run threw: ${headline(cause)}`, origin: "WorkerFibers" }))
      }
      const settle = (index: number, exit: Exit.Exit<A, E>) => {
        try {
          const cancellation = options.settle(index, exit)
          if (cancellation !== undefined) stop(toFiberId(cancellation))
        } catch (error) {
          breakOff(error)
        }
      }
      let passedOn: Effect.Effect<A, E, R> | undefined // pulled by a worker that the pull has interrupted
      const pull = () => {
        try {
          return passedOn ?? options.pull()
        } catch (error) {
          breakOff(error)
          return undefined
        } finally {
          passedOn = undefined
        }
      }
      const mayStart = () =>
        stopped === undefined &&
        (passedOn !== undefined || !(exhausted || asleep)) &&
        live < options.concurrency
      options.onSleep?.(() => {
        if (!asleep) return
        asleep = false
        wake?.()
      })

      const start = () => {
        let index = -1 // the running item
        let ended: Exit.Exit<A, E> | undefined // its exit, while its children are awaited
        let idle = false // it has ended because there was no item
        let observers = 0 // of the worker's own fiber, without those that an item added through its handle
        // Only the items can be interrupted, not the worker's own handler, so that it sees the whole cause of each.
        const work = Effect.uninterruptibleMask((restore) =>
          Effect.withFiberRuntime<unknown, unknown, R>((fiber) => {
            const refs = refsOf(fiber)
            const flags = flagsOf(fiber)
            observers += observersOf(fiber)
            let current: Effect.Effect<unknown, E, R>
            let spent: Exit.Exit<A, E> | undefined // the last item's, if the fiber has to end with it
            const finish = (exit: Exit.Exit<A, E>) => {
              if (hasMessages(fiber) || observersOf(fiber) > observers) spent = exit
              if (refsOf(fiber) !== refs) {
                if (isInterrupted(fiber)) spent = exit
                setRefs(fiber, refs)
              }
              const settled = index
              index = -1
              ended = undefined
              settle(settled, exit)
            }
            const next = () => {
              if (ended !== undefined) return true
              setFlags(fiber, runtime.runtimeFlags)
              while (true) {
                if (spent !== undefined || stopped !== undefined) return false
                if (sinceTurn >= itemsPerTurn) {
                  current = giveWay
                  return true
                }
                if (hasMessages(fiber)) return false // interrupted by `settle`
                const item = pull()
                if (item === later) {
                  idle = asleep = true
                  return false
                }
                if (hasMessages(fiber) && item !== undefined) {
                  passedOn = item // interrupted by `pull`
                  return false
                }
                if (item === undefined) {
                  exhausted = true
                  return false
                }
                sinceTurn++
                index = started++
                // A pure computation needs no interpreter: it cannot fork or set a FiberRef.
                const compute = thunkOf(item)
                if (compute !== undefined) finish(attempt(compute))
                else if (isExit(item)) finish(item)
                else {
                  current = item
                  return true
                }
              }
            }
            // The items run bare in one loop, because a handler around each doubles the cost: the loop's step receives
            // successes, and a failure ends the loop, which is then restarted.
            const loop: Effect.Effect<unknown, unknown, R> = Effect.matchCauseEffect(
              restore(
                Effect.whileLoop({
                  while: next,
                  body: () => current,
                  step: (a) => {
                    if (ended !== undefined) return finish(ended)
                    if (index < 0) return // it was `giveWay`
                    const exit = Exit.succeed(a as A)
                    const children = interruptChildren(fiber)
                    if (children === null) return finish(exit)
                    ended = exit
                    current = Effect.uninterruptible(children)
                  }
                })
              ),
              {
                onSuccess: (): Effect.Effect<unknown, unknown> => spent ?? Effect.void,
                onFailure: (cause) => {
                  setFlags(fiber, flags)
                  if (index < 0) return Effect.void // interrupted between two items
                  const exit = ended ?? Exit.failCause(cause)
                  const children = interruptChildren(fiber)
                  const over = () => {
                    finish(exit)
                    return loop
                  }
                  return children === null ? over() : Effect.flatMap(children, over)
                }
              }
            )
            return loop
          })
        )
        live++
        const worker = fork(work)
        workers.add(worker)
        observers++
        // The fiber has run up to its first wait, or has ended. At its end an item is still running if the fiber had
        // to end with that item.
        worker.addObserver((exit) => {
          workers.delete(worker)
          live--
          if (!idle) asleep = false
          if (index >= 0) settle(index, ended ?? (exit as Exit.Exit<never, never>))
          wake?.()
        })
        if (stopped !== undefined) worker.unsafeInterruptAsFork(stopped)
      }

      const until = (holds: () => boolean) =>
        Effect.async<void>((resume) => {
          wake = () => {
            if (!holds()) return
            wake = undefined
            resume(Effect.void)
          }
          wake()
        })
      const finished = until(() => live === 0)
      const changed = until(() => live === 0 || mayStart())
      // The caller's own loop starts workers, so that it gives way to timers as well while it makes many.
      return Effect.whileLoop({
        while: () => live > 0 || mayStart(),
        body: () => {
          if (!mayStart()) return changed
          if (sinceTurn >= itemsPerTurn) return giveWay
          start()
          return Effect.void
        },
        step: () => undefined
      }).pipe(
        Effect.onInterrupt((interruptors) =>
          Effect.suspend(() => {
            stop(carrier(interruptors))
            return finished
          })
        ),
        Effect.ensuring(Effect.suspend(() => raise(broken)))
      )
    })
  )

// The id with which the caller is interrupted; of several, one that carries a reason.
const carrier = (interruptors: HashSet.HashSet<FiberId.FiberId>): FiberId.FiberId => {
  let chosen: FiberId.FiberId = FiberId.none
  for (const id of interruptors) {
    chosen = id
    if (fromInterruptors([id]).length > 0) break
  }
  return chosen
}
