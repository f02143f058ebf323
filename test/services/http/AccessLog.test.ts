import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck, Fiber, Schema, Stream } from "effect"
import * as Events from "../../../src/services/host/Events.js"
import * as AccessLog from "../../../src/services/http/AccessLog.js"
import * as HttpServerTest from "../../../src/services/http/HttpServerTest.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"
import { text } from "../../support/Http.js"

const app = HttpRouter.empty.pipe(
  HttpRouter.get("/", HttpServerResponse.text("hi\n")),
  HttpRouter.get("/stream", HttpServerResponse.stream(Stream.make(new Uint8Array(3), new Uint8Array(4)))),
  HttpRouter.get("/wait", Effect.as(Effect.sleep(1000), HttpServerResponse.empty())),
  HttpRouter.get("/fails", Effect.fail("no rows"))
)

const entry: AccessLog.Entry = {
  event: "request",
  time: "2026-11-27T21:14:16.000Z",
  remote: "127.0.0.1",
  method: "GET",
  url: "/a?b=1",
  status: 200,
  bytes: 3,
  duration: 1.5,
  referer: "http://example.org/",
  userAgent: 'a "b" \\ \n ä'
}

describe("AccessLog", () => {
  it("writes the combined format", () => {
    expect(AccessLog.combined(entry)).toBe(
      '127.0.0.1 - - [27/Nov/2026:21:14:16 +0000] "GET /a?b=1 HTTP/1.1" 200 3 "http://example.org/" "a \\x22b\\x22 \\x5c \\x0a \\xc3\\xa4"'
    )
    const { referer: _, remote: __, userAgent: ___, ...bare } = entry
    expect(AccessLog.combined({ ...bare, bytes: 0 })).toBe(
      '- - - [27/Nov/2026:21:14:16 +0000] "GET /a?b=1 HTTP/1.1" 200 - "-" "-"'
    )
  })

  it("is one line with nine fields, whatever the client sends", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.fullUnicodeString(), FastCheck.fullUnicodeString(), (url, userAgent) => {
        const line = AccessLog.combined({ ...entry, url, userAgent })
        expect(line).toMatch(/^[\x20-\x7e]*$/)
        expect(line.match(/"[^"]*"/g)).toHaveLength(3)
      })
    )
  })

  it.scoped("reports every request once, however it ends", () =>
    Effect.gen(function* () {
      const entries: Array<AccessLog.Entry> = []
      const report = (one: AccessLog.Entry) => Effect.sync(() => void entries.push(one))
      yield* HttpServer.serveEffect(AccessLog.middleware(report)(app))
      yield* HttpClient.execute(
        HttpClientRequest.get("/?q=1").pipe(
          HttpClientRequest.setHeaders({ referer: "here", "user-agent": "me" })
        )
      )
      yield* HttpClient.head("/")
      yield* text("/stream")
      yield* HttpClient.get("/fails")
      yield* HttpClient.get("/nowhere")
      const gone = yield* Effect.fork(text("/wait"))
      yield* Effect.sleep(100)
      yield* Fiber.interrupt(gone)
      yield* Effect.sleep(100)
      expect(entries.map(({ bytes, cancelled, status, url }) => [url, status, bytes, cancelled])).toEqual([
        ["/?q=1", 200, 3, undefined],
        ["/", 200, 0, undefined],
        ["/stream", 200, 7, undefined],
        ["/fails", 500, 0, undefined],
        ["/nowhere", 404, 0, undefined],
        ["/wait", 499, 0, "client disconnected"]
      ])
      expect(entries[0]).toMatchObject({ method: "GET", referer: "here", userAgent: "me" })
      expect(entries[5]!.duration).toBe(100)
      for (const one of entries) expect(Schema.is(Events.Server)(one)).toBe(true)
    }).pipe(Effect.provide(HttpServerTest.layer({ report: () => Effect.void })), VirtualClock.run())
  )
})
