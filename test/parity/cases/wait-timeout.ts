import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import * as WaitTasks from "../../../src/services/task/WaitTasks.js"
import { say, wasCancelled } from "../Case.js"

export default Effect.gen(function* () {
  const tasks = yield* Effect.forEach([10, 30], (delay) =>
    TaskGroup.start(`${delay / 1000}`, Effect.sleep(delay))
  )
  const { done, pending } = yield* WaitTasks.wait(tasks, { timeout: 20 })
  yield* say("done", ...done.map(({ name }) => name), "pending", ...pending.map(({ name }) => name))
  for (const task of pending) {
    yield* say("cancelled", yield* wasCancelled(task))
    yield* task.result
    yield* say("it went on")
  }
}).pipe(TaskGroup.scoped())
