import { Effect } from "effect"
import * as Output from "../../../src/services/host/Output.js"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { failure, say } from "../Case.js"

export default Effect.gen(function* () {
  const { print } = yield* Output.Output
  yield* Effect.gen(function* () {
    yield* TaskGroup.start("work", Effect.fail("lost"))
    yield* Effect.sleep(10)
    yield* say("main goes on")
  }).pipe(
    TaskGroup.scoped({ onFailure: "collect", report: ({ cause }) => print(`reported: ${failure(cause)}`) })
  )
  yield* say("over")
})
