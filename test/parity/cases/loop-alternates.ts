import { Effect, Stream } from "effect"
import * as Generators from "../../../src/services/stream/Generators.js"
import { say } from "../Case.js"

const yielding = Generators.produce((emit: Generators.Emit<number>) =>
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
