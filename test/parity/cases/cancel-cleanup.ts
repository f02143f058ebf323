import { Effect, Option } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say, wasCancelled } from "../Case.js"

const work = say("work runs").pipe(
  Effect.zipRight(Effect.sleep(10_000)),
  Effect.ensuring(
    Effect.gen(function* () {
      yield* say("clean-up begins")
      yield* Effect.sleep(10)
      yield* say("clean-up ends")
    })
  )
)

export default Effect.gen(function* () {
  const task = yield* TaskGroup.start("work", work)
  yield* Effect.sleep(10)
  yield* task.cancel("not needed")
  yield* say("main goes on, cancelled", yield* wasCancelled(task))
  yield* task.cancel("once more")
  const [first] = Option.toArray(yield* task.cancellation)
  if (first?.reason === "not needed") yield* say("cancelled once only")
}).pipe(TaskGroup.scoped())
