import { Cause, type Context, Data, Effect, Exit, type Fiber, FiberRef, GlobalValue, Option } from "effect"
import * as Cancellation from "../Cancellation.js"

// A task: its public interface (exported by TaskGroup), its implementation, which TaskGroup and WaitTasks use, and the
// FiberRef of the current task.

/**
 * The state of a task. `pending`: started, before its first step. `cancelling`: asked to stop, its clean-up not yet over.
 * A task that was asked to stop may still end as `succeeded` or `failed`; `cancelled` means that it ended by interruption
 * alone.
 *
 * @since 0.1.0
 * @category models
 */
export type Status = "pending" | "running" | "cancelling" | "succeeded" | "failed" | "cancelled"

/**
 * Identifies a task. Names are for reports and may repeat; ids do not.
 *
 * @since 0.1.0
 * @category models
 */
export interface TaskId {
  readonly id: number
  readonly name: string
  /** The name of the group that it runs in. */
  readonly group: string
  /** The task that started it; none when it was started outside of any task. */
  readonly parent: Option.Option<TaskId>
}

/**
 * A unit of work that can be named, awaited, cancelled and listed (asyncio: `Task`). Made by `TaskGroup.start`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Task<out A, out E = never> extends TaskId {
  readonly status: Effect.Effect<Status>
  /** Waits for the end, and returns the exit of the task. Interrupting the waiting fiber does not cancel the task. */
  readonly await: Effect.Effect<Exit.Exit<A, E>>
  /** Waits for the result; fails with {@link TaskCancelled} if the task was cancelled: the waiting fiber is not. */
  readonly result: Effect.Effect<A, E | TaskCancelled>
  /** Its exit, once it has ended (asyncio: `Task.done`, `Task.exception`). */
  readonly poll: Effect.Effect<Option.Option<Exit.Exit<A, E>>>
  /**
   * Cancels the task and waits until its clean-up is over; does nothing after its end. Cancelled before its first step, a
   * task never runs. The origin is by default the calling task, or the group when the caller is not a task.
   */
  readonly cancel: (reason: string, options?: { readonly origin?: string }) => Effect.Effect<void>
  /** The first request to cancel it, as soon as it is made; none without one. */
  readonly cancellation: Effect.Effect<Option.Option<Cancellation.Cancellation>>
  /**
   * Runs the callback when the task has ended, each in a fiber of its own, in order of registration and never inline. The
   * group waits for its callbacks; one that fails is reported and does not affect the others.
   */
  readonly onDone: <E2, R2>(
    callback: (task: Task<A, E>) => Effect.Effect<unknown, E2, R2>
  ) => Effect.Effect<void, never, R2>
}

/**
 * The task that `result` waits for was cancelled.
 *
 * @since 0.1.0
 * @category errors
 */
export class TaskCancelled extends Data.TaggedError("TaskCancelled")<{
  readonly task: string
  readonly cancellation: Cancellation.Cancellation
}> {
  override get message() {
    const { reason, origin } = this.cancellation
    return `task ${this.task} was cancelled by ${origin}: ${reason}`
  }
}

// Global, because a user's file may load a second copy of this module.
const shared = GlobalValue.globalValue("effect-asyncio/services/TaskGroup", () => ({
  current: FiberRef.unsafeMake(Option.none<TaskId>(), { join: (parent) => parent }),
  lastId: 0,
  ended: 0
}))

/**
 * The task that the running code belongs to (asyncio: `current_task`). A fiber forked inside a task belongs to that
 * task. Set before the fiber exists, so a `Supervisor` sees it from the start.
 *
 * @since 0.1.0
 * @category functions
 */
export const currentTask: FiberRef.FiberRef<Option.Option<TaskId>> = shared.current

/** The origin of a cancellation that the fiber requests. */
export const requester = (
  given: string | undefined,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  fallback: string
) =>
  given ??
  Option.match(fiber.getFiberRef(currentTask), { onNone: () => fallback, onSome: (task) => task.name })

/** The part of a group that its tasks use. */
export interface Host {
  readonly name: string
  readonly unobserved: Set<TaskImpl<unknown, unknown>>
  readonly callback: (task: TaskId, run: Effect.Effect<unknown, unknown>) => Effect.Effect<void>
}

export class TaskImpl<A, E> implements Task<A, E> {
  readonly id = ++shared.lastId
  readonly group: string
  fiber: Fiber.RuntimeFiber<A, E> | undefined
  exit: Exit.Exit<A, E> | undefined
  /** Its position in the order of ends. */
  ended = 0
  stepped = false
  /** The first request to cancel it. */
  request: Cancellation.Cancellation | undefined
  /** Made for the first listener: most tasks have none. */
  private listeners: Set<() => void> | undefined

  constructor(
    readonly host: Host,
    readonly name: string,
    readonly parent: Option.Option<TaskId>,
    readonly since: bigint,
    readonly shielded: boolean
  ) {
    this.group = host.name
  }

