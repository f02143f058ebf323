import { createHook } from "node:async_hooks"
import type { Effect, Exit, Fiber, FiberId, FiberRefs, Option, RuntimeFlags, Scope } from "effect"

// The one file that uses internals of Effect's fibers and data types (written for Effect 3.22). Other modules call these
// functions, which are named by their purpose; scripts/privateNames.mjs refuses the private names elsewhere, and
// test/services/task/internal/fiberRuntime.contract.test.ts pins each assumption. Only types of Effect are imported, so
// that worker threads can use this file without loading Effect.

export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

/** The private members of FiberRuntime. Only the running fiber itself may call those that change it. */
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

/** The running fiber, without the `Option` of `Fiber.getCurrentFiber`. */
export const currentFiber = (): AnyFiber | undefined =>
  (globalThis as { readonly ["effect/FiberCurrent"]?: AnyFiber })["effect/FiberCurrent"]

/** Its current FiberRefs: the same object until one is set. `getFiberRefs()` makes a new collection at each call. */
export const refsOf = (fiber: Fiber.RuntimeFiber<any, any>): FiberRefs.FiberRefs => inside(fiber)._fiberRefs

/** Restores all of its FiberRefs, including those that were unset before (`Effect.setFiberRefs` leaves these). */
export const setRefs = (fiber: Fiber.RuntimeFiber<any, any>, refs: FiberRefs.FiberRefs): void =>
  inside(fiber).setFiberRefs(refs)

/** Its current flags (interruption, cooperative yielding and others); `fiber.runtimeFlags` is an effect. */
export const flagsOf = (fiber: Fiber.RuntimeFiber<any, any>): RuntimeFlags.RuntimeFlags =>
  inside(fiber).currentRuntimeFlags

/** Sets its runtime flags, without an operator around the running effect. */
export const setFlags = (fiber: Fiber.RuntimeFiber<any, any>, flags: RuntimeFlags.RuntimeFlags): void => {
  inside(fiber).currentRuntimeFlags = flags
}

/** Interrupts the children of the fiber and returns the wait for them; null when there are none. */
export const interruptChildren = (fiber: Fiber.RuntimeFiber<any, any>): Effect.Effect<void> | null =>
  inside(fiber).interruptAllChildren()

/** Whether the fiber has unhandled messages, which are mostly interruptions. */
export const hasMessages = (fiber: Fiber.RuntimeFiber<any, any>): boolean => inside(fiber)._queue.length > 0

/** Whether an interruption has reached the fiber, within an uninterruptible region too. */
export const isInterrupted = (fiber: Fiber.RuntimeFiber<any, any>): boolean => inside(fiber).isInterrupted()

/** Resets its operation count, so that it does not yield to other fibers in the next 2,048 operations. */
export const resetOpCount = (fiber: Fiber.RuntimeFiber<any, any>): void => {
  inside(fiber).currentOpCount = 0
}

interface Fork {
  readonly effect_instruction_i0: (
    parent: AnyFiber,
    status: { readonly runtimeFlags: RuntimeFlags.RuntimeFlags }
  ) => { readonly effect_instruction_i0: unknown }
}

/**
 * Carries out `Effect.fork` or one of its kin at once, as `parent` does when it comes to it, with these runtime flags for
 * the child. Only the running fiber may be the parent.
 */
export const forkNow = <A, E, R>(
  fork: Effect.Effect<Fiber.RuntimeFiber<A, E>, never, R>,
  parent: Fiber.RuntimeFiber<any, any>,
  runtimeFlags: RuntimeFlags.RuntimeFlags
): Fiber.RuntimeFiber<A, E> =>
  (fork as unknown as Fork).effect_instruction_i0(parent, { runtimeFlags })
    .effect_instruction_i0 as Fiber.RuntimeFiber<A, E>

/** The key of the global scope, the parent of daemons, among the global values. */
export const daemonScope: unique symbol = Symbol.for("effect/FiberScope/Global") as never

export interface DaemonScope {
  readonly add: (flags: RuntimeFlags.RuntimeFlags, child: AnyFiber) => void
}

type FiberRuntimeClass = new (
  id: FiberId.Runtime,
  refs: FiberRefs.FiberRefs,
  flags: RuntimeFlags.RuntimeFlags
) => AnyFiber & {
  readonly resume: (effect: Effect.Effect<unknown, unknown>) => void
  readonly start: (effect: Effect.Effect<unknown, unknown>) => void
}

/** `Effect.forkDaemon` with these FiberRefs and flags for the child, at once: `parent` is the running fiber. */
export const makeChild = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  parent: Option.Some<AnyFiber>,
  id: FiberId.Runtime,
  refs: FiberRefs.FiberRefs,
  flags: RuntimeFlags.RuntimeFlags,
  scope: DaemonScope
): Fiber.RuntimeFiber<A, E> => {
  const fiber = new (parent.value.constructor as FiberRuntimeClass)(id, refs, flags)
  const supervisor = fiber.currentSupervisor
  supervisor.onStart(fiber.currentContext, effect as Effect.Effect<A, E>, parent, fiber)
  fiber.addObserver((exit) => supervisor.onEnd(exit, fiber))
  scope.add(flags, fiber)
  fiber.resume(effect as never)
  return fiber as unknown as Fiber.RuntimeFiber<A, E>
}

