import * as http from "node:http"
import { Deferred, Effect } from "effect"
import { type Listening, type Reply, RequestFailed } from "../HttpServer.js"
import { type Connection, overWire } from "./connections.js"

/** Loads ws, with the first WebSocket. */
export const webSockets = Effect.promise(() => import("./webSocket.js"))

/** A client of one server. */
export const client = (url: string, agent: http.Agent): Pick<Listening, "request" | "connect"> => ({
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
