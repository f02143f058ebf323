// A virtual day of minute ticks: `node clock.mjs [virtual|warm|test|interleave]` prints what it took in ms.
import { Effect, Fiber, TestClock, TestContext } from "effect"
import * as VirtualClock from "effect-asyncio/services/VirtualClock"
import { Interleave } from "effect-asyncio/testing"

const ticks = Effect.gen(function* () {
  for (let minute = 0; minute < 1440; minute++) yield* Effect.sleep("1 minute")
})

const day = VirtualClock.run(ticks)

const byHand = Effect.gen(function* () {
  const fiber = yield* Effect.fork(ticks)
  for (let minute = 0; minute < 1440; minute++) yield* TestClock.adjust("1 minute")
  yield* Fiber.join(fiber)
}).pipe(Effect.provide(TestContext.TestContext))

const measured = async (program) => {
  const started = performance.now()
  await Effect.runPromise(program)
  return performance.now() - started
}

const modes = {
  virtual: () => measured(day),
  warm: async () => {
    for (let i = 0; i < 20; i++) await measured(day)
    return measured(day)
  },
  test: () => measured(byHand),
  interleave: () => {
    const hundred = Effect.all([Effect.yieldNow(), Effect.yieldNow(), Effect.sleep(1)], { concurrency: 3 })
    return measured(Interleave.explore(hundred, { runs: 500 }))
  }
}

console.log(await modes[process.argv[2]]())
