import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Either, Exit, FastCheck, Fiber, Layer, TestClock } from "effect"
import * as Network from "../../src/programs/Network.js"
import * as Output from "../../src/services/host/Output.js"
import * as Apis from "../../src/services/network/Apis.js"
import * as Cache from "../../src/services/network/Cache.js"
import * as Database from "../../src/services/network/Database.js"
import * as OAuth from "../../src/services/network/OAuth.js"
import * as Storage from "../../src/services/network/Storage.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"

const embedded = Layer.mergeAll(Apis.layer, Cache.layer, Database.layer, OAuth.layer, Storage.layer)

const quick = Layer.mergeAll(
  Apis.layerTest(),
  Cache.layerTest(),
  OAuth.layerTest({ accounts: { ada: { email: "a@b", scopes: ["read"] } } }),
  Storage.layerTest()
)

// A database that never answers, and keeps the exit of its query after an asynchronous clean-up.
const hanging = Effect.map(
  Effect.all({ begun: Deferred.make<void>(), ended: Deferred.make<Exit.Exit<never>>() }),
  ({ begun, ended }) => ({
    begun: Deferred.await(begun),
    reason: Effect.map(Deferred.await(ended), (exit) => Cancellation.fromExit(exit)[0]),
    layer: Layer.succeed(Database.Database, {
      orders: () =>
        Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
          Effect.onExit((exit) => Effect.zipRight(Effect.yieldNow(), Deferred.succeed(ended, exit)))
        )
    })
  })
)

const millis = Duration.toMillis

