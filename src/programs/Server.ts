import { Duration, Effect, type Scope } from "effect"
import * as Output from "../services/host/Output.js"
import * as HttpServer from "../services/http/HttpServer.js"
import * as Gather from "../services/task/Gather.js"
import * as Sleep from "../services/task/Sleep.js"
import { formatDuration } from "../services/text/Durations.js"
import { checkOptions, countOrNone, time } from "../services/text/Numbers.js"
import { plural } from "../services/text/Plural.js"

/**
 * The longest that `/wait` waits: an hour, in milliseconds.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxWait = 3_600_000

const bad = (message: string, status = 400) => HttpServer.text(`${message}\n`, { status })

const milliseconds = (request: HttpServer.Request): number | undefined => {
  const given = request.query.get("ms") ?? ""
  return /^\d{1,7}$/.test(given) && Number(given) <= maxWait ? Number(given) : undefined
}

const badMilliseconds = (request: HttpServer.Request) =>
  bad(`ms must be a whole number from 0 to ${maxWait}, not '${request.query.get("ms") ?? ""}'`)

const wait: HttpServer.Handler = (request) => {
  const ms = milliseconds(request)
  return ms === undefined
    ? Effect.succeed(badMilliseconds(request))
    : Effect.as(Effect.sleep(ms), HttpServer.text(`waited ${ms} ms\n`))
}

/**
 * A WebSocket session that sends back each message that it receives, until the client closes.
 *
 * @since 0.1.0
 * @category effects
 */
export const echo = (socket: HttpServer.Socket): Effect.Effect<never, HttpServer.SocketClosed> =>
  Effect.forever(Effect.flatMap(socket.receive, socket.send))

const hi = HttpServer.text("hi\n")
const hello = Effect.succeed(hi)
const upgrade = HttpServer.webSocket(echo)

// #region example
/**
 * The routes: `/` answers `hi`, `/wait?ms=N` answers after N milliseconds (0 to {@link maxWait}; else 400) without
 * delaying other requests, `/ws` echoes each WebSocket message. Other paths are 404, methods except GET and HEAD 405.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Server from "effect-asyncio/programs/Server"
 * import * as HttpServer from "effect-asyncio/services/HttpServer"
 *
 * export const app: HttpServer.Handler = (request) =>
 *   request.path === "/health" ? Effect.succeed(HttpServer.text("well\n")) : Server.app(request)
 * ```
 *
 * @since 0.1.0
 * @category functions
 */
export const app: HttpServer.Handler = (request) => {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return Effect.succeed(
      HttpServer.text(`${request.method} is not served here; GET and HEAD are\n`, {
        status: 405,
        headers: { allow: "GET, HEAD" }
      })
    )
  }
  switch (request.path) {
    case "/":
      return hello
    case "/wait":
      return wait(request)
    case "/ws":
      return upgrade
    default:
      return Effect.succeed(bad(`nothing at ${request.path}; there are /, /wait?ms=N and /ws`, 404))
  }
}
// #endregion

/**
 * Where to listen.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Default 0: a free one. */
  readonly port?: number | undefined
  /** Default `127.0.0.1`: this machine only. */
  readonly host?: string | undefined
  /** Time that running requests have to end when the scope closes; default 5 s. */
  readonly grace?: Duration.DurationInput | undefined
}

/**
 * Serves the handler until the scope closes. Notes handlers that fail, and the running requests that closing waits for,
 * on stderr. Fails with `ListenError` when the port is in use or the host is not an address of this machine.
 *
 * @since 0.1.0
 * @category effects
 */
export const listen = Effect.fn("Server.listen")(function* <E, R>(
  handler: HttpServer.Handler<E, R>,
  options: Options = {}
): Effect.fn.Return<
  HttpServer.Listening,
  HttpServer.ListenError,
  R | HttpServer.HttpServer | Output.Output | Scope.Scope
> {
  const { note } = yield* Output.Output
  return yield* HttpServer.serve(handler, {
    ...options,
    report: (failure) => note(failure.message),
    onDrain: (running, grace) =>
      note(
        `closing: waiting up to ${formatDuration(Duration.toMillis(grace))} for ${plural(running, "running request")}`
      )
  })
})

