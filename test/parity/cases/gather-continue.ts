import { Effect } from "effect"
import * as Gather from "../../../src/services/task/Gather.js"
import { say } from "../Case.js"

const work = (name: string, delay: number, error?: string) =>
  Effect.sleep(delay).pipe(
    Effect.zipRight(say(name, "ends")),
    Effect.zipRight(error === undefined ? Effect.void : Effect.fail(error))
  )

export default Gather.gather([work("a", 30, "late"), work("b", 10, "early"), work("c", 50)], {
  onFailure: "continue"
}).pipe(Effect.catchAll((error) => say("failed:", error)))
