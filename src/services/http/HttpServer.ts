import * as http from "node:http"
import type { AddressInfo, Socket as NetSocket } from "node:net"
import {
  Cause,
  Context,
  Data,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberId,
  Layer,
  Mailbox,
  Option,
  Runtime,
  type Scope
} from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Cancellation from "../task/Cancellation.js"
import * as Causes from "../task/Causes.js"
import { checkedDuration, checkOptions } from "../text/Numbers.js"
import { formatGiven } from "../text/Units.js"
import type { Holder, Wire } from "./internal/webSocket.js"

// model

/** What a client asked for. */
export interface Request {
  /** In upper case: `GET`. */
  readonly method: string
  /** As it was sent, percent signs and all, without the query: `/wait`. */
  readonly path: string
  readonly query: URLSearchParams
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
}

/** What a handler answers. See {@link text}. */
export interface Response {
  readonly _tag: "Response"
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

/** What a handler answers to talk WebSocket from here on. See {@link webSocket}. */
export interface Upgrade {
  readonly _tag: "Upgrade"
  readonly session: (socket: Socket) => Effect.Effect<unknown, unknown>
}

/** A request → an effect of the answer. It runs in a fiber of its own, and is interrupted when the client goes. */
export type Handler<E = never, R = never> = (request: Request) => Effect.Effect<Response | Upgrade, E, R>

/** One message of a WebSocket, of at most 1 MiB: a text or bytes. */
export type Message = string | Uint8Array

/** One end of a WebSocket connection. */
export interface Socket {
  /** Waits for the next message. What has arrived before the connection closed can still be received. */
  readonly receive: Effect.Effect<Message, SocketClosed>
  /** Sends a message, and waits while the far end is slower than we are. */
  readonly send: (message: Message) => Effect.Effect<void, SocketClosed>
  /**
   * Says goodbye; what is still on its way here can be received. Default code 1000; one that may not be sent (RFC 6455,
   * 7.4) is a defect. Of the reason, 123 bytes are sent.
   */
  readonly close: (code?: number, reason?: string) => Effect.Effect<void>
}

/** What a client got. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: string
}

/** Settings of {@link HttpServer.serve}. */
export interface ServeOptions {
  /** Default 0: a free one. */
  readonly port?: number | undefined
  /** Address or name of this machine to listen on. Default `127.0.0.1`: this machine only. */
  readonly host?: string | undefined
  /** How long running requests may go on when the server's scope closes; then they are cancelled. Default 5 s. */
  readonly grace?: Duration.DurationInput | undefined
  /** Told of each handler that fails; its client gets 500 and the server lives on. Default: logs an error. */
  readonly report?: ((failure: HandlerFailed) => Effect.Effect<void>) | undefined
  /**
   * Told, when the scope closes, how many requests are waited for, WebSockets not counted; not when there are none.
   * Default: nothing.
   */
  readonly onDrain?: ((running: number, grace: Duration.Duration) => Effect.Effect<void>) | undefined
}

/** A server that listens. */
export interface Listening {
  readonly host: string
  readonly port: number
  /** `http://127.0.0.1:41234`. */
  readonly url: string
  /**
   * Asks the server as a client of its own: over a socket in {@link layer}, in memory in {@link layerTest}.
   * Interrupting it disconnects the client.
   */
  readonly request: (
    target: string,
    options?: { readonly method?: string }
  ) => Effect.Effect<Reply, RequestFailed>
  /** Opens a WebSocket to the server as a client of its own; closed with its scope. */
  readonly connect: (target: string) => Effect.Effect<Socket, RequestFailed, Scope.Scope>
}

// errors

/** The server cannot listen there. */
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
        return `cannot listen on ${host}:${port}: ${host} is no address of this machine; 127.0.0.1 and 0.0.0.0 are`
      default:
        return `cannot listen on ${host}:${port}: ${code}`
    }
  }
}

/** A handler failed. */
export class HandlerFailed extends Data.TaggedError("HandlerFailed")<{
  readonly request: Request
  readonly cause: Cause.Cause<unknown>
}> {
  override get message() {
    return `${title(this.request)} failed: ${Causes.headline(this.cause)}`
  }
}

/** A client of {@link Listening} got no answer. */
export class RequestFailed extends Data.TaggedError("RequestFailed")<{
  readonly target: string
  /** Node's code, or what was answered where a WebSocket was asked for. */
  readonly reason: string
}> {
  override get message() {
    return `${this.target} was not answered: ${this.reason}`
  }
}

