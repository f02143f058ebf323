import { Effect } from "effect"
import * as Scheduling from "../../../src/programs/Scheduling.js"
import * as Output from "../../../src/services/host/Output.js"
import * as Timers from "../../../src/services/time/Timers.js"
import { failure, say } from "../Case.js"

export default Effect.gen(function* () {
  const { print } = yield* Output.Output
  const report = ({ cause }: Timers.TimerFailed) => print(`reported: ${failure(cause)}`)
  yield* Effect.gen(function* () {
    yield* Scheduling.callSoon(Effect.zipRight(say("first"), Effect.fail("broken")))
    yield* Scheduling.callSoon(say("second"))
    yield* Effect.sleep(10)
    yield* say("main goes on")
  }).pipe(Effect.provide(Timers.layerWith({ report })))
})
