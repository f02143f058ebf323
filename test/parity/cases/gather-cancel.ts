import { Effect } from "effect"
import * as Gather from "../../../src/services/task/Gather.js"
import { say } from "../Case.js"

const fails = Effect.sleep(20).pipe(Effect.zipRight(say("a fails")), Effect.zipRight(Effect.fail("no")))

const sibling = Effect.ensuring(
  Effect.sleep(10_000),
  say("b is cancelled").pipe(Effect.zipRight(Effect.sleep(10)), Effect.zipRight(say("b has cleaned up")))
)

export default Gather.gather([fails, sibling, say("c ends")], { onFailure: "cancel" }).pipe(
  Effect.catchAll((error) => say("failed:", error))
)
