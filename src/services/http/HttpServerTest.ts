import { Deferred, Effect, Fiber, Layer } from "effect"
import {
  type Handler,
  HttpServer,
  ListenError,
  type Listening,
  type Reply,
  type Request,
  RequestFailed,
  type ServeOptions,
  type Socket
} from "./HttpServer.js"
import { type Connection, pair } from "./internal/connections.js"
import * as RequestFibers from "./internal/requestFibers.js"

/**
 * Serves in memory, without sockets: `request` and `connect` of the listening server reach the handler, each in a fiber
 * of its own, in the time of the current clock. Ports count from 49152 on and can be in use; `block` delays everything.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as HttpServer from "effect-asyncio/services/HttpServer"
 * import * as HttpServerTest from "effect-asyncio/services/HttpServerTest"
 *
 * export const status = HttpServer.serve(() => Effect.succeed(HttpServer.text("hi"))).pipe(
 *   Effect.flatMap((server) => server.request("/")),
 *   Effect.map((reply) => reply.status),
 *   Effect.scoped,
 *   Effect.provide(HttpServerTest.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<HttpServer> = Layer.sync(HttpServer, () => {
  const thread = Effect.unsafeMakeLatch(true)
  const ports = new Set<number>()

  const serve = <E, R>(handler: Handler<E, R>, options: ServeOptions = {}) =>
    Effect.gen(function* () {
      const { host = "127.0.0.1", port: wanted = 0 } = options
      const fibers = yield* RequestFibers.make(handler, options)
      const connections = new Set<Connection>()
      let closing = false
      let port = wanted
      yield* Effect.acquireRelease(
        Effect.suspend(() => {
          if (port === 0) for (port = 49_152; ports.has(port); ) port++
          if (ports.has(port)) return new ListenError({ host, port, code: "EADDRINUSE" })
          ports.add(port)
          return Effect.void
        }),
        () =>
          Effect.suspend(() => {
            closing = true
            ports.delete(port)
            for (const connection of connections) connection.unsafeClose(1001, "server is closing")
            return fibers.close(fibers.drained, Effect.void)
          })
      )
      const refused = (target: string) =>
        Effect.suspend(() => (closing ? new RequestFailed({ target, reason: "ECONNREFUSED" }) : Effect.void))
      // A handler needs the thread at its start and at its end.
      const answer = (request: Request) =>
        thread.await.pipe(Effect.zipRight(fibers.answer(request)), Effect.zipLeft(thread.await))

      const request: Listening["request"] = (target, options) =>
        Effect.zipRight(
          refused(target),
          Effect.async<Reply>((resume) => {
            const request = new RequestFibers.IncomingRequest(options?.method ?? "GET", target, {})
            const fiber = fibers.start(request, answer(request), (exit) => {
              const { body, headers, status } = RequestFibers.toResponse(exit)
              resume(Effect.succeed({ status, headers, body: Buffer.from(body).toString() }))
            })
            return Effect.suspend(() => {
              fibers.disconnected(fiber)
              return Effect.asVoid(Fiber.await(fiber))
            })
          })
        )
      const connect: Listening["connect"] = (target) =>
        Effect.gen(function* () {
          yield* refused(target)
          const request = new RequestFibers.IncomingRequest("GET", target, { upgrade: "websocket" })
          const opened = yield* Deferred.make<Socket, RequestFailed>()
          let theirs: Connection | undefined
          const conversation = Effect.gen(function* () {
            const upgrade = yield* answer(request)
            if (upgrade._tag === "Response") {
              const reason = `status ${upgrade.status} instead of a WebSocket`
              return yield* Deferred.fail(opened, new RequestFailed({ target, reason }))
            }
            const [ours, far] = yield* pair(() => {
              if (!ours.reading()) fibers.disconnected(fiber)
            })
            theirs = far
            connections.add(ours)
            yield* Deferred.succeed(opened, far.socket)
            yield* fibers.converse(request, upgrade, ours)
            connections.delete(ours)
          })
          const fiber = yield* Effect.acquireRelease(
            Effect.sync(() =>
              fibers.start(request, conversation, () => {
                Deferred.unsafeDone(opened, new RequestFailed({ target, reason: "server is closing" }))
              })
            ),
            (fiber) =>
              Effect.sync(() => {
                if (theirs === undefined) fibers.disconnected(fiber)
                else theirs.unsafeClose(1000)
              })
          )
          return yield* Deferred.await(opened)
        })
      return { host, port, url: `http://${host}:${port}`, request, connect }
    })

  return {
    serve,
    block: (duration) =>
      Effect.uninterruptible(
        Effect.zipRight(thread.close, Effect.zipRight(Effect.sleep(duration), thread.open))
      )
  }
})
