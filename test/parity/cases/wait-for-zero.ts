import { Effect } from "effect"
import { say } from "../Case.js"

export default Effect.zipRight(say("work begins"), Effect.sleep(10_000)).pipe(
  Effect.timeout(0),
  Effect.catchTag("TimeoutException", () => say("timed out"))
)
