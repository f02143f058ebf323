import {
  Cause,
  Context,
  Data,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberId,
  FiberRef,
  Function as Fn,
  GlobalValue,
  Layer,
  Option,
  Scope,
  Stream
} from "effect"
import { checkedNumber, countOrInfinity } from "../text/Numbers.js"
import * as Cancellation from "./Cancellation.js"
import * as Causes from "./Causes.js"

// model

/**
 * Where a task stands. `pending`: started, its first step not yet taken. `cancelling`: asked to stop, its clean-up
 * not yet over. A task that was asked to stop and ends all the same is `succeeded` or `failed`; `cancelled` is one
 * that ended by interruption alone.
 */
export type Status = "pending" | "running" | "cancelling" | "succeeded" | "failed" | "cancelled"

/**
 * What a failure does to the others of the group.
 *
 * - `"cancel"`: they are cancelled; the group fails with the first failure (asyncio's `TaskGroup`).
 * - `"continue"`: they run on; the group fails with the first failure when all are done (asyncio's `gather`).
 * - `"collect"`: they run on; every outcome is a value and the group never fails (`return_exceptions=True`).
 */
export type OnFailure = "cancel" | "continue" | "collect"

/** Which task this is. Names are for people and may repeat; ids do not. */
export interface TaskId {
  readonly id: number
  readonly name: string
  /** The name of the group that it runs in. */
  readonly group: string
  /** The task that started it; none when it was started outside of any task. */
  readonly parent: Option.Option<TaskId>
}

/** A line of {@link Group.tasks}: one task that has not ended, as it stands now. */
export interface TaskInfo extends TaskId {
  readonly status: Status
  /** Since it was started, by the monotonic clock. */
  readonly age: Duration.Duration
}

/** A unit of work that one can name, wait for, cancel and see (asyncio: `Task`). Made by {@link start}. */
export interface Task<out A, out E = never> extends TaskId {
  readonly status: Effect.Effect<Status>
  /** Waits for the end and tells how it came. Whoever waits may be cancelled: the task is not. */
  readonly await: Effect.Effect<Exit.Exit<A, E>>
  /** Waits for the result; a cancelled task is a {@link TaskCancelled}, not a cancellation of the one who waits. */
  readonly result: Effect.Effect<A, E | TaskCancelled>
  /** How it ended, if it has (asyncio: `Task.done`, `Task.exception`). */
  readonly poll: Effect.Effect<Option.Option<Exit.Exit<A, E>>>
  /**
   * Cancels the task and waits until its clean-up is over; does nothing to one that has ended. Before its first step
   * it never runs. The origin is by default the calling task, or the group when the caller is none.
   */
  readonly cancel: (reason: string, options?: { readonly origin?: string }) => Effect.Effect<void>
  /** The first request to cancel it, from the moment of asking; none when nobody asked before it ended. */
  readonly cancellation: Effect.Effect<Option.Option<Cancellation.Cancellation>>
  /**
   * Runs the callback when the task has ended, each in a fiber of its own, begun in order of registration and never
   * inline. The group waits for its callbacks; one that fails is reported and stops nobody.
   */
  readonly onDone: <E2, R2>(
    callback: (task: Task<A, E>) => Effect.Effect<unknown, E2, R2>
  ) => Effect.Effect<void, never, R2>
}

/** Settings of a group. */
export interface Options {
  /** Names the group in reasons and reports. Default `"group"`. */
  readonly name?: string
  /** Default `"cancel"`. */
  readonly onFailure?: OnFailure
  /** How many tasks live at once, a whole number from 1 or `Infinity`; further starts wait in line. Default: no limit. */
  readonly capacity?: number
  /**
   * Told of each failure that nobody looked at when the group closes, and of each done callback that fails
   * (asyncio: `loop.set_exception_handler`). Where it fails itself the closing group dies, of both. Default: logs an error.
   */
  readonly report?: (failure: TaskFailed) => Effect.Effect<void>
}

/** Settings of one task. */
export interface StartOptions {
  /** Only its own {@link Task.cancel} ends it early; a failing or closing group waits for it. Default false. */
  readonly shield?: boolean
}

