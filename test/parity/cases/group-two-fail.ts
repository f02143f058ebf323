import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { failure, say } from "../Case.js"

const fail = (name: string) => Effect.zipRight(Effect.yieldNow(), Effect.fail(name))

export default Effect.zipRight(TaskGroup.start("a", fail("a")), TaskGroup.start("b", fail("b"))).pipe(
  TaskGroup.scoped(),
  Effect.catchAllCause((cause) => say("failed:", failure(cause)))
)
