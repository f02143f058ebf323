import { Effect } from "effect"
import * as Gather from "../../../src/services/task/Gather.js"
import { outcome, say } from "../Case.js"

const work = (name: string, delay: number, error?: string) =>
  Effect.sleep(delay).pipe(
    Effect.zipRight(error === undefined ? Effect.succeed(name) : Effect.fail(error)),
    Effect.ensuring(say(name, "ends"))
  )

export default Gather.gather([work("a", 30), work("b", 10, "early"), work("c", 20, "late")], {
  onFailure: "collect"
}).pipe(Effect.flatMap((exits) => Effect.forEach(exits, (exit) => say(outcome(exit)))))