/** A group of tasks that belongs to a scope. */
export interface Group {
  readonly name: string
  /**
   * Starts the effect as a task of the group, on the next turn and in order of starting. Waits in line while the
   * group is full. A group that has failed or closed refuses: the task is then `cancelled` and never runs.
   */
  readonly start: <A, E, R>(
    name: string,
    effect: Effect.Effect<A, E, R>,
    options?: StartOptions
  ) => Effect.Effect<Task<A, E>, never, R>
  /**
   * Runs the effect as a shielded task of the group and waits for its result. Cancelling the caller ends only the
   * waiting: the task runs on, and the group waits for it (asyncio: `shield`).
   */
  readonly shield: <A, E, R>(
    name: string,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | TaskCancelled, R>
  /** The tasks that have not ended, in order of starting (asyncio: `all_tasks`). */
  readonly tasks: Effect.Effect<ReadonlyArray<TaskInfo>>
  /** Cancels all that lives, except what is shielded, and waits for the clean-up. The group stays open. */
  readonly cancel: (reason: string, options?: { readonly origin?: string }) => Effect.Effect<void>
  /** Waits until every task and callback has ended, then fails as {@link OnFailure} has it. */
  readonly join: Effect.Effect<void, TaskFailed>
}

/** The tasks that {@link wait} was given, each list in the order given. */
export interface Waited<T> {
  readonly done: Array<T>
  readonly pending: Array<T>
}

// errors

/** A task failed, and with it its group. The task's own handle has the typed error. */
export class TaskFailed extends Data.TaggedError("TaskFailed")<{
  readonly task: string
  readonly cause: Cause.Cause<unknown>
}> {
  override get message() {
    return `task ${this.task} failed: ${Causes.headline(this.cause)}`
  }
}

/** The task whose result was asked for has been cancelled. */
export class TaskCancelled extends Data.TaggedError("TaskCancelled")<{
  readonly task: string
  readonly cancellation: Cancellation.Cancellation
}> {
  override get message() {
    const { reason, origin } = this.cancellation
    return `task ${this.task} was cancelled by ${origin}: ${reason}`
  }
}

// tag

/** The group that a program's tasks belong to. {@link scoped} opens one around an effect, {@link layer} for a whole app. */
export class TaskGroup extends Context.Tag("effect-asyncio/services/TaskGroup")<TaskGroup, Group>() {}

// Global because a user's file may load a second copy of us.
const shared = GlobalValue.globalValue("effect-asyncio/services/TaskGroup", () => ({
  current: FiberRef.unsafeMake(Option.none<TaskId>(), { join: (parent) => parent }),
  lastId: 0,
  ended: 0
}))

/**
 * The task that the running code belongs to (asyncio: `current_task`). A fiber forked inside a task belongs to that
 * task. Set before the fiber exists, so a `Supervisor` sees it from the start.
 */
export const currentTask: FiberRef.FiberRef<Option.Option<TaskId>> = shared.current

const requester = (
  given: string | undefined,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  fallback: string
) =>
  given ??
  Option.match(fiber.getFiberRef(currentTask), { onNone: () => fallback, onSome: (task) => task.name })

// The part of a group that its tasks know.
interface Host {
  readonly name: string
  readonly unobserved: Set<TaskImpl<unknown, unknown>>
  readonly callback: (task: TaskId, run: Effect.Effect<unknown, unknown>) => Effect.Effect<void>
}

class TaskImpl<A, E> implements Task<A, E> {
  readonly id = ++shared.lastId
  readonly group: string
  fiber: Fiber.RuntimeFiber<A, E> | undefined
  exit: Exit.Exit<A, E> | undefined
  /** Its place among all that have ended. */
  ended = 0
  stepped = false
  readonly requests: Array<Cancellation.Cancellation> = []
  readonly listeners = new Set<() => void>()

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
      return this.requests.length > 0 ? "cancelling" : this.stepped ? "running" : "pending"
    }
    if (Exit.isSuccess(this.exit)) return "succeeded"
    return Cause.isInterruptedOnly(this.exit.cause) ? "cancelled" : "failed"
  }

  runsOn(fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean {
    return this.fiber === fiber
  }

  unsafeCancel(cancellation: Cancellation.Cancellation): void {
    if (this.exit !== undefined) return
    this.requests.push(cancellation)
    this.fiber?.unsafeInterruptAsFork(Cancellation.toFiberId(cancellation))
  }

  unsafeCancellation(): Cancellation.Cancellation | undefined {
    if (this.requests.length > 0 || this.exit === undefined || this.unsafeStatus() !== "cancelled") {
      return this.requests[0]
    }
    return Cancellation.fromExit(this.exit)[0] ?? { reason: "it interrupted itself", origin: this.name }
  }

  unsafeEnd(exit: Exit.Exit<A, E>): void {
    this.exit = exit
    this.ended = ++shared.ended
    for (const listener of this.listeners) listener()
    this.listeners.clear()
  }

  get settled(): Effect.Effect<Exit.Exit<A, E>> {
    return Effect.async((resume) => {
      if (this.exit !== undefined) return resume(Effect.succeed(this.exit))
      const listener = () => resume(Effect.succeed(this.exit!))
      this.listeners.add(listener)
      return Effect.sync(() => this.listeners.delete(listener))
      // For who looks at what waits: VirtualClock.Deadlock.
    }, this.fiber?.id())
  }

  get status() {
    return Effect.sync(() => this.unsafeStatus())
  }

  get await(): Effect.Effect<Exit.Exit<A, E>> {
    return Effect.withFiberRuntime((fiber) =>
      this.runsOn(fiber)
        ? Effect.dieMessage(`task ${this.name} cannot wait for itself`)
        : Effect.map(this.settled, (exit) => {
            this.host.unobserved.delete(this)
            return exit
          })
    )
  }

  get result(): Effect.Effect<A, E | TaskCancelled> {
    return Effect.flatMap(
      this.await,
      (exit): Effect.Effect<A, E | TaskCancelled> =>
        this.unsafeStatus() === "cancelled"
          ? new TaskCancelled({ task: this.name, cancellation: this.unsafeCancellation()! })
          : exit
    )
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

// make

interface Waiter {
  granted: boolean
  wake: () => void
}

interface Internals {
  readonly group: Group
  readonly failure: () => TaskFailed | undefined
}

const build = (
  options: Options = {},
  onFailed?: (cancellation: Cancellation.Cancellation) => void
): Effect.Effect<Internals, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { name = "group", onFailure = "cancel", capacity = Number.POSITIVE_INFINITY } = options
    const handler =
      options.report ?? ((failure: TaskFailed) => Effect.logError(failure.message, failure.cause))
    const raiseLost = Effect.suspend(() => {
      const cause = lost
      lost = Cause.empty
      return Causes.raise(cause)
    })
    // Where reporting fails, the group dies when it closes: of that, and of what was to be reported.
    const report = (failure: TaskFailed) =>
      Effect.catchAllCause(
        Effect.suspend(() => handler(failure)),
        (cause) =>
          Effect.sync(() => {
            lost = Causes.parallel(lost, Cause.sequential(Cause.die(failure), cause))
          })
      )
    const living = new Set<TaskImpl<unknown, unknown>>()
    const unobserved = new Set<TaskImpl<unknown, unknown>>()
    const line = new Set<Waiter>()
    const idlers = new Set<() => void>()
    let free = checkedNumber("capacity", capacity, countOrInfinity)
    let lost: Cause.Cause<never> = Cause.empty // what could not be reported
    let callbacks = 0
    let first: { readonly task: TaskImpl<unknown, unknown>; readonly error: TaskFailed } | undefined
    let refusal: Cancellation.Cancellation | undefined
    let closed = false

    const quiet = (): void => {
      if (living.size + callbacks > 0) return
      for (const wake of idlers) wake()
      idlers.clear()
    }
    const idle: Effect.Effect<void> = Effect.suspend(() =>
      living.size + callbacks === 0
        ? Effect.void
        : Effect.zipRight(
            Effect.async<void>((resume) => {
              const wake = () => resume(Effect.void)
              // The last of them may have ended since: a fiber may be held up anywhere.
              if (living.size + callbacks === 0) return wake()
              idlers.add(wake)
              return Effect.sync(() => idlers.delete(wake))
            }),
            idle
          )
    )

    const cancelAll = (cancellation: Cancellation.Cancellation): Array<TaskImpl<unknown, unknown>> => {
      const cancelled = [...living].filter((task) => !task.shielded)
      for (const task of cancelled) task.unsafeCancel(cancellation)
      return cancelled
    }
    const shut = (cancellation: Cancellation.Cancellation): void => {
      if (refusal !== undefined) return
      refusal = cancellation
      cancelAll(cancellation)
      for (const waiter of line) waiter.wake()
      line.clear()
    }

    const take = (): boolean => {
      if (free === 0 && refusal === undefined) return false
      free--
      return true
    }
    // The slot goes from hand to hand: nobody who comes later can take it in between.
    const release = (): void => {
      for (const waiter of line) {
        line.delete(waiter)
        waiter.granted = true
        waiter.wake()
        return
      }
      free++
    }
    const queue = (restore: <A>(wait: Effect.Effect<A>) => Effect.Effect<A>): Effect.Effect<void> => {
      const waiter: Waiter = { granted: false, wake: Fn.constVoid }
      return Effect.async<void>((resume) => {
        waiter.wake = () => resume(Effect.void)
        if (take()) {
          waiter.granted = true
          waiter.wake()
        } else line.add(waiter)
      }).pipe(
        restore,
        // It may be interrupted in the very moment of its turn: then the slot goes on to the next.
        Effect.onInterrupt(() =>
          Effect.sync(() => {
            if (!line.delete(waiter) && waiter.granted) release()
          })
        )
      )
    }

    const ended = (task: TaskImpl<unknown, unknown>, exit: Exit.Exit<unknown, unknown>): void => {
      living.delete(task)
      if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) {
        unobserved.add(task)
        if (first === undefined && onFailure !== "collect") {
          first = { task, error: new TaskFailed({ task: task.name, cause: exit.cause }) }
          if (onFailure === "cancel") {
            // Before those who wait for the task hear of it: they are cancelled and do not fail in their turn.
            shut({ reason: `sibling ${task.name} failed`, origin: task.name })
            onFailed?.({ reason: `task ${task.name} failed`, origin: task.name })
          }
        }
      }
      release()
      task.unsafeEnd(exit)
      quiet()
    }

    const host: Host = {
      name,
      unobserved,
      callback: (task, run) =>
        Effect.uninterruptible(
          Effect.suspend(() => {
            const reported = Effect.catchAllCause(run, (cause) =>
              report(new TaskFailed({ task: `${task.name} (done callback)`, cause }))
            )
            // No fiber outlives the group: whoever registers after its end waits for the callback.
            if (closed) {
              return Effect.zipRight(
                Effect.yieldNow(),
                Effect.zipRight(Effect.interruptible(reported), raiseLost)
              )
            }
            callbacks++
            return reported.pipe(
              Effect.interruptible,
              Effect.ensuring(
                Effect.sync(() => {
                  callbacks--
                  quiet()
                })
              ),
              Effect.forkDaemon,
              Effect.asVoid
            )
          })
        )
    }

    // To be run uninterruptibly, by one who holds a slot unless the group refuses.
    const launch = <A, E, R>(
      taskName: string,
      effect: Effect.Effect<A, E, R>,
      shield: boolean
    ): Effect.Effect<Task<A, E>, never, R> =>
      Effect.clockWith((clock) =>
        Effect.withFiberRuntime((starter) => {
          const parent = starter.getFiberRef(currentTask)
          const task = new TaskImpl<A, E>(host, taskName, parent, clock.unsafeCurrentTimeNanos(), shield)
          if (refusal !== undefined) {
            task.unsafeCancel(refusal)
            task.unsafeEnd(Exit.failCause(Cause.interrupt(Cancellation.toFiberId(refusal))))
            return Effect.succeed(task)
          }
          living.add(task)
          const body = Effect.interruptible(
            Effect.suspend(() => {
              task.stepped = true
              return effect
            })
          )
          // Set around the fork rather than inside the fiber: it is born with it, and its supervisor sees it.
          return FiberRef.set(currentTask, Option.some<TaskId>(task)).pipe(
            Effect.zipRight(Effect.forkDaemon(body)),
            Effect.zipLeft(FiberRef.set(currentTask, parent)),
            Effect.map((fiber) => {
              task.fiber = fiber
              for (const request of task.requests) {
                fiber.unsafeInterruptAsFork(Cancellation.toFiberId(request))
              }
              // An observer and not `onExit`: a task that never takes its first step has no `onExit`.
              fiber.addObserver((exit) => ended(task, exit))
              return task
            })
          )
        })
      )

    const start: Group["start"] = (taskName, effect, options) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.zipRight(
          take() ? Effect.void : queue(restore),
          launch(taskName, effect, options?.shield ?? false)
        )
      )

    const group: Group = {
      name,
      start,
      shield: (taskName, effect) =>
        Effect.flatMap(start(taskName, effect, { shield: true }), (task) => task.result),
      tasks: Effect.clockWith((clock) =>
        Effect.sync(() => {
          const now = clock.unsafeCurrentTimeNanos()
          return Array.from(living, (task) => ({
            id: task.id,
            name: task.name,
            group: name,
            parent: task.parent,
            status: task.unsafeStatus(),
            age: Duration.nanos(now - task.since)
          }))
        })
      ),
      cancel: (reason, options) =>
        Effect.withFiberRuntime((fiber) => {
          const cancelled = cancelAll({ reason, origin: requester(options?.origin, fiber, name) })
          return wait(cancelled.filter((task) => !task.runsOn(fiber)))
        }),
      join: Effect.withFiberRuntime((fiber) => {
        const self = Option.getOrUndefined(fiber.getFiberRef(currentTask))
        return self instanceof TaskImpl && living.has(self) && self.runsOn(fiber)
          ? Effect.dieMessage(`task ${self.name} cannot wait for group ${name}, which it belongs to`)
          : Effect.zipRight(
              idle,
              Effect.suspend(() => {
                if (first === undefined) return Effect.void
                unobserved.delete(first.task)
                return first.error
              })
            )
      })
    }

    yield* Effect.addFinalizer((exit) => {
      const reason = `group ${name} ${Exit.isSuccess(exit) ? "closed" : "failed"}`
      shut(Cancellation.fromExit(exit)[0] ?? { reason, origin: name })
      return Effect.zipRight(
        idle,
        Effect.suspend(() => {
          closed = true
          const failures = Array.from(
            unobserved,
            (task) =>
              new TaskFailed({ task: task.name, cause: (task.exit as Exit.Failure<unknown, unknown>).cause })
          )
          unobserved.clear()
          return Effect.zipRight(Effect.forEach(failures, report, { discard: true }), raiseLost)
        })
      )
    })
    return { group, failure: () => first?.error }
  })

