import { type Duration, Effect, Exit, Stream } from "effect"
import { checkedDuration, time } from "../text/Numbers.js"
import { listen, type Task, type TaskCancelled, type TaskImpl, until } from "./internal/task.js"
import * as Sleep from "./Sleep.js"

// Waiting for several tasks, of one group or of many, without cancelling any.

/**
 * The tasks that {@link wait} was given, each list in the order given.
 *
 * @since 0.1.0
 * @category models
 */
export interface Waited<T> {
  readonly done: Array<T>
  readonly pending: Array<T>
}

type AnyTask = Task<unknown, unknown>
type SuccessOf<T> = T extends Task<infer A, unknown> ? A : never
type ErrorOf<T> = T extends Task<unknown, infer E> ? E : never

const unique = (given: Iterable<AnyTask>) => Array.from(new Set(given)) as Array<TaskImpl<unknown, unknown>>

const hasFailed = (task: TaskImpl<unknown, unknown>) => task.unsafeStatus() === "failed"

/**
 * Settings of {@link wait}.
 *
 * @since 0.1.0
 * @category options
 */
export interface WaitOptions {
  /**
   * - `"first"`: until one has ended (FIRST_COMPLETED)
   * - `"firstFailed"`: until one has failed, or all have ended (FIRST_EXCEPTION)
   * - `"all"`: until all have ended (ALL_COMPLETED). The default.
   */
  readonly until?: "first" | "firstFailed" | "all" | undefined
  /** Waits no longer than this; a task that ends exactly then is done. Default: no limit. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Waits for some of the tasks, and returns those that have ended and those that have not (asyncio: `asyncio.wait`).
 * Cancels none, a timeout included, and observes no failure: a task's own `result`, `await` or `poll` does. Without
 * tasks it returns two empty lists, where asyncio raises an error.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as TaskGroup from "effect-asyncio/services/TaskGroup"
 * import * as WaitTasks from "effect-asyncio/services/WaitTasks"
 *
 * export const program = Effect.gen(function* () {
 *   const tasks = [yield* TaskGroup.start("quick", Effect.void), yield* TaskGroup.start("slow", Effect.never)]
 *   const { done, pending } = yield* WaitTasks.wait(tasks, { timeout: "2 seconds" })
 *   for (const task of pending) yield* task.cancel("not done within 2 s")
 *   return done.map(({ name }) => name)
 * }).pipe(TaskGroup.scoped())
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const wait = <T extends AnyTask>(
  given: Iterable<T>,
  options: WaitOptions = {}
): Effect.Effect<Waited<T>> =>
  Effect.suspend(() => {
    const all = unique(given)
    const kind = options.until ?? "all"
    const enough = until(all, (task) => kind === "first" || (kind === "firstFailed" && hasFailed(task)))
    const limit =
      options.timeout === undefined ? undefined : checkedDuration("timeout", options.timeout, time)
    return Effect.map(limit === undefined ? enough : Effect.raceFirst(enough, Sleep.sleep(limit)), () => {
      const waited: Waited<TaskImpl<unknown, unknown>> = { done: [], pending: [] }
      for (const task of all) (task.exit === undefined ? waited.pending : waited.done).push(task)
      return waited as unknown as Waited<T>
    })
  })

/**
 * {@link wait} until one has ended; call it with `pending` for the next (asyncio: `wait(…, FIRST_COMPLETED)`).
 *
 * @since 0.1.0
 * @category effects
 */
export const firstCompleted = <T extends AnyTask>(given: Iterable<T>): Effect.Effect<Waited<T>> =>
  wait(given, { until: "first" })

/**
 * The results in the order given. Fails with the first task that fails or is cancelled, at once; the others run on in
 * their group (asyncio: awaiting `gather(*tasks)`).
 *
 * @since 0.1.0
 * @category effects
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
 * The tasks as they end, each once (asyncio: `as_completed`). Tasks that have ended before come first, in the order of
 * their ends. Failures stay in the tasks: read each one's `result`.
 *
 * @since 0.1.0
 * @category streams
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
