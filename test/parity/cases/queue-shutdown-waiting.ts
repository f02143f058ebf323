import { Effect, Mailbox } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  const mailbox = yield* Mailbox.make<number>()
  const taker = (name: string) =>
    Effect.flatMap(mailbox.take, (n) => say(name, "got", n)).pipe(
      Effect.catchTag("NoSuchElementException", () => say(name, "shut down"))
    )
  yield* Effect.forEach(["a", "b"], (name) => TaskGroup.start(name, taker(name)))
  yield* Effect.sleep(10)
  yield* mailbox.end
}).pipe(TaskGroup.scoped())
