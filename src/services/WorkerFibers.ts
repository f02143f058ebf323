import { Cause, Effect, Exit, type Fiber, FiberId, type HashSet, Runtime } from "effect"
import { type Cancellation, fromInterruptors, toFiberId } from "./Cancellation.js"
import { headline } from "./Causes.js"
import type { Internals } from "./internal/fibers.js"

// Many tasks on few fibers. Effect spends 30 to 90 µs on each item of an unbounded `forEach`, most of it on making,
// starting and joining a fiber. Here a worker fiber runs one item after the other, and another worker is made only
// when all others wait: ready items share one fiber, and n waiting items have n. `npm run bench -- gather` measures.

/** What to run and what to do with each outcome. */
export interface Options<A, E, R> {
  /** The next item, or undefined when there is none left. Called once for each item, in order. */
  readonly pull: () => Effect.Effect<A, E, R> | undefined
  /** How many items may be under way at once. */
  readonly concurrency: number
  /**
   * Takes the outcome of the item with this index (in the order of `pull`). A cancellation in return stops the run:
   * what is under way is cancelled with it, clean-up is waited for, and nothing else is started.
   */
  readonly settle: (index: number, exit: Exit.Exit<A, E>) => Cancellation | undefined
}

/** All workers together start this many items before they let timers and I/O have a turn. */
const itemsPerTurn = 2048

/** `Effect.sync`, as Effect keeps it. */
interface Sync<A> {
  readonly _op: string
  readonly effect_instruction_i0: () => A
}

const attempt = <A>(compute: () => A): Exit.Exit<A> => {
  try {
    return Exit.succeed(compute())
  } catch (error) {
    return Exit.die(error)
  }
}

/**
 * Runs every item and ends when all have settled. Each item is a task of its own: what it sets in a FiberRef is
 * unseen by the others and by the caller, what it forks ends with it, its defects and interruptions are its own
 * outcome. When the caller is interrupted so are the items, with the same reason. Dies when `pull` or `settle` throw,
 * after the items' clean-up.
 */
