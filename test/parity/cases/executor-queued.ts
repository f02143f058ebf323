import { Effect, Exit, Fiber } from "effect"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import { say } from "../Case.js"

export const clock = "live"

const names = ["first", "second", "third"]

/** Sets its own flag; the first one then blocks until the last flag is set. */
const job = (flags: Int32Array, index: number) => {
  Atomics.store(flags, index, 1)
  if (index === 0) Atomics.wait(flags, 3, 0)
}

export default Effect.gen(function* () {
  const flags = new Int32Array(new SharedArrayBuffer(16))
  const fibers = yield* Effect.forEach(names, (_, index) => Effect.fork(Executor.blocking(job, flags, index)))
  yield* Effect.repeat(EventLoop.nextTurn, { until: () => Atomics.load(flags, 0) === 1 })
  if (Exit.isInterrupted(yield* Fiber.interrupt(fibers[1]!))) yield* say("second cancelled")
  Atomics.store(flags, 3, 1)
  Atomics.notify(flags, 3)
  yield* Fiber.join(fibers[0]!)
  yield* Fiber.join(fibers[2]!)
  yield* say("ran", ...names.filter((_, index) => Atomics.load(flags, index) === 1))
}).pipe(Effect.provide(Executor.layerThreads({ maxWorkers: 1 })))
