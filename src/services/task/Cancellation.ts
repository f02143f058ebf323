import { Cause, Effect, Exit, Fiber, FiberId, GlobalValue } from "effect"

/**
 * Why a task was cancelled, and by what.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cancellation {
  /** A text for the report: `"sibling web failed"`, `"SIGINT"`. */
  readonly reason: string
  /** The name of the task, group, signal or program that cancelled it. */
  readonly origin: string
}

// Effect carries only a fiber id with an interruption, so each cancellation gets an id of its own and the reason
// is looked up by that id's identity. The table is global because a user's file may load a second copy of this module.
const carried = GlobalValue.globalValue(
  "effect-asyncio/services/Cancellation",
  () => new WeakMap<FiberId.FiberId, Cancellation>()
)
let last = 0

/**
 * Makes the id under which to interrupt, so that the reason can be read back from the resulting `Cause`.
 * For `Fiber.interruptAsFork` and `Effect.interruptWith`; {@link cancel} does both steps.
 *
 * @since 0.1.0
 * @category functions
 */
export const toFiberId = (cancellation: Cancellation): FiberId.FiberId => {
  const id = FiberId.runtime(--last, Date.now())
  carried.set(id, cancellation)
  return id
}

/**
 * Gives the id of another library's interruptions a reason, for as long as the process runs: what is interrupted under
 * this id is reported as cancelled so.
 *
 * @since 0.1.0
 * @category functions
 */
export const describe = (id: FiberId.FiberId, cancellation: Cancellation): void => {
  carried.set(id, cancellation)
}

/**
 * Reads the reasons out of a cause, in no particular order. Empty when nothing was cancelled, or when the
 * interruption came from plain Effect code without a reason.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromCause = (cause: Cause.Cause<unknown>): ReadonlyArray<Cancellation> =>
  fromInterruptors(Cause.interruptors(cause))

/**
 * {@link fromCause} for the ids that `Effect.onInterrupt` passes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromInterruptors = (ids: Iterable<FiberId.FiberId>): ReadonlyArray<Cancellation> => {
  const found: Array<Cancellation> = []
  for (const id of ids) {
    for (const one of FiberId.isComposite(id) ? FiberId.toSet(id) : [id]) {
      const cancellation = carried.get(one)
      if (cancellation !== undefined) found.push(cancellation)
    }
  }
  return found
}

/**
 * {@link fromCause} for an exit; empty for a success.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromExit = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<Cancellation> =>
  Exit.isFailure(exit) ? fromCause(exit.cause) : []

/**
 * Interrupts the fiber with a reason and waits until its finalizers have run, as `Fiber.interrupt` does
 * (asyncio: `Task.cancel(msg)` followed by awaiting the task).
 *
 * @since 0.1.0
 * @category effects
 */
export const cancel = <A, E>(
  fiber: Fiber.Fiber<A, E>,
  cancellation: Cancellation
): Effect.Effect<Exit.Exit<A, E>> => Effect.suspend(() => Fiber.interruptAs(fiber, toFiberId(cancellation)))
