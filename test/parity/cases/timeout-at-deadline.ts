import { Effect } from "effect"
import { say } from "../Case.js"

export default Effect.sleep(20).pipe(
  Effect.timeout(20),
  Effect.zipRight(say("made it")),
  Effect.catchTag("TimeoutException", () => say("timed out"))
)
