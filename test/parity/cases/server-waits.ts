import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpServer from "@effect/platform/HttpServer"
import { Clock, Effect } from "effect"
import * as Server from "../../../src/programs/Server.js"
import * as HttpServerTest from "../../../src/services/http/HttpServerTest.js"
import * as Gather from "../../../src/services/task/Gather.js"
import { say } from "../Case.js"

export default Effect.gen(function* () {
  yield* HttpServer.serveEffect(Server.app)
  const ask = (millis: number) =>
    HttpClient.get(`/wait?ms=${millis}`).pipe(
      Effect.flatMap((response) => response.text),
      Effect.flatMap((body) => say(body.trim()))
    )
  const before = yield* Clock.currentTimeMillis
  yield* Gather.gather([150, 50, 100].map(ask))
  yield* say((yield* Clock.currentTimeMillis) - before < 290 ? "at once" : "one after the other")
}).pipe(Effect.scoped, Effect.provide(HttpServerTest.layer()))
