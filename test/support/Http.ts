import { createServer } from "node:http"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpServer from "@effect/platform/HttpServer"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer } from "effect"

/** A server on a free port of this machine, and a client for it. */
export const onSockets = HttpServer.layerTestClient.pipe(
  Layer.provide(FetchHttpClient.layer),
  Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { port: 0, host: "127.0.0.1" }))
)

/** `http://127.0.0.1:PORT`, without the scheme. */
export const authority = Effect.map(HttpServer.HttpServer, ({ address }) =>
  address._tag === "TcpAddress" ? `127.0.0.1:${address.port}` : address.path
)

/** The status and the text of an answer. */
export const get = (path: string) =>
  Effect.flatMap(HttpClient.HttpClient, (client) =>
    Effect.flatMap(client.get(path), ({ headers, status, text }) =>
      Effect.map(text, (body) => ({ status, body, headers }))
    )
  ).pipe(Effect.scoped)
