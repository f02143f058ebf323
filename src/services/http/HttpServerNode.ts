// Stopgap until branch http is merged.
import { createServer } from "node:http"
import { createServer as createTlsServer } from "node:https"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer } from "effect"
import * as HttpServer from "./HttpServer.js"

export const layer = (options: HttpServer.Options = {}) => {
  const { host = "127.0.0.1", path, port = 0, tls } = options
  return Layer.merge(
    NodeHttpServer.layer(
      () => (tls === undefined ? createServer() : (createTlsServer(tls as any) as any)),
      path === undefined ? { port, host } : { path }
    ).pipe(
      Layer.mapError(
        ({ cause }) =>
          new HttpServer.ListenError({
            address: path ?? `${host}:${port}`,
            code: (cause as any).code ?? "?",
            cause
          })
      )
    ),
    Layer.succeed(HttpServer.ServerStats, {
      snapshot: Effect.succeed({
        requests: { total: 0, running: 0, failed: 0, malformed: 0, cancelled: {} as never },
        connections: { total: 0, open: 0 },
        webSockets: { total: 0, open: 0 },
        limits: {} as never
      })
    })
  )
}
