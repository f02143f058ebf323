import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { failure, say } from "../Case.js"

const reported: Array<unknown> = []

export default Effect.gen(function* () {
  yield* TaskGroup.start("work", Effect.ensuring(Effect.sleep(10_000), Effect.die(new Error("work"))))
  yield* Effect.sleep(10)
  return yield* Effect.fail("body")
}).pipe(
  TaskGroup.scoped({ report: ({ cause }) => Effect.sync(() => void reported.push(failure(cause))) }),
  Effect.catchAllCause((cause) => say("failed:", failure(cause))),
  Effect.zipRight(Effect.suspend(() => Effect.forEach(reported, (one) => say("reported:", one))))
)
