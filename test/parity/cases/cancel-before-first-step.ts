import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say, wasCancelled } from "../Case.js"

const work = Effect.ensuring(say("work runs"), say("work cleans up"))

export default Effect.gen(function* () {
  const task = yield* TaskGroup.start("work", work)
  yield* task.onDone((task) => Effect.flatMap(wasCancelled(task), (it) => say("callback: cancelled", it)))
  yield* task.cancel("not needed")
  yield* Effect.catchTag(task.result, "TaskCancelled", () => say("main: cancelled"))
}).pipe(TaskGroup.scoped())