  unsafeStatus(): Status {
    if (this.exit === undefined) {
      return this.request !== undefined ? "cancelling" : this.stepped ? "running" : "pending"
    }
    if (Exit.isSuccess(this.exit)) return "succeeded"
    return Cause.isInterruptedOnly(this.exit.cause) ? "cancelled" : "failed"
  }

  runsOn(fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean {
    return this.fiber === fiber
  }

  unsafeCancel(cancellation: Cancellation.Cancellation): void {
    if (this.exit !== undefined) return
    this.request ??= cancellation
    this.fiber?.unsafeInterruptAsFork(Cancellation.toFiberId(cancellation))
  }

  unsafeCancellation(): Cancellation.Cancellation | undefined {
    if (this.request !== undefined || this.exit === undefined || this.unsafeStatus() !== "cancelled") {
      return this.request
    }
    return Cancellation.fromExit(this.exit)[0] ?? { reason: "it interrupted itself", origin: this.name }
  }

  unsafeEnd(exit: Exit.Exit<A, E>): void {
    this.exit = exit
    this.fiber = undefined // a task that is kept does not keep its fiber
    this.ended = ++shared.ended
    const listeners = this.listeners
    this.listeners = undefined
    if (listeners !== undefined) for (const listener of listeners) listener()
  }

  /** Calls back at its end, which is still to come; the returned function unsubscribes. */
  unsafeListen(listener: () => void): () => void {
    const listeners = this.listeners ?? new Set()
    this.listeners = listeners.add(listener)
    return () => listeners.delete(listener)
  }

  get settled(): Effect.Effect<Exit.Exit<A, E>> {
    return Effect.async((resume) => {
      if (this.exit !== undefined) return resume(Effect.succeed(this.exit))
      return Effect.sync(this.unsafeListen(() => resume(Effect.succeed(this.exit!))))
      // VirtualClock.Deadlock shows this id as the wait of the fiber.
    }, this.fiber?.id())
  }

  get status() {
    return Effect.sync(() => this.unsafeStatus())
  }

  get await(): Effect.Effect<Exit.Exit<A, E>> {
    return this.observe(Effect.succeed)
  }

  get result(): Effect.Effect<A, E | TaskCancelled> {
    return this.observe(
      (exit): Effect.Effect<A, E | TaskCancelled> =>
        this.unsafeStatus() === "cancelled"
          ? new TaskCancelled({ task: this.name, cancellation: this.unsafeCancellation()! })
          : exit
    )
  }

  /** Waits for its end, unless it has ended, and observes its failure. */
  private observe<B, E2>(use: (exit: Exit.Exit<A, E>) => Effect.Effect<B, E2>): Effect.Effect<B, E2> {
    return Effect.withFiberRuntime((fiber) => {
      if (this.runsOn(fiber)) return Effect.dieMessage(`task ${this.name} cannot wait for itself`)
      const seen = (exit: Exit.Exit<A, E>) => {
        this.host.unobserved.delete(this)
        return use(exit)
      }
      return this.exit === undefined ? Effect.flatMap(this.settled, seen) : seen(this.exit)
    })
  }

  get poll() {
    return Effect.sync(() => {
      if (this.exit !== undefined) this.host.unobserved.delete(this)
      return Option.fromNullable(this.exit)
    })
  }

  get cancellation() {
    return Effect.sync(() => Option.fromNullable(this.unsafeCancellation()))
  }

  cancel(reason: string, options?: { readonly origin?: string }): Effect.Effect<void> {
    return Effect.withFiberRuntime((fiber) => {
      this.unsafeCancel({ reason, origin: requester(options?.origin, fiber, this.group) })
      return this.runsOn(fiber) ? Effect.void : Effect.asVoid(this.settled)
    })
  }

  onDone<E2, R2>(
    callback: (task: Task<A, E>) => Effect.Effect<unknown, E2, R2>
  ): Effect.Effect<void, never, R2> {
    return Effect.contextWithEffect((context: Context.Context<R2>) => {
      const run = Effect.suspend(() => callback(this))
      return this.host.callback(this, Effect.zipRight(this.settled, Effect.provide(run, context)))
    })
  }
}

/** Calls back at the end of each task that has not ended; the returned function unsubscribes. */
export const listen = (
  given: ReadonlyArray<TaskImpl<unknown, unknown>>,
  onEnd: (task: TaskImpl<unknown, unknown>) => void
): (() => void) => {
  const registered = given
    .filter((task) => task.exit === undefined)
    .map((task) => task.unsafeListen(() => onEnd(task)))
  return () => {
    for (const remove of registered) remove()
  }
}

/** Waits until a task for which `enough` holds has ended, or all have. */
export const until = (
  given: ReadonlyArray<TaskImpl<unknown, unknown>>,
  enough: (task: TaskImpl<unknown, unknown>) => boolean
): Effect.Effect<void> =>
  Effect.async((resume) => {
    let left = 0
    for (const task of given) {
      if (task.exit === undefined) left++
      else if (enough(task)) return resume(Effect.void)
    }
    if (left === 0) return resume(Effect.void)
    const stop = listen(given, (task) => {
      if (--left > 0 && !enough(task)) return
      stop()
      resume(Effect.void)
    })
    return Effect.sync(stop)
  })
