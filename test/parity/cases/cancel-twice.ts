import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say } from "../Case.js"

const cleanUp = Effect.gen(function* () {
  yield* say("clean-up begins")
  yield* Effect.sleep(20)
  yield* say("clean-up ends")
})

export default Effect.gen(function* () {
  const task = yield* TaskGroup.start("work", Effect.ensuring(Effect.sleep(10_000), cleanUp))
  yield* Effect.sleep(10)
  yield* Effect.fork(task.cancel("not needed"))
  yield* Effect.sleep(10)
  yield* say("cancel again")
  yield* task.cancel("really")
  yield* say("over")
}).pipe(TaskGroup.scoped())
