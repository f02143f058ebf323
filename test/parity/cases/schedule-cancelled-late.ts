import { Effect } from "effect"
import * as Scheduling from "../../../src/programs/Scheduling.js"
import * as Timers from "../../../src/services/time/Timers.js"
import { say, truth } from "../Case.js"

export default Effect.gen(function* () {
  const handle = yield* Scheduling.callSoon(say("runs"))
  yield* Effect.sleep(10)
  yield* handle.cancel("too late")
  yield* say("cancelled", truth(yield* handle.cancelled))
}).pipe(Effect.provide(Timers.layer))
