import { Effect, Exit, Fiber } from "effect"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import { say } from "../Case.js"

export const clock = "live"

/** Says at [0] that it runs, blocks until [2] is set, says at [1] that it has ended. */
const job = (flags: Int32Array) => {
  Atomics.store(flags, 0, 1)
  Atomics.wait(flags, 2, 0)
  Atomics.store(flags, 1, 1)
}

export default Effect.gen(function* () {
  const flags = new Int32Array(new SharedArrayBuffer(12))
  const fiber = yield* Effect.fork(Executor.blocking(job, flags))
  yield* Effect.repeat(EventLoop.nextTurn, { until: () => Atomics.load(flags, 0) === 1 })
  if (Exit.isInterrupted(yield* Fiber.interrupt(fiber))) yield* say("job cancelled")
  Atomics.store(flags, 2, 1)
  Atomics.notify(flags, 2)
  yield* Effect.sleep(50)
  if (Atomics.load(flags, 1) === 1) yield* say("job ran to its end")
  yield* say(yield* Executor.blocking(() => "next job"))
}).pipe(Effect.provide(Executor.layerThreads({ maxWorkers: 1 })))
