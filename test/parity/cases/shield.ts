import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say, wasCancelled } from "../Case.js"

const commit = say("commit begins").pipe(
  Effect.zipRight(Effect.sleep(30)),
  Effect.zipRight(say("commit ends")),
  Effect.onInterrupt(() => say("commit cancelled"))
)

export default Effect.gen(function* () {
  const task = yield* TaskGroup.start(
    "caller",
    Effect.ensuring(TaskGroup.shield("commit", commit), say("caller ends"))
  )
  yield* Effect.sleep(10)
  yield* task.cancel("not needed")
  yield* say("caller cancelled", yield* wasCancelled(task))
}).pipe(TaskGroup.scoped())