describe("Network", () => {
  it.effect("asks all parts at once: the page is complete with the slowest of them, and not before", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Network.dashboard("ada"))
      yield* TestClock.adjust("149 millis")
      expect(yield* Fiber.poll(fiber)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      const page = yield* Fiber.join(fiber)
      expect(Object.values(page.parts).map(({ took }) => millis(took))).toEqual([120, 10, 90, 150, 130, 110])
      expect([millis(page.total), millis(page.sum)]).toEqual([150, 610])
      expect(Network.isComplete(page)).toBe(true)
      expect(page.parts.cache.value).toEqual(Either.right(41))
    }).pipe(Effect.provide(embedded))
  )

  it.effect("prints the page as a table", () =>
    Effect.gen(function* () {
      const { stdout } = yield* Output.Captured
      yield* VirtualClock.run(Network.example)
      expect(stdout).toEqual([
        "database   120 ms  3 orders",
        "cache       10 ms  41 visits",
        "oauth       90 ms  ada@example.org, may read and write",
        "storage    150 ms  2 files, 50 KiB",
        "drive      130 ms  4 documents",
        "chat       110 ms  2 messages unread",
        "total      150 ms  one after another 610 ms"
      ])
    }).pipe(Effect.provide(Layer.merge(embedded, Output.layerTest)))
  )

  it.effect("shows a part that fails as unavailable, with the reason; the others are not affected", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Network.dashboard("ada"))
      yield* TestClock.adjust("40 millis")
      expect(yield* Fiber.poll(fiber)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("20 millis")
      const page = yield* Fiber.join(fiber)
      expect(page.parts.database.value).toMatchObject({
        left: { message: "database is unavailable: connection refused" }
      })
      expect(Network.isComplete(page)).toBe(false)
      expect(Network.render(page)[0]).toBe("database    40 ms  unavailable: connection refused")
      expect(Network.render(page)[1]).toBe("cache       60 ms  1 visit")
    }).pipe(
      Effect.provide(
        Layer.mergeAll(
          quick,
          Database.layerTest({ latency: 40, down: "connection refused" }),
          Cache.layerTest({ latency: 60, entries: { "visits:ada": "1" } })
        )
      )
    )
  )

  it.effect("takes a defect in a part for a part that fails", () =>
    Effect.gen(function* () {
      const { parts } = yield* Network.dashboard("ada")
      expect(parts.database.value).toMatchObject({ left: { reason: "not written yet" } })
    }).pipe(
      Effect.provide(
        Layer.merge(
          quick,
          Layer.succeed(Database.Database, { orders: () => Effect.dieMessage("not written yet") })
        )
      )
    )
  )

  it.effect("cancels a late part with a reason, at the deadline and not before", () =>
    Effect.gen(function* () {
      const { layer, reason } = yield* hanging
      const fiber = yield* Effect.fork(
        Effect.provide(Network.dashboard("ada", { timeout: "500 millis" }), Layer.merge(quick, layer))
      )
      yield* TestClock.adjust("499 millis")
      expect(yield* Fiber.poll(fiber)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      const { parts, total } = yield* Fiber.join(fiber)
      expect(parts.database.value).toMatchObject({ left: { reason: "no answer within 500 ms" } })
      expect(yield* reason).toEqual({ reason: "no answer within 500 ms", origin: "database" })
      expect(millis(total)).toBe(500)
    })
  )

  it.effect("counts an answer that arrives exactly at the deadline", () =>
    Effect.gen(function* () {
      const { parts } = yield* VirtualClock.run(Network.dashboard("ada", { timeout: 110 }))
      expect(Either.isRight(parts.chat.value)).toBe(true)
      expect(Either.isRight(parts.database.value)).toBe(false)
    }).pipe(Effect.provide(embedded))
  )

  it.effect("under cancel a failing part cancels the others, and their clean-up is waited for", () =>
    Effect.gen(function* () {
      const { layer, reason } = yield* hanging
      const fiber = yield* Effect.fork(
        Effect.flip(Network.dashboard("bob", { onFailure: "cancel" })).pipe(
          Effect.provide(Layer.merge(quick, layer))
        )
      )
      const error = yield* Fiber.join(fiber)
      expect(error.message).toBe("oauth is unavailable: no account for bob")
      expect(yield* reason).toEqual({
        reason: "task 2 failed: oauth is unavailable: no account for bob",
        origin: "dashboard"
      })
    })
  )

  it.effect("under continue a failing part fails the page when the others are done", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Network.dashboard("bob", { onFailure: "continue" }))
      yield* TestClock.adjust("149 millis")
      expect(yield* Fiber.poll(fiber)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      const exit = yield* Fiber.await(fiber)
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toMatchObject({ part: "oauth" })
    }).pipe(Effect.provide(embedded))
  )

  it.effect("passes on to its parts why it was itself cancelled", () =>
    Effect.gen(function* () {
      const { begun, layer, reason } = yield* hanging
      const fiber = yield* Effect.fork(Effect.provide(Network.dashboard("ada"), Layer.merge(quick, layer)))
      yield* begun
      const exit = yield* Cancellation.cancel(fiber, { reason: "client disconnected", origin: "GET /" })
      expect(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)).toBe(true)
      expect(yield* reason).toEqual({ reason: "client disconnected", origin: "GET /" })
    })
  )

  it.effect.prop(
    "takes as long as its slowest part, whatever the latencies; the sum is that of all",
    [FastCheck.array(FastCheck.integer({ min: 0, max: 2000 }), { minLength: 6, maxLength: 6 })],
    ([latencies]) =>
      Effect.gen(function* () {
        const [database, cache, oauth, storage, drive, chat] = latencies as [
          number,
          number,
          number,
          number,
          number,
          number
        ]
        const page = yield* VirtualClock.run(Network.dashboard("ada", { timeout: 1000 })).pipe(
          Effect.provide(
            Layer.mergeAll(
              Database.layerTest({ latency: database }),
              Cache.layerTest({ latency: cache }),
              OAuth.layerTest({ latency: oauth }),
              Storage.layerTest({ latency: storage }),
              Apis.layerTest({ latency: { drive, chat } })
            )
          )
        )
        const took = latencies.map((latency) => Math.min(latency, 1000))
        expect(millis(page.total)).toBe(Math.max(...took))
        expect(millis(page.sum)).toBe(took.reduce((sum, one) => sum + one, 0))
        expect(Either.isRight(page.parts.drive.value)).toBe(drive <= 1000)
      }),
    { fastCheck: { numRuns: 25 } }
  )
})