/**
 * Serves {@link app}, prints `listening on URL` and runs until it is interrupted; then it closes gracefully.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Server from "effect-asyncio/programs/Server"
 * import * as HttpServerNode from "effect-asyncio/services/HttpServerNode"
 *
 * export const program = Server.serve({ port: 8080 }).pipe(Effect.provide(HttpServerNode.layer))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const serve = Effect.fn("Server.serve")(function* (options: Options = {}) {
  const { url } = yield* listen(app, options)
  yield* Output.print(`listening on ${url}`)
  return yield* Effect.never
}, Effect.scoped)

// #region example
/**
 * The guide's explanation as a program: one thread that serves all clients, on a free port. {@link serve} itself.
 *
 * @since 0.1.0
 * @category examples
 */
export const example: Effect.Effect<never, HttpServer.ListenError, HttpServer.HttpServer | Output.Output> =
  serve()
// #endregion

/**
 * Settings of {@link demo}.
 *
 * @since 0.1.0
 * @category options
 */
export interface DemoOptions extends Options {
  /** Requests that wait at the same time; default 1,000. */
  readonly requests?: number | undefined
  /** How long each of them waits; default 200 milliseconds. */
  readonly wait?: Duration.DurationInput | undefined
  /** How long one handler blocks; default 300 milliseconds. */
  readonly block?: Duration.DurationInput | undefined
  /** Requests without a wait that are sent at the same time; default 10. */
  readonly others?: number | undefined
}

/**
 * The measurements of a {@link demo}; times in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Demo {
  readonly requests: number
  readonly wait: number
  readonly block: number
  readonly others: number
  /** One request that waits, alone. */
  readonly one: number
  /** From the first of the waiting requests to the last answer. */
  readonly all: number
  /** The slowest of the other requests while nothing blocks. */
  readonly free: number
  /** The quickest of the other requests while one handler blocks. */
  readonly held: number
}

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<number, E, R> =>
  Effect.map(Effect.timed(effect), ([duration]) => Duration.toMillis(duration))

/**
 * Measures the strength and the weakness of an event loop: many requests that wait take one wait, and one handler that
 * blocks delays all others. Server and clients share the one thread, over real sockets with `HttpServerNode.layer`.
 *
 * @since 0.1.0
 * @category effects
 */
export const demo = Effect.fn("Server.demo")(function* (options: DemoOptions = {}) {
  checkOptions(options, { requests: countOrNone, others: countOrNone, wait: time, block: time })
  const { others = 10, requests = 1000 } = options
  const block = Duration.toMillis(options.block ?? 300)
  const wait = Duration.toMillis(options.wait ?? 200)
  const http = yield* HttpServer.HttpServer
  const server = yield* listen((request) => {
    if (request.path === "/block") return Effect.as(http.block(block), hi)
    // Not the route of `app`, which accepts whole milliseconds up to `maxWait` only.
    return request.path === "/wait" ? Effect.as(Sleep.sleep(wait), hi) : app(request)
  }, options)
  const waiting = server.request("/wait")
  const quick = Array.from({ length: others }, () => timed(server.request("/")))
  // Connections are opened first: opening a thousand takes longer than the wait, on any server.
  yield* Gather.gather(Array.from({ length: requests }, () => server.request("/")))
  const one = yield* timed(waiting)
  const all = yield* timed(Gather.gather(Array.from({ length: requests }, () => waiting)))
  const free = Math.max(...(yield* Gather.gather(quick)))
  // The blocking request is sent first, so that it delays the others.
  const [, ...held] = yield* Gather.gather([timed(server.request("/block")), ...quick])
  return { requests, wait, block, others, one, all, free, held: Math.min(...held) } satisfies Demo
}, Effect.scoped)

const ms = (measured: number) => `${Math.round(measured)} ms`

/**
 * A {@link Demo} in five lines.
 *
 * @since 0.1.0
 * @category formatting
 */
export const demoLines = (demo: Demo): ReadonlyArray<string> => {
  const { all, block, free, held, one, others, requests, wait } = demo
  return [
    `1 request that waits ${wait} ms: answered after ${ms(one)}`,
    `${requests} requests that wait ${wait} ms each: all answered after ${ms(all)} (one after another: ${formatDuration(requests * wait)})`,
    `${others} requests with nothing to wait for: each answered within ${ms(free)}`,
    `the same ${others} while one handler blocks for ${block} ms: none answered before ${ms(held)}`,
    "waiting costs the loop nothing, blocking stops it for all requests: blocking work belongs on a thread (aio executor)"
  ]
}
