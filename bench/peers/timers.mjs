import { Effect } from "effect"
import * as Timers from "../../dist/services/time/Timers.js"
import * as VirtualClock from "../../dist/services/time/VirtualClock.js"

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

/** How much memory so many pending timers take, in MB; what they call is one and the same effect. */
const pending = Effect.gen(function* () {
  const timers = yield* Timers.Timers
  yield* timers.callLater(3_600_000, Effect.void)
  globalThis.gc()
  globalThis.gc()
  const before = process.memoryUsage().heapUsed
  const callback = Effect.sync(() => undefined)
  for (let i = 0; i < count; i++) yield* timers.callLater(3_600_000 + i, callback)
  globalThis.gc()
  globalThis.gc()
  console.log((process.memoryUsage().heapUsed - before) / 1e6)
})

/** 1440 minutes, in no time. */
const day = Effect.gen(function* () {
  const timers = yield* Timers.make()
  let ticks = 0
  const tick = Effect.sync(() => {
    ticks++
  })
  const begun = performance.now()
  const handle = yield* timers.every(60_000, tick, { times: 1440 })
  yield* handle.await
  const took = performance.now() - begun
  if (ticks !== 1440) throw new Error(`${ticks} ticks`)
  console.log(took)
}).pipe(Effect.scoped, VirtualClock.run())

Effect.runFork({ day, fire, plain, fibers, pending }[kind].pipe(Effect.provide(Timers.layer)))
