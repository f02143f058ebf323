import { Effect } from "effect"
import * as Gather from "../../../src/services/task/Gather.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  const semaphore = yield* Effect.makeSemaphore(2)
  const work = (name: string, delay: number) =>
    say(name, "in").pipe(
      Effect.zipRight(Effect.sleep(delay)),
      Effect.zipRight(say(name, "out")),
      semaphore.withPermits(1)
    )
  yield* Gather.gather([work("a", 10), work("b", 30), work("c", 40), work("d", 50)])
})
