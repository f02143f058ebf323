import { type Cause, Context, Data, type Duration, Effect, type Scope } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Causes from "../task/Causes.js"
import { title } from "./internal/title.js"

// model

/**
 * A client's request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  /** In upper case: `GET`. */
  readonly method: string
  /** As sent, percent-encoded, without the query: `/wait`. */
  readonly path: string
  readonly query: URLSearchParams
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
}

/**
 * A handler's answer. See {@link text}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Response {
  readonly _tag: "Response"
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

/**
 * A handler's answer that turns the connection into a WebSocket. See {@link webSocket}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Upgrade {
  readonly _tag: "Upgrade"
  readonly session: (socket: Socket) => Effect.Effect<unknown, unknown>
}

/**
 * The effect that answers a request. It runs in a fiber of its own, interrupted when the client disconnects.
 *
 * @since 0.1.0
 * @category models
 */
export type Handler<E = never, R = never> = (request: Request) => Effect.Effect<Response | Upgrade, E, R>

/**
 * One message of a WebSocket, of at most 1 MiB: a text or bytes.
 *
 * @since 0.1.0
 * @category models
 */
export type Message = string | Uint8Array

/**
 * One end of a WebSocket connection.
 *
 * @since 0.1.0
 * @category models
 */
export interface Socket {
  /** Waits for the next message. Messages that arrived before the connection closed can still be received. */
  readonly receive: Effect.Effect<Message, SocketClosed>
  /** Sends a message, and waits while the receiver is slower. */
  readonly send: (message: Message) => Effect.Effect<void, SocketClosed>
  /**
   * Starts closing; messages that are still on their way here can be received. Default code 1000; a code that may not be
   * sent (RFC 6455, 7.4) is a defect. At most 123 bytes of the reason are sent.
   */
  readonly close: (code?: number, reason?: string) => Effect.Effect<void>
}

/**
 * The answer that a client received.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: string
}

/**
 * Settings of {@link HttpServer.serve}.
 *
 * @since 0.1.0
 * @category options
 */
export interface ServeOptions {
  /** Default 0: a free one. */
  readonly port?: number | undefined
  /** Address or name of this machine to listen on. Default `127.0.0.1`: this machine only. */
  readonly host?: string | undefined
  /** Time that running requests have to end when the server's scope closes; then they are cancelled. Default 5 s. */
  readonly grace?: Duration.DurationInput | undefined
  /** Called for each handler that fails; its client gets 500 and the server continues. Default: logs an error. */
  readonly report?: ((failure: HandlerFailed) => Effect.Effect<void>) | undefined
  /**
   * Called when the scope closes while requests run, with their number, WebSockets not counted. Default: does nothing.
   */
  readonly onDrain?: ((running: number, grace: Duration.Duration) => Effect.Effect<void>) | undefined
}

/**
 * A server that listens.
 *
 * @since 0.1.0
 * @category models
 */
export interface Listening {
  readonly host: string
  readonly port: number
  /** `http://127.0.0.1:41234`. */
  readonly url: string
  /**
   * Sends a request to the server: over a socket with `HttpServerNode.layer`, in memory with `HttpServerTest.layer`.
   * Interrupting it disconnects the client.
   */
  readonly request: (
    target: string,
    options?: { readonly method?: string }
  ) => Effect.Effect<Reply, RequestFailed>
  /** Opens a WebSocket to the server; closed with its scope. */
  readonly connect: (target: string) => Effect.Effect<Socket, RequestFailed, Scope.Scope>
}

// errors

/**
 * The server cannot listen there.
 *
 * @since 0.1.0
 * @category errors
 */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly host: string
  readonly port: number
  /** Node's code: `EADDRINUSE`, `EACCES`, … */
  readonly code: string
  readonly cause?: unknown
}> {
  readonly exitCode = codes.failed
  override get message() {
    const { code, host, port } = this
    switch (code) {
      case "EADDRINUSE":
        return `cannot listen on ${host}:${port}: the port is in use; choose another, or 0 for a free one`
      case "EACCES":
        return `cannot listen on ${host}:${port}: not allowed; choose a port from 1024 on, or 0 for a free one`
      case "EADDRNOTAVAIL":
      case "ENOTFOUND":
      case "EAI_AGAIN":
      case "EINVAL":
        return `cannot listen on ${host}:${port}: ${host} is not an address of this machine; 127.0.0.1 and 0.0.0.0 are`
      default:
        return `cannot listen on ${host}:${port}: ${code}`
    }
  }
}

