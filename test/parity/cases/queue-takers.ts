import { Effect, Queue } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  const queue = yield* Queue.unbounded<number>()
  const tasks = yield* Effect.forEach(["a", "b", "c"], (name) =>
    TaskGroup.start(
      name,
      Effect.flatMap(Queue.take(queue), (n) => say(name, "got", n))
    )
  )
  yield* Effect.sleep(10)
  yield* tasks[0]!.cancel("not needed")
  yield* Queue.offerAll(queue, [0, 1])
}).pipe(TaskGroup.scoped())
