import {
  Cause,
  type Clock,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberId,
  FiberRef,
  FiberRefs,
  Runtime
} from "effect"
import type { Cancellation } from "../../task/Cancellation.js"
import * as FiberRuntime from "../../task/internal/fiberRuntime.js"
import type { Call, Due } from "./calls.js"
import { Line } from "./deadlineQueue.js"

// The fibers of Timers: those that run callbacks, and the one that sleeps until the first deadline. They are one state
// machine, because the sleeper runs due callbacks itself, and a fiber without callbacks becomes the sleeper.

/** The longest delay of `setTimeout`, and so of `Effect.sleep`: 2^31-1 ms; a longer sleep never wakes. */
const longest = 2 ** 31 - 1

/** Most callbacks that start before I/O and other timers get a turn; one that was due when requested counts more. */
const startsPerTurn = 2048
const turnCost = 32

// A fiber and the callback that it runs, or none while it sleeps until the first deadline.
interface Worker {
  call: Call<any, any> | undefined
  fiber: Fiber.RuntimeFiber<void> | undefined
}

export interface Options {
  readonly runtime: Runtime.Runtime<never>
  readonly clock: Clock.Clock
  /** Milliseconds since the service was opened. */
  readonly monotonic: () => number
  /** Milliseconds since the epoch. */
  readonly wall: () => number
  /** Longest single sleep, in milliseconds, for a time of the wall clock. */
  readonly recheck: number
  /** Runs an effect in the background, with these FiberRefs. */
  readonly fork: (effect: Effect.Effect<void>, fiberRefs: FiberRefs.FiberRefs) => Fiber.RuntimeFiber<void>
  /** Reports that a call has failed. */
  readonly told: (call: Call<any, any>, cause: Cause.Cause<unknown>) => Effect.Effect<void>
  /** Called when the wall clock was set back. */
  readonly onPutBack: () => void
  /** Whether the queues contain only calls. */
  readonly onlyCalls: () => boolean
}

export interface TimerFibers {
  /** Runs a call as soon as a fiber is free. */
  readonly launch: (call: Call<any, any>) => void
  readonly add: (due: Due) => void
  /** Adds a call that is due at once: it runs on the next turn, in order with other due calls. */
  readonly addDue: (call: Call<any, any>) => void
  readonly withdraw: (due: Due) => void
  /** The reason for closing, once the service closes. */
  readonly closing: () => Cancellation | undefined
  /** Cancels pending calls, these first, and interrupts and awaits running ones. */
  readonly close: (why: Cancellation, first: Iterable<Pick<Due, "unsafeCancel">>) => Effect.Effect<void>
}

