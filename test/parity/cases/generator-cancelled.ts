import { Effect, Stream } from "effect"
import * as Generators from "../../../src/services/stream/Generators.js"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say, wasCancelled } from "../Case.js"

const numbers = Generators.produce((emit: Generators.Emit<number>) =>
  emit(0).pipe(
    Effect.zipRight(say("producer waits")),
    Effect.zipRight(Effect.sleep(10_000)),
    Effect.zipRight(emit(1)),
    Effect.ensuring(say("finalised"))
  )
)

const consume = Effect.ensuring(
  Stream.runForEach(numbers, (n) => say("got", n)),
  say("consumer ends")
)

export default Effect.gen(function* () {
  const task = yield* TaskGroup.start("consume", consume)
  yield* Effect.sleep(10)
  yield* task.cancel("not needed")
  yield* say("cancelled", yield* wasCancelled(task))
}).pipe(TaskGroup.scoped())
