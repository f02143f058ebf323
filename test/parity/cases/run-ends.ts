import { Effect } from "effect"
import * as Run from "../../../src/programs/Run.js"
import * as Signals from "../../../src/services/host/Signals.js"
import { say } from "../Case.js"

const background = Effect.sleep(10_000).pipe(
  Effect.ensuring(
    say("background cancelled").pipe(
      Effect.zipRight(Effect.sleep(10)),
      Effect.zipRight(say("background cleaned up"))
    )
  )
)

const main = Effect.gen(function* () {
  const fiber = yield* Effect.forkDaemon(background)
  yield* Effect.sleep(10)
  yield* say("main ends", fiber.unsafePoll() === null ? "False" : "True")
})

export default Effect.zipRight(Run.supervise(main), say("run returns")).pipe(
  Effect.provide(Signals.layerTest)
)
