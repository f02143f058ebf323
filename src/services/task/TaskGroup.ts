import {
  Cause,
  Clock,
  Context,
  Data,
  DefaultServices,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberId,
  Function as Fn,
  GlobalValue,
  Layer,
  Option,
  Scope,
  type Types
} from "effect"
import { anyNumber, checkedConcurrency, checkedNumber } from "../text/Numbers.js"
import * as Cancellation from "./Cancellation.js"
import * as Causes from "./Causes.js"
import { forkTask } from "./internal/forkTask.js"
import * as startLine from "./internal/startLine.js"
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
export interface Options<out Mode extends OnFailure = OnFailure> {
  /** Names the group in reasons and reports. Default `"group"`. */
  readonly name?: string | undefined
  /** Default `"cancel"`. */
  readonly onFailure?: Mode | undefined
  /**
   * How many tasks live at once, a whole number from 1; further starts wait, by {@link StartOptions.priority} and then
   * in order. Default `"unbounded"`.
   */
  readonly concurrency?: number | "unbounded" | undefined
  /**
   * Reports each unobserved failure when the group closes, and each done callback that fails (asyncio:
   * `loop.set_exception_handler`). If it fails itself, the closing group dies with both. Default: logs an error.
   */
  readonly report?: ((failure: TaskFailed) => Effect.Effect<void>) | undefined
}

/**
 * Settings of one task.
 *
 * @since 0.1.0
 * @category options
 */
export interface StartOptions {
  /** Only its own {@link Task.cancel} ends it early; a failing or closing group waits for it. Default false. */
  readonly shield?: boolean | undefined
  /**
   * While the group is full, starts of a higher priority get a slot first, equal ones in order. Any finite number;
   * default 0. It does not affect tasks that run.
   */
  readonly priority?: number | undefined
}

/**
 * A group of tasks that belongs to a scope. Its tasks may fail with `E`, and so does {@link Group.join}, unless the group
 * collects (`F` is `never` then).
 *
 * @since 0.1.0
 * @category models
 */
export interface Group<in out E = unknown, out F = E> {
  readonly name: string
  /**
   * Starts the effect as a task of the group, on the next turn and in order of starting. Waits while the group is full,
   * see {@link StartOptions.priority}. A group that has failed or closed refuses: the task is then `cancelled` and never
   * runs. A task is interruptible, in an uninterruptible region too: its group must be able to end it.
   */
  readonly start: <A, E1 extends E, R>(
    name: string,
    effect: Effect.Effect<A, E1, R>,
    options?: StartOptions
  ) => Effect.Effect<Task<A, E1>, never, R>
  /**
   * Runs the effect as a shielded task of the group and waits for its result. Interrupting the caller does not interrupt
   * the task: it runs on, and the group waits for it (asyncio: `shield`).
   */
  readonly shield: <A, E1 extends E, R>(
    name: string,
    effect: Effect.Effect<A, E1, R>
  ) => Effect.Effect<A, E1 | TaskCancelled, R>
  /** The tasks that have not ended, in order of starting (asyncio: `all_tasks`). */
  readonly tasks: Effect.Effect<ReadonlyArray<TaskInfo>>
  /** Cancels all tasks except shielded ones and waits for their clean-up. The group stays open. */
  readonly cancel: (reason: string, options?: { readonly origin?: string }) => Effect.Effect<void>
  /**
   * Waits until every task and callback has ended, then fails as {@link OnFailure} defines, with the whole cause of the
   * task's failure: {@link failedTask} returns the task.
   */
  readonly join: Effect.Effect<void, F>
}

// errors

export { TaskCancelled } from "./internal/task.js"

