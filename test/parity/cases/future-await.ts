import { Deferred, Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import * as WaitTasks from "../../../src/services/task/WaitTasks.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  const future = yield* Deferred.make<number>()
  const waiter = (name: string) => Effect.flatMap(Deferred.await(future), (value) => say(name, "has", value))
  const tasks = yield* Effect.forEach(["a", "b"], (name) => TaskGroup.start(name, waiter(name)))
  yield* Effect.sleep(10)
  yield* Deferred.succeed(future, 3)
  yield* say("set")
  if (!(yield* Deferred.succeed(future, 4))) yield* say("once only")
  yield* WaitTasks.results(tasks)
  yield* waiter("late")
}).pipe(TaskGroup.scoped())
