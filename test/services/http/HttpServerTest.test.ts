import { describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, FastCheck, Fiber, Scope, TestClock } from "effect"
import * as HttpServer from "../../../src/services/http/HttpServer.js"
import * as HttpServerTest from "../../../src/services/http/HttpServerTest.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"

const text = (body: string) => Effect.succeed(HttpServer.text(body))

// A handler that signals its start, never answers, and keeps the reason of its end.
const endless = Effect.map(
  Effect.all({ begun: Deferred.make<void>(), ended: Deferred.make<Exit.Exit<never>>() }),
  ({ begun, ended }) => ({
    begun: Deferred.await(begun),
    reason: Effect.map(Deferred.await(ended), (exit) => Cancellation.fromExit(exit)[0]),
    handler: () =>
      Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
        Effect.onExit((exit) => Deferred.succeed(ended, exit))
      )
  })
)

describe("HttpServerTest", () => {
  it.scoped("answers 100 requests that wait a second each when the second is over, and not before", () =>
    Effect.gen(function* () {
      let answered = 0
      const server = yield* HttpServer.serve(() => Effect.delay(text("done"), "1 second"))
      const clients = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 100 }, () =>
            Effect.tap(server.request("/"), () => Effect.sync(() => answered++))
          ),
          { concurrency: "unbounded", discard: true }
        )
      )
      yield* TestClock.adjust("999 millis")
      expect(answered).toBe(0)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(clients)
      expect(answered).toBe(100)
    }).pipe(Effect.provide(HttpServerTest.layer))
  )

  it.scoped("lets a blocking handler delay all others", () =>
    Effect.gen(function* () {
      const { block } = yield* HttpServer.HttpServer
      const blocks = yield* Deferred.make<void>()
      const blocking = Effect.zipRight(Deferred.succeed(blocks, undefined), block("1 second"))
      const server = yield* HttpServer.serve(({ path }) =>
        path === "/block" ? Effect.as(blocking, HttpServer.text("blocked")) : text("hi")
      )
      yield* Effect.fork(server.request("/block"))
      yield* Deferred.await(blocks)
      const other = yield* Effect.fork(server.request("/"))
      yield* TestClock.adjust("999 millis")
      expect(yield* Fiber.poll(other)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      expect((yield* Fiber.join(other)).body).toBe("hi")
    }).pipe(Effect.provide(HttpServerTest.layer))
  )

  it.scoped("gives running requests exactly the grace period", () =>
    Effect.gen(function* () {
      const { begun, handler, reason } = yield* endless
      const scope = yield* Scope.make()
      const server = yield* Scope.extend(HttpServer.serve(handler), scope)
      yield* Effect.fork(server.request("/slow"))
      yield* begun
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("4999 millis")
      expect(yield* Fiber.poll(closing)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      expect((yield* reason)?.reason).toBe("server closed and the grace period of 5s is over")
    }).pipe(Effect.provide(HttpServerTest.layer))
  )

  it.effect.prop(
    "answers each request when its own wait is over, whatever the others wait",
    [FastCheck.array(FastCheck.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 8 })],
    ([waits]) =>
      Effect.gen(function* () {
        const server = yield* HttpServer.serve(({ query }) =>
          Effect.delay(text("done"), Duration.millis(Number(query.get("ms"))))
        )
        const done: Array<number> = []
        yield* Effect.fork(
          Effect.forEach(
            waits,
            (ms) => Effect.tap(server.request(`/?ms=${ms}`), () => Effect.sync(() => done.push(ms))),
            { concurrency: "unbounded" }
          )
        )
        const middle = Math.floor(Math.max(...waits) / 2)
        yield* TestClock.adjust(middle)
        expect([...done].sort()).toEqual(waits.filter((ms) => ms <= middle).sort())
        yield* TestClock.adjust(50)
        expect(done).toHaveLength(waits.length)
      }).pipe(Effect.scoped, Effect.provide(HttpServerTest.layer)),
    { fastCheck: { numRuns: 20 } }
  )
})
