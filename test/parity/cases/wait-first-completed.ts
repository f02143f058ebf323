import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import * as WaitTasks from "../../../src/services/task/WaitTasks.js"
import { say } from "../Case.js"

const work = (name: string, delay: number) => Effect.zipRight(Effect.sleep(delay), say(name, "ends"))

const names = (tasks: ReadonlyArray<TaskGroup.TaskId>) => tasks.map(({ name }) => name)

export default Effect.gen(function* () {
  let pending = [
    yield* TaskGroup.start("a", work("a", 50)),
    yield* TaskGroup.start("b", work("b", 10)),
    yield* TaskGroup.start("c", work("c", 30))
  ]
  while (pending.length > 0) {
    const waited = yield* WaitTasks.firstCompleted(pending)
    pending = waited.pending
    yield* say("done", ...names(waited.done), "pending", ...names(pending))
  }
}).pipe(TaskGroup.scoped())
