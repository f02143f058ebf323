import type * as Etag from "@effect/platform/Etag"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Socket from "@effect/platform/Socket"
import { Cause, Chunk, Context, Effect, Layer, Mailbox, Runtime, type Scope, Stream } from "effect"
import { ListenError, type Options, reasons, ServerStats } from "./HttpServer.js"
import { type Resolved, resolve } from "./internal/limits.js"
import { MemoryRequest, streamOf } from "./internal/memory.js"
import { MemoryResponse } from "./internal/memoryClient.js"
import { MemoryWebSocket } from "./internal/memorySocket.js"
import * as Platform from "./internal/platform.js"
import { once, Requests } from "./internal/requests.js"
import * as Session from "./internal/session.js"
import { Stats, service } from "./internal/stats.js"

type WebSocketOfBrowsers = globalThis.WebSocket

const inUse = new Set<number>()

const free = () => {
  let port = 49_152
  while (inUse.has(port)) port++
  return port
}

/** The body of a response, which the server's fiber writes while the client reads. */
const streamed = (
  request: MemoryRequest,
  response: HttpServerResponse.HttpServerResponse,
  client: Client
) => {
  const stream = streamOf(response.body)
  if (stream === undefined || request.method === "HEAD" || response.status === 204) return {}
  if (response.body._tag === "Uint8Array") return { body: response.body.body }
  const mailbox = Effect.runSync(Mailbox.make<Uint8Array, unknown>({ capacity: 16, strategy: "suspend" }))
  let read = false
  const body = Stream.ensuring(
    Mailbox.toStream(mailbox),
    Effect.sync(() => {
      if (!read) client.disconnected(request)
    })
  )
  const write = Stream.runForEachChunk(stream, (chunk) =>
    mailbox.offerAll(Chunk.toReadonlyArray(chunk))
  ).pipe(
    Effect.interruptible,
    Effect.onExit((exit) => {
      read = true
      return exit._tag === "Success" ? mailbox.end : mailbox.fail(Cause.squash(exit.cause))
    }),
    Effect.mapError(
      (cause) => new HttpServerError.ResponseError({ request, response, reason: "Decode", cause })
    )
  )
  return { body, write }
}

/** The clients of one server. */
class Client {
  readonly sockets = new Set<MemoryWebSocket>()

  constructor(
    private readonly requests: Requests,
    private readonly limits: Resolved,
    private readonly stats: Stats,
    private readonly address: string
  ) {}

  disconnected(request: MemoryRequest) {
    this.requests.cancel(request, reasons.disconnected)
  }

  private connected(more: () => void) {
    this.stats.connections++
    this.stats.open++
    return () => {
      this.stats.open--
      more()
    }
  }

  readonly http = HttpClient.make((client, url, signal) =>
    Effect.async((resume) => {
      if (this.requests.closing || url.host !== this.address) {
        return resume(
          new HttpClientError.RequestError({
            request: client,
            reason: "Transport",
            cause: Object.assign(new Error(`connect ECONNREFUSED ${url.host}`), { code: "ECONNREFUSED" })
          })
        )
      }
      const body = streamOf(client.body)
      const fixed = client.body._tag === "FormData" ? new Response(client.body.formData) : undefined
      const request = new MemoryRequest({
        method: client.method,
        url: `${url.pathname}${url.search}`,
        headers: {
          host: url.host,
          ...(fixed === undefined ? {} : Object.fromEntries(fixed.headers)),
          ...client.headers
        },
        body:
          fixed === undefined
            ? body
            : Stream.fromReadableStream(
                () => fixed.body!,
                (error) => error
              ),
        bodySize: this.limits.bodySize,
        onTooLarge: () => this.stats.limits.bodySize++,
        respond: (response) => {
          const { body, write } = streamed(request, response, this)
          resume(Effect.succeed(new MemoryResponse(client, response, body)))
          return write
        }
      })
      const left = () => this.disconnected(request)
      signal.addEventListener("abort", left, { once: true })
      const over = this.connected(() => signal.removeEventListener("abort", left))
      if (!this.requests.start(request, over)) over()
      return Effect.sync(left)
    })
  )

