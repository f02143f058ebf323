import { Effect, Stream } from "effect"
import * as Generators from "../../../src/services/stream/Generators.js"
import { say } from "../Case.js"

const numbers = Generators.produce((emit: Generators.Emit<number>) =>
  emit(0).pipe(Effect.zipRight(Effect.fail("no more")), Effect.ensuring(say("finalised")))
)

export default Stream.runForEach(numbers, (n) => say("got", n)).pipe(
  Effect.catchAll((error) => say("failed:", error))
)
