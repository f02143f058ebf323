import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Socket from "@effect/platform/Socket"
import { Data, Deferred, Effect, type Exit } from "effect"
import { ServerStats } from "../../../src/services/http/HttpServer.js"
import * as HttpServerTest from "../../../src/services/http/HttpServerTest.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import { onSockets } from "../../support/Http.js"

/** What holds on sockets and in memory alike is tested with both. */
export const layers = [
  ["HttpServerNode.layer", onSockets],
  ["HttpServerTest.layer", HttpServerTest.layer]
] as const

export class NoRows extends Data.TaggedError("NoRows") {
  override readonly message = "no rows"
}

export const respond = (body: string) => HttpServerResponse.text(body)
export const request = HttpServerRequest.HttpServerRequest
export const stats = Effect.flatMap(ServerStats, ({ snapshot }) => snapshot)

/** An app that reports the start of a request, never answers, and reports how it ended. */
export const endless = Effect.map(
  Effect.all({ begun: Deferred.make<void>(), ended: Deferred.make<Exit.Exit<never>>() }),
  ({ begun, ended }) => ({
    begun: Deferred.await(begun),
    reason: Effect.map(Deferred.await(ended), (exit) => Cancellation.fromExit(exit)[0]),
    app: Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
      Effect.onExit((exit) => Deferred.succeed(ended, exit))
    ) as HttpApp.Default
  })
)

export const echo = Effect.gen(function* () {
  const socket = yield* HttpServerRequest.upgrade
  const write = yield* socket.writer
  yield* socket.runRaw(write)
  return HttpServerResponse.empty()
}).pipe(Effect.scoped)

/** Opens a WebSocket, sends the messages, and returns what comes back, until that are as many. */
export const converse = (path: string, messages: ReadonlyArray<string | Uint8Array>) =>
  Effect.gen(function* () {
    const socket = yield* Socket.makeWebSocket(path)
    const write = yield* socket.writer
    const got: Array<unknown> = []
    yield* Effect.fork(Effect.forEach(messages, write))
    yield* socket.runRaw((message) => {
      got.push(typeof message === "string" ? message : [...new Uint8Array(message)])
      return got.length === messages.length ? write(new Socket.CloseEvent(1000)) : undefined
    })
    return got
  }).pipe(Effect.scoped)