  readonly webSocket = (url: string): WebSocketOfBrowsers => {
    const { host, pathname, search } = new URL(url)
    const { limits, stats } = this
    const socket = new MemoryWebSocket(url, limits.messageSize, () => stats.limits.messageSize++)
    const refused = this.requests.closing || host !== this.address
    queueMicrotask(() => {
      if (refused) return socket.refuse(0)
      const request: MemoryRequest = new MemoryRequest({
        method: "GET",
        url: `${pathname}${search}`,
        headers: { host, connection: "upgrade", upgrade: "websocket", "sec-websocket-version": "13" },
        body: undefined,
        bodySize: 0,
        onTooLarge: () => undefined,
        session: Effect.sync(() =>
          Session.make({
            limits,
            stats,
            open: (holder) =>
              Effect.sync(() => {
                request.upgraded = true
                const wire = socket.accept(holder)
                if (this.requests.closing) wire.close(1001, reasons.closing)
                return wire
              })
          })
        ),
        respond: (response) => {
          socket.refuse(response.status)
          return undefined
        }
      })
      this.sockets.add(socket)
      socket.onAbandoned = () => this.disconnected(request)
      const over = this.connected(() => {
        this.sockets.delete(socket)
        if (request.upgraded) socket.close(1006)
      })
      if (!this.requests.start(request, over)) over()
    })
    return socket as unknown as WebSocketOfBrowsers
  }
}

type Provided = HttpServer.HttpServer | ServerStats | HttpClient.HttpClient | Socket.WebSocketConstructor

const make = (options: Options): Effect.Effect<Context.Context<Provided>, ListenError, Scope.Scope> =>
  Effect.gen(function* () {
    const limits = resolve(options)
    const { host = "127.0.0.1", port: wanted = 0 } = options
    const fork = Runtime.runFork(yield* Effect.runtime<never>())
    const stats = new Stats()
    const requests = new Requests(limits, stats, options, fork)
    const port = yield* Effect.suspend(() => {
      const port = wanted === 0 ? free() : wanted
      if (inUse.has(port)) return new ListenError({ address: `${host}:${port}`, code: "EADDRINUSE" })
      inUse.add(port)
      return Effect.succeed(port)
    })
    const client = new Client(requests, limits, stats, `${host}:${port}`)
    const close = once(
      Effect.suspend(() => {
        requests.closing = true
        inUse.delete(port)
        for (const socket of client.sockets) socket.close(1001, reasons.closing)
        return requests.drain(Effect.void, () => undefined)
      })
    )
    yield* Effect.addFinalizer(() => close)
    return Context.make(ServerStats, service(stats)).pipe(
      Context.add(
        HttpServer.HttpServer,
        HttpServer.make({
          serve: requests.serve(close),
          address: { _tag: "TcpAddress", hostname: host, port }
        })
      ),
      Context.add(
        HttpClient.HttpClient,
        HttpClient.mapRequest(client.http, HttpClientRequest.prependUrl(`http://${host}:${port}`))
      ),
      Context.add(Socket.WebSocketConstructor, (url) =>
        client.webSocket(url.startsWith("/") ? `ws://${host}:${port}${url}` : url)
      )
    )
  })

/**
 * Provides the platform's `HttpServer` in memory, without sockets, and the `HttpClient` and `Socket.WebSocketConstructor`
 * that reach it: their URLs begin with the path. Each request is a fiber of its own, in the time of the current clock. Of
 * the limits, those that concern requests and messages hold here too: `bodySize`, `deadline`, `waitTime`,
 * `messageSize`, `messagesWaiting`, and `grace`.
 *
 * @example
 * ```ts
 * import * as HttpClient from "@effect/platform/HttpClient"
 * import * as HttpServer from "@effect/platform/HttpServer"
 * import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
 * import { Effect } from "effect"
 * import * as HttpServerTest from "effect-asyncio/services/HttpServerTest"
 *
 * export const status = HttpServer.serveEffect(HttpServerResponse.text("hi")).pipe(
 *   Effect.zipRight(HttpClient.get("/")),
 *   Effect.map((response) => response.status),
 *   Effect.scoped,
 *   Effect.provide(HttpServerTest.layer())
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<Provided | HttpPlatform.HttpPlatform | Etag.Generator, ListenError> =>
  Layer.merge(Layer.scopedContext(make(options)), Platform.layer)
