import { Effect } from "effect"
import * as Run from "../../../src/programs/Run.js"
import * as Signals from "../../../src/services/host/Signals.js"
import { say, truth } from "../Case.js"

const background = Effect.ensuring(Effect.sleep(10_000), say("background cleans up"))

const main = Effect.gen(function* () {
  const { send } = yield* Signals.Source
  const fiber = yield* Effect.forkDaemon(background)
  const work = Effect.sleep(10).pipe(
    Effect.zipRight(send(Signals.signal("SIGINT"))),
    Effect.zipRight(Effect.sleep(10_000))
  )
  const cleanUp = Effect.zipRight(
    Effect.sleep(10),
    Effect.suspend(() => say("main cleans up", truth(fiber.unsafePoll() !== null)))
  )
  yield* Effect.ensuring(work, cleanUp)
})

export default Run.supervise(main).pipe(
  Effect.flatMap((code) => say(code === Signals.exitCode("SIGINT") ? "interrupted" : code)),
  Effect.provide(Signals.layerTest)
)
