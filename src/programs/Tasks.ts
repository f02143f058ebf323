import { Effect, type Exit } from "effect"
import * as Output from "../services/host/Output.js"
import * as TaskGroup from "../services/task/TaskGroup.js"
import * as WaitTasks from "../services/task/WaitTasks.js"

// #region example
const hello1 = Effect.zipRight(Effect.sleep("500 millis"), Output.print("hi 1"))

const hello2 = Output.print("hi 2")

/**
 * The guide's Basics(2): two tasks that run at the same time. Prints `hi 2`, then half a second later `hi 1`.
 *
 * @since 0.1.0
 * @category examples
 */
export const example: Effect.Effect<void, TaskGroup.TaskCancelled, Output.Output> = Effect.gen(function* () {
  const task1 = yield* TaskGroup.start("hello1", hello1)
  const task2 = yield* TaskGroup.start("hello2", hello2)
  yield* task2.result
  yield* task1.result
}).pipe(TaskGroup.scoped({ name: "tasks" }))
// #endregion

type AnyEffect = Effect.Effect<unknown, unknown, unknown>
type Named = readonly [name: string, effect: AnyEffect]
type Result<Eff extends AnyEffect, Mode> = Mode extends "collect"
  ? Exit.Exit<Effect.Effect.Success<Eff>, Effect.Effect.Error<Eff>>
  : Effect.Effect.Success<Eff>

/**
 * Settings of {@link runAll}.
 *
 * @since 0.1.0
 * @category options
 */
export interface RunAllOptions<Mode extends TaskGroup.OnFailure = "cancel"> extends TaskGroup.Options<Mode> {}

/**
 * Runs named effects as one group and returns their results in input order, once no task is left, clean-up included.
 *
 * Fails with the first failure, at once under `"cancel"` and when all are done under `"continue"`, or with
 * `TaskCancelled` when a task interrupted itself; under `"collect"` it never fails and every result is an `Exit`. Further
 * failures go to `report`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Tasks from "effect-asyncio/programs/Tasks"
 *
 * export const program = Tasks.runAll(
 *   [
 *     ["lint", Effect.succeed(0)],
 *     ["test", Effect.fail("3 tests failed")]
 *   ],
 *   { onFailure: "collect", concurrency: 2 }
 * )
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const runAll = Effect.fn("Tasks.runAll")(function* <
  const T extends ReadonlyArray<Named>,
  const Mode extends TaskGroup.OnFailure = "cancel"
>(tasks: T, options?: RunAllOptions<Mode>) {
  type Failure = Effect.Effect.Error<T[number][1]>
  const all = Effect.gen(function* () {
    const started = yield* Effect.forEach(tasks, ([name, effect]) => TaskGroup.start(name, effect))
    yield* TaskGroup.join
    return yield* options?.onFailure === "collect"
      ? Effect.forEach(started, (task) => task.await)
      : WaitTasks.results(started)
  })
  return yield* TaskGroup.scoped(all, options) as Effect.Effect<
    { -readonly [K in keyof T]: Result<T[K][1], Mode> },
    Mode extends "collect" ? never : Failure | TaskGroup.TaskCancelled,
    Effect.Effect.Context<T[number][1]>
  >
})
