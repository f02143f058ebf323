import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpServer from "@effect/platform/HttpServer"
import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer } from "effect"
import * as Server from "../../src/programs/Server.js"
import * as Output from "../../src/services/host/Output.js"
import * as HttpServerTest from "../../src/services/http/HttpServerTest.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"
import { onSockets, text } from "../support/Http.js"

describe("Server", () => {
  for (const [name, layer] of [
    ["over sockets", onSockets()],
    ["in memory", HttpServerTest.layer()]
  ] as const) {
    it.scopedLive(`serves its routes ${name}`, () =>
      Effect.gen(function* () {
        yield* HttpServer.serveEffect(Server.app)
        expect(yield* text("/")).toBe("hi\n")
        expect(yield* text("/wait?ms=1")).toBe("waited 1 ms\n")
        expect((yield* HttpClient.get("/nowhere")).status).toBe(404)
        for (const query of ["", "?ms=", "?ms=-1", "?ms=1.5", "?ms=abc", "?ms=3600001", "?ms=1e3"]) {
          expect((yield* HttpClient.get(`/wait${query}`)).status).toBe(400)
        }
        expect(yield* text("/wait?ms=soon")).toBe("ms must be a whole number from 0 to 3600000, not 'soon'\n")
      }).pipe(Effect.provide(layer))
    )
  }

  it.scoped("answers 1,000 requests that wait a second each when the second is over, all at once", () =>
    Effect.gen(function* () {
      yield* HttpServer.serveEffect(Server.app)
      const client = Effect.zipRight(text("/wait?ms=1000"), Clock.currentTimeMillis)
      const answered = yield* Effect.all(
        Array.from({ length: 1000 }, () => client),
        { concurrency: "unbounded" }
      )
      expect(new Set(answered)).toEqual(new Set([1000]))
    }).pipe(Effect.provide(HttpServerTest.layer()), VirtualClock.run())
  )

  it.scoped("prints where it listens, and serves until it is interrupted", () =>
    Effect.gen(function* () {
      const { stdout } = yield* Output.Captured
      const serving = yield* Effect.fork(Server.example)
      yield* Effect.yieldNow()
      expect(yield* text("/")).toBe("hi\n")
      expect(stdout).toEqual(["listening on http://127.0.0.1:8080"])
      yield* Fiber.interrupt(serving)
    }).pipe(Effect.provide(Layer.merge(HttpServerTest.layer({ port: 8080 }), Output.layerTest)))
  )
})
