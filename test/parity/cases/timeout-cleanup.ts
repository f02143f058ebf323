import { Effect } from "effect"
import { say } from "../Case.js"

const work = (millis: number) =>
  Effect.sleep(millis).pipe(
    Effect.as("in time"),
    Effect.ensuring(
      Effect.gen(function* () {
        yield* say("clean-up begins")
        yield* Effect.sleep(10)
        yield* say("clean-up ends")
      })
    )
  )

export default Effect.gen(function* () {
  yield* say(yield* Effect.timeout(work(10), 100))
  yield* Effect.timeout(work(10_000), 10).pipe(Effect.catchTag("TimeoutException", () => say("timed out")))
})
