import { Effect } from "effect"
import * as Scheduling from "../../../src/programs/Scheduling.js"
import * as Timers from "../../../src/services/time/Timers.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  yield* Scheduling.callLater(0, say("zero"))
  yield* Scheduling.callLater(-1000, say("minus one"))
  yield* Scheduling.callSoon(say("soon"))
  yield* Effect.sleep(10)
}).pipe(Effect.provide(Timers.layer))
