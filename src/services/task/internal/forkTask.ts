import { Effect, type Fiber, FiberId, FiberRefs, GlobalValue, Option, RuntimeFlags } from "effect"
import {
  type AnyFiber,
  type DaemonScope,
  daemonScope,
  flagsOf,
  forkNow,
  makeChild,
  refsOf,
  setRefs
} from "./fiberRuntime.js"
import { currentTask, type TaskId } from "./task.js"

// A fork copies the FiberRefs of its parent three times, and that is a third of the cost of a task: here it is once.

type Locals = FiberRefs.FiberRefs["locals"]

let lastRefs: WeakRef<FiberRefs.FiberRefs> | undefined
let lastPlain = false

/** Whether a child inherits these FiberRefs as they are: none has a `fork` that changes its value. */
export const arePlain = (refs: FiberRefs.FiberRefs): boolean => {
  if (lastRefs?.deref() === refs) return lastPlain
  const forked = FiberRefs.forkAs(refs, FiberId.unsafeMake()).locals
  lastRefs = new WeakRef(refs)
  lastPlain = [...refs.locals].every(([ref, stack]) => forked.get(ref) === stack)
  return lastPlain
}

const withTask = (locals: Locals, by: FiberId.Single, task: Option.Option<TaskId>): FiberRefs.FiberRefs => {
  const copy: Locals = new Map(locals)
  copy.set(currentTask, [[by, task]])
  return FiberRefs.unsafeMake(copy)
}

const scope: DaemonScope | undefined = GlobalValue.globalValue(daemonScope, () => undefined)

/**
 * `Effect.forkDaemon` of a task's effect, interruptible, at once: `starter` is the running fiber. The task is set around
 * the fork and not inside the fiber, so that a supervisor sees it from the start.
 */
export const forkTask = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  starter: Fiber.RuntimeFiber<any, any>,
  task: Option.Option<TaskId>
): Fiber.RuntimeFiber<A, E> => {
  const refs = refsOf(starter)
  const flags = RuntimeFlags.enable(flagsOf(starter), RuntimeFlags.Interruption)
  const child = withTask(refs.locals, starter.id(), task)
  if (scope !== undefined && arePlain(refs)) {
    return makeChild(
      effect,
      Option.some(starter as AnyFiber) as Option.Some<AnyFiber>,
      FiberId.unsafeMake(),
      child,
      flags,
      scope
    )
  }
  setRefs(starter, child)
  const fiber = forkNow(Effect.forkDaemon(effect), starter, flags)
  setRefs(starter, refs)
  return fiber
}
