import { once } from "node:events"
import { createServer, type IncomingMessage, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import * as Probes from "../../../src/services/supervision/Probes.js"

const server = Effect.acquireRelease(
  Effect.async<Server>((resume) => {
    const server = createServer((request, response) => {
      if (request.url === "/hang") return void server.emit("hanging", request)
      response.statusCode = Number(request.url?.slice(1))
      response.setHeader("location", "/500")
      response.end("body")
    })
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.sync(() => server.close())
)
const portOf = (server: Server) => (server.address() as AddressInfo).port

describe("Probes", () => {
  it.scopedLive("probes a URL; a redirect is an answer", () =>
    Effect.gen(function* () {
      const { http } = yield* Probes.Probes
      const listening = yield* server
      const url = `http://127.0.0.1:${portOf(listening)}`
      yield* http(`${url}/200`)
      yield* http(`${url}/302`)
      const failed = yield* Effect.flip(http(`${url}/503`))
      assert.strictEqual(failed.message, `${url}/503: status 503`)
      const fiber = yield* Effect.fork(http(`${url}/hang`))
      const [request] = (yield* Effect.promise(() => once(listening, "hanging"))) as [IncomingMessage]
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      yield* Effect.promise(() => once(request.socket, "close"))
    }).pipe(Effect.provide(Probes.layer))
  )

  it.scopedLive("probes a port", () =>
    Effect.gen(function* () {
      const probes = yield* Probes.Probes
      const port = portOf(yield* server)
      yield* probes.port(port)
      yield* probes.port(port, "127.0.0.1")
      // One that was free a moment ago.
      const free = yield* Effect.scoped(Effect.map(server, portOf))
      assert.strictEqual((yield* Effect.flip(probes.port(free))).message, `port ${free}: connection refused`)
      assert.strictEqual(
        (yield* Effect.flip(probes.http(`http://127.0.0.1:${free}/`))).detail,
        "connection refused"
      )
    }).pipe(Effect.provide(Probes.layer))
  )

  it.effect("answers as given in tests", () =>
    Effect.gen(function* () {
      const probes = yield* Probes.Probes
      yield* probes.http("http://a")
      assert.strictEqual((yield* Effect.flip(probes.http("http://b"))).detail, "connection refused")
      assert.strictEqual((yield* Effect.flip(probes.port(1))).asked, "port 1")
    }).pipe(Effect.provide(Probes.layerTest({ http: (url) => Effect.succeed(url === "http://a") })))
  )
})
