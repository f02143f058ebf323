import { Effect, Fiber } from "effect"
import * as Gather from "../../../src/services/task/Gather.js"
import { say } from "../Case.js"

const work = (name: string, delay: number) =>
  Effect.ensuring(Effect.sleep(10_000), Effect.zipRight(Effect.sleep(delay), say(name, "has cleaned up")))

export default Effect.gen(function* () {
  const fiber = yield* Effect.fork(Gather.gather([work("a", 10), work("b", 30)]))
  yield* Effect.sleep(10)
  yield* Fiber.interrupt(fiber)
  yield* say("gather is cancelled")
})
