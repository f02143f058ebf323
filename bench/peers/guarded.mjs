// guarded.mjs OPTIONS: serves with the limits of OPTIONS (JSON) on a free port and prints it. A line on stdin is answered
// with the counts of the server, its heap and its resident set in bytes, the line "gc" after a collection of garbage; the
// line "close" closes the server first, with its grace period. Serves `/`, `/late` (after 200 ms), `/wait` (never), `/body`, `/large` (4 MB), and an echo at `/ws`.
import { createInterface } from "node:readline"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import * as Http from "../../dist/services/http/HttpServer.js"
import * as HttpServerNode from "../../dist/services/http/HttpServerNode.js"

const large = new Uint8Array(4_000_000)
const echo = Effect.gen(function* () {
  const socket = yield* HttpServerRequest.upgrade
  const write = yield* socket.writer
  yield* socket.runRaw(write)
  return HttpServerResponse.empty()
})
const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
  switch (request.url) {
    case "/late":
      return Effect.delay(HttpServerResponse.text("late"), 200)
    case "/wait":
      return Effect.never
    case "/body":
      return Effect.map(request.text, (text) => HttpServerResponse.text(String(text.length)))
    case "/large":
      return HttpServerResponse.uint8Array(large)
    case "/ws":
      return Effect.scoped(echo)
    default:
      return HttpServerResponse.text("hello")
  }
})

const options = { grace: "10 seconds", report: () => Effect.void, ...JSON.parse(process.argv[2] ?? "{}") }
for (const name in options) if (options[name] === null) options[name] = Number.POSITIVE_INFINITY
const scope = Effect.runSync(Scope.make())
const services = await Effect.runPromise(Layer.buildWithScope(HttpServerNode.layer(options), scope))
const { address, serve } = Context.get(services, HttpServer.HttpServer)
const { snapshot } = Context.get(services, Http.ServerStats)
await Effect.runPromise(Scope.extend(serve(app), scope))
console.log(address.port)

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    if (line === "close") await Effect.runPromise(Scope.close(scope, Exit.void))
    if (line === "gc") globalThis.gc()
    const { heapUsed, rss } = process.memoryUsage()
    console.log(JSON.stringify({ ...Effect.runSync(snapshot), heap: heapUsed, rss }))
  })
  .on("close", () => process.exit(0))
