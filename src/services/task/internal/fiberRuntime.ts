import { createHook } from "node:async_hooks"
import type { Effect, Exit, Fiber, FiberId, FiberRefs, RuntimeFlags } from "effect"

// The one file that leans on the inside of Effect's fibers and data types (written for Effect 3.22). Every other module
// asks here, by a function that is named after what it is for; scripts/privateNames.mjs refuses the private names
// elsewhere, and test/services/task/internal/fiberRuntime.contract.test.ts pins each assumption. Of Effect only types are
// imported, so that a worker thread which never loads Effect can ask here as well.

export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

/** FiberRuntime beside its public face. What changes a fiber is for that fiber itself to call while it runs. */
interface Inside {
  readonly _fiberRefs: FiberRefs.FiberRefs
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
  readonly interruptAllChildren: () => Effect.Effect<void> | null
  readonly _queue: ReadonlyArray<unknown>
  readonly isInterrupted: () => boolean
  readonly _observers: ReadonlyArray<(...args: ReadonlyArray<never>) => void>
  readonly _children: ReadonlySet<AnyFiber> | null
  readonly _asyncBlockingOn: FiberId.FiberId | null
  currentRuntimeFlags: RuntimeFlags.RuntimeFlags
  currentOpCount: number
}

const inside = (fiber: Fiber.RuntimeFiber<any, any>) => fiber as unknown as Inside

// the fiber that runs

/** The fiber that runs now, without the `Option` of `Fiber.getCurrentFiber`. */
export const currentFiber = (): AnyFiber | undefined =>
  (globalThis as { readonly ["effect/FiberCurrent"]?: AnyFiber })["effect/FiberCurrent"]

/** Its FiberRefs as they stand: the same object until one is set. `getFiberRefs()` makes a new collection at each call. */
export const refsOf = (fiber: Fiber.RuntimeFiber<any, any>): FiberRefs.FiberRefs => inside(fiber)._fiberRefs

/** Puts back all of its FiberRefs, those unset before included (`Effect.setFiberRefs` leaves these). */
export const setRefs = (fiber: Fiber.RuntimeFiber<any, any>, refs: FiberRefs.FiberRefs): void =>
  inside(fiber).setFiberRefs(refs)

/** Interruption, cooperative yielding and the like, as they stand; `fiber.runtimeFlags` is an effect. */
export const flagsOf = (fiber: Fiber.RuntimeFiber<any, any>): RuntimeFlags.RuntimeFlags =>
  inside(fiber).currentRuntimeFlags

/** Sets its runtime flags, without an operator around what runs. */
export const setFlags = (fiber: Fiber.RuntimeFiber<any, any>, flags: RuntimeFlags.RuntimeFlags): void => {
  inside(fiber).currentRuntimeFlags = flags
}

/** Asks the children that the fiber has forked to end, and gives the wait for them; null when there are none. */
export const interruptChildren = (fiber: Fiber.RuntimeFiber<any, any>): Effect.Effect<void> | null =>
  inside(fiber).interruptAllChildren()

/** Whether messages wait that the fiber has not handled yet: interruptions, above all. */
export const hasMessages = (fiber: Fiber.RuntimeFiber<any, any>): boolean => inside(fiber)._queue.length > 0

/** Whether an interruption has reached the fiber, within an uninterruptible region too. */
export const isInterrupted = (fiber: Fiber.RuntimeFiber<any, any>): boolean => inside(fiber).isInterrupted()

/** Starts the count of its operations anew, so that it does not give way to other fibers in the next 2,048. */
export const resetOpCount = (fiber: Fiber.RuntimeFiber<any, any>): void => {
  inside(fiber).currentOpCount = 0
}

// fibers seen from outside

/** The fibers that it has forked and that have not ended. */
export const childrenOf = (fiber: AnyFiber): Iterable<AnyFiber> => inside(fiber)._children ?? []

/** How many observers its end has. */
export const observersOf = (fiber: Fiber.RuntimeFiber<any, any>): number => inside(fiber)._observers.length

/**
 * How many of them take the exit. Observers that only strike the fiber off the list of its parent or scope take no
 * argument. A forked fiber has one from the start, its supervisor's; a root (`Runtime.runFork`) has none.
 */
