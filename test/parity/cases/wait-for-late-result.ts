import { Effect } from "effect"
import { say } from "../Case.js"

export default Effect.sleep(20).pipe(
  Effect.as("late result"),
  Effect.uninterruptible,
  Effect.timeout(10),
  Effect.flatMap(say),
  Effect.catchTag("TimeoutException", () => say("timed out"))
)
