import { Effect } from "effect"
import * as Gather from "../../../src/services/task/Gather.js"
import { say } from "../Case.js"

export default Gather.gather(Array.from("abcdef", (name) => Effect.zipRight(Effect.sleep(20), say(name))))