/** The WebSocket is closed; nothing more comes and nothing can be sent. */
export class SocketClosed extends Data.TaggedError("SocketClosed")<{
  /** RFC 6455, 7.4: 1000 done, 1001 going away, 1006 gone without a word. */
  readonly code: number
  readonly reason: string
}> {
  override get message() {
    return `the WebSocket is closed (${this.code}${this.reason === "" ? "" : `, ${this.reason}`})`
  }
}

// tag

/** Serves handlers over HTTP and WebSocket, a fiber for each request. */
export class HttpServer extends Context.Tag("effect-asyncio/services/HttpServer")<
  HttpServer,
  {
    /**
     * Listens until the scope closes. Closing is graceful: no new connections, WebSockets are told (1001), running
     * requests may end within the grace period and are cancelled with a reason after it.
     */
    readonly serve: <E, R>(
      handler: Handler<E, R>,
      options?: ServeOptions
    ) => Effect.Effect<Listening, ListenError, R | Scope.Scope>
    /**
     * Holds the one thread on which all handlers run, as a blocking call does: to show what that does to the others.
     * {@link layerTest} does the same in its clock's time.
     */
    readonly block: (duration: Duration.DurationInput) => Effect.Effect<void>
  }
>() {}

/** {@link HttpServer.serve} of the service at hand. */
export const serve = <E, R>(
  handler: Handler<E, R>,
  options?: ServeOptions
): Effect.Effect<Listening, ListenError, R | HttpServer | Scope.Scope> =>
  Effect.flatMap(HttpServer, (server) => server.serve(handler, options))

