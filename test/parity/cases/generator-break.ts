import { Effect, Stream } from "effect"
import * as Generators from "../../../src/services/stream/Generators.js"
import { say } from "../Case.js"

const numbers = Generators.produce((emit: Generators.Emit<number>) =>
  Effect.ensuring(Effect.forEach([0, 1, 2, 3, 4], emit), say("finalised"))
)

export default numbers.pipe(
  Stream.tap((n) => say("got", n)),
  Stream.takeUntil((n) => n === 1),
  Stream.runDrain,
  Effect.zipRight(say("after the loop"))
)
