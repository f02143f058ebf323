import { Clock, Effect } from "effect"
import * as Server from "../../../src/programs/Server.js"
import * as HttpServer from "../../../src/services/http/HttpServer.js"
import * as HttpServerTest from "../../../src/services/http/HttpServerTest.js"
import * as Gather from "../../../src/services/task/Gather.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  const server = yield* HttpServer.serve(Server.app)
  const ask = (millis: number) =>
    Effect.flatMap(server.request(`/wait?ms=${millis}`), ({ body }) => say(body.trim()))
  const before = yield* Clock.currentTimeMillis
  yield* Gather.gather([150, 50, 100].map(ask))
  yield* say((yield* Clock.currentTimeMillis) - before < 290 ? "at once" : "one after the other")
}).pipe(Effect.scoped, Effect.provide(HttpServerTest.layer))
