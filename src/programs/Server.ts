import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Context, Effect, Queue } from "effect"
import * as Output from "../services/host/Output.js"
import * as Explanation from "../services/http/Explanation.js"
import * as Metrics from "../services/http/Metrics.js"
import * as Routes from "../services/http/Routes.js"
import * as Workload from "../services/http/Workload.js"

/**
 * The longest that `/wait` waits: an hour, in milliseconds.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxWait = 3_600_000

/**
 * The longest that `/cpu` computes and `/block` blocks: a minute, in milliseconds.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxBlock = 60_000

/** The route does `work` for the milliseconds of its query `?ms=`, then answers `did N ms`. */
const timed = (did: string, most: number, work: (ms: number) => Effect.Effect<void>) =>
  Effect.flatMap(HttpServerRequest.ParsedSearchParams, ({ ms: given = "" }) => {
    const ms = /^\d{1,7}$/.test(String(given)) ? Number(given) : Number.NaN
    return ms <= most
      ? Effect.as(work(ms), HttpServerResponse.text(`${did} ${ms} ms\n`))
      : Effect.succeed(
          HttpServerResponse.text(`ms must be a whole number from 0 to ${most}, not '${given}'\n`, {
            status: 400
          })
        )
  })

/** Messages that a member of the chat has not taken yet; the oldest are dropped for a slow one. */
const mostWaiting = 64

/**
 * The members of `/chat`. By default one room of the process; provide another for a room of its own.
 *
 * @since 0.1.0
 * @category services
 */
export class Room extends Context.Reference<Room>()("effect-asyncio/programs/Server/Room", {
  defaultValue: (): Set<Queue.Enqueue<string | Uint8Array>> => new Set()
}) {}

/** A WebSocket that the client closes has come to its end; a request that asks for none gets 426. */
const webSocket = <E, R>(session: Effect.Effect<void, E, R>) =>
  Effect.as(session, HttpServerResponse.empty()).pipe(
    Effect.catchIf(
      (error) => HttpServerError.isServerError(error) && error._tag === "RequestError",
      () =>
        Effect.succeed(
          HttpServerResponse.text("a WebSocket is here; expected Upgrade: websocket\n", {
            status: 426,
            headers: { upgrade: "websocket" }
          })
        )
    ),
    Effect.orElseSucceed(HttpServerResponse.empty)
  )

// #region example
const echo = Effect.gen(function* () {
  const socket = yield* HttpServerRequest.upgrade
  const write = yield* socket.writer
  yield* socket.runRaw(write)
})

const chat = Effect.gen(function* () {
  const socket = yield* HttpServerRequest.upgrade
  const write = yield* socket.writer
  const room = yield* Room
  const mine = yield* Queue.sliding<string | Uint8Array>(mostWaiting)
  yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(mine), write)))
  const toAll = (message: string | Uint8Array) =>
    Effect.forEach(room, (member) => Queue.offer(member, message), { discard: true })
  yield* Effect.acquireUseRelease(
    Effect.sync(() => room.add(mine)),
    () => socket.runRaw(toAll),
    () => Effect.sync(() => room.delete(mine))
  )
})

/**
 * The routes: `/` answers `hi`; `/wait?ms=N` waits, `/cpu?ms=N` computes, `/block?ms=N` blocks the thread, and they answer
 * after that (400 for another N); `/ws` echoes each WebSocket message, `/chat` sends it to all members; `/health` and
 * `/metrics` are for machines.
 *
 * @example
 * ```ts
 * import * as HttpRouter from "@effect/platform/HttpRouter"
 * import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
 * import * as Server from "effect-asyncio/programs/Server"
 *
 * export const mine = Server.router.pipe(HttpRouter.get("/time", HttpServerResponse.text("noon")))
 * ```
 *
 * @since 0.1.0
 * @category routes
 */
export const router = HttpRouter.empty.pipe(
  HttpRouter.get("/", HttpServerResponse.text("hi\n")),
  HttpRouter.get("/wait", timed("waited", maxWait, Workload.wait)),
  HttpRouter.get("/cpu", timed("computed", maxBlock, Workload.compute)),
  HttpRouter.get("/block", timed("blocked", maxBlock, Workload.block)),
  HttpRouter.get("/ws", webSocket(echo)),
  HttpRouter.get("/chat", webSocket(chat)),
  HttpRouter.get("/health", Metrics.health),
  HttpRouter.get("/metrics", Metrics.answer)
)

/**
 * {@link router} as an app. A path without a route is 404 with the list of the routes, another method than GET and HEAD 405.
 *
 * @since 0.1.0
 * @category routes
 */
export const app: HttpApp.Default = Routes.orListed(router)
// #endregion

/**
 * The URL of a server; a path for one on a Unix socket.
 *
 * @since 0.1.0
 * @category formatting
 */
export const formatUrl = (address: HttpServer.Address, isTls = false): string => {
  if (address._tag === "UnixAddress") return `unix:${address.path}`
  const { hostname, port } = address
  return `${isTls ? "https" : "http"}://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`
}

/**
 * Serves the app, calls `onListen` with the URL (default: prints `listening on URL`) and runs until it is interrupted. The
 * layer of the server closes it gracefully.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Server from "effect-asyncio/programs/Server"
 * import * as HttpServerNode from "effect-asyncio/services/HttpServerNode"
 *
 * export const program = Server.serve(Server.app).pipe(Effect.provide(HttpServerNode.layer({ port: 8080 })))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const serve = Effect.fn("Server.serve")(function* <E, R>(
  app: HttpApp.Default<E, R>,
  options: {
    /** Whether the URL is one of https. Default false. */
    readonly isTls?: boolean | undefined
    readonly onListen?: ((url: string) => Effect.Effect<void>) | undefined
  } = {}
) {
  const { address } = yield* HttpServer.HttpServer
  const { print } = yield* Output.Output
  const { isTls, onListen = (url: string) => print(`listening on ${url}`) } = options
  yield* HttpServer.serveEffect(app)
  yield* onListen(formatUrl(address, isTls))
  return yield* Effect.never
}, Effect.scoped)

// #region example
/**
 * The guide's explanation, measured, in five lines: what waiting and blocking do to other requests.
 *
 * @since 0.1.0
 * @category examples
 */
export const example = Effect.flatMap(Explanation.measure(), (measured) =>
  Effect.forEach(Explanation.lines(measured), Output.print, { discard: true })
)
// #endregion
