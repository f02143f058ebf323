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
  Layer,
  Option,
  Scope
} from "effect"
import { checkedNumber, countOrInfinity } from "../text/Numbers.js"
import * as Cancellation from "./Cancellation.js"
import * as Causes from "./Causes.js"
import {
  currentTask,
  type Host,
  requester,
  type Status,
  type Task,
  type TaskCancelled,
  type TaskId,
  TaskImpl,
  until
} from "./internal/task.js"

// The group is one invariant and stays whole: the queue for its slots, its refusal once it has failed or closes, and its
// observers of failures change together. Waiting for several tasks is in WaitTasks.

// model

export type { Status, Task, TaskId } from "./internal/task.js"

/**
 * The effect of a failure on the other tasks of the group.
 *
 * - `"cancel"`: they are cancelled; the group fails with the first failure (asyncio's `TaskGroup`).
 * - `"continue"`: they run on; the group fails with the first failure when all are done (asyncio's `gather`).
 * - `"collect"`: they run on; every outcome is a value and the group never fails (`return_exceptions=True`).
 *
 * @since 0.1.0
 * @category models
 */
export type OnFailure = "cancel" | "continue" | "collect"

/**
 * A snapshot of a task that has not ended, as {@link Group.tasks} lists it.
 *
 * @since 0.1.0
 * @category models
 */
export interface TaskInfo extends TaskId {
  readonly status: Status
  /** Time since its start, by the monotonic clock. */
  readonly age: Duration.Duration
}

/**
 * Settings of a group.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Names the group in reasons and reports. Default `"group"`. */
  readonly name?: string
  /** Default `"cancel"`. */
  readonly onFailure?: OnFailure
  /** How many tasks live at once, a whole number from 1 or `Infinity`; further starts wait in order. Default: no limit. */
  readonly capacity?: number
  /**
   * Reports each unobserved failure when the group closes, and each done callback that fails (asyncio:
   * `loop.set_exception_handler`). If it fails itself, the closing group dies with both. Default: logs an error.
   */
  readonly report?: (failure: TaskFailed) => Effect.Effect<void>
}

/**
 * Settings of one task.
 *
 * @since 0.1.0
 * @category options
 */
export interface StartOptions {
  /** Only its own {@link Task.cancel} ends it early; a failing or closing group waits for it. Default false. */
  readonly shield?: boolean
}

/**
 * A group of tasks that belongs to a scope.
 *
 * @since 0.1.0
 * @category models
 */
export interface Group {
  readonly name: string
  /**
   * Starts the effect as a task of the group, on the next turn and in order of starting. Waits while the group is full,
   * first come, first served. A group that has failed or closed refuses: the task is then `cancelled` and never runs.
   */
  readonly start: <A, E, R>(
    name: string,
    effect: Effect.Effect<A, E, R>,
    options?: StartOptions
  ) => Effect.Effect<Task<A, E>, never, R>
  /**
   * Runs the effect as a shielded task of the group and waits for its result. Interrupting the caller does not interrupt
   * the task: it runs on, and the group waits for it (asyncio: `shield`).
   */
  readonly shield: <A, E, R>(
    name: string,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | TaskCancelled, R>
  /** The tasks that have not ended, in order of starting (asyncio: `all_tasks`). */
  readonly tasks: Effect.Effect<ReadonlyArray<TaskInfo>>
  /** Cancels all tasks except shielded ones and waits for their clean-up. The group stays open. */
  readonly cancel: (reason: string, options?: { readonly origin?: string }) => Effect.Effect<void>
  /** Waits until every task and callback has ended, then fails as {@link OnFailure} defines. */
  readonly join: Effect.Effect<void, TaskFailed>
}

// errors

export { TaskCancelled } from "./internal/task.js"

/**
 * A task failed, and with it its group. The task's own handle has the typed error.
 *
 * @since 0.1.0
 * @category errors
 */
export class TaskFailed extends Data.TaggedError("TaskFailed")<{
  readonly task: string
  readonly cause: Cause.Cause<unknown>
}> {
  override get message() {
    return `task ${this.task} failed: ${Causes.headline(this.cause)}`
  }
}

// tag

/**
 * The group that a program's tasks belong to. {@link scoped} opens one around an effect, {@link layer} for a whole app.
 *
 * @since 0.1.0
 * @category services
 */
export class TaskGroup extends Context.Tag("effect-asyncio/services/TaskGroup")<TaskGroup, Group>() {}

export { currentTask } from "./internal/task.js"

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
    // If reporting fails, the closing group dies with that failure and the one that was being reported.
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
    let lost: Cause.Cause<never> = Cause.empty // failures that could not be reported
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
              // The last task may have ended in between: a fiber may yield anywhere.
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
    // Passes the slot directly to the first waiting start: a later start cannot take it in between.
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
        // If it is interrupted just as it gets the slot, the slot goes to the next.
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
            // Runs before the fibers that await the task resume, so that they are cancelled and do not fail as well.
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
            // No fiber outlives the group: registering one after its end waits for the callback.
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

