import { Cause, Effect, Exit, Fiber } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { failure, say } from "../Case.js"

const task = Effect.ensuring(Effect.sleep(10_000), Effect.die(new Error("clean-up broke")))

export default Effect.gen(function* () {
  const group = TaskGroup.start("task", task).pipe(
    TaskGroup.scoped({
      report: ({ cause }) => Effect.sync(() => void reported.push(failure(cause)))
    })
  )
  const reported: Array<unknown> = []
  const running = yield* Effect.fork(group)
  yield* Effect.sleep(10)
  const exit = yield* Fiber.interrupt(running)
  for (const failure of reported) yield* say("reported:", failure)
  yield* say(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause) ? "group cancelled" : "group failed")
})
