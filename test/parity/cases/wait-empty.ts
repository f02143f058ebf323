import { Effect } from "effect"
import * as WaitTasks from "../../../src/services/task/WaitTasks.js"
import { say } from "../Case.js"

export default Effect.flatMap(WaitTasks.wait([]), ({ done, pending }) => say(done.length, pending.length))