    // Runs uninterruptibly, holding a slot unless the group refuses.
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
          // Set around the fork and not inside the fiber, so that a supervisor sees it from the start.
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
          return until(
            cancelled.filter((task) => !task.runsOn(fiber)),
            () => false
          )
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
 * Opens a group in the current scope. Closing the scope cancels running tasks (reason `group NAME closed`, or the reason
 * of the scope's own cancellation), waits for their clean-up and reports unobserved failures. {@link scoped} does more: it
 * also waits for the tasks, and stops its body when one fails.
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
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options?: Options): Effect.Effect<Group, never, Scope.Scope> =>
  Effect.map(build(options), (internals) => internals.group)

// layers

/**
 * One group for a whole application, closed with it. See {@link make}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<TaskGroup> => Layer.scoped(TaskGroup, make(options))

// programs' side

/**
 * Runs the body with a group of its own and waits for every task of it (asyncio: `async with TaskGroup()`).
 *
 * Under `"cancel"` a failing task cancels the body too, and the effect fails with {@link TaskFailed}. A body that fails
 * counts as a member of the group: under `"cancel"` the tasks are cancelled, otherwise they run to their end first.
 * Interruption cancels the body and all tasks in every mode, with its reason.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as TaskGroup from "effect-asyncio/services/TaskGroup"
 * import * as WaitTasks from "effect-asyncio/services/WaitTasks"
 *
 * export const program = Effect.gen(function* () {
 *   const user = yield* TaskGroup.start("user", Effect.succeed("ada"))
 *   const rights = yield* TaskGroup.start("rights", Effect.succeed(["read"]))
 *   return yield* WaitTasks.results([user, rights])
 * }).pipe(TaskGroup.scoped({ name: "page" }))
 * ```
 *
 * @since 0.1.0
 * @category effects
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
          // A task may have failed before this fiber resumed.
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
          // The body's own failure is added, unless it is the same one or only the interruption.
          const known = Cause.sequential(joined.cause, failure()?.cause ?? Cause.empty)
          const own =
            Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause) && !Cause.contains(known, exit.cause)
          return yield* Effect.failCause(own ? Cause.sequential(joined.cause, exit.cause) : joined.cause)
        })
        return yield* Effect.onExit(waiting, (exit) => Scope.close(scope, exit))
      })
    )
)

/**
 * {@link Group.start} in the current group.
 *
 * @since 0.1.0
 * @category effects
 */
export const start = <A, E, R>(
  name: string,
  effect: Effect.Effect<A, E, R>,
  options?: StartOptions
): Effect.Effect<Task<A, E>, never, R | TaskGroup> =>
  Effect.flatMap(TaskGroup, (group) => group.start(name, effect, options))

/**
 * {@link Group.shield} in the current group.
 *
 * @since 0.1.0
 * @category effects
 */
export const shield = <A, E, R>(
  name: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | TaskCancelled, R | TaskGroup> =>
  Effect.flatMap(TaskGroup, (group) => group.shield(name, effect))

/**
 * {@link Group.join} of the current group.
 *
 * @since 0.1.0
 * @category effects
 */
export const join: Effect.Effect<void, TaskFailed, TaskGroup> = Effect.flatMap(
  TaskGroup,
  (group) => group.join
)

/**
 * {@link Group.tasks} of the current group.
 *
 * @since 0.1.0
 * @category effects
 */
export const tasks: Effect.Effect<ReadonlyArray<TaskInfo>, never, TaskGroup> = Effect.flatMap(
  TaskGroup,
  (group) => group.tasks
)
