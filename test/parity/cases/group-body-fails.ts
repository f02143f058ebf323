import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  yield* TaskGroup.start("work", Effect.ensuring(Effect.sleep(10_000), say("work cleans up")))
  yield* Effect.sleep(10)
  return yield* Effect.fail("body")
}).pipe(
  TaskGroup.scoped(),
  Effect.catchAll((error) => say("failed:", error))
)
