import { Effect } from "effect"
import * as Scheduling from "../../../src/programs/Scheduling.js"
import * as Timers from "../../../src/services/time/Timers.js"
import { say } from "../Case.js"

// Node's own setTimeout would fire at once: it takes at most 2^31-1 ms.
export const clock = "live"

export default Effect.gen(function* () {
  const handle = yield* Scheduling.callLater("30 days", say("a month later"))
  yield* Effect.sleep(20)
  yield* say("not yet")
  yield* handle.cancel("not needed")
}).pipe(Effect.provide(Timers.layer))
