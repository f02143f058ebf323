import { Effect, Fiber } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say } from "../Case.js"

const task = Effect.zipRight(Effect.sleep(20), say("task ends")).pipe(
  Effect.onInterrupt(() => say("task cancelled"))
)

const group = Effect.zipRight(TaskGroup.start("task", task), Effect.sleep(10_000)).pipe(
  Effect.ensuring(Effect.zipRight(Effect.sleep(50), say("body has cleaned up"))),
  TaskGroup.scoped()
)

export default Effect.gen(function* () {
  const running = yield* Effect.fork(group)
  yield* Effect.sleep(10)
  yield* Fiber.interrupt(running)
  yield* say("group cancelled")
})