/** What {@link startRoot} needs beside the effect. */
export interface Root {
  readonly id: FiberId.Runtime
  readonly refs: FiberRefs.FiberRefs
  readonly flags: RuntimeFlags.RuntimeFlags
  readonly scope: DaemonScope
  /** `Supervisor.none` and `Option.none()`. */
  readonly none: { readonly supervisor: unknown; readonly parent: Option.Option<never> }
}

/** `Runtime.runFork` with these FiberRefs and flags. `of` is any fiber. */
export const startRoot = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  of: AnyFiber,
  { flags, id, none, refs, scope }: Root
): Fiber.RuntimeFiber<A, E> => {
  const fiber = new (of.constructor as FiberRuntimeClass)(id, refs, flags)
  const supervisor = fiber.currentSupervisor
  if (supervisor !== none.supervisor) {
    supervisor.onStart(fiber.currentContext, effect as Effect.Effect<A, E>, none.parent, fiber)
    fiber.addObserver((exit) => supervisor.onEnd(exit, fiber))
  }
  scope.add(flags, fiber)
  fiber.start(effect as never)
  return fiber as unknown as Fiber.RuntimeFiber<A, E>
}

// fibers seen from outside

/** The fibers that it has forked and that have not ended. */
export const childrenOf = (fiber: AnyFiber): Iterable<AnyFiber> => inside(fiber)._children ?? []

/** The number of its observers. */
export const observersOf = (fiber: Fiber.RuntimeFiber<any, any>): number => inside(fiber)._observers.length

/**
 * The number of observers that take the exit. Observers that only remove the fiber from the list of its parent or scope
 * take no argument. A forked fiber has one from the start, its supervisor's; a root (`Runtime.runFork`) has none.
 */
export const exitObserversOf = (fiber: AnyFiber): number => {
  let count = 0
  for (const observer of inside(fiber)._observers) if (observer.length > 0) count++
  return count
}

/** The id that marks the wait of the fiber: a Deferred has its maker's id, a join the other fiber's. */
export const blockedOn = (fiber: AnyFiber): FiberId.FiberId | null => inside(fiber)._asyncBlockingOn

/** Whether the wait of the fiber has this mark: `Effect.async` takes one. */
export const waitsAt = (fiber: AnyFiber, mark: FiberId.FiberId): boolean => blockedOn(fiber) === mark

// A property is cheaper than a WeakMap: with 100,000 fibers alive, that costs a µs each in garbage collections.
const parent = Symbol("effect-asyncio/services/task/parent")

/** Stores the parent of a fiber in it, or removes it. */
export const setParent = (fiber: AnyFiber, of: AnyFiber | undefined): void => {
  ;(fiber as { [parent]?: AnyFiber | undefined })[parent] = of
}

/** The parent that {@link setParent} stored. */
export const parentOf = (fiber: AnyFiber): AnyFiber | undefined =>
  (fiber as { readonly [parent]?: AnyFiber })[parent]

/**
 * Calls `onRead` when another fiber, or code outside of any, reads the exit of an ended fiber: join, await and poll read
 * one field. The fiber itself reads it when a message arrives late.
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
 * The function of an `Effect.sync`; undefined for any other effect. Such an effect needs no interpreter: it cannot wait,
 * fork or set a FiberRef, and fails only by throwing.
 */
export const thunkOf = <A, E, R>(effect: Effect.Effect<A, E, R>): (() => A) | undefined => {
  const { _op, effect_instruction_i0 } = effect as unknown as Primitive
  return _op === "Sync" ? (effect_instruction_i0 as () => A) : undefined
}

/** Whether an effect is an exit; `Exit.isExit` accepts any value, and takes ten times as long. */
export const isExit = <A, E, R>(effect: Effect.Effect<A, E, R>): effect is Exit.Exit<A, E> => {
  const { _op } = effect as unknown as Primitive
  return _op === "Success" || _op === "Failure"
}

const effectKey = Symbol.for("effect/Effect")

/** Whether a value is an Effect, of any copy of `effect` in this process; loads none. */
export const isEffect = (value: unknown): boolean =>
  typeof value === "object" && value !== null && effectKey in value

// timers that only keep a process alive

/** The interval, in milliseconds, with which `Effect.never` keeps its process alive: the longest possible. */
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
 * From now until the returned function is called, intervals of the longest time do not count as active, and their fibers
 * are known. Node reports new timers to a hook; no global is replaced.
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

// scopes

interface ScopeInside {
  state: { readonly _tag: string; readonly finalizers?: ReadonlyMap<unknown, unknown> }
}

/** Whether closing the scope runs no finalizer; then it counts as closed from here on, without an effect. */
export const closedEmpty = (scope: Scope.CloseableScope, exit: Exit.Exit<unknown, unknown>): boolean => {
  const inner = scope as unknown as ScopeInside
  if (inner.state._tag === "Open" && inner.state.finalizers?.size !== 0) return false
  inner.state = { _tag: "Closed", exit } as ScopeInside["state"]
  return true
}
