import { Effect } from "effect"
import * as Tracked from "../../../src/services/task/Tracked.js"
import { say } from "../Case.js"

const work = Tracked.tracked("work", () => say("work"))

export default Effect.gen(function* () {
  // @effect-diagnostics-next-line floatingEffect:off
  work()
  yield* say("main goes on")
}).pipe(Tracked.tracking({ report: ({ name }) => say("never ran:", name) }))
