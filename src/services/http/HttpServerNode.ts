import * as http from "node:http"
import type { AddressInfo, Socket as NetSocket } from "node:net"
import { Cause, Deferred, Duration, Effect, Exit, Layer, Runtime, type Scope } from "effect"
import {
  type Handler,
  HttpServer,
  ListenError,
  type Listening,
  type Request,
  type Response,
  type ServeOptions,
  type Upgrade
} from "./HttpServer.js"
import { client, webSockets } from "./internal/client.js"
import { type Connection, overWire } from "./internal/connections.js"
import * as RequestFibers from "./internal/requestFibers.js"

// A fiber per request by `runFork` on node:http serves more than twice as many requests as @effect/platform's HttpServer,
// which makes a scope, a span and a request object for each.
const serveNode = <E, R>(
  handler: Handler<E, R>,
  options: ServeOptions = {}
): Effect.Effect<Listening, ListenError, R | Scope.Scope> =>
  Effect.gen(function* () {
    const { host = "127.0.0.1", port = 0 } = options
    const fibers = yield* RequestFibers.make(handler, options)
    const gone = yield* Deferred.make<void>()
    const server = http.createServer()
    const connections = new Set<Connection>()
    const upgraded = new Set<NetSocket>()
    // Connections without a request so far, as browsers open them: Node counts them as busy.
    const silent = new Set<unknown>()
    let closing = false

    const respond = (
      response: http.ServerResponse,
      request: Request,
      exit: Exit.Exit<Response | Upgrade>
    ) => {
      if (response.destroyed) return
      const { body, headers, status } = RequestFibers.toResponse(exit)
      if (closing) response.setHeader("connection", "close")
      try {
        response.writeHead(status, { "content-length": Buffer.byteLength(body), ...headers }).end(body)
      } catch (error) {
        // A status or a header that HTTP does not have.
        fibers.start(request, fibers.failed(request, Cause.die(error)), () =>
          response.writeHead(500, { "content-length": 0 }).end()
        )
      }
    }

    server.on("connection", (raw) => {
      silent.add(raw)
      raw.once("close", () => silent.delete(raw))
    })
    server.on("request", (incoming, response) => {
      silent.delete(incoming.socket)
      const request = new RequestFibers.IncomingRequest(
        incoming.method ?? "GET",
        incoming.url ?? "/",
        incoming.headers
      )
      const fiber = fibers.start(request, fibers.answer(request), (exit) => respond(response, request, exit))
      if (fiber.unsafePoll() === null) response.once("close", () => fibers.disconnected(fiber))
    })
    server.on("upgrade", (incoming, duplex, head) => {
      const raw = duplex as NetSocket
      silent.delete(raw)
      upgraded.add(raw)
      raw.on("error", () => raw.destroy())
      const request = new RequestFibers.IncomingRequest(
        incoming.method ?? "GET",
        incoming.url ?? "/",
        incoming.headers
      )
      let connection: Connection | undefined
      // Read while the handler runs: otherwise the end of the connection would go unnoticed.
      let early = head
      const onEarly = (chunk: Buffer) => {
        early = Buffer.concat([early, chunk])
        raw.pause()
      }
      raw.once("data", onEarly)
      const fiber = fibers.start(
        request,
        Effect.gen(function* () {
          const answer = yield* fibers.answer(request)
          if (answer._tag === "Response") return answer
          const { accept } = yield* webSockets
          connection = yield* overWire(
            (holder) => {
              raw.off("data", onEarly)
              return accept(incoming, raw.resume(), early, holder)
            },
            ({ code }) => {
              if (code === 1006 || connection?.reading() !== true) fibers.disconnected(fiber)
            }
          )
          if (connection === undefined) return answer
          connections.add(connection)
          if (closing) connection.unsafeClose(1001, "server is closing")
          yield* fibers.converse(request, answer, connection)
          return undefined
        }),
        (exit) => {
          if (connection !== undefined) return void connections.delete(connection)
          const response = new http.ServerResponse(incoming)
          response.shouldKeepAlive = false
          response.assignSocket(raw)
          response.once("finish", () => raw.destroySoon())
          respond(
            response,
            request,
            Exit.map(exit, (answer) => answer ?? RequestFibers.unavailable)
          )
        }
      )
      const left = () => {
        if (connection === undefined) fibers.disconnected(fiber)
      }
      raw.once("end", left)
      raw.once("close", () => {
        upgraded.delete(raw)
        left()
      })
    })

    // Connections of the server's own client, one for each request at once, all kept alive. At the end only unused ones
    // are closed: an answer may be on its way.
    const agent = yield* Effect.acquireRelease(
      Effect.sync(() => new http.Agent({ keepAlive: true, maxFreeSockets: Number.POSITIVE_INFINITY })),
      (agent) =>
        Effect.sync(() => {
          for (const unused of Object.values(agent.freeSockets).flat()) unused?.destroy()
        })
    )
    yield* Effect.acquireRelease(
      Effect.async<void, ListenError>((resume) => {
        server.once("error", (cause: NodeJS.ErrnoException) =>
          resume(new ListenError({ host, port, code: cause.code ?? cause.message, cause }))
        )
        // Above the 511 of Node: a refused connection tries again only after a second.
        server.listen({ host, port, backlog: 4096 }, () => resume(Effect.void))
      }),
      () =>
        Effect.suspend(() => {
          closing = true
          server.close(() => Deferred.unsafeDone(gone, Exit.void))
          for (const raw of silent) (raw as NetSocket).destroy()
          for (const connection of connections) connection.unsafeClose(1001, "server is closing")
          return fibers.close(
            Deferred.await(gone),
            Effect.sync(() => {
              server.closeAllConnections()
              for (const raw of upgraded) raw.destroy()
            })
          )
        })
    )
    // For instance out of file descriptors: the connection is refused, and the server continues.
    const runtime = yield* Effect.runtime<never>()
    server.on("error", (error) => Runtime.runFork(runtime)(Effect.logError(`server: ${error.message}`)))

    const address = server.address() as AddressInfo
    const url = `http://${host.includes(":") ? `[${host}]` : host}:${address.port}`
    return { host, port: address.port, url, ...client(url, agent) }
  })

/**
 * Serves over `node:http`, and WebSockets (RFC 6455) over `ws`. `serve` fails with `ListenError`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<HttpServer> = Layer.succeed(HttpServer, {
  serve: serveNode,
  block: (duration) =>
    Effect.sync(() => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Duration.toMillis(duration))
    })
})
