import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say } from "../Case.js"

const work = Effect.sleep(10_000).pipe(
  Effect.catchAllCause(() => say("never: an interruption cannot be caught")),
  Effect.onInterrupt(() => say("work is asked to stop")),
  Effect.zipRight(Effect.sleep(10)),
  Effect.zipRight(say("work goes on"))
)

export default Effect.gen(function* () {
  const task = yield* TaskGroup.start("work", work)
  yield* Effect.sleep(10)
  yield* task.cancel("not needed")
  yield* say(yield* task.status)
}).pipe(TaskGroup.scoped())
