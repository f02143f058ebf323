import { Effect, Stream } from "effect"
import * as Output from "../services/host/Output.js"
import * as Generators from "../services/stream/Generators.js"

// #region example
/**
 * The guide's asynchronous generator: prints a line before each of five yields.
 *
 * @since 0.1.0
 * @category streams
 */
export const yielding: Stream.Stream<number, never, Output.Output> = Generators.produce(
  (emit: Generators.Emit<number>) =>
    Effect.gen(function* () {
      for (let idx = 0; idx < 5; idx++) {
        yield* Output.print(`Before yield ${idx}`)
        yield* emit(idx)
      }
    })
)

/**
 * The guide's `async for`: producer and consumer take strict turns, a line each. Prints ten lines.
 *
 * @since 0.1.0
 * @category examples
 */
export const example: Effect.Effect<void, never, Output.Output> = Stream.runForEach(yielding, (idx) =>
  Output.print(`Yay, I've been yield'd ${idx}`)
)
// #endregion
