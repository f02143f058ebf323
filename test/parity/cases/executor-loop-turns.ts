import { Effect, Fiber } from "effect"
import * as Executor from "../../../src/services/thread/Executor.js"
import { say, truth } from "../Case.js"

export const clock = "live"

const block = (go: Int32Array) => {
  Atomics.wait(go, 0, 0)
}

export default Effect.gen(function* () {
  const go = new Int32Array(new SharedArrayBuffer(4))
  const job = yield* Effect.fork(Executor.blocking(block, go))
  yield* Effect.sleep(10)
  yield* say("the loop turns, job done", truth(job.unsafePoll() !== null))
  Atomics.store(go, 0, 1)
  Atomics.notify(go, 0)
  yield* Fiber.join(job)
  yield* say("job done")
}).pipe(Effect.provide(Executor.layerThreads({ maxWorkers: 1 })))
