import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, Fiber } from "effect"
import * as Output from "../../../src/services/host/Output.js"
import { onSockets, text } from "../../support/Http.js"
import { say } from "../Case.js"

export const clock = "live"

export default Effect.gen(function* () {
  const { print } = yield* Output.Output
  const running = yield* Effect.makeLatch()
  const over = yield* Effect.makeLatch()
  yield* HttpServer.serveEffect(
    Effect.gen(function* () {
      yield* print("handler runs")
      yield* running.open
      yield* Effect.sleep(5000)
      yield* print("handler ran to its end")
      return HttpServerResponse.text("late")
    }).pipe(
      Effect.onInterrupt(() => print("handler cancelled")),
      Effect.ensuring(over.open)
    )
  )
  const client = yield* Effect.fork(text("/"))
  yield* running.await
  yield* say("client has gone")
  yield* Fiber.interrupt(client)
  yield* over.await
}).pipe(Effect.scoped, Effect.provide(onSockets()))
