import { Effect, Mailbox } from "effect"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  const mailbox = yield* Mailbox.make<number>()
  yield* mailbox.offerAll([0, 1])
  yield* mailbox.end
  if (!(yield* mailbox.offer(2))) yield* say("put refused")
  yield* Effect.forever(Effect.flatMap(mailbox.take, (n) => say("got", n))).pipe(
    Effect.catchTag("NoSuchElementException", () => say("taker: shut down"))
  )
})