/**
 * Opens a group in the current scope. Closing the scope cancels what still runs (reason `group NAME closed`, or the
 * reason for which the scope itself was cancelled), waits for its clean-up and reports the failures that nobody
 * looked at. {@link scoped} does more: it also waits for the tasks, and stops its body when one fails.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as TaskGroup from "effect-asyncio/services/TaskGroup"
 *
 * export const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const group = yield* TaskGroup.make({ name: "warm-up", onFailure: "collect", capacity: 4 })
 *     const cache = yield* group.start("cache", Effect.succeed("warm"))
 *     yield* group.start("metrics", Effect.never)
 *     return yield* cache.result // metrics is cancelled when the scope closes
 *   })
 * )
 * ```
 */
export const make = (options?: Options): Effect.Effect<Group, never, Scope.Scope> =>
  Effect.map(build(options), (internals) => internals.group)

// layers

/** One group for a whole application, closed with it. See {@link make}. */
export const layer = (options?: Options): Layer.Layer<TaskGroup> => Layer.scoped(TaskGroup, make(options))

// programs' side

/**
 * Runs the body with a group of its own and waits for every task of it (asyncio: `async with TaskGroup()`).
 *
 * A failing task cancels the body too under `"cancel"`, and the whole fails with {@link TaskFailed}. A body that
 * fails counts as a member of the group: under `"cancel"` the tasks are cancelled, otherwise they run on to their
 * end first. Interrupting the whole cancels all of it in every mode, with the reason of the interruption.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as TaskGroup from "effect-asyncio/services/TaskGroup"
 *
 * export const program = Effect.gen(function* () {
 *   const user = yield* TaskGroup.start("user", Effect.succeed("ada"))
 *   const rights = yield* TaskGroup.start("rights", Effect.succeed(["read"]))
 *   return yield* TaskGroup.results([user, rights])
 * }).pipe(TaskGroup.scoped({ name: "page" }))
 * ```
 */
