import { Clock, Effect } from "effect"
import * as Scheduling from "../../../src/programs/Scheduling.js"
import * as Timers from "../../../src/services/time/Timers.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  const when = (yield* Clock.currentTimeMillis) + 10
  for (let n = 0; n < 6; n++) yield* Scheduling.callAt(when, say(n))
  yield* Effect.sleep(30)
}).pipe(Effect.provide(Timers.layer))
