import { Effect, Queue } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  const queue = yield* Queue.bounded<number>(2)
  yield* TaskGroup.start(
    "producer",
    Effect.forEach([0, 1, 2, 3], (n) => Effect.zipRight(Queue.offer(queue, n), say("put", n)))
  )
  yield* Effect.sleep(10)
  yield* say("full")
  for (let n = 0; n < 4; n++) {
    yield* say("got", yield* Queue.take(queue))
    yield* Effect.sleep(10)
  }
}).pipe(TaskGroup.scoped())