export const scoped: {
  (
    options?: Options
  ): <A, E, R>(body: Effect.Effect<A, E, R>) => Effect.Effect<A, E | TaskFailed, Exclude<R, TaskGroup>>
  <A, E, R>(
    body: Effect.Effect<A, E, R>,
    options?: Options
  ): Effect.Effect<A, E | TaskFailed, Exclude<R, TaskGroup>>
} = Fn.dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    body: Effect.Effect<A, E, R>,
    options?: Options
  ): Effect.Effect<A, E | TaskFailed, Exclude<R, TaskGroup>> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        let fiber: Fiber.RuntimeFiber<A, E> | undefined
        let stopped: Cancellation.Cancellation | undefined
        const { failure, group } = yield* Scope.extend(
          build(options, (cancellation) => {
            stopped = cancellation
            fiber?.unsafeInterruptAsFork(Cancellation.toFiberId(cancellation))
          }),
          scope
        )
        const waiting = Effect.gen(function* () {
          // A fiber of its own, so that a failing task can stop the body and not its caller.
          const bodyFiber = yield* Effect.fork(restore(Effect.provideService(body, TaskGroup, group)))
          fiber = bodyFiber
          // A task of it may have failed before this fiber had its turn again.
          if (stopped !== undefined) fiber.unsafeInterruptAsFork(Cancellation.toFiberId(stopped))
          const exit = yield* restore(Fiber.await(bodyFiber)).pipe(
            Effect.onInterrupt((by) =>
              Effect.flatMap(Fiber.interruptAs(bodyFiber, FiberId.combineAll(by)), (ended) =>
                Causes.raise(Causes.failuresOf(ended))
              )
            )
          )
          yield* Fiber.inheritAll(bodyFiber)
          const stops =
            Exit.isFailure(exit) &&
            ((options?.onFailure ?? "cancel") === "cancel" || Cause.isInterruptedOnly(exit.cause))
          if (stops && failure() === undefined) return yield* exit
          const joined = yield* Effect.exit(restore(group.join))
          if (Exit.isSuccess(joined)) return yield* exit
          // The body's own failure goes along, unless it says the same or only that it was stopped.
          const known = Cause.sequential(joined.cause, failure()?.cause ?? Cause.empty)
          const own =
            Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause) && !Cause.contains(known, exit.cause)
          return yield* Effect.failCause(own ? Cause.sequential(joined.cause, exit.cause) : joined.cause)
        })
        return yield* Effect.onExit(waiting, (exit) => Scope.close(scope, exit))
      })
    )
)

