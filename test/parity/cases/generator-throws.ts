import { Effect, Stream } from "effect"
import * as Loops from "../../../src/programs/Loops.js"
import { say } from "../Case.js"

const numbers = Loops.produce((emit: Loops.Emit<number>) =>
  emit(0).pipe(Effect.zipRight(Effect.fail("no more")), Effect.ensuring(say("finalised")))
)

export default Stream.runForEach(numbers, (n) => say("got", n)).pipe(
  Effect.catchAll((error) => say("failed:", error))
)
