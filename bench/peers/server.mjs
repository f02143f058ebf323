// server.mjs KIND: serves on a free port and prints it. A line on stdin is answered with the CPU time in ms, the resident
// set and the heap in bytes; the line `gc` after a collection. A full collection while no request is there throws away the
// hidden classes of requests and with them the compiled code: the next thousands of requests would measure the compiler.
import * as http from "node:http"
import { createInterface } from "node:readline"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer, Schema } from "effect"
import { WebSocketServer } from "ws"
import * as HttpServerNode from "../../dist/services/http/HttpServerNode.js"

const [kind = "node"] = process.argv.slice(2)
const [layer, what] = kind.split("-")

const say = (port) => {
  console.log(port)
  createInterface({ input: process.stdin }).on("line", (line) => {
    if (line === "gc") globalThis.gc()
    const { system, user } = process.cpuUsage()
    const { heapUsed, rss } = process.memoryUsage()
    console.log(JSON.stringify({ cpu: (system + user) / 1000, rss, heap: heapUsed }))
  })
  process.stdin.on("end", () => process.exit(0))
}

const hello = Effect.sync(() => HttpServerResponse.text("hello"))

const echo = Effect.gen(function* () {
  const socket = yield* HttpServerRequest.upgrade
  const write = yield* socket.writer
  yield* socket.runRaw(write)
  return HttpServerResponse.empty()
})

let routes = HttpRouter.empty
for (let i = 0; i < 50; i++) routes = HttpRouter.get(routes, `/route${i}/:id`, hello)
routes = routes.pipe(
  HttpRouter.get("/", hello),
  HttpRouter.get("/wait", Effect.as(Effect.never, HttpServerResponse.empty())),
  HttpRouter.get("/ws", echo)
)

const User = Schema.Struct({ id: Schema.Number, name: Schema.String, tags: Schema.Array(Schema.String) })
const api = HttpApi.make("api").add(
  HttpApiGroup.make("users").add(HttpApiEndpoint.post("create", "/users").setPayload(User).addSuccess(User))
)
const users = HttpApiBuilder.group(api, "users", (handlers) =>
  handlers.handle("create", ({ payload }) => Effect.succeed({ ...payload, id: payload.id + 1 }))
)
const apps = {
  hello: HttpServer.serve(hello),
  echo: HttpServer.serve(echo),
  router: HttpServer.serve(routes),
  api: HttpApiBuilder.serve().pipe(Layer.provide(HttpApiBuilder.api(api)), Layer.provide(users))
}

if (layer === "node") {
  const server = http.createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/plain", "content-length": 5 })
    response.end("hello")
  })
  const webSockets = new WebSocketServer({ server, perMessageDeflate: false })
  webSockets.on("connection", (socket) => socket.on("message", (message) => socket.send(message)))
  server.listen(0, "127.0.0.1", () => say(server.address().port))
} else {
  const servers = {
    ours: HttpServerNode.layer({ connections: Infinity, connectionsPerAddress: Infinity }),
    stock: NodeHttpServer.layer(() => http.createServer(), { port: 0, host: "127.0.0.1" }),
    untraced: NodeHttpServer.layer(() => http.createServer(), { port: 0, host: "127.0.0.1" })
  }
  const app =
    layer === "untraced" ? HttpMiddleware.withTracerDisabledWhen(apps[what], () => true) : apps[what]
  const ready = Layer.effectDiscard(HttpServer.addressWith(({ port }) => Effect.sync(() => say(port))))
  Effect.runFork(Layer.launch(Layer.provide(Layer.merge(app, ready), servers[layer])))
}
