import { Effect, Exit } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import * as WaitTasks from "../../../src/services/task/WaitTasks.js"
import { failure, say } from "../Case.js"

const work = (name: string, delay: number, error?: string) =>
  Effect.sleep(delay).pipe(
    Effect.zipRight(say(name, "ends")),
    Effect.zipRight(error === undefined ? Effect.void : Effect.fail(error))
  )

const show = ({ done, pending }: WaitTasks.Waited<TaskGroup.TaskId>) =>
  say("done", ...done.map(({ name }) => name), "pending", ...pending.map(({ name }) => name))

export default Effect.gen(function* () {
  const a = yield* TaskGroup.start("a", work("a", 10))
  const b = yield* TaskGroup.start("b", work("b", 30, "no"))
  const c = yield* TaskGroup.start("c", work("c", 50))
  const tasks = [a, b, c]
  yield* show(yield* WaitTasks.wait(tasks, { until: "firstFailed" }))
  yield* show(yield* WaitTasks.wait(tasks))
  yield* say("b:", Exit.match(yield* b.await, { onFailure: failure, onSuccess: () => "no failure" }))
}).pipe(TaskGroup.scoped({ onFailure: "collect" }))
