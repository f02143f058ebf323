import { Effect } from "effect"
import * as Output from "../../../src/services/host/Output.js"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { failure, say } from "../Case.js"

export default Effect.gen(function* () {
  const { print } = yield* Output.Output
  yield* Effect.gen(function* () {
    const task = yield* TaskGroup.start("work", Effect.as(say("work"), 3))
    yield* task.onDone(() => Effect.zipRight(say("first"), Effect.fail("broken")))
    yield* task.onDone((task) => Effect.flatMap(Effect.orDie(task.result), (result) => say("second", result)))
    yield* say("main waits")
    yield* Effect.sleep(10)
    yield* task.onDone(() => say("late"))
    yield* say("main goes on")
  }).pipe(TaskGroup.scoped({ report: ({ cause }) => print(`reported: ${failure(cause)}`) }))
})