/** {@link Group.start} in the group at hand. */
export const start = <A, E, R>(
  name: string,
  effect: Effect.Effect<A, E, R>,
  options?: StartOptions
): Effect.Effect<Task<A, E>, never, R | TaskGroup> =>
  Effect.flatMap(TaskGroup, (group) => group.start(name, effect, options))

/** {@link Group.shield} in the group at hand. */
export const shield = <A, E, R>(
  name: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | TaskCancelled, R | TaskGroup> =>
  Effect.flatMap(TaskGroup, (group) => group.shield(name, effect))

/** {@link Group.join} of the group at hand. */
export const join: Effect.Effect<void, TaskFailed, TaskGroup> = Effect.flatMap(
  TaskGroup,
  (group) => group.join
)

/** {@link Group.tasks} of the group at hand. */
export const tasks: Effect.Effect<ReadonlyArray<TaskInfo>, never, TaskGroup> = Effect.flatMap(
  TaskGroup,
  (group) => group.tasks
)

// waiting for several tasks, of one group or of many

type AnyTask = Task<unknown, unknown>
type SuccessOf<T> = T extends Task<infer A, unknown> ? A : never
type ErrorOf<T> = T extends Task<unknown, infer E> ? E : never

const unique = (given: Iterable<AnyTask>) => Array.from(new Set(given)) as Array<TaskImpl<unknown, unknown>>

const hasFailed = (task: TaskImpl<unknown, unknown>) => task.unsafeStatus() === "failed"

// Calls back at the end of each task that has not ended; what it returns stops that.
const listen = (
  given: ReadonlyArray<TaskImpl<unknown, unknown>>,
  onEnd: (task: TaskImpl<unknown, unknown>) => void
): (() => void) => {
  const registered = given
    .filter((task) => task.exit === undefined)
    .map((task) => {
      const listener = () => onEnd(task)
      task.listeners.add(listener)
      return () => task.listeners.delete(listener)
    })
  return () => {
    for (const remove of registered) remove()
  }
}

// Waits until one that is `enough` has ended, or all have.
const until = (
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

/**
 * Waits for some of the tasks and tells which have ended and which have not (asyncio: `asyncio.wait`). Nothing is
 * cancelled, and a failure is looked at only when its task is asked for it.
 *
 * - `"first"`: until one has ended (FIRST_COMPLETED)
 * - `"firstFailed"`: until one has failed, or all have ended (FIRST_EXCEPTION)
 * - `"all"`: until all have ended (ALL_COMPLETED). The default.
 */
export const wait = <T extends AnyTask>(
  given: Iterable<T>,
  options?: { readonly until?: "first" | "firstFailed" | "all" }
): Effect.Effect<Waited<T>> =>
  Effect.suspend(() => {
    const all = unique(given)
    const kind = options?.until ?? "all"
    return Effect.map(
      until(all, (task) => kind === "first" || (kind === "firstFailed" && hasFailed(task))),
      () => {
        const waited: Waited<TaskImpl<unknown, unknown>> = { done: [], pending: [] }
        for (const task of all) (task.exit === undefined ? waited.pending : waited.done).push(task)
        return waited as unknown as Waited<T>
      }
    )
  })

/** {@link wait} until one has ended; call it again with `pending` to go on (asyncio: `wait(…, FIRST_COMPLETED)`). */
export const firstCompleted = <T extends AnyTask>(given: Iterable<T>): Effect.Effect<Waited<T>> =>
  wait(given, { until: "first" })

/**
 * The results in the order given. Fails as soon as one of the tasks has failed or was cancelled, with the first that
 * did; the others are left to their group (asyncio: awaiting `gather(*tasks)`).
 */
export const results = <const T extends ReadonlyArray<AnyTask>>(
  given: T
): Effect.Effect<{ -readonly [K in keyof T]: SuccessOf<T[K]> }, ErrorOf<T[number]> | TaskCancelled> =>
  Effect.suspend(() => {
    const all = unique(given)
    const unsuccessful = (task: TaskImpl<unknown, unknown>) =>
      task.exit !== undefined && Exit.isFailure(task.exit)
    return Effect.flatMap(until(all, unsuccessful), () => {
      const [first] = all.filter(unsuccessful).sort((a, b) => a.ended - b.ended)
      return Effect.forEach(first === undefined ? given : [first], (task) => task.result)
    })
  }) as never

/**
 * The tasks as they end, each once, then the end of the stream (asyncio: `as_completed`). Those that have ended
 * already come first, in the order of their ends. Failures stay in the tasks: ask each for its `result`.
 */
export const asCompleted = <T extends AnyTask>(given: Iterable<T>): Stream.Stream<T> =>
  Stream.asyncPush<T>(
    (emit) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const all = unique(given)
          let left = all.length
          const push = (task: TaskImpl<unknown, unknown>) => {
            emit.single(task as unknown as T)
            if (--left === 0) emit.end()
          }
          const stop = listen(all, push)
          for (const task of all
            .filter((task) => task.exit !== undefined)
            .sort((a, b) => a.ended - b.ended)) {
            push(task)
          }
          if (all.length === 0) emit.end()
          return stop
        }),
        (stop) => Effect.sync(stop)
      ),
    // No more elements than there are tasks.
    { bufferSize: "unbounded" }
  )