/** A text as an answer. Default status 200. */
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
 * end with {@link SocketClosed}, as a session that receives for ever does. A session that never receives cannot learn
 * that the client has closed, and is interrupted then.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as HttpServer from "effect-asyncio/services/HttpServer"
 *
 * export const clock: HttpServer.Handler = () =>
 *   HttpServer.webSocket((socket) => Effect.forever(Effect.delay(socket.send("tick"), "1 second")))
 * ```
 */
export const webSocket = <E, R>(
  session: (socket: Socket) => Effect.Effect<unknown, E, R>
): Effect.Effect<Upgrade, never, R> =>
  Effect.map(Effect.context<R>(), (context) => ({
    _tag: "Upgrade",
    session: (socket) => Effect.provide(session(socket), context)
  }))

// make: what both layers share

const title = (request: Request) => `${request.method} ${request.path}`

class IncomingRequest implements Request {
  readonly path: string
  readonly #search: string
  #query: URLSearchParams | undefined

  constructor(
    readonly method: string,
    target: string,
    readonly headers: Request["headers"]
  ) {
    // A proxy may send the whole URL (RFC 9112, 3.2.2).
    const local = /^https?:\/\/[^/?]*/i.test(target) ? target.replace(/^https?:\/\/[^/?]*/i, "") : target
    const mark = local.indexOf("?")
    this.path = (mark < 0 ? local : local.slice(0, mark)) || "/"
    this.#search = mark < 0 ? "" : local.slice(mark)
  }

  get query() {
    this.#query ??= new URLSearchParams(this.#search)
    return this.#query
  }
}

// One end of a WebSocket as the server holds it.
interface Connection {
  readonly socket: Socket
  /** Whether the session has ever asked for a message: then it hears of the end by itself. */
  readonly reading: () => boolean
  readonly unsafeClose: (code: number, reason?: string) => void
}

// The fibers of one server.
const makeHost = <E, R>(handler: Handler<E, R>, options: ServeOptions) =>
  Effect.map(Effect.runtime<R>(), (runtime) => {
    const fork = Runtime.runFork(runtime)
    const report = options.report ?? ((failure: HandlerFailed) => Effect.logError(failure.message))
    checkOptions(options, { port: { least: 0, most: 65_535 } })
    const grace = checkedDuration("grace", options.grace ?? "5 seconds")
    const running = new Map<Fiber.RuntimeFiber<unknown>, Request>()
    let whenIdle: (() => void) | undefined
    let sessions = 0 // of those that run, the WebSockets

    const drained = Effect.async<void>((resume) => {
      if (running.size === 0) return resume(Effect.void)
      whenIdle = () => resume(Effect.void)
    })
    const failed = (request: Request, cause: Cause.Cause<unknown>) =>
      Effect.catchAllCause(
        Effect.suspend(() => report(new HandlerFailed({ request, cause }))),
        (broken) => Effect.logError("the report of a handler failed", Cause.sequential(cause, broken))
      )
    const interrupt = (fiber: Fiber.RuntimeFiber<unknown>, reason: string, origin: string) =>
      fiber.unsafeInterruptAsFork(Cancellation.toFiberId({ reason, origin }))

    return {
      /** Runs the effect as the fiber of this request. */
      start: <A>(
        request: Request,
        effect: Effect.Effect<A, never, R>,
        onExit: (exit: Exit.Exit<A>) => void
      ) => {
        const fiber = fork(effect)
        running.set(fiber, request)
        fiber.addObserver((exit) => {
          running.delete(fiber)
          onExit(exit)
          if (running.size === 0) whenIdle?.()
        })
        return fiber
      },
      drained,
      failed,
      disconnected: (fiber: Fiber.RuntimeFiber<unknown>) => {
        const request = running.get(fiber)
        if (request !== undefined) interrupt(fiber, "client disconnected", title(request))
      },
      /** The handler's answer; 500 where it failed. */
      answer: (request: Request): Effect.Effect<Response | Upgrade, never, R> =>
        Effect.catchAllCause(
          Effect.suspend(() => handler(request)),
          (cause) =>
            Cause.isInterruptedOnly(cause)
              ? Effect.failCause(cause as Cause.Cause<never>)
              : Effect.as(failed(request, cause), text("internal error\n", { status: 500 }))
        ),
      /** Runs the session to its end and closes the connection as it ended. */
      converse: (request: Request, upgrade: Upgrade, connection: Connection): Effect.Effect<void> =>
        Effect.suspend(() => {
          sessions++
          return upgrade.session(connection.socket)
        }).pipe(
          Effect.catchIf(
            (error) => error instanceof SocketClosed,
            () => Effect.void
          ),
          Effect.tapErrorCause((cause) =>
            Cause.isInterruptedOnly(cause) ? Effect.void : failed(request, cause)
          ),
          Effect.onExit((exit) =>
            Effect.sync(() => {
              sessions--
              connection.unsafeClose(
                Exit.isSuccess(exit) ? 1000 : Cause.isInterruptedOnly(exit.cause) ? 1001 : 1011
              )
            })
          ),
          Effect.catchAllCause((cause) =>
            Cause.isInterruptedOnly(cause) ? Effect.failCause(cause as Cause.Cause<never>) : Effect.void
          ),
          Effect.asVoid
        ),
      /** Lets what runs end within the grace period, cancels the rest and waits until `gone`. */
      close: (gone: Effect.Effect<void>, destroy: Effect.Effect<void>) =>
        Effect.gen(function* () {
          const requests = running.size - sessions
          if (requests > 0) {
            yield* Effect.catchAllCause(
              Effect.suspend(() => options.onDrain?.(requests, grace) ?? Effect.void),
              (cause) => Effect.logError("onDrain failed", cause)
            )
          }
          // In a fiber of its own: a finalizer cannot be interrupted, and so could not be timed out.
          const inTime = yield* Effect.timeoutOption(gone, grace).pipe(
            Effect.interruptible,
            Effect.forkDaemon,
            Effect.flatMap(Fiber.join)
          )
          if (Option.isSome(inTime)) return
          const reason = `server closed and the grace period of ${formatGiven(grace)} is over`
          for (const fiber of running.keys()) interrupt(fiber, reason, "server")
          yield* drained
          yield* destroy
          yield* gone
        })
    }
  })

const unavailable = text("server is closing\n", { status: 503 })

const upgradeRequired = text("this is a WebSocket\n", {
  status: 426,
  headers: { upgrade: "websocket", "sec-websocket-version": "13" }
})

const toResponse = (exit: Exit.Exit<Response | Upgrade>): Response =>
  Exit.isFailure(exit) ? unavailable : exit.value._tag === "Upgrade" ? upgradeRequired : exit.value

// layer: node:http

// ws is loaded when somebody talks WebSocket.
const webSockets = Effect.promise(() => import("./internal/webSocket.js"))

const queuedAtMost = 64 // messages that wait for the session before the client is told to slow down

const overWire = <W extends Wire | undefined>(
  open: (holder: Holder) => W,
  onOver: (closed: SocketClosed) => void = () => undefined
): Effect.Effect<Connection | Extract<W, undefined>> =>
  Effect.map(Mailbox.make<Message, SocketClosed>(), (inbox) => {
    const ended = Deferred.unsafeMake<never, SocketClosed>(FiberId.none)
    let queued = 0
    let reading = false
    let goodbye: SocketClosed | undefined // we have said it
    let over = false

    const wire = open({
      message: (message) => {
        inbox.unsafeOffer(message)
        return ++queued < queuedAtMost || goodbye !== undefined
      },
      closed: (code, reason) => {
        if (over) return
        over = true
        const closed = code === 1006 && goodbye !== undefined ? goodbye : new SocketClosed({ code, reason })
        inbox.unsafeDone(Exit.fail(closed))
        Deferred.unsafeDone(ended, closed)
        onOver(closed)
      }
    })
    if (wire === undefined) return wire as Extract<W, undefined>

    const receive = Effect.suspend(() => {
      reading = true
      return Effect.map(Effect.catchTag(inbox.take, "NoSuchElementException", Effect.die), (message) => {
        if (--queued === queuedAtMost - 1) wire.resume()
        return message
      })
    })
    const send = (message: Message) =>
      Effect.async<void, SocketClosed>((resume) => {
        if (goodbye !== undefined && !over) return resume(goodbye)
        // What cannot be sent is so because the connection is closing; how, is known when it has closed.
        wire.send(message, (error) => resume(error ? Deferred.await(ended) : Effect.void))
      })
    const unsafeClose = (code: number, reason = "") => {
      if (goodbye !== undefined) return
      wire.close(code, reason)
      goodbye = new SocketClosed({ code, reason })
    }
    return {
      socket: { receive, send, close: (code = 1000, reason) => Effect.sync(() => unsafeClose(code, reason)) },
      reading: () => reading,
      unsafeClose
    }
  })

// A fiber per request by `runFork` on node:http serves more than twice what @effect/platform's HttpServer does
// (shared/effect3.md), which spends its time on a scope, a span and a request object of its own for each.
const serveNode = <E, R>(
  handler: Handler<E, R>,
  options: ServeOptions = {}
): Effect.Effect<Listening, ListenError, R | Scope.Scope> =>
  Effect.gen(function* () {
    const { host = "127.0.0.1", port = 0 } = options
    const fibers = yield* makeHost(handler, options)
    const gone = yield* Deferred.make<void>()
    const server = http.createServer()
    const connections = new Set<Connection>()
    const upgraded = new Set<NetSocket>()
    // Connections on which nothing has been asked yet, as browsers open them: Node holds them for busy.
    const silent = new Set<unknown>()
    let closing = false

    const respond = (
      response: http.ServerResponse,
      request: Request,
      exit: Exit.Exit<Response | Upgrade>
    ) => {
      if (response.destroyed) return
      const { body, headers, status } = toResponse(exit)
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
      const request = new IncomingRequest(incoming.method ?? "GET", incoming.url ?? "/", incoming.headers)
      const fiber = fibers.start(request, fibers.answer(request), (exit) => respond(response, request, exit))
      if (fiber.unsafePoll() === null) response.once("close", () => fibers.disconnected(fiber))
    })
    server.on("upgrade", (incoming, duplex, head) => {
      const raw = duplex as NetSocket
      silent.delete(raw)
      upgraded.add(raw)
      raw.on("error", () => raw.destroy())
      const request = new IncomingRequest(incoming.method ?? "GET", incoming.url ?? "/", incoming.headers)
      let connection: Connection | undefined
      // It is read while the handler thinks: else its client could not be seen to go.
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
            Exit.map(exit, (answer) => answer ?? unavailable)
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

    // The connections of its own clients, as many as there are requests at once, and all of them kept. At the end only
    // those that nobody uses are closed: an answer may be on its way.
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
        // Above the 511 of Node, so that a crowd that comes at once is not sent away to try again in a second.
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
    // Out of file descriptors, say: who connects is refused, and the server lives on.
    const runtime = yield* Effect.runtime<never>()
    server.on("error", (error) => Runtime.runFork(runtime)(Effect.logError(`server: ${error.message}`)))

    const address = server.address() as AddressInfo
    const url = `http://${host.includes(":") ? `[${host}]` : host}:${address.port}`
    return { host, port: address.port, url, ...client(url, agent) }
  })

