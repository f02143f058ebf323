import { Effect, Fiber } from "effect"
import * as Gather from "../../../src/services/task/Gather.js"
import { say } from "../Case.js"

const work = (name: string) => Effect.ensuring(Effect.sleep(10_000), say(name, "cleans up"))

export default Effect.gen(function* () {
  const fiber = yield* Effect.fork(Gather.gather([work("a"), work("b")]))
  yield* Effect.sleep(10)
  yield* Fiber.interrupt(fiber)
  yield* say("gather is cancelled")
})
