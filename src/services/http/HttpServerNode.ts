import * as http from "node:http"
import * as https from "node:https"
import type { AddressInfo } from "node:net"
import type * as Etag from "@effect/platform/Etag"
import type * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpServer from "@effect/platform/HttpServer"
import { Context, Deferred, Effect, Exit, Layer, Runtime, type Scope } from "effect"
import { ListenError, type Options, ServerStats } from "./HttpServer.js"
import { Connections } from "./internal/connections.js"
import { type Resolved, resolve, timer } from "./internal/limits.js"
import * as Platform from "./internal/platform.js"
import { once, Requests } from "./internal/requests.js"
import { Stats, service } from "./internal/stats.js"

/** How often Node looks at the times of all connections, in ms. */
const checkEvery = ({ bodyTime, headerTime }: Resolved) =>
  Math.round(Math.min(1000, Math.max(10, Math.min(headerTime, bodyTime) / 4)))

const create = (options: Options, limits: Resolved, address: string) =>
  Effect.suspend(() => {
    const settings: https.ServerOptions = {
      maxHeaderSize: Math.min(limits.headerSize, 2 ** 31 - 1),
      headersTimeout: timer(Math.min(limits.headerTime, limits.bodyTime)),
      requestTimeout: timer(limits.bodyTime),
      keepAliveTimeout: timer(limits.idleTime),
      connectionsCheckingInterval: checkEvery(limits)
    }
    if (options.tls === undefined) return Effect.succeed(http.createServer(settings))
    const { cert, key } = options.tls
    return Effect.try({
      try: () =>
        https.createServer({
          ...settings,
          cert: Buffer.from(cert),
          key: Buffer.from(key),
          handshakeTimeout: timer(limits.headerTime)
        }),
      catch: (cause) => new ListenError({ address, code: "TLS", cause })
    })
  })

const make = (
  options: Options
): Effect.Effect<Context.Context<HttpServer.HttpServer | ServerStats>, ListenError, Scope.Scope> =>
  Effect.gen(function* () {
    const limits = resolve(options)
    const { host = "127.0.0.1", path, port = 0 } = options
    const shown = path ?? `${host}:${port}`
    const runtime = yield* Effect.runtime<never>()
    const fork = Runtime.runFork(runtime)
    const stats = new Stats()
    const requests = new Requests(limits, stats, options, fork)
    const connections = new Connections(limits, stats, requests)
    const server = yield* create(options, limits, shown)
    // Every line of a head is kept: the size bounds their number.
    server.maxHeadersCount = 0
    connections.attach(server, options.tls === undefined ? "connection" : "secureConnection")

    const gone = yield* Deferred.make<void>()
    const close = once(
      Effect.suspend(() => {
        requests.closing = true
        connections.close(server, () => Deferred.unsafeDone(gone, Exit.void))
        return requests.drain(Deferred.await(gone), () => connections.destroy())
      })
    )
    yield* Effect.acquireRelease(
      Effect.async<void, ListenError>((resume) => {
        server.once("error", (cause: NodeJS.ErrnoException) =>
          resume(new ListenError({ address: shown, code: cause.code ?? cause.message, cause }))
        )
        // Above the 511 of Node: a refused connection tries again only after a second.
        const where = path === undefined ? { host, port } : { path }
        server.listen({ ...where, backlog: 4096 }, () => resume(Effect.void))
      }),
      () => close
    )
    // For instance out of file descriptors: the connection is refused, and the server continues.
    server.removeAllListeners("error")
    server.on("error", (error) => fork(Effect.logError(`server: ${error.message}`)))

    const address = server.address() as AddressInfo | string
    return Context.make(ServerStats, service(stats)).pipe(
      Context.add(
        HttpServer.HttpServer,
        HttpServer.make({
          serve: requests.serve(close),
          address:
            typeof address === "string"
              ? { _tag: "UnixAddress", path: address }
              : { _tag: "TcpAddress", hostname: host, port: address.port }
        })
      )
    )
  })

/**
 * Provides the platform's `HttpServer` over `node:http` (or `node:https`), WebSockets (RFC 6455) over `ws`, and what
 * `HttpServerResponse.file` needs. It listens while the layer is built, and answers 503 until an app is served. A fiber
 * for each request, interrupted when its client disconnects; `HttpServer.Limits` lists what it accepts of its clients.
 *
 * When the scope of `serve` closes it drains: it stops listening, closes idle connections, sends 1001 to WebSockets, gives
 * running requests the grace period, and cancels those that are left.
 *
 * A request has no span unless a tracer other than Effect's own is installed where `serve` runs.
 *
 * @example
 * ```ts
 * import * as HttpRouter from "@effect/platform/HttpRouter"
 * import * as HttpServer from "@effect/platform/HttpServer"
 * import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
 * import { Layer } from "effect"
 * import * as HttpServerNode from "effect-asyncio/services/HttpServerNode"
 *
 * const app = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("hi\n")))
 *
 * export const main = HttpServer.serve(app).pipe(
 *   HttpServer.withLogAddress,
 *   Layer.provide(HttpServerNode.layer({ port: 8080 }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<
  HttpServer.HttpServer | ServerStats | HttpPlatform.HttpPlatform | Etag.Generator,
  ListenError
> => Layer.merge(Layer.scopedContext(make(options)), Platform.layer)
