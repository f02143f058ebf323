import {
  type Context,
  type Effect,
  type Fiber,
  FiberId,
  FiberRef,
  FiberRefs,
  GlobalValue,
  Option,
  Runtime,
  Supervisor
} from "effect"
import { type AnyFiber, type DaemonScope, daemonScope, startRoot } from "./internal/fiberRuntime.js"
import { arePlain } from "./internal/forkTask.js"

const none = { supervisor: Supervisor.none, parent: Option.none() }

const scope: DaemonScope | undefined = GlobalValue.globalValue(daemonScope, () => undefined)

/**
 * `Runtime.runFork` for one short effect after the other: a function that runs an effect at once, as a root fiber with a
 * context of its own. `of` is any fiber of this copy of Effect. The FiberRefs are compared once, and not for each fiber.
 *
 * @since 0.1.0
 * @category constructors
 */
export const unsafeForker = (
  runtime: Runtime.Runtime<never>,
  of: Fiber.RuntimeFiber<any, any>
): (<A, E>(effect: Effect.Effect<A, E>, context: Context.Context<never>) => Fiber.RuntimeFiber<A, E>) => {
  const { runtimeFlags } = runtime
  // What a fork changes (the scope of forks, for instance) is changed once; then a fork changes nothing.
  const fiberRefs = FiberRefs.forkAs(runtime.fiberRefs, FiberId.unsafeMake())
  if (scope === undefined || !arePlain(fiberRefs))
    return (effect, context) =>
      Runtime.runFork(Runtime.make({ context, fiberRefs: runtime.fiberRefs, runtimeFlags }))(effect)
  const inherited = [...fiberRefs.locals]
  return (effect, context) => {
    const id = FiberId.unsafeMake()
    const locals: FiberRefs.FiberRefs["locals"] = new Map()
    for (const [ref, stack] of inherited) locals.set(ref, stack)
    locals.set(FiberRef.currentContext, [[id, context]])
    return startRoot(effect, of as AnyFiber, {
      id,
      refs: FiberRefs.unsafeMake(locals),
      flags: runtimeFlags,
      scope,
      none
    })
  }
}
