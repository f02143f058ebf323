import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Clock, Effect } from "effect"
import * as Gather from "../../../src/services/task/Gather.js"
import { onSockets, text } from "../../support/Http.js"
import { say } from "../Case.js"

export const clock = "live"

const block = Effect.sync(() => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
})

const app = HttpRouter.empty.pipe(
  HttpRouter.get("/block", Effect.as(block, HttpServerResponse.text("blocked"))),
  HttpRouter.get("/wait", Effect.as(Effect.sleep(20), HttpServerResponse.text("waited")))
)

export default Effect.gen(function* () {
  yield* HttpServer.serveEffect(app)
  const ask = (path: string) =>
    Effect.gen(function* () {
      const before = yield* Clock.currentTimeMillis
      const body = yield* text(path)
      const long = (yield* Clock.currentTimeMillis) - before >= 100
      yield* say(body, long ? "and it took long" : "and it took short")
    })
  yield* Gather.gather(["/block", "/wait"].map(ask))
}).pipe(Effect.scoped, Effect.provide(onSockets()))