/**
 * What {@link Options.report} receives: an unobserved failure, with the name of its task. A group itself fails with the
 * task's own error.
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

// Keys are error objects and nodes of causes, which keep their identity when causes are combined. Global, because a
// user's file may load a second copy of this module.
const failedTasks = GlobalValue.globalValue(
  "effect-asyncio/services/TaskGroup/failedTasks",
  () => new WeakMap<object, TaskId>()
)

/**
 * The task whose failure a group has failed with, of the group's cause or of an error that was caught from it. None for an
 * error that is not an object, or that comes from no group.
 *
 * @example
 * ```ts
 * import { Data, Effect, Option } from "effect"
 * import * as TaskGroup from "effect-asyncio/services/TaskGroup"
 *
 * class Refused extends Data.TaggedError("Refused")<{ readonly port: number }> {}
 *
 * export const program = TaskGroup.start("web", new Refused({ port: 80 })).pipe(
 *   TaskGroup.scoped(),
 *   Effect.catchTag("Refused", (refused) =>
 *     Effect.log(
 *       `port ${refused.port}`,
 *       Option.map(TaskGroup.failedTask(refused), (task) => task.name)
 *     )
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category functions
 */
export const failedTask = (of: unknown): Option.Option<TaskId> => {
  const find = (one: unknown) =>
    typeof one === "object" && one !== null ? Option.fromNullable(failedTasks.get(one)) : Option.none()
  return Cause.isCause(of) ? Cause.find(of, find) : find(of)
}

const remember = (task: TaskId, cause: Cause.Cause<unknown>): void =>
  Cause.reduce(cause, undefined, (_, node) => {
    if (node._tag !== "Fail" && node._tag !== "Die") return Option.none()
    failedTasks.set(node, task)
    const error = node._tag === "Fail" ? node.error : node.defect
    if (typeof error === "object" && error !== null) failedTasks.set(error, task)
    return Option.none()
  })

// tag

// One service at run time: `E` only collects the tasks' errors, and the compiler discards it with the requirement.
// @effect-diagnostics genericEffectServices:off
/**
 * The group that a program's tasks belong to. {@link scoped} opens one around an effect, {@link layer} for a whole app.
 * `E` is what its tasks fail with: each {@link start} adds its own, and `scoped` fails with all of them.
 *
 * @since 0.1.0
 * @category services
 */
export class TaskGroup<out E = unknown> extends Context.Tag("effect-asyncio/services/TaskGroup")<
  TaskGroup<unknown>,
  Group<any, unknown>
>() {
  declare readonly _E: Types.Covariant<E>
}

/** The failures of the tasks that the effect with these requirements starts in its current group. */
type Failures<R, Mode extends OnFailure> = Mode extends "collect"
  ? never
  : R extends TaskGroup<infer E>
    ? E
    : never

export { currentTask } from "./internal/task.js"

// make

interface Internals {
  readonly group: Group
  readonly failure: () => Cause.Cause<unknown> | undefined
  readonly shut: (cancellation: Cancellation.Cancellation) => void
}

