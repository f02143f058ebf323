import { Effect, Fiber } from "effect"
import * as Executors from "../../../src/programs/Executors.js"
import * as Executor from "../../../src/services/Executor.js"
import { say, truth } from "../Case.js"

export const clock = "live"

const block = (millis: number) => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)
}

export default Effect.gen(function* () {
  const job = yield* Effect.fork(Executors.blocking(block, 100))
  yield* Effect.sleep(10)
  yield* say("the loop turns, job done", truth(job.unsafePoll() !== null))
  yield* Fiber.join(job)
  yield* say("job done")
}).pipe(Effect.provide(Executor.layerThreads({ maxWorkers: 1 })))