// A client of one server.
const client = (url: string, agent: http.Agent): Pick<Listening, "request" | "connect"> => ({
  request: (target, options) =>
    Effect.async<Reply, RequestFailed>((resume) => {
      const fail = (error: NodeJS.ErrnoException) =>
        resume(new RequestFailed({ target, reason: error.code ?? error.message }))
      const request = http.request(`${url}${target}`, { agent, method: options?.method ?? "GET" })
      request.once("error", fail)
      request.once("response", (response) => {
        const chunks: Array<Buffer> = []
        response.on("data", (chunk: Buffer) => chunks.push(chunk))
        response.once("error", fail)
        response.once("end", () =>
          resume(
            Effect.succeed({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks).toString()
            })
          )
        )
      })
      request.end()
      return Effect.sync(() => void request.destroy())
    }),
  connect: (target) =>
    Effect.gen(function* () {
      const { connect } = yield* webSockets
      const opened = yield* Deferred.make<void, RequestFailed>()
      const close = (connection: Connection) => Effect.sync(() => connection.unsafeClose(1000))
      const connection = yield* Effect.acquireRelease(
        overWire((holder) =>
          connect(`${url}${target}`, holder, (reason) =>
            Deferred.unsafeDone(
              opened,
              reason === undefined ? Effect.void : new RequestFailed({ target, reason })
            )
          )
        ),
        close
      )
      yield* Effect.onInterrupt(Deferred.await(opened), () => close(connection))
      return connection.socket
    })
})

