import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  const task = yield* TaskGroup.start("work", Effect.sleep(10_000))
  yield* Effect.sleep(10)
  yield* task.cancel("too slow")
  yield* Effect.catchTag(task.result, "TaskCancelled", ({ cancellation }) =>
    say("cancelled:", cancellation.reason)
  )
}).pipe(TaskGroup.scoped())
