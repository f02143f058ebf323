import { Effect } from "effect"
import * as LongRunning from "../../../src/programs/LongRunning.js"
import { say } from "../Case.js"

export default LongRunning.cancelAfter(LongRunning.forever(say("Hello"), 40), 100, {
  onStart: say("task running now..."),
  onDue: say("we waited")
}).pipe(Effect.zipRight(say("task cancelled")))
