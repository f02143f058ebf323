import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  const task = yield* TaskGroup.start("work", Effect.ensuring(Effect.sleep(10_000), say("work cleans up")))
  yield* Effect.sleep(10)
  yield* task.cancel("not needed")
  yield* say("cancel returns")
}).pipe(TaskGroup.scoped())