export const make = (options: Options): TimerFibers => {
  const { clock, fork, monotonic, onlyCalls, onPutBack, recheck, runtime, told, wall } = options
  const later = new Line<Due>() // by the monotonic clock
  const at = new Line<Due>() // by the wall clock
  let closing: Cancellation | undefined
  let whenIdle: (() => void) | undefined

  // Milliseconds until its deadline.
  const waitOf = (due: Due) => due.deadline - (due.byWall ? wall() : monotonic())
  // The first of both heaps.
  const first = (): Due | undefined => {
    const a = later.first
    const b = at.first
    if (a === undefined || b === undefined) return a ?? b
    const waitA = waitOf(a)
    const waitB = waitOf(b)
    return waitA < waitB || (waitA === waitB && a.id < b.id) ? a : b
  }

  // Due calls wait here for a fiber. One fiber runs one callback after the other, bare, and another is made only
  // when all others wait: a fiber per callback costs ten times as much (`npm run bench -- timers`). Each is still a
  // task of its own: FiberRefs, children, failure and cancellation are its own.
  let ready: Array<Call<any, any>> = []
  let taken = 0
  let live = 0 // callbacks that are ready or running
  let draining = false
  let started = 0 // since the last turn of I/O
  const workers = new Set<Worker>()
  const scheduler = FiberRefs.getOrDefault(runtime.fiberRefs, FiberRef.currentScheduler)

  const launch = (call: Call<any, any>) => {
    if (closing !== undefined) return call.unsafeCancel(closing)
    live++
    ready.push(call)
    if (!awake) drainSoon()
  }
  const drainSoon = () => {
    if (draining) return
    draining = true
    scheduler.scheduleTask(drain, 0)
  }
  const drain = () => {
    while (taken < ready.length && started < startsPerTurn) startWorker()
    if (taken < ready.length) setImmediate(drainAnew)
    else draining = false
  }
  const drainAnew = () => {
    started = 0
    drain()
  }
  const take = (): Call<any, any> | undefined => {
    while (taken < ready.length && started < startsPerTurn) {
      started++
      const call = ready[taken++]!
      if (taken === ready.length) {
        ready = []
        taken = 0
      }
      if (call.exit === undefined) return call
      ended() // it was cancelled meanwhile
    }
    return undefined
  }
  const ended = () => {
    live--
    if (live === 0) whenIdle?.()
  }
  const startWorker = (begin?: Effect.Effect<void>) => {
    const worker: Worker = { call: undefined, fiber: undefined }
    let nap = begin // while it sleeps
    let outcome: Exit.Exit<any, any> | undefined // of the callback, while its children and its report are awaited
    let retired = false
    const finish = (exit: Exit.Exit<any, any>) => {
      const call = worker.call!
      worker.call = undefined
      outcome = undefined
      // An interruption that comes too late for this callback must not hit the next one.
      if (call.request !== undefined || FiberRuntime.hasMessages(worker.fiber!)) retired = true
      // A plain function may have cancelled itself, through a fiber of its own.
      if (call.exit === undefined) call.unsafeEnd(exit)
      ended()
    }
    const work = Effect.withFiberRuntime<void>((fiber) => {
      const own = FiberRuntime.refsOf(fiber)
      const flags = FiberRuntime.flagsOf(fiber)
      worker.fiber = fiber
      if (nap !== undefined) asleep = worker
      let current: Effect.Effect<unknown, unknown> = nap ?? Effect.void
      const next = () => {
        if (outcome !== undefined || nap !== undefined) return true
        if (retired) return false
        const call = take()
        if (call === undefined) {
          nap = asleep === undefined ? pause() : undefined
          if (nap === undefined) return false
          asleep = worker
          current = nap
          if (FiberRuntime.refsOf(fiber) !== own) FiberRuntime.setRefs(fiber, own)
          return true
        }
        worker.call = call
        const { fiberRefs } = call.asker
        if (FiberRuntime.refsOf(fiber) !== fiberRefs) FiberRuntime.setRefs(fiber, fiberRefs)
        // Otherwise it would yield between two callbacks, and the next fiber would start out of order.
        FiberRuntime.resetOpCount(fiber)
        FiberRuntime.setFlags(fiber, flags)
        current = call.effect
        return true
      }
      // Pure computations run here without the interpreter, in half of the time: they cannot fork or be cancelled.
      const nextThatWaits = () => {
        while (next()) {
          if (outcome !== undefined || nap !== undefined) return true
          const compute = FiberRuntime.thunkOf(current)
          if (compute === undefined) {
            worker.call!.unsafeBegin(fiber)
            return true
          }
          let value: unknown
          try {
            value = compute()
          } catch (error) {
            current = Effect.die(error)
            return true
          }
          finish(exitOf(value))
        }
        return false
      }
      const exitOf = (value: unknown) => (value === undefined ? Exit.void : Exit.succeed(value))
      const step = (value: unknown) => {
        if (nap !== undefined) {
          nap = undefined
          if (asleep === worker) wakeUp()
          else retired = true
          return
        }
        if (outcome !== undefined) return finish(outcome)
        const children = FiberRuntime.interruptChildren(fiber)
        if (children === null) return finish(exitOf(value))
        outcome = exitOf(value)
        current = children
      }
      // A handler around each would double the cost: the loop's step receives successes, and a failure ends the loop,
      // which is then restarted.
      const loop: Effect.Effect<void> = Effect.matchCauseEffect(
        Effect.whileLoop({ while: nextThatWaits, body: () => current, step }),
        {
          onSuccess: () => Effect.void,
          onFailure: (cause) => {
            if (worker.call === undefined) return Effect.failCause(cause as Cause.Cause<never>)
            if (outcome === undefined) {
              outcome = Exit.failCause(cause)
              current = Effect.zipRight(
                told(worker.call, cause),
                Effect.suspend(() => FiberRuntime.interruptChildren(fiber) ?? Effect.void)
              )
            } else finish(outcome)
            return loop
          }
        }
      )
      return loop
    })
    workers.add(worker)
    // The fiber runs synchronously up to its first wait.
    const fiber = Runtime.runFork(runtime, work)
    fiber.addObserver((exit) => {
      workers.delete(worker)
      const { call } = worker
      // Only an interruption ends it in the middle of a callback.
      if (call !== undefined) {
        const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
        const end = () => finish(outcome ?? Exit.failCause(cause))
        if (outcome !== undefined || Cause.isInterruptedOnly(cause)) end()
        else fork(told(call, cause), call.asker.fiberRefs).addObserver(end)
      }
      if (asleep === worker) {
        // Interrupted from outside, by code that got the fiber in a callback: another fiber has to sleep.
        asleep = undefined
        stale = true
        if (closing === undefined) arm()
      }
      if (taken < ready.length) drainSoon()
    })
  }

  // One fiber sleeps until the first deadline; it is replaced when an earlier call arrives. It runs due callbacks
  // itself and sleeps again: a fiber for each would be most of the cost of a tick. While a callback of it waits,
  // another fiber sleeps in its place.
  let asleep: Worker | undefined
  let aim: Due | undefined // the entry whose deadline it sleeps for
  let stale = false // whether that is no longer the first
  let firing = false
  let awake = false // it has been woken, and may sleep again

  const arm = () => {
    if (firing || awake) return
    if (first() === aim && !stale) return
    asleep?.fiber?.unsafeInterruptAsFork(FiberId.none)
    asleep = undefined
    const nap = pause()
    if (nap !== undefined) startWorker(nap)
  }

  // Until the first deadline, if there is one.
  const pause = (): Effect.Effect<void> | undefined => {
    stale = false
    aim = first()
    if (aim === undefined || aim.deadline === Number.POSITIVE_INFINITY) return undefined
    const rechecks = at.first !== undefined && at.first.deadline < Number.POSITIVE_INFINITY
    // Whole milliseconds, because setTimeout cuts off the rest.
    const ms = Math.min(Math.max(0, Math.ceil(waitOf(aim))), rechecks ? recheck : longest, longest)
    const sleeps = clock.sleep(Duration.millis(ms))
    // A sleep of zero on the TestClock takes no turn.
    return ms === 0 ? Effect.zipRight(Effect.yieldNow(), sleeps) : sleeps
  }

  const wakeUp = () => {
    asleep = undefined
    aim = undefined
    started = 0
    awake = true
    scheduler.scheduleTask(settle, 0)
    lookAtWall()
    run()
  }

  // The woken fiber has ended, sleeps again, or waits in a callback.
  const settle = () => {
    awake = false
    if (taken < ready.length) drainSoon()
    arm()
  }

  // The wall clock's lead over the monotonic one: it shrinks when the wall clock is set back.
  let ahead = wall() - monotonic()
  const lookAtWall = () => {
    const now = wall() - monotonic()
    const back = ahead - now > 1000
    ahead = now
    if (back) onPutBack()
  }

  const run = () => {
    firing = true
    // Reads the clocks once for all due entries, as asyncio does.
    const now = monotonic()
    const today = wall()
    // If all entries are due calls, they are taken without looking at each: a third of the time of very many.
    if (onlyCalls() && at.first === undefined && taken === ready.length && closing === undefined) {
      const all = later.takeAll(now) as Array<Call<any, any>> | undefined
      if (all !== undefined) {
        ready = all
        taken = 0
        live += all.length
        if (!awake) drainSoon()
      }
    }
    for (;;) {
      const a = later.first
      const b = at.first
      const waitA = a === undefined ? Number.POSITIVE_INFINITY : a.deadline - now
      const waitB = b === undefined ? Number.POSITIVE_INFINITY : b.deadline - today
      if (waitA > 0 && waitB > 0) break
      const isA = waitA < waitB || (waitA === waitB && a!.id < b!.id)
      const due = isA ? a! : b!
      lineOf(due).delete(due)
      due.unsafeFire()
    }
    firing = false
    arm()
  }

  const lineOf = (due: Due) => (due.byWall ? at : later)

  return {
    launch,
    closing: () => closing,
    add: (due) => {
      const line = lineOf(due)
      line.add(due)
      if (line.first !== due) return
      // A time of the wall clock matters even if it is not the first: it needs rechecks.
      if (due.byWall) stale = true
      arm()
    },
    addDue: (call) => {
      lineOf(call).add(call)
      started += turnCost - 1
      run()
    },
    withdraw: (due) => {
      lineOf(due).delete(due)
      // Otherwise a virtual clock would stop at the deadline of a removed entry.
      if (due === aim && closing === undefined) arm()
    },
    close: (why, first) =>
      Effect.suspend(() => {
        closing = why
        const sleeper = asleep?.fiber
        for (const one of [...first, ...later.entries, ...at.entries, ...ready.slice(taken)]) {
          one.unsafeCancel(closing)
        }
        for (const { call } of workers) call?.unsafeCancel(closing)
        arm()
        const idle = Effect.async<void>((resume) => {
          whenIdle = () => resume(Effect.void)
          if (live === 0) whenIdle()
        })
        return Effect.zipRight(idle, sleeper === undefined ? Effect.void : Fiber.await(sleeper))
      })
  }
}
