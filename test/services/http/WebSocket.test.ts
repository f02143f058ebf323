import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { converse, echo, endless, layers, NoRows, request, stats } from "./support.js"

for (const [name, layer] of layers) {
  describe(`WebSockets with ${name}`, () => {
    it.scopedLive("sends messages back in order, texts and bytes", () =>
      Effect.gen(function* () {
        yield* HttpServer.serveEffect(echo)
        const many = Array.from({ length: 300 }, (_, i) => `${i}`)
        const sent = ["one", new Uint8Array([1, 2]), "", "é", ...many]
        expect(yield* converse("/", sent)).toEqual(["one", [1, 2], "", "é", ...many])
        expect((yield* stats).webSockets).toEqual({ total: 1, open: 0 })
      }).pipe(Effect.provide(layer()))
    )

    it.scopedLive("an app that does not upgrade answers as ever; upgrading a plain request is 400", () =>
      Effect.gen(function* () {
        yield* HttpServer.serveEffect(
          Effect.flatMap(request, ({ url }) =>
            url === "/plain" ? HttpServerResponse.empty({ status: 401 }) : echo
          )
        )
        expect((yield* Effect.flip(converse("/plain", ["one"]))).reason).toBe("Open")
        expect((yield* HttpClient.get("/")).status).toBe(400)
      }).pipe(Effect.provide(layer()))
    )

    it.scopedLive("runs as many handlers of messages as may wait, and no more", () =>
      Effect.gen(function* () {
        const release = yield* Effect.makeLatch()
        let most = 0
        let running = 0
        const app = Effect.gen(function* () {
          const socket = yield* HttpServerRequest.upgrade
          const write = yield* socket.writer
          yield* socket.runRaw((message) =>
            Effect.gen(function* () {
              most = Math.max(most, ++running)
              yield* release.await
              running--
              yield* write(message)
            })
          )
          return HttpServerResponse.empty()
        }).pipe(Effect.scoped)
        yield* HttpServer.serveEffect(app)
        const many = Array.from({ length: 100 }, (_, i) => `${i}`)
        const client = yield* Effect.fork(converse("/", many))
        yield* Effect.repeat(Effect.sleep(1), { until: () => running === 3 })
        yield* Effect.sleep(20)
        yield* release.open
        expect(yield* Fiber.join(client)).toEqual(many)
        expect(most).toBe(3)
        expect((yield* stats).limits.messagesWaiting).toBeGreaterThan(0)
      }).pipe(Effect.provide(layer({ messagesWaiting: 3 })))
    )

    it.scopedLive("a message larger than the limit closes with 1009", () =>
      Effect.gen(function* () {
        yield* HttpServer.serveEffect(echo)
        const error = yield* Effect.flip(converse("/", ["x".repeat(2000)]))
        expect(error).toMatchObject({ reason: "Close", code: 1009 })
        expect((yield* stats).limits.messageSize).toBe(1)
      }).pipe(Effect.provide(layer({ messageSize: 1000 })))
    )

    it.scopedLive("a handler of a message that fails closes with 1011, and is reported", () => {
      const reports: Array<string> = []
      return Effect.gen(function* () {
        yield* HttpServer.serveEffect(
          Effect.gen(function* () {
            const socket = yield* HttpServerRequest.upgrade
            yield* socket.runRaw(() => Effect.fail(new NoRows()))
            return HttpServerResponse.empty()
          })
        )
        expect(yield* Effect.flip(converse("/ws", ["one"]))).toMatchObject({ code: 1011 })
        yield* Effect.repeat(Effect.sleep(1), { until: () => reports.length > 0 })
        expect(reports).toEqual(["GET /ws failed: no rows"])
      }).pipe(
        Effect.provide(layer({ report: ({ message }) => Effect.sync(() => void reports.push(message)) }))
      )
    })

    it.scopedLive(
      "is closed with 1001 when the server closes, which does not wait for the grace period",
      () =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const open = yield* Effect.makeLatch()
          yield* Scope.extend(HttpServer.serveEffect(echo), scope)
          const socket = yield* Socket.makeWebSocket("/")
          const conversation = socket.runRaw(() => undefined, { onOpen: Effect.asVoid(open.open) })
          const client = yield* Effect.fork(Effect.flip(conversation))
          yield* open.await
          yield* Scope.close(scope, Exit.void)
          expect(yield* Fiber.join(client)).toMatchObject({ reason: "Close", code: 1001 })
        }).pipe(Effect.provide(layer({ grace: "1 minute" })))
    )

    it.scopedLive("a session that does not read is cancelled when the client goes", () =>
      Effect.gen(function* () {
        const { app, begun, reason } = yield* endless
        yield* HttpServer.serveEffect(Effect.zipRight(HttpServerRequest.upgrade, app))
        const client = yield* Effect.fork(converse("/", ["one"]))
        yield* begun
        yield* Fiber.interrupt(client)
        expect(yield* reason).toMatchObject({ reason: "client disconnected" })
      }).pipe(Effect.provide(layer()))
    )
  })
}
