import { Effect } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import * as Timers from "../../../src/services/time/Timers.js"
import { say } from "../Case.js"

const worker = (name: string) =>
  Effect.gen(function* () {
    for (let step = 0; step < 3; step++) {
      yield* say(name, step)
      yield* Timers.sleep(0)
    }
  })

export default Effect.forEach(["a", "b"], (name) => TaskGroup.start(name, worker(name))).pipe(
  TaskGroup.scoped()
)
