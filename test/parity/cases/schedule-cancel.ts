import { Effect } from "effect"
import * as Scheduling from "../../../src/programs/Scheduling.js"
import * as Timers from "../../../src/services/time/Timers.js"
import { say, truth } from "../Case.js"

export default Effect.gen(function* () {
  const first = yield* Scheduling.callLater(10, say("first"))
  const second = yield* Scheduling.callLater(20, say("second"))
  const third = yield* Scheduling.callSoon(say("third"))
  yield* second.cancel("not needed")
  yield* third.cancel("not needed")
  const cancelled = yield* Effect.forEach([second, third, first], (handle) => handle.cancelled)
  yield* say("cancelled", ...cancelled.map(truth))
  yield* Effect.sleep(40)
  yield* first.cancel("too late")
  yield* say("over")
}).pipe(Effect.provide(Timers.layer))
