import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, TestClock } from "effect"
import * as SystemLoad from "../../../../src/services/host/SystemLoad.js"
import * as startGate from "../../../../src/services/job/internal/startGate.js"
import type { JobsWaiting } from "../../../../src/services/job/JobEvents.js"

describe("startGate", () => {
  const machine = (own: Partial<SystemLoad.SystemLoad["Type"]> = {}) =>
    Effect.provide(SystemLoad.SystemLoad, SystemLoad.layerTest(own))
  const recorder = () => {
    const waits: Array<JobsWaiting> = []
    return { waits, onWaiting: (event: JobsWaiting) => Effect.sync(() => void waits.push(event)) }
  }

  it.effect("is undefined if nothing delays a start", () =>
    Effect.gen(function* () {
      assert.isUndefined(startGate.make({}, yield* machine(), recorder().onWaiting))
    })
  )

  it.effect("lets the first start pass, and keeps the others apart by the delay", () =>
    Effect.gen(function* () {
      const gate = startGate.make({ delay: "400 millis" }, yield* machine(), recorder().onWaiting)!
      const starts = yield* Effect.fork(
        Effect.all(
          [1, 2, 3].map(() => Effect.zipRight(gate, Clock.currentTimeMillis)),
          { concurrency: 3 }
        )
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* Fiber.join(starts), [0, 400, 800])
    })
  )

  it.effect("waits for load and memory, looks once a second, and reports each wait once", () =>
    Effect.gen(function* () {
      const { onWaiting, waits } = recorder()
      let load = 8
      let free = 50
      const own = { load: Effect.sync(() => load), freeMemory: Effect.sync(() => free) }
      const gate = startGate.make({ load: 8, memfree: 100 }, yield* machine(own), onWaiting)!
      const started = yield* Effect.fork(gate)
      yield* TestClock.adjust("1500 millis")
      load = 7.9
      yield* TestClock.adjust("1 seconds")
      free = 100
      assert.isNull(started.unsafePoll())
      yield* TestClock.adjust("500 millis")
      yield* Fiber.join(started)
      assert.deepStrictEqual(waits, [{ event: "waiting", for: "load", value: 8 }])
    })
  )
})
