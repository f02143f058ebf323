import { Effect, Stream } from "effect"
import * as Loops from "../../../src/programs/Loops.js"
import { say } from "../Case.js"

const yielding = Loops.produce((emit: Loops.Emit<number>) =>
  Effect.gen(function* () {
    for (let idx = 0; idx < 3; idx++) {
      yield* say("before yield", idx)
      yield* emit(idx)
    }
    yield* say("producer ends")
  })
)

export default Effect.zipRight(
  say("made"),
  Stream.runForEach(yielding, (idx) => Effect.zipRight(say("got", idx), Effect.sleep(10)))
)
