import { Effect } from "effect"
import * as Await from "../../../src/programs/Await.js"
import { say } from "../Case.js"

const work = Await.tracked("work", () => say("work"))

export default Effect.gen(function* () {
  // @effect-diagnostics-next-line floatingEffect:off
  work()
  yield* say("main goes on")
}).pipe(Await.tracking({ report: ({ name }) => say("never ran:", name) }))