/** Serves over `node:http`. */
export const layer: Layer.Layer<HttpServer> = Layer.succeed(HttpServer, {
  serve: serveNode,
  block: (duration) =>
    Effect.sync(() => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Duration.toMillis(duration))
    })
})

// layerTest: in memory

const pair = (onOver: (closed: SocketClosed) => void) =>
  Effect.map(
    Effect.all([Mailbox.make<Message, SocketClosed>(), Mailbox.make<Message, SocketClosed>()]),
    (inboxes): readonly [Connection, Connection] => {
      let over: SocketClosed | undefined
      const unsafeClose = (code: number, reason = "") => {
        if (over !== undefined) return
        over = new SocketClosed({ code, reason })
        for (const inbox of inboxes) inbox.unsafeDone(Exit.fail(over))
        onOver(over)
      }
      const end = (mine: 0 | 1): Connection => {
        let reading = false
        const receive = Effect.suspend(() => {
          reading = true
          return Effect.catchTag(inboxes[mine].take, "NoSuchElementException", Effect.die)
        })
        const send = (message: Message) =>
          Effect.suspend(() => over ?? Effect.asVoid(inboxes[mine === 0 ? 1 : 0].offer(message)))
        return {
          socket: {
            receive,
            send,
            close: (code = 1000, reason) => Effect.sync(() => unsafeClose(code, reason))
          },
          reading: () => reading,
          unsafeClose
        }
      }
      return [end(0), end(1)]
    }
  )

/**
 * Serves in memory, without sockets: `request` and `connect` of what listens reach the handler, each in a fiber of
 * its own, in the time of the clock at hand. Ports count from 49152 on and can be in use; `block` holds up everything.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as HttpServer from "effect-asyncio/services/HttpServer"
 *
 * export const status = HttpServer.serve(() => Effect.succeed(HttpServer.text("hi"))).pipe(
 *   Effect.flatMap((server) => server.request("/")),
 *   Effect.map((reply) => reply.status),
 *   Effect.scoped,
 *   Effect.provide(HttpServer.layerTest)
 * )
 * ```
 */
export const layerTest: Layer.Layer<HttpServer> = Layer.sync(HttpServer, () => {
  const thread = Effect.unsafeMakeLatch(true)
  const ports = new Set<number>()

  const serve = <E, R>(handler: Handler<E, R>, options: ServeOptions = {}) =>
    Effect.gen(function* () {
      const { host = "127.0.0.1", port: wanted = 0 } = options
      const fibers = yield* makeHost(handler, options)
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
      // Whatever a handler does needs the thread, to begin with and at the end.
      const answer = (request: Request) =>
        thread.await.pipe(Effect.zipRight(fibers.answer(request)), Effect.zipLeft(thread.await))

      const request: Listening["request"] = (target, options) =>
        Effect.zipRight(
          refused(target),
          Effect.async<Reply>((resume) => {
            const request = new IncomingRequest(options?.method ?? "GET", target, {})
            const fiber = fibers.start(request, answer(request), (exit) => {
              const { body, headers, status } = toResponse(exit)
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
          const request = new IncomingRequest("GET", target, { upgrade: "websocket" })
          const opened = yield* Deferred.make<Socket, RequestFailed>()
          let theirs: Connection | undefined
          const conversation = Effect.gen(function* () {
            const upgrade = yield* answer(request)
            if (upgrade._tag === "Response") {
              const reason = `no WebSocket but status ${upgrade.status}`
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
