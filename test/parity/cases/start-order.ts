import { Effect } from "effect"
import type * as Output from "../../../src/services/host/Output.js"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say } from "../Case.js"

const worker = (
  name: string,
  child?: string
): Effect.Effect<void, never, Output.Output | TaskGroup.TaskGroup> =>
  Effect.gen(function* () {
    yield* say(name)
    if (child !== undefined) {
      yield* TaskGroup.start(child, worker(child))
      yield* say(name, "goes on")
    }
    yield* Effect.sleep(10)
    yield* say(name, "ends")
  })

export default Effect.gen(function* () {
  yield* say("main before")
  yield* TaskGroup.start("a", worker("a", "c"))
  yield* TaskGroup.start("b", worker("b"))
  yield* say("main after")
}).pipe(TaskGroup.scoped())