export const run = <A, E, R>(options: Options<A, E, R>): Effect.Effect<void, never, R> =>
  Effect.flatMap(Effect.runtime<R>(), (runtime) =>
    Effect.suspend(() => {
      const fork = Runtime.runFork(runtime)
      const workers = new Set<Fiber.RuntimeFiber<void>>()
      let started = 0
      let live = 0 // workers that have not ended, one that is just being started included
      let exhausted = false
      let stopped: FiberId.FiberId | undefined
      let whenDone: (() => void) | undefined
      let broken: Cause.Cause<never> | undefined // what `pull` and `settle` have thrown

      let sinceTurn = 0 // items started in this turn of the event loop
      let parked: Set<() => void> | undefined
      // One wait for all: if each waited for itself, each would have a budget of its own.
      const giveWay = Effect.async<void>((resume) => {
        if (parked === undefined) {
          const all = new Set<() => void>()
          parked = all
          setImmediate(() => {
            parked = undefined
            sinceTurn = 0
            for (const wake of all) wake()
          })
        }
        const mine = parked
        const wake = () => resume(Effect.void)
        mine.add(wake)
        return Effect.sync(() => mine.delete(wake))
      })

      const stop = (id: FiberId.FiberId) => {
        if (stopped !== undefined) return
        stopped = id
        for (const worker of workers) worker.unsafeInterruptAsFork(id)
      }
      const settle = (index: number, exit: Exit.Exit<A, E>) => {
        const cancellation = options.settle(index, exit)
        if (cancellation !== undefined) stop(toFiberId(cancellation))
      }
      const breakOff = (cause: Cause.Cause<never>) => {
        broken = broken === undefined ? cause : Cause.parallel(broken, cause)
        stop(toFiberId({ reason: `what started it broke: ${headline(cause)}`, origin: "WorkerFibers" }))
      }

      const start = () => {
        let index = -1 // the item under way
        const work = Effect.withFiberRuntime<void, never, R>((fiber) => {
          const inner = fiber as unknown as Internals
          const refs = inner._fiberRefs
          let current: Effect.Effect<unknown, E, R> | undefined
          let ended: Exit.Exit<A, E> | undefined // how the item has ended while its children are waited for
          const finish = (exit: Exit.Exit<A, E>) => {
            if (inner._fiberRefs !== refs) inner.setFiberRefs(refs)
            const settled = index
            index = -1
            ended = undefined
            settle(settled, exit)
          }
          const done = (exit: Exit.Exit<A, E>) => {
            const children = inner.interruptAllChildren()
            if (children === null) return finish(exit)
            ended = exit
            current = children
          }
          const next = () => {
            if (ended !== undefined) return true
            while (true) {
              if (stopped !== undefined || exhausted) return false
              current = options.pull()
              if (current === undefined) {
                exhausted = true
                return false
              }
              index = started++
              // What only computes needs no interpreter: it cannot fork, fail or set a FiberRef.
              const { _op, effect_instruction_i0: compute } = current as unknown as Sync<A>
              if (_op !== "Sync" || sinceTurn >= itemsPerTurn) return true
              sinceTurn++
              finish(attempt(compute))
            }
          }
          // The items run bare in one loop, since a handler around each costs as much as the rest: a success is what
          // the loop's step is given, and a failure ends the loop, which then starts again.
          const loop: Effect.Effect<void, never, R> = Effect.matchCauseEffect(
            Effect.whileLoop({
              while: next,
              body: () => (++sinceTurn > itemsPerTurn ? Effect.zipRight(giveWay, current!) : current!),
              step: (a) => (ended === undefined ? done(Exit.succeed(a as A)) : finish(ended))
            }),
            {
              onSuccess: () => Effect.void,
              // Without an item it is `pull` or `settle` that has thrown.
              onFailure: (cause) => {
                if (index < 0) return Effect.failCause(cause as Cause.Cause<never>)
                done(Exit.failCause(cause))
                return loop
              }
            }
          )
          return loop
        })
        live++
        const worker = fork(work)
        workers.add(worker)
        // The fiber has run as far as it could by now; it may even have ended. A worker that was interrupted from
        // outside in the middle of an item has not settled it.
        worker.addObserver((exit) => {
          workers.delete(worker)
          live--
          if (index >= 0) {
            try {
              settle(index, exit as Exit.Exit<never, never>)
            } catch (error) {
              breakOff(Cause.die(error))
            }
          } else if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) breakOff(exit.cause)
          if (live === 0 && (exhausted || stopped !== undefined)) whenDone?.()
        })
        if (stopped !== undefined) worker.unsafeInterruptAsFork(stopped)
      }

      // Starting is a loop of the caller's own, so that it too gives way to timers while it makes many workers.
      const startAll = Effect.whileLoop({
        while: () => !exhausted && stopped === undefined && live < options.concurrency,
        body: () => {
          start()
          return sinceTurn > itemsPerTurn ? giveWay : Effect.void
        },
        step: () => undefined
      })
      const finished = Effect.async<void>((resume) => {
        if (live === 0) resume(Effect.void)
        else whenDone = () => resume(Effect.void)
      })
      return Effect.zipRight(startAll, finished).pipe(
        Effect.onInterrupt((interruptors) =>
          Effect.suspend(() => {
            stop(carrier(interruptors))
            return finished
          })
        ),
        Effect.ensuring(Effect.suspend(() => (broken === undefined ? Effect.void : Effect.failCause(broken))))
      )
    })
  )

// The id under which the caller is being interrupted; where one of several carries a reason, that one.
const carrier = (interruptors: HashSet.HashSet<FiberId.FiberId>): FiberId.FiberId => {
  let chosen: FiberId.FiberId = FiberId.none
  for (const id of interruptors) {
    chosen = id
    if (fromInterruptors([id]).length > 0) break
  }
  return chosen
}
