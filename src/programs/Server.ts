import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import type { RequestError, RouteNotFound } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { SocketError } from "@effect/platform/Socket"
import { Duration, Effect } from "effect"
import * as Output from "../services/host/Output.js"
import type { Options } from "../services/http/HttpServer.js"
import { formatDuration } from "../services/text/Durations.js"
import { plural } from "../services/text/Plural.js"

/**
 * The longest that `/wait` waits: an hour, in milliseconds.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxWait = 3_600_000

const wait = Effect.gen(function* () {
  const { url } = yield* HttpServerRequest.HttpServerRequest
  const given = new URL(url, "http://localhost").searchParams.get("ms") ?? ""
  if (!/^\d{1,7}$/.test(given) || Number(given) > maxWait) {
    const message = `ms must be a whole number from 0 to ${maxWait}, not '${given}'\n`
    return HttpServerResponse.text(message, { status: 400 })
  }
  yield* Effect.sleep(Number(given))
  return HttpServerResponse.text(`waited ${given} ms\n`)
})

const echo = Effect.gen(function* () {
  const socket = yield* HttpServerRequest.upgrade
  const write = yield* socket.writer
  yield* socket.runRaw(write)
  return HttpServerResponse.empty()
})

// #region handler
/**
 * `/`, `/wait?ms=N` and the WebSocket `/ws`, which sends back each message that it receives.
 *
 * @since 0.1.0
 * @category constants
 */
export const app: HttpApp.Default<RouteNotFound | RequestError | SocketError> = Effect.scoped(
  HttpRouter.empty.pipe(
    HttpRouter.get("/", HttpServerResponse.text("hi\n")),
    HttpRouter.get("/wait", wait),
    HttpRouter.get("/ws", echo)
  )
)
// #endregion

/**
 * What a server notes on stderr: handlers that fail, and the running requests that closing waits for.
 *
 * @since 0.1.0
 * @category effects
 */
export const notes: Effect.Effect<
  Required<Pick<Options, "onDrain" | "report">>,
  never,
  Output.Output
> = Effect.map(Output.Output, ({ note }) => ({
  report: (failure) => note(failure.message),
  onDrain: (running, grace) =>
    note(
      `closing: waiting up to ${formatDuration(Duration.toMillis(grace))} for ${plural(running, "running request")}`
    )
}))

// #region example
/**
 * Serves {@link app}, prints `listening on URL` and runs until it is interrupted; then it closes gracefully.
 *
 * @since 0.1.0
 * @category examples
 */
export const example: Effect.Effect<never, never, HttpServer.HttpServer | Output.Output> = Effect.gen(
  function* () {
    yield* HttpServer.serveEffect(app)
    yield* HttpServer.addressFormattedWith((url) => Output.print(`listening on ${url}`))
    return yield* Effect.never
  }
).pipe(Effect.scoped)
// #endregion