export const exitObserversOf = (fiber: AnyFiber): number => {
  let count = 0
  for (const observer of inside(fiber)._observers) if (observer.length > 0) count++
  return count
}

/** The ids that what the fiber waits for is marked with; a Deferred has its maker's, a join the other fiber's. */
export const blockedOn = (fiber: AnyFiber): FiberId.FiberId | null => inside(fiber)._asyncBlockingOn

/** Whether what the fiber waits for was marked so: `Effect.async` takes a mark. */
export const waitsAt = (fiber: AnyFiber, mark: FiberId.FiberId): boolean => blockedOn(fiber) === mark

// A property is cheaper than a WeakMap: with 100,000 fibers alive, that costs a µs each in garbage collections.
const parent = Symbol("effect-asyncio/services/task/parent")

/** Keeps the parent of a fiber with it, or forgets it. */
export const setParent = (fiber: AnyFiber, of: AnyFiber | undefined): void => {
  ;(fiber as { [parent]?: AnyFiber | undefined })[parent] = of
}

/** The parent that was kept with {@link setParent}. */
export const parentOf = (fiber: AnyFiber): AnyFiber | undefined =>
  (fiber as { readonly [parent]?: AnyFiber })[parent]

/**
 * Calls `onRead` when another fiber, or code outside of any, reads how an ended fiber has ended: join, await and poll
 * read one field. The fiber itself reads it for a message that comes late.
 */
export const onExitRead = (fiber: AnyFiber, exit: Exit.Exit<unknown, unknown>, onRead: () => void): void => {
  Object.defineProperty(fiber, "_exitValue", {
    get: () => {
      if (currentFiber() !== fiber) onRead()
      return exit
    }
  })
}

// effects as values

interface Primitive {
  readonly _op: unknown
  readonly effect_instruction_i0: () => unknown
}

/**
 * The function of an effect that is nothing else (`Effect.sync`); undefined for any other. Such an effect needs no
 * interpreter: it cannot wait, fork or set a FiberRef, and fails only by throwing.
 */
export const thunkOf = <A, E, R>(effect: Effect.Effect<A, E, R>): (() => A) | undefined => {
  const { _op, effect_instruction_i0 } = effect as unknown as Primitive
  return _op === "Sync" ? (effect_instruction_i0 as () => A) : undefined
}

/** Whether an effect is an exit; `Exit.isExit` takes any value, and ten times as long. */
export const isExit = <A, E, R>(effect: Effect.Effect<A, E, R>): effect is Exit.Exit<A, E> => {
  const { _op } = effect as unknown as Primitive
  return _op === "Success" || _op === "Failure"
}

const effectKey = Symbol.for("effect/Effect")

/** Whether a value is an Effect, of any copy of `effect` in this process; loads none. */
export const isEffect = (value: unknown): boolean =>
  typeof value === "object" && value !== null && effectKey in value

// timers that only keep a process alive

/** `Effect.never` keeps its process alive with an interval of so many milliseconds, the longest there is. */
const longest = 2 ** 31 - 1

type Interval = NodeJS.Timeout & { readonly _idleTimeout?: number; readonly _repeat?: number | null }

const forever = new WeakMap<AnyFiber, NodeJS.Timeout>()
let watches = 0

const hook = createHook({
  init(_id, type, _trigger, resource) {
    if (type !== "Timeout") return
    const timer = resource as Interval
    if (timer._idleTimeout !== longest || typeof timer._repeat !== "number") return
    const fiber = currentFiber()
    if (fiber !== undefined) forever.set(fiber, timer)
    timer.unref()
  }
})

/**
 * From here until the function in return is called, an interval of the longest time is not taken for something that will
 * happen: it does not count as active, and its fiber is known. Node reports new timers to a hook; no global is replaced.
 */
export const watchForever = (): (() => void) => {
  if (watches++ === 0) hook.enable()
  let open = true
  return () => {
    if (!open) return
    open = false
    if (--watches === 0) hook.disable()
  }
}

/** Whether the fiber waits in `Effect.never`, if that began under {@link watchForever}. */
export const isForever = (fiber: AnyFiber): boolean => {
  const timer = forever.get(fiber) as { readonly _destroyed?: boolean } | undefined
  return timer !== undefined && timer._destroyed !== true
}
