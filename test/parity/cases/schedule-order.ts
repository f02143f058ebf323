import { Clock, Effect } from "effect"
import * as Scheduling from "../../../src/programs/Scheduling.js"
import * as Timers from "../../../src/services/time/Timers.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  yield* Scheduling.callLater(30, say("later"))
  yield* Scheduling.callAt((yield* Clock.currentTimeMillis) + 15, say("at"))
  yield* Scheduling.callSoon(say("soon"))
  yield* Scheduling.callSoon(say("soon too"))
  yield* say("asked")
  yield* Effect.sleep(50)
}).pipe(Effect.provide(Timers.layer))
