import { Effect } from "effect"
import * as Gather from "../../../src/services/task/Gather.js"
import { say } from "../Case.js"

const work = (name: string, delay: number) =>
  Effect.sleep(delay).pipe(Effect.zipRight(say(name, "ends")), Effect.as(name))

export default Effect.flatMap(Gather.gather([work("a", 30), work("b", 10), work("c", 20)]), (names) =>
  say(...names)
)
