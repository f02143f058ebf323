import { Effect } from "effect"
import { failure, say } from "../Case.js"

export default Effect.sleep(10_000).pipe(
  Effect.ensuring(Effect.die(new Error("clean-up broke"))),
  Effect.timeout(10),
  Effect.catchTag("TimeoutException", () => say("timed out")),
  Effect.catchAllCause((cause) => say(failure(cause)))
)
