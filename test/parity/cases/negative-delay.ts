import { Effect } from "effect"
import * as Scheduling from "../../../src/programs/Scheduling.js"
import * as Sleep from "../../../src/services/task/Sleep.js"
import * as Timers from "../../../src/services/time/Timers.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  yield* Scheduling.callLater(-1000, say("minus one"))
  yield* say("asked")
  yield* Effect.sleep(10)
  yield* Scheduling.callLater(0, say("zero"))
  yield* say("asked")
  yield* Sleep.sleep(-1000)
  yield* Effect.sleep(10)
}).pipe(Effect.provide(Timers.layer))
