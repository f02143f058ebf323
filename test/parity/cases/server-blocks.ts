import { Clock, Effect } from "effect"
import * as HttpServer from "../../../src/services/http/HttpServer.js"
import * as HttpServerNode from "../../../src/services/http/HttpServerNode.js"
import * as Gather from "../../../src/services/task/Gather.js"
import { say } from "../Case.js"

export const clock = "live"

export default Effect.gen(function* () {
  const { block } = yield* HttpServer.HttpServer
  const server = yield* HttpServer.serve(({ path }) =>
    path === "/block"
      ? Effect.as(block(100), HttpServer.text("blocked"))
      : Effect.as(Effect.sleep(20), HttpServer.text("waited"))
  )
  const ask = (path: string) =>
    Effect.gen(function* () {
      const before = yield* Clock.currentTimeMillis
      const { body } = yield* server.request(path)
      const long = (yield* Clock.currentTimeMillis) - before >= 100
      yield* say(body, long ? "and it took long" : "and it took short")
    })
  yield* Gather.gather(["/block", "/wait"].map(ask))
}).pipe(Effect.scoped, Effect.provide(HttpServerNode.layer))
