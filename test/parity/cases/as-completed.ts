import { Effect, Stream } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import * as WaitTasks from "../../../src/services/task/WaitTasks.js"
import { outcome, say } from "../Case.js"

const work = (name: string, delay: number, error?: string) =>
  Effect.zipRight(Effect.sleep(delay), error === undefined ? Effect.succeed(name) : Effect.fail(error))

export default Effect.gen(function* () {
  const tasks = [
    yield* TaskGroup.start("a", work("a", 50)),
    yield* TaskGroup.start("b", work("b", 10)),
    yield* TaskGroup.start("c", work("c", 30, "no"))
  ]
  yield* Stream.runForEach(WaitTasks.asCompleted(tasks), (task) =>
    Effect.flatMap(task.await, (exit) => say(outcome(exit)))
  )
}).pipe(TaskGroup.scoped({ onFailure: "collect" }))
