import { assert, describe, expect, it } from "@effect/vitest"
import { Data, Deferred, Effect, Exit, Fiber, Scope } from "effect"
import * as HttpServer from "../../../src/services/http/HttpServer.js"
import * as HttpServerNode from "../../../src/services/http/HttpServerNode.js"
import * as HttpServerTest from "../../../src/services/http/HttpServerTest.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"

class NoRows extends Data.TaggedError("NoRows") {
  override readonly message = "no rows"
}

const text = (body: string) => Effect.succeed(HttpServer.text(body))

const echo = HttpServer.webSocket((socket) => Effect.forever(Effect.flatMap(socket.receive, socket.send)))

// A handler that reports the start of a request, never answers, and reports how it ended.
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

for (const [name, layer] of [
  ["HttpServerNode.layer", HttpServerNode.layer],
  ["HttpServerTest.layer", HttpServerTest.layer]
] as const) {
  describe(`HttpServer with ${name}`, () => {
    it.scopedLive("passes the request to the handler, and its answer to the client", () =>
      Effect.gen(function* () {
        const server = yield* HttpServer.serve((request) =>
          Effect.succeed(
            HttpServer.text(`${request.method} ${request.path} ${request.query.get("a")}`, {
              status: 201,
              headers: { "x-own": "yes" }
            })
          )
        )
        const reply = yield* server.request("/a%20b?a=%C3%A9&b", { method: "PUT" })
        expect(reply).toMatchObject({ status: 201, body: "PUT /a%20b é", headers: { "x-own": "yes" } })
        expect(server.url).toBe(`http://127.0.0.1:${server.port}`)
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("answers 500 for a failure and a defect, reports them, and continues", () =>
      Effect.gen(function* () {
        const reports: Array<string> = []
        const server = yield* HttpServer.serve(
          (request): Effect.Effect<HttpServer.Response, NoRows> => {
            if (request.path === "/fail") return Effect.fail(new NoRows())
            if (request.path === "/die") throw new TypeError("undefined is no function")
            return text("well")
          },
          { report: (failure) => Effect.sync(() => void reports.push(failure.message)) }
        )
        expect((yield* server.request("/fail")).status).toBe(500)
        expect((yield* server.request("/die")).status).toBe(500)
        expect((yield* server.request("/")).body).toBe("well")
        expect(reports).toEqual(["GET /fail failed: no rows", "GET /die failed: undefined is no function"])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("cancels the handler of a client that disconnects, with the reason", () =>
      Effect.gen(function* () {
        const { begun, handler, reason } = yield* endless
        const server = yield* HttpServer.serve(handler)
        const client = yield* Effect.fork(server.request("/slow"))
        yield* begun
        yield* Fiber.interrupt(client)
        expect(yield* reason).toEqual({ reason: "client disconnected", origin: "GET /slow" })
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("lets running requests end when it closes", () =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const draining = yield* Deferred.make<number>()
        const scope = yield* Scope.make()
        const server = yield* HttpServer.serve(
          () =>
            Deferred.succeed(begun, undefined).pipe(
              Effect.zipRight(Deferred.await(go)),
              Effect.as(HttpServer.text("done"))
            ),
          { onDrain: (running) => Deferred.succeed(draining, running) }
        ).pipe(Scope.extend(scope))
        const client = yield* Effect.fork(server.request("/"))
        yield* Deferred.await(begun)
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        expect(yield* Deferred.await(draining)).toBe(1)
        expect((yield* Effect.flip(server.request("/late"))).reason).toBe("ECONNREFUSED")
        yield* Deferred.succeed(go, undefined)
        expect((yield* Fiber.join(client)).body).toBe("done")
        yield* Fiber.join(closing)
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("cancels requests that run longer than the grace period, with 503", () =>
      Effect.gen(function* () {
        const { begun, handler, reason } = yield* endless
        const scope = yield* Scope.make()
        const server = yield* Scope.extend(HttpServer.serve(handler, { grace: 20 }), scope)
        const client = yield* Effect.fork(server.request("/slow"))
        yield* begun
        yield* Scope.close(scope, Exit.void)
        expect(yield* reason).toEqual({
          reason: "server closed and the grace period of 20ms is over",
          origin: "server"
        })
        expect((yield* Fiber.join(client)).status).toBe(503)
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("refuses a port in use with one clear line", () =>
      Effect.gen(function* () {
        const { port } = yield* HttpServer.serve(() => text("first"))
        const error = yield* Effect.flip(HttpServer.serve(() => text("second"), { port }))
        expect(error).toMatchObject({ _tag: "ListenError", code: "EADDRINUSE", exitCode: 1 })
        expect(error.message).toBe(
          `cannot listen on 127.0.0.1:${port}: the port is in use; choose another, or 0 for a free one`
        )
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("frees its port when its scope closes", () =>
      Effect.gen(function* () {
        const { port } = yield* Effect.scoped(HttpServer.serve(() => text("first")))
        const again = yield* HttpServer.serve(() => text("second"), { port })
        expect((yield* again.request("/")).body).toBe("second")
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("serves WebSockets: texts and bytes of every length are echoed whole and in order", () =>
      Effect.gen(function* () {
        const server = yield* HttpServer.serve(() => echo)
        const socket = yield* server.connect("/")
        const lengths = [0, 1, 125, 126, 65_535, 65_536, 1024 * 1024]
        for (const length of lengths) {
          yield* socket.send("x".repeat(length))
          yield* socket.send(new Uint8Array(length).fill(length & 255))
        }
        for (const length of lengths) {
          expect((yield* socket.receive) === "x".repeat(length)).toBe(true)
          const bytes = yield* socket.receive
          assert(typeof bytes !== "string")
          expect(bytes.length === length && bytes.every((byte) => byte === (length & 255))).toBe(true)
        }
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("fails the receive of a session whose client closed, and lets it finish", () =>
      Effect.gen(function* () {
        const ended = yield* Deferred.make<string>()
        const server = yield* HttpServer.serve(() =>
          HttpServer.webSocket((socket) =>
            Effect.forever(socket.receive).pipe(
              Effect.catchTag("SocketClosed", (closed) => Deferred.succeed(ended, closed.message))
            )
          )
        )
        const socket = yield* server.connect("/")
        yield* socket.send("one")
        yield* socket.close(1000, "enough")
        expect(yield* Deferred.await(ended)).toBe("the WebSocket is closed (1000, enough)")
        expect((yield* Effect.flip(socket.send("two")))._tag).toBe("SocketClosed")
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("cancels a session that does not receive when the client closes", () =>
      Effect.gen(function* () {
        const { begun, handler, reason } = yield* endless
        const server = yield* HttpServer.serve(() => HttpServer.webSocket(handler))
        yield* Effect.scoped(Effect.zipRight(server.connect("/feed"), begun))
        expect(yield* reason).toEqual({ reason: "client disconnected", origin: "GET /feed" })
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive(
      "closes the WebSocket when the session ends: 1000, and 1011 with a report when it failed",
      () =>
        Effect.gen(function* () {
          const reports: Array<string> = []
          const server = yield* HttpServer.serve(
            (request) =>
              HttpServer.webSocket((socket) =>
                Effect.zipRight(
                  socket.send("hello"),
                  request.path === "/" ? Effect.void : Effect.fail(new NoRows())
                )
              ),
            { report: (failure) => Effect.sync(() => void reports.push(failure.message)) }
          )
          for (const [path, code] of [
            ["/", 1000],
            ["/bad", 1011]
          ] as const) {
            const socket = yield* server.connect(path)
            expect(yield* socket.receive).toBe("hello")
            expect((yield* Effect.flip(socket.receive)).code).toBe(code)
          }
          expect(reports).toEqual(["GET /bad failed: no rows"])
        }).pipe(Effect.provide(layer))
    )

    it.scopedLive("closes WebSockets at once when it closes", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const server = yield* Scope.extend(
          HttpServer.serve(() => echo, { grace: "1 hour" }),
          scope
        )
        const socket = yield* server.connect("/")
        yield* socket.send("in time")
        expect(yield* socket.receive).toBe("in time")
        yield* Scope.close(scope, Exit.void)
        expect((yield* Effect.flip(socket.receive)).code).toBe(1001)
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("answers 426 if only a WebSocket is served, and fails to connect if none is", () =>
      Effect.gen(function* () {
        const server = yield* HttpServer.serve(({ path }) => (path === "/ws" ? echo : text("plain")))
        expect((yield* server.request("/ws")).status).toBe(426)
        expect((yield* Effect.flip(server.connect("/"))).message).toBe(
          "/ was not answered: status 200 instead of a WebSocket"
        )
      }).pipe(Effect.provide(layer))
    )
  })
}
