import { Effect } from "effect"
import * as Timers from "../../dist/services/Timers.js"

const count = Number(process.argv[2])
const kind = process.argv[3] ?? "fire"

const fire = Effect.gen(function* () {
  const timers = yield* Timers.Timers
  let fired = 0
  const callback = Effect.sync(() => {
    fired++
  })
  const begun = performance.now()
  let i = 0
  let last
  yield* Effect.whileLoop({
    while: () => i < count,
    body: () => timers.callLater(1, callback),
    step: (handle) => {
      i++
      last = handle
    }
  })
  yield* last.await
  const took = performance.now() - begun
  if (fired !== count) throw new Error(`${fired} fired`)
  console.log(took)
})

/** As asyncio has it: asked for by plain calls. */
const plain = Effect.gen(function* () {
  const timers = yield* Timers.Timers
  let fired = 0
  const callback = Effect.sync(() => {
    fired++
  })
  const begun = performance.now()
  let last
  for (let i = 0; i < count; i++) last = timers.unsafeCallLater(1, callback)
  yield* last.await
  const took = performance.now() - begun
  if (fired !== count) throw new Error(`${fired} fired`)
  console.log(took)
})

/** Sleeping fibers, as Effect alone would do it. */
const fibers = Effect.gen(function* () {
  let fired = 0
  const callback = Effect.delay(
    Effect.sync(() => {
      fired++
    }),
    1
  )
  const begun = performance.now()
  let last
  for (let i = 0; i < count; i++) last = yield* Effect.fork(callback)
  yield* last.await
  const took = performance.now() - begun
  if (fired < count) throw new Error(`${fired} fired`)
  console.log(took)
})

/** How much memory so many pending timers take, in MB. */
const pending = Effect.gen(function* () {
  const timers = yield* Timers.Timers
  yield* timers.callLater(3_600_000, Effect.void)
  globalThis.gc()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < count; i++)
    yield* timers.callLater(
      3_600_000 + i,
      Effect.sync(() => i)
    )
  globalThis.gc()
  console.log((process.memoryUsage().heapUsed - before) / 1e6)
})

Effect.runFork({ fire, plain, fibers, pending }[kind].pipe(Effect.provide(Timers.layer)))
