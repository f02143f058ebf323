import { Effect } from "effect"
import { say } from "../Case.js"

const inner = Effect.sleep(10_000).pipe(
  Effect.timeout("1 second"),
  Effect.catchTag("TimeoutException", () => say("inner timed out")),
  Effect.ensuring(say("inner ends"))
)

export default Effect.timeout(inner, 20).pipe(
  Effect.catchTag("TimeoutException", () => say("outer timed out"))
)