const build = (
  options: Options = {},
  onFailed?: (cancellation: Cancellation.Cancellation) => void
): Effect.Effect<Internals, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { name = "group", onFailure = "cancel" } = options
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
    const line = startLine.make()
    const idlers = new Set<() => void>()
    let free = checkedConcurrency(options.concurrency ?? "unbounded")
    let lost: Cause.Cause<never> = Cause.empty // failures that could not be reported
    let callbacks = 0
    let first: { readonly task: TaskImpl<unknown, unknown>; readonly cause: Cause.Cause<unknown> } | undefined
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
      for (let waiter = line.shift(); waiter !== undefined; waiter = line.shift()) waiter.wake()
    }

    const take = (): boolean => {
      if (free === 0 && refusal === undefined) return false
      free--
      return true
    }
    // Passes the slot directly to the first waiting start: a later start cannot take it in between.
    const release = (): void => {
      const waiter = line.shift()
      if (waiter === undefined) {
        free++
        return
      }
      waiter.granted = true
      waiter.wake()
    }
    // Waits for a slot. If it is interrupted just as it gets the slot, the slot goes to the next.
    const queue = (priority: number): Effect.Effect<void> =>
      Effect.async<void>((resume) => {
        const waiter = line.add(priority, () => resume(Effect.void))
        if (take()) {
          line.remove(waiter)
          waiter.granted = true
          waiter.wake()
        }
        return Effect.sync(() => {
          if (!line.remove(waiter) && waiter.granted) release()
        })
      })

    const ended = (task: TaskImpl<unknown, unknown>, exit: Exit.Exit<unknown, unknown>): void => {
      living.delete(task)
      if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) {
        unobserved.add(task)
        if (first === undefined && onFailure !== "collect") {
          first = { task, cause: exit.cause }
          remember(task, exit.cause)
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

    // Holds a slot, unless the group refuses. One step, which nothing can interrupt.
    const launch = <A, E, R>(
      starter: Fiber.RuntimeFiber<unknown, unknown>,
      taskName: string,
      effect: Effect.Effect<A, E, R>,
      shield: boolean
    ): Task<A, E> => {
      const parent = starter.getFiberRef(currentTask)
      const clock = Context.get(starter.getFiberRef(DefaultServices.currentServices), Clock.Clock)
      const task = new TaskImpl<A, E>(host, taskName, parent, clock.unsafeCurrentTimeNanos(), shield)
      if (refusal !== undefined) {
        task.unsafeCancel(refusal)
        task.unsafeEnd(Exit.failCause(Cause.interrupt(Cancellation.toFiberId(refusal))))
        return task
      }
      living.add(task)
      const body = Effect.suspend(() => {
        task.stepped = true
        return effect
      })
      const fiber = forkTask(body, starter, Option.some<TaskId>(task))
      task.fiber = fiber
      // An observer and not `onExit`: a task that never takes its first step has no `onExit`.
      fiber.addObserver((exit) => ended(task, exit))
      return task
    }

    const start = <A, E, R>(
      taskName: string,
      effect: Effect.Effect<A, E, R>,
      options?: StartOptions
    ): Effect.Effect<Task<A, E>, never, R> =>
      Effect.withFiberRuntime((fiber) => {
        const shield = options?.shield ?? false
        const priority =
          options?.priority === undefined ? 0 : checkedNumber("priority", options.priority, anyNumber)
        if (take()) return Effect.succeed(launch(fiber, taskName, effect, shield))
        return Effect.uninterruptibleMask((restore) =>
          Effect.map(restore(queue(priority)), () => launch(fiber, taskName, effect, shield))
        )
      })

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
                return Effect.failCause(first.cause)
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
    return { group, failure: () => first?.cause, shut }
  })

