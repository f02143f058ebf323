import { Effect } from "effect"
import * as Tracked from "../../../src/services/task/Tracked.js"
import { say } from "../Case.js"

const printFoobar1 = Tracked.tracked("print_foobar1", () => say("foobar1"))
const printFoobar2 = Tracked.tracked("print_foobar2", () => say("foobar2"))

const foobar = Effect.gen(function* () {
  yield* printFoobar1()
  // @effect-diagnostics-next-line floatingEffect:off
  printFoobar2()
})

export default Effect.gen(function* () {
  yield* foobar
  // @effect-diagnostics-next-line floatingEffect:off
  printFoobar1()
}).pipe(Tracked.tracking({ report: ({ name }) => say("never ran:", name) }))
