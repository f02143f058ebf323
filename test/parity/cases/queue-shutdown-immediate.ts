import { Effect, Mailbox } from "effect"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  const mailbox = yield* Mailbox.make<number>()
  yield* mailbox.offer(0)
  yield* mailbox.shutdown
  yield* Effect.flatMap(mailbox.take, (n) => say("got", n)).pipe(
    Effect.catchTag("NoSuchElementException", () => say("dropped and shut down"))
  )
})