/**
 * A handler failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class HandlerFailed extends Data.TaggedError("HandlerFailed")<{
  readonly request: Request
  readonly cause: Cause.Cause<unknown>
}> {
  override get message() {
    return `${title(this.request)} failed: ${Causes.headline(this.cause)}`
  }
}

/**
 * A request of {@link Listening} was not answered.
 *
 * @since 0.1.0
 * @category errors
 */
export class RequestFailed extends Data.TaggedError("RequestFailed")<{
  readonly target: string
  /** Node's code, or the answer to a request for a WebSocket. */
  readonly reason: string
}> {
  override get message() {
    return `${this.target} was not answered: ${this.reason}`
  }
}

/**
 * The WebSocket is closed: no message follows and none can be sent.
 *
 * @since 0.1.0
 * @category errors
 */
export class SocketClosed extends Data.TaggedError("SocketClosed")<{
  /** RFC 6455, 7.4: 1000 done, 1001 going away, 1006 the connection was lost. */
  readonly code: number
  readonly reason: string
}> {
  override get message() {
    return `the WebSocket is closed (${this.code}${this.reason === "" ? "" : `, ${this.reason}`})`
  }
}

// tag

/**
 * Serves handlers over HTTP and WebSocket, a fiber for each request.
 *
 * @since 0.1.0
 * @category services
 */
export class HttpServer extends Context.Tag("effect-asyncio/services/HttpServer")<
  HttpServer,
  {
    /**
     * Listens until the scope closes. Closing is graceful: no new connections, WebSockets are closed (1001), running
     * requests may end within the grace period and are cancelled with a reason after it.
     */
    readonly serve: <E, R>(
      handler: Handler<E, R>,
      options?: ServeOptions
    ) => Effect.Effect<Listening, ListenError, R | Scope.Scope>
    /**
     * Blocks the one thread on which all handlers run, as a blocking call does, to show its effect on other requests.
     * `HttpServerTest.layer` does the same in its clock's time.
     */
    readonly block: (duration: Duration.DurationInput) => Effect.Effect<void>
  }
>() {}

/**
 * {@link HttpServer.serve} of the server in the context.
 *
 * @since 0.1.0
 * @category effects
 */
export const serve = <E, R>(
  handler: Handler<E, R>,
  options?: ServeOptions
): Effect.Effect<Listening, ListenError, R | HttpServer | Scope.Scope> =>
  Effect.flatMap(HttpServer, (server) => server.serve(handler, options))

/**
 * An answer of text. Default status 200.
 *
 * @since 0.1.0
 * @category constructors
 */
export const text = (
  body: string,
  options?: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> }
): Response => ({
  _tag: "Response",
  status: options?.status ?? 200,
  headers: { "content-type": "text/plain; charset=utf-8", ...options?.headers },
  body
})

/**
 * Answers with a WebSocket. The session runs in the request's fiber; when it ends, the connection is closed. It may
 * end with {@link SocketClosed}, as a session that receives for ever does. A session that never receives cannot notice
 * that the client has closed, and is interrupted instead.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as HttpServer from "effect-asyncio/services/HttpServer"
 *
 * export const clock: HttpServer.Handler = () =>
 *   HttpServer.webSocket((socket) => Effect.forever(Effect.delay(socket.send("tick"), "1 second")))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const webSocket = <E, R>(
  session: (socket: Socket) => Effect.Effect<unknown, E, R>
): Effect.Effect<Upgrade, never, R> =>
  Effect.map(Effect.context<R>(), (context) => ({
    _tag: "Upgrade",
    session: (socket) => Effect.provide(session(socket), context)
  }))

/** Stopgap until branch http is merged. */
export interface Snapshot {
  readonly requests: {
    readonly total: number
    readonly running: number
    readonly cancelled: Readonly<Record<string, number>>
  }
  readonly connections: { readonly total: number; readonly open: number }
  readonly webSockets: { readonly open: number }
  readonly limits: Readonly<Record<string, number>>
}
export class ServerStats extends Context.Tag("effect-asyncio/services/ServerStats")<
  ServerStats,
  { readonly snapshot: Effect.Effect<Snapshot> }
>() {}
