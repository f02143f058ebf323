import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { failure, say } from "../Case.js"

export default Effect.gen(function* () {
  yield* TaskGroup.start("fails", Effect.zipRight(Effect.sleep(10), Effect.fail("no")))
  yield* Effect.ensuring(Effect.zipRight(Effect.sleep(10_000), say("never")), say("body stopped"))
}).pipe(
  TaskGroup.scoped(),
  Effect.catchAllCause((cause) => say("failed:", failure(cause))),
  Effect.zipRight(say("the caller goes on"))
)
