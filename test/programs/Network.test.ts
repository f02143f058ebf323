import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Deferred,
  Duration,
  Effect,
  Either,
  Exit,
  FastCheck,
  Fiber,
  Layer,
  Option,
  TestClock
} from "effect"
import * as Network from "../../src/programs/Network.js"
import * as Output from "../../src/services/host/Output.js"
import * as Neighbours from "../../src/services/network/Neighbours.js"
import * as NetworkDemo from "../../src/services/network/NetworkDemo.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"
import { failing, layer, takes, texts } from "../support/Neighbourhood.js"

// A part that never answers, and keeps the exit of its call after an asynchronous clean-up.
const hanging = Effect.map(
  Effect.all({ begun: Deferred.make<void>(), ended: Deferred.make<Exit.Exit<never>>() }),
  ({ begun, ended }) => ({
    begun: Deferred.await(begun),
    reason: Effect.map(Deferred.await(ended), (exit) => Cancellation.fromExit(exit)[0]),
    answer: Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
      Effect.onExit((exit) => Effect.zipRight(Effect.yieldNow(), Deferred.succeed(ended, exit)))
    )
  })
)

const millis = Duration.toMillis

describe("Network", () => {
  it.live(
    "shows the guide's page of the embedded services, with the time of each part and the total beside the sum",
    () =>
      Effect.gen(function* () {
        const { stdout } = yield* Output.Captured
        yield* Network.example
        const measured = stdout.map((line) =>
          line.replace(/\d[\d.]* m?s(?= {2}|$)/g, "TIME").replace(/ {2,}/g, "  ")
        )
        expect(measured).toEqual([
          "database  TIME  3 orders",
          "cache  TIME  41 visits",
          "oauth  TIME  aio, may read and write",
          "storage  TIME  2 files, 50 KiB",
          "drive  TIME  4 documents",
          "chat  TIME  2 messages unread",
          "total  TIME  one after another TIME"
        ])
      }).pipe(
        Effect.provide(
          Layer.mergeAll(
            NetworkDemo.layerEmbedded,
            Neighbours.layer(Network.names, { policy: { deadline: "20 seconds" } }),
            Output.layerTest
          )
        )
      )
  )

  it.effect("shows a part that fails as unavailable, with the reason; the others are not affected", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Network.page("ada"))
      yield* TestClock.adjust("59 millis")
      expect(yield* Fiber.poll(fiber)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      const page = yield* Fiber.join(fiber)
      expect(page.parts.database.value).toMatchObject({
        left: { message: "database is unavailable: connection refused" }
      })
      expect(Network.isComplete(page)).toBe(false)
      expect(Network.render(page)[0]).toBe("database    40 ms  unavailable: connection refused")
      expect(Network.render(page)[1]).toBe("cache       60 ms  1 visit")
      expect([millis(page.total), millis(page.sum)]).toEqual([60, 100])
    }).pipe(
      Effect.provide(
        layer({ database: failing(40, "connection refused"), cache: takes(60, Option.some("1")) })
      )
    )
  )

  it.effect("takes a defect in a part for a part that fails", () =>
    Effect.gen(function* () {
      const { parts } = yield* Network.page("ada")
      expect(parts.database.value).toMatchObject({ left: { reason: "not written yet" } })
    }).pipe(Effect.provide(layer({ database: Effect.dieMessage("not written yet") })))
  )

  it.effect("cancels a late part with a reason, at the deadline and not before", () =>
    Effect.gen(function* () {
      const { answer, reason } = yield* hanging
      const services = layer({ database: answer }, { policy: { deadline: 500 } })
      const fiber = yield* Effect.fork(Effect.provide(Network.page("ada"), services))
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
      const { parts } = yield* VirtualClock.run(Network.page("ada"))
      expect(Either.isRight(parts.chat.value)).toBe(true)
      expect(Either.isRight(parts.database.value)).toBe(false)
    }).pipe(Effect.provide(layer({ chat: takes(110), database: takes(111) }, { policy: { deadline: 110 } })))
  )

  it.effect("shows the last answer of a part that fails, and why, but never an old answer of OAuth", () =>
    Effect.gen(function* () {
      let isDown = false
      const answer = (value: unknown) =>
        Effect.suspend(() =>
          isDown ? Effect.fail({ reason: "gone", isTransient: false }) : Effect.succeed(value)
        )
      const services = layer({ cache: answer(Option.some("7")), oauth: answer(undefined) })
      yield* Effect.gen(function* () {
        expect(Network.isComplete(yield* Network.page("ada"))).toBe(true)
        isDown = true
        const page = yield* Network.page("ada")
        expect(texts(page)).toMatchObject({
          cache: "7 visits (the last answer: gone)",
          oauth: "unavailable: gone"
        })
        expect(Network.isComplete(page)).toBe(false)
        expect(texts(yield* Network.page("bob")).cache).toBe("unavailable: gone")
        expect(texts(yield* Network.page("ada", { fallback: false })).cache).toBe("unavailable: gone")
      }).pipe(Effect.provide(services))
    })
  )

  it.effect("under cancel a failing part cancels the others, and their clean-up is waited for", () =>
    Effect.gen(function* () {
      const { answer, reason } = yield* hanging
      const error = yield* Effect.flip(
        Effect.provide(
          Network.page("ada", { onFailure: "cancel" }),
          layer({ database: answer, oauth: failing(0, "no account") })
        )
      ).pipe(Effect.fork, Effect.tap(TestClock.adjust(0)), Effect.flatMap(Fiber.join))
      expect(error.message).toBe("oauth is unavailable: no account")
      expect(yield* reason).toEqual({
        reason: "task 2 failed: oauth is unavailable: no account",
        origin: "page"
      })
    })
  )

  it.effect("under continue a failing part fails the page when the others are done", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Network.page("ada", { onFailure: "continue" }))
      yield* TestClock.adjust("149 millis")
      expect(yield* Fiber.poll(fiber)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      const exit = yield* Fiber.await(fiber)
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toMatchObject({ name: "oauth" })
    }).pipe(Effect.provide(layer({ oauth: failing(10, "no account"), storage: takes(150) })))
  )

  it.effect("passes on to its parts why it was itself cancelled", () =>
    Effect.gen(function* () {
      const { answer, begun, reason } = yield* hanging
      const fiber = yield* Effect.fork(Effect.provide(Network.page("ada"), layer({ database: answer })))
      yield* begun
      const exit = yield* Cancellation.cancel(fiber, { reason: "client disconnected", origin: "GET /" })
      expect(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)).toBe(true)
      expect(yield* reason).toEqual({ reason: "client disconnected", origin: "GET /" })
    })
  )

  it.effect("refuses a user that cannot be part of a path", () =>
    Effect.gen(function* () {
      for (const user of ["", "..", "a/b", "a%2f", "a b", "x".repeat(65), "-a"]) {
        expect(yield* Effect.flip(Network.page(user))).toMatchObject({ _tag: "InvalidUser", exitCode: 2 })
      }
    }).pipe(Effect.provide(layer()))
  )

  it.effect.prop(
    "takes as long as its slowest part, whatever the latencies; the sum is that of all",
    [FastCheck.array(FastCheck.integer({ min: 0, max: 2000 }), { minLength: 6, maxLength: 6 })],
    ([latencies]) =>
      Effect.gen(function* () {
        const ended: Array<string> = []
        const onPart = (name: string) => Effect.sync(() => void ended.push(name))
        const page = yield* VirtualClock.run(Network.page("ada", { onPart })).pipe(
          Effect.provide(
            layer(
              Object.fromEntries(
                Network.names.map((name, n) => [
                  name,
                  takes(latencies[n]!, name === "cache" ? Option.none() : [])
                ])
              ),
              { policy: { deadline: 1000, retries: 0 } }
            )
          )
        )
        const took = latencies.map((latency) => Math.min(latency, 1000))
        expect(millis(page.total)).toBe(Math.max(...took))
        expect(millis(page.sum)).toBe(took.reduce((sum, one) => sum + one, 0))
        expect(Either.isRight(page.parts.drive.value)).toBe(latencies[4]! <= 1000)
        expect(ended.toSorted()).toEqual([...Network.names].sort())
      }),
    { fastCheck: { numRuns: 25 } }
  )
})
