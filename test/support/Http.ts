import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpServer from "@effect/platform/HttpServer"
import * as Socket from "@effect/platform/Socket"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Effect, Layer } from "effect"
import { WebSocket } from "ws"
import type { Options } from "../../src/services/http/HttpServer.js"
import * as HttpServerNode from "../../src/services/http/HttpServerNode.js"

const webSockets = Layer.effect(
  Socket.WebSocketConstructor,
  HttpServer.addressFormattedWith((url) =>
    Effect.succeed(
      (path, protocols) => new WebSocket(url.replace("http", "ws") + path, protocols ?? []) as never
    )
  )
)

/** A server on a port of this machine, and clients whose URLs begin with the path, as `HttpServerTest.layer` has them. */
export const onSockets = (options?: Options) =>
  Layer.merge(Layer.provide(HttpServer.layerTestClient, NodeHttpClient.layer), webSockets).pipe(
    Layer.provideMerge(HttpServerNode.layer(options))
  )

/** The text at a path. */
export const text = (path: string) => Effect.flatMap(HttpClient.get(path), (response) => response.text)

/** The port of the server in the context. */
export const port = Effect.map(HttpServer.HttpServer, ({ address }) =>
  address._tag === "TcpAddress" ? address.port : 0
)
