import { Effect } from "effect"
import * as Sleep from "../../../src/services/task/Sleep.js"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say } from "../Case.js"

const worker = (name: string) =>
  Effect.gen(function* () {
    for (let step = 0; step < 3; step++) {
      yield* say(name, step)
      yield* Sleep.sleep(0)
    }
  })

export default Effect.forEach(["a", "b"], (name) => TaskGroup.start(name, worker(name))).pipe(
  TaskGroup.scoped()
)
