import { describe, expect, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Fiber, Layer, TestClock } from "effect"
import * as Server from "../../src/programs/Server.js"
import * as Output from "../../src/services/host/Output.js"
import * as HttpServer from "../../src/services/http/HttpServer.js"
import * as HttpServerNode from "../../src/services/http/HttpServerNode.js"
import * as HttpServerTest from "../../src/services/http/HttpServerTest.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"

const inMemory = Layer.merge(HttpServerTest.layer, Output.layerTest)
const onSockets = Layer.merge(HttpServerNode.layer, Output.layerTest)

describe("Server", () => {
  for (const [name, layer] of [
    ["over sockets", onSockets],
    ["in memory", inMemory]
  ] as const) {
    it.scopedLive(`serves its routes ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* Server.listen(Server.app)
        expect(yield* server.request("/")).toMatchObject({ status: 200, body: "hi\n" })
        expect(yield* server.request("/wait?ms=1")).toMatchObject({ status: 200, body: "waited 1 ms\n" })
        expect(yield* server.request("/nowhere")).toMatchObject({
          status: 404,
          body: "nothing at /nowhere; there are /, /wait?ms=N and /ws\n"
        })
        expect(yield* server.request("/", { method: "POST" })).toMatchObject({
          status: 405,
          headers: { allow: "GET, HEAD" }
        })
        expect((yield* server.request("/ws")).status).toBe(426)
        for (const query of ["", "?ms=", "?ms=-1", "?ms=1.5", "?ms=abc", "?ms=3600001", "?ms=1e3"]) {
          expect((yield* server.request(`/wait${query}`)).status).toBe(400)
        }
        expect((yield* server.request("/wait?ms=soon")).body).toBe(
          "ms must be a whole number from 0 to 3600000, not 'soon'\n"
        )
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive(`sends WebSocket messages back ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* Server.listen(Server.app)
        const socket = yield* server.connect("/ws")
        yield* socket.send("one")
        yield* socket.send(new Uint8Array([1, 2]))
        expect(yield* socket.receive).toBe("one")
        expect(yield* socket.receive).toEqual(new Uint8Array([1, 2]))
      }).pipe(Effect.provide(layer))
    )
  }

  it.scoped("answers 1,000 requests that wait a second each when the second is over, all at once", () =>
    Effect.gen(function* () {
      const server = yield* Server.listen(Server.app)
      const client = Effect.zipRight(server.request("/wait?ms=1000"), Clock.currentTimeMillis)
      const answered = yield* Effect.all(
        Array.from({ length: 1000 }, () => client),
        {
          concurrency: "unbounded"
        }
      )
      expect(new Set(answered)).toEqual(new Set([1000]))
      // Effect's own TestClock takes 4 ms to wake a sleeper; test/services has the same under it, with fewer.
    }).pipe(VirtualClock.run(), Effect.provide(inMemory))
  )

  it.scoped("prints where it listens, serves until it is interrupted, then closes gracefully", () =>
    Effect.gen(function* () {
      const { stderr, stdout } = yield* Output.Captured
      const begun = yield* Deferred.make<HttpServer.Listening>()
      const http = yield* HttpServer.HttpServer
      // The same service, whose server can be asked from here.
      const seen = Layer.succeed(HttpServer.HttpServer, {
        ...http,
        serve: (handler, options) =>
          Effect.tap(http.serve(handler, options), (server) => Deferred.succeed(begun, server))
      })
      const serving = yield* Effect.fork(Effect.provide(Server.serve({ port: 8080 }), seen))
      const server = yield* Deferred.await(begun)
      const client = yield* Effect.fork(server.request("/wait?ms=3000"))
      yield* TestClock.adjust("1 second")
      expect(stdout).toEqual(["listening on http://127.0.0.1:8080"])

      const stopped = yield* Effect.fork(
        Cancellation.cancel(serving, { reason: "SIGINT", origin: "process" })
      )
      yield* TestClock.adjust("1999 millis")
      expect(stderr).toEqual(["closing: waiting up to 5.0 s for 1 running request"])
      expect((yield* Effect.flip(server.request("/"))).reason).toBe("ECONNREFUSED")
      expect(yield* Fiber.poll(stopped)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      expect((yield* Fiber.join(client)).body).toBe("waited 3000 ms\n")
      const exit = yield* Fiber.join(stopped)
      expect(Cancellation.fromExit(exit).map(({ reason }) => reason)).toEqual(["SIGINT"])
    }).pipe(Effect.provide(inMemory))
  )

  it.scoped("notes a handler that fails on stderr, and continues", () =>
    Effect.gen(function* () {
      const { stderr } = yield* Output.Captured
      const server = yield* Server.listen((request) =>
        request.path === "/bad" ? Effect.fail("no rows") : Server.app(request)
      )
      expect((yield* server.request("/bad")).status).toBe(500)
      expect((yield* server.request("/")).status).toBe(200)
      expect(stderr).toEqual(["GET /bad failed: no rows"])
    }).pipe(Effect.provide(inMemory))
  )

  it.scoped("fails with one clear line when the port is in use", () =>
    Effect.gen(function* () {
      yield* Server.listen(Server.app, { port: 8080 })
      const exit = yield* Effect.exit(Server.serve({ port: 8080 }))
      expect(Exit.isFailure(exit) && exit.cause).toMatchObject({
        error: { message: expect.stringMatching(/^cannot listen on 127\.0\.0\.1:8080: the port is in use;/) }
      })
    }).pipe(Effect.provide(inMemory))
  )

  it.scoped(
    "shows in exact virtual time that waits add up to one, and that blocking stops every request",
    () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(Server.demo({ requests: 100 }))
        yield* TestClock.adjust("200 millis")
        yield* TestClock.adjust("200 millis")
        yield* TestClock.adjust("299 millis")
        expect(yield* Fiber.poll(fiber)).toMatchObject({ _tag: "None" })
        yield* TestClock.adjust("1 millis")
        const demo = yield* Fiber.join(fiber)
        expect(demo).toMatchObject({ one: 200, all: 200, free: 0, held: 300 })
        expect(Server.demoLines(demo)).toEqual([
          "1 request that waits 200 ms: answered after 200 ms",
          "100 requests that wait 200 ms each: all answered after 200 ms (one after another: 20.0 s)",
          "10 requests with nothing to wait for: each answered within 0 ms",
          "the same 10 while one handler blocks for 300 ms: none answered before 300 ms",
          "waiting costs the loop nothing, blocking stops it for all requests: blocking work belongs on a thread (aio executor)"
        ])
      }).pipe(Effect.provide(inMemory))
  )

  it.scoped("waits and blocks for any duration, not only for what /wait accepts", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Server.demo({ requests: 2, wait: "2 hours", block: "1500 micros" }))
      yield* TestClock.adjust("2 hours")
      yield* TestClock.adjust("2 hours")
      yield* TestClock.adjust("1500 micros")
      expect(yield* Fiber.join(fiber)).toMatchObject({
        one: 7_200_000,
        wait: 7_200_000,
        block: 1.5,
        held: 1.5
      })
    }).pipe(Effect.provide(inMemory))
  )

  it.scopedLive("shows the same over real sockets", () =>
    Effect.gen(function* () {
      const demo = yield* Server.demo({ requests: 50, wait: "20 millis", block: "40 millis" })
      expect(demo.all).toBeGreaterThanOrEqual(19)
      expect(demo.all).toBeLessThan(50 * 20)
      // A timer may be a millisecond early by the nanosecond clock.
      expect(demo.held).toBeGreaterThanOrEqual(39)
    }).pipe(Effect.provide(onSockets))
  )
})
