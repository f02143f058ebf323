import { Effect } from "effect"
import { say } from "../Case.js"

const work = say("first step").pipe(
  Effect.zipRight(Effect.sleep(10)),
  Effect.zipRight(say("second step")),
  Effect.ensuring(say("cleans up"))
)

export default Effect.gen(function* () {
  yield* Effect.timeout(say("nothing to wait for"), 0)
  yield* Effect.timeout(work, 0)
}).pipe(Effect.catchTag("TimeoutException", () => say("timed out")))
