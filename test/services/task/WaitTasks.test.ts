import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Exit, Fiber, Stream } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import * as WaitTasks from "../../../src/services/task/WaitTasks.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"
import { suspended, until } from "../../support/Waits.js"

describe("WaitTasks", () => {
  const three = (group: TaskGroup.Group) =>
    Effect.gen(function* () {
      const gate = Deferred.make<string, string>()
      const gates = [yield* gate, yield* gate, yield* gate] as const
      const tasks = [
        yield* group.start("a", Deferred.await(gates[0])),
        yield* group.start("b", Deferred.await(gates[1])),
        yield* group.start("c", Deferred.await(gates[2]))
      ] as const
      return { gates, tasks }
    })
  const names = (tasks: ReadonlyArray<TaskGroup.TaskId>) => tasks.map((task) => task.name)

  it.effect(
    "waits no longer than its timeout; what ends exactly then is done, and nothing is cancelled",
    () =>
      Effect.gen(function* () {
        const later = (millis: number) => Effect.as(Effect.sleep(millis), millis)
        const tasks = [
          yield* TaskGroup.start("quick", later(10)),
          yield* TaskGroup.start("equal", later(20)),
          yield* TaskGroup.start("late", later(30))
        ]
        const { done, pending } = yield* WaitTasks.wait(tasks, { timeout: 20 })
        expect([names(done), names(pending)]).toEqual([["quick", "equal"], ["late"]])
        const first = yield* WaitTasks.wait(pending, { until: "first", timeout: "1 hour" })
        expect([names(first.done), names(first.pending)]).toEqual([["late"], []])
        expect(yield* WaitTasks.results(tasks)).toEqual([10, 20, 30])
        expect(yield* WaitTasks.wait([], { timeout: "1 hour" })).toEqual({ done: [], pending: [] })
        const zero = yield* WaitTasks.wait([yield* TaskGroup.start("never", later(1))], { timeout: 0 })
        expect(names(zero.pending)).toEqual(["never"])
      }).pipe(TaskGroup.scoped(), VirtualClock.run())
  )

  it.scoped("firstCompleted returns done and pending tasks, to be waited for again", () =>
    Effect.gen(function* () {
      const group = yield* TaskGroup.make({ onFailure: "collect" })
      const { gates, tasks } = yield* three(group)
      const waiting = yield* Effect.fork(WaitTasks.firstCompleted(tasks))
      yield* suspended(waiting)
      yield* Deferred.succeed(gates[1], "b")
      const one = yield* Fiber.join(waiting)
      expect([names(one.done), names(one.pending)]).toEqual([["b"], ["a", "c"]])
      yield* Deferred.succeed(gates[2], "c")
      const two = yield* WaitTasks.firstCompleted(one.pending)
      expect([names(two.done), names(two.pending)]).toEqual([["c"], ["a"]])
      const now = yield* WaitTasks.firstCompleted(tasks)
      expect([names(now.done), names(now.pending)]).toEqual([["b", "c"], ["a"]])
      const none = yield* WaitTasks.firstCompleted([])
      expect(none).toEqual({ done: [], pending: [] })
    })
  )

  it.scoped("until firstFailed passes over successes", () =>
    Effect.gen(function* () {
      const messages: Array<string> = []
      const report = ({ message }: TaskGroup.TaskFailed) => Effect.sync(() => void messages.push(message))
      const group = yield* TaskGroup.make({ onFailure: "collect", report })
      const { gates, tasks } = yield* three(group)
      const waiting = yield* Effect.fork(WaitTasks.wait(tasks, { until: "firstFailed" }))
      const other = yield* Effect.fork(WaitTasks.firstCompleted(tasks))
      yield* Effect.zipRight(suspended(waiting), suspended(other))
      yield* Deferred.succeed(gates[0], "a")
      yield* Fiber.join(other) // began to wait later, and has been notified of the success
      expect(waiting.unsafePoll()).toBeNull()
      yield* Deferred.fail(gates[1], "b")
      const { done, pending } = yield* Fiber.join(waiting)
      expect([names(done), names(pending), messages]).toEqual([["a", "b"], ["c"], []])
    })
  )

  it.scoped("until all have ended", () =>
    Effect.gen(function* () {
      const group = yield* TaskGroup.make({ onFailure: "collect" })
      const { gates, tasks } = yield* three(group)
      const waiting = yield* Effect.fork(WaitTasks.wait(tasks))
      yield* suspended(waiting)
      for (const [i, gate] of gates.entries()) {
        expect(waiting.unsafePoll()).toBeNull()
        const other = yield* Effect.fork(WaitTasks.firstCompleted(tasks.slice(i)))
        yield* suspended(other)
        yield* Deferred.succeed(gate, "ok")
        yield* Fiber.join(other) // began to wait later, and has been notified of this end
      }
      expect(names((yield* Fiber.join(waiting)).done)).toEqual(["a", "b", "c"])
    })
  )

  it.scoped("results are in the order given, or the first failure in time", () =>
    Effect.gen(function* () {
      const group = yield* TaskGroup.make({ onFailure: "collect" })
      const good = yield* three(group)
      for (const i of [2, 0, 1] as const) {
        yield* Deferred.succeed(good.gates[i], `${i}`)
        yield* good.tasks[i].await
      }
      const [a, b, c]: [string, string, string] = yield* WaitTasks.results(good.tasks)
      expect([a, b, c]).toEqual(["0", "1", "2"])
      const bad = yield* three(group)
      const waiting = yield* Effect.fork(WaitTasks.results(bad.tasks))
      yield* suspended(waiting)
      yield* Deferred.fail(bad.gates[1], "broken")
      expect(yield* Fiber.await(waiting)).toEqual(Exit.fail("broken"))
      yield* bad.tasks[2].cancel("never mind")
      yield* Deferred.succeed(bad.gates[0], "a")
      const error = yield* Effect.flip(WaitTasks.results([bad.tasks[0], bad.tasks[2]]))
      expect(error).toMatchObject({ _tag: "TaskCancelled", task: "c" })
    })
  )

  it.scoped("asCompleted streams the tasks as they end, each once, then ends", () =>
    Effect.gen(function* () {
      const group = yield* TaskGroup.make({ onFailure: "collect" })
      const { gates, tasks } = yield* three(group)
      yield* Deferred.succeed(gates[1], "b")
      yield* tasks[1].await
      let seen = 0
      const stream = yield* WaitTasks.asCompleted([...tasks, tasks[0]]).pipe(
        Stream.tap(() => Effect.sync(() => seen++)),
        Stream.runCollect,
        Effect.fork
      )
      yield* until(() => seen === 1)
      yield* Deferred.succeed(gates[2], "c")
      yield* until(() => seen === 2)
      yield* Deferred.succeed(gates[0], "a")
      expect(names(Chunk.toArray(yield* Fiber.join(stream)))).toEqual(["b", "c", "a"])
      expect(yield* Stream.runCollect(WaitTasks.asCompleted([]))).toEqual(Chunk.empty())
      const again = yield* Stream.runCollect(WaitTasks.asCompleted(tasks))
      expect(names(Chunk.toArray(again))).toEqual(["b", "c", "a"])
    })
  )
})