/**
 * Opens a group in the current scope, whose tasks may fail with `E`. Closing the scope cancels running tasks (reason
 * `group NAME closed`, or the reason of the scope's own cancellation), waits for their clean-up and reports unobserved
 * failures. {@link scoped} does more: it also waits for the tasks, and stops its body when one fails.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as TaskGroup from "effect-asyncio/services/TaskGroup"
 *
 * export const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const group = yield* TaskGroup.make<Error>({ name: "warm-up", concurrency: 4 })
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
export const make: {
  <E = unknown>(
    options: Options<"collect"> & { readonly onFailure: "collect" }
  ): Effect.Effect<Group<E, never>, never, Scope.Scope>
  <E = unknown>(options?: Options): Effect.Effect<Group<E>, never, Scope.Scope>
} = (options?: Options) => Effect.map(build(options), (internals) => internals.group as Group<any, never>)

// layers

/**
 * One group for a whole application, closed with it. See {@link make}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E = unknown>(options?: Options): Layer.Layer<TaskGroup<E>> =>
  Layer.scoped(TaskGroup, make(options)) as Layer.Layer<any>

// programs' side

type Scoped<A, E, R, Mode extends OnFailure> = Effect.Effect<
  A,
  E | Failures<R, Mode>,
  Exclude<R, TaskGroup<any>>
>

/**
 * Runs the body with a group of its own and waits for every task of it (asyncio: `async with TaskGroup()`).
 *
 * Under `"cancel"` a failing task cancels the body too, and the effect fails with the task's error, typed as that of every
 * {@link start} in the body; {@link failedTask} returns the task. A body that fails counts as a member of the group:
 * under `"cancel"` the tasks are cancelled, otherwise they run to their end first. Interruption cancels the body and all
 * tasks at once, in every mode, with its reason.
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
  <const Mode extends OnFailure = "cancel">(
    options?: Options<Mode>
  ): <A, E, R>(body: Effect.Effect<A, E, R>) => Scoped<A, E, R, Mode>
  <A, E, R, const Mode extends OnFailure = "cancel">(
    body: Effect.Effect<A, E, R>,
    options?: Options<Mode>
  ): Scoped<A, E, R, Mode>
} = Fn.dual(
  (args) => Effect.isEffect(args[0]),
  (body: Effect.Effect<unknown, unknown, unknown>, options?: Options) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        let fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
        let stopped: Cancellation.Cancellation | undefined
        const { failure, group, shut } = yield* Scope.extend(
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
              Effect.suspend(() => {
                bodyFiber.unsafeInterruptAsFork(FiberId.combineAll(by))
                // Now, and not after the clean-up of the body: it may take long, or wait for a task.
                shut(
                  Cancellation.fromInterruptors(by)[0] ?? {
                    reason: `group ${group.name} failed`,
                    origin: group.name
                  }
                )
                return Effect.flatMap(Fiber.await(bodyFiber), (ended) =>
                  Causes.raise(Causes.failuresOf(ended))
                )
              })
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
          const known = Cause.sequential(joined.cause, failure() ?? Cause.empty)
          const own =
            Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause) && !Cause.contains(known, exit.cause)
          return yield* Effect.failCause(own ? Cause.sequential(joined.cause, exit.cause) : joined.cause)
        })
        return yield* Effect.onExit(waiting, (exit) => Scope.close(scope, exit))
      })
    )
) as never

/**
 * The current group, for tasks that may fail with `E` (asyncio has no counterpart: pass `tg` along).
 *
 * @since 0.1.0
 * @category effects
 */
export const current = <E = unknown>(): Effect.Effect<Group<E>, never, TaskGroup<E>> => TaskGroup as never

/**
 * {@link Group.start} in the current group, which then fails with `E` too.
 *
 * @since 0.1.0
 * @category effects
 */
export const start = <A, E, R>(
  name: string,
  effect: Effect.Effect<A, E, R>,
  options?: StartOptions
): Effect.Effect<Task<A, E>, never, R | TaskGroup<E>> =>
  Effect.flatMap(current<E>(), (group) => group.start(name, effect, options))

/**
 * {@link Group.shield} in the current group, which then fails with `E` too.
 *
 * @since 0.1.0
 * @category effects
 */
export const shield = <A, E, R>(
  name: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | TaskCancelled, R | TaskGroup<E>> =>
  Effect.flatMap(current<E>(), (group) => group.shield(name, effect))

/**
 * {@link Group.join} of the current group. It never fails itself: when a task has failed, it ends its caller by an
 * interruption with the reason `task NAME failed`, and the group fails with the error.
 *
 * @since 0.1.0
 * @category effects
 */
export const join: Effect.Effect<void, never, TaskGroup<never>> = Effect.flatMap(current<never>(), (group) =>
  Effect.catchAllCause(group.join, (cause) => {
    const task = Option.map(failedTask(cause), ({ name }) => name)
    const origin = Option.getOrElse(task, () => group.name)
    return Effect.failCause(
      Cause.interrupt(Cancellation.toFiberId({ reason: `task ${origin} failed`, origin }))
    )
  })
)

/**
 * {@link Group.tasks} of the current group.
 *
 * @since 0.1.0
 * @category effects
 */
export const tasks: Effect.Effect<ReadonlyArray<TaskInfo>, never, TaskGroup<never>> = Effect.flatMap(
  current<never>(),
  (group) => group.tasks
)
