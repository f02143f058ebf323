import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpServer from "@effect/platform/HttpServer"
import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer } from "effect"
import * as Server from "../../src/programs/Server.js"
import * as Output from "../../src/services/host/Output.js"
import * as Explanation from "../../src/services/http/Explanation.js"
import * as HttpServerTest from "../../src/services/http/HttpServerTest.js"
import * as Metrics from "../../src/services/http/Metrics.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"
import { onSockets, text } from "../support/Http.js"

const list = "/, /wait, /cpu, /block, /ws, /chat, /health, /metrics"

const answers: ReadonlyArray<readonly [path: string, status: number, body: string]> = [
  ["/", 200, "hi\n"],
  ["/?x=1", 200, "hi\n"],
  ["/wait?ms=1", 200, "waited 1 ms\n"],
  ["/cpu?ms=1", 200, "computed 1 ms\n"],
  ["/block?ms=1", 200, "blocked 1 ms\n"],
  ["/wait?ms=soon", 400, "ms must be a whole number from 0 to 3600000, not 'soon'\n"],
  ["/cpu?ms=60001", 400, "ms must be a whole number from 0 to 60000, not '60001'\n"],
  ["/block", 400, "ms must be a whole number from 0 to 60000, not ''\n"],
  ...["?ms=", "?ms=-1", "?ms=1.5", "?ms=3600001", "?ms=1e3", "?ms=1&ms=2"].map(
    (query) =>
      [
        `/wait${query}`,
        400,
        `ms must be a whole number from 0 to 3600000, not '${query.includes("&") ? "1,2" : query.slice(4)}'\n`
      ] as const
  ),
  ["/health", 200, "ok\n"],
  ["/metrics", 503, "metrics are not collected here\n"],
  ["/ws", 426, "a WebSocket is here; expected Upgrade: websocket\n"],
  ["/nowhere", 404, `nothing at /nowhere; there are ${list}\n`],
  ["/wait/more?ms=1", 404, `nothing at /wait/more; there are ${list}\n`]
]

/** What a WebSocket sends when it is sent these, until there are so many. */
const exchange = (path: string, sent: ReadonlyArray<string | Uint8Array>, times: number) =>
  Effect.gen(function* () {
    const heard: Array<string | Uint8Array> = []
    const socket = yield* Socket.makeWebSocket(path)
    const write = yield* socket.writer
    const all = yield* Effect.makeLatch()
    const session = yield* Effect.fork(
      socket.runRaw((message) =>
        Effect.suspend(() =>
          heard.push(typeof message === "string" ? message : new Uint8Array(message)) === times
            ? all.open
            : Effect.void
        )
      )
    )
    yield* Effect.forEach(sent, (message) => write(message), { discard: true })
    yield* all.await
    yield* Fiber.interrupt(session)
    return heard
  }).pipe(Effect.scoped)

describe("Server", () => {
  for (const [name, layer] of [
    ["over sockets", onSockets()],
    ["in memory", HttpServerTest.layer()]
  ] as const) {
    it.scopedLive(`serves its routes ${name}`, () =>
      Effect.gen(function* () {
        yield* HttpServer.serveEffect(Server.app)
        for (const [path, status, body] of answers) {
          const response = yield* HttpClient.get(path)
          expect([path, response.status, yield* response.text]).toEqual([path, status, body])
        }
        const post = yield* HttpClient.post("/wait")
        expect([post.status, post.headers["allow"], yield* post.text]).toEqual([
          405,
          "GET, HEAD",
          "POST is not served here; GET, HEAD is\n"
        ])
        const head = yield* HttpClient.head("/")
        expect([head.status, yield* head.text]).toEqual([200, ""])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive(`echoes messages, and sends those of the chat to all ${name}`, () =>
      Effect.gen(function* () {
        yield* HttpServer.serveEffect(Server.app)
        expect(yield* exchange("/ws", ["one", new Uint8Array([1, 2])], 2)).toEqual([
          "one",
          new Uint8Array([1, 2])
        ])
        const two = yield* Effect.fork(exchange("/chat", [], 1))
        // A member that is there gets what is said from then on; so the other says it until it is heard.
        const says = yield* Effect.fork(
          Effect.forever(Effect.delay(exchange("/chat", ["hello"], 1), "10 millis"))
        )
        expect(yield* Fiber.join(two)).toEqual(["hello"])
        yield* Fiber.interrupt(says)
      }).pipe(Effect.provide(layer), Effect.provideService(Server.Room, new Set()))
    )
  }

  it.scopedLive("has metrics, with the counts of the server", () =>
    Effect.gen(function* () {
      yield* HttpServer.serveEffect(Server.app)
      yield* text("/")
      const metrics = yield* text("/metrics")
      expect(metrics).toMatch(
        /^# HELP http_requests_total .+\n# TYPE http_requests_total counter\nhttp_requests_total 2\n/m
      )
      expect(metrics).toMatch(/^http_requests_running 1$/m)
      expect(metrics).toMatch(/^http_limits_hit_total\{limit="bodySize"\} 0$/m)
      expect(metrics).toMatch(/^nodejs_eventloop_lag_seconds\{quantile="0.99"\} \d/m)
      for (const line of metrics.trimEnd().split("\n")) {
        expect(line).toMatch(/^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"\})? -?[\d.e+-]+)$/)
      }
    }).pipe(Effect.provide(Layer.provideMerge(Metrics.layer, HttpServerTest.layer())))
  )

  it.scoped("answers 200 requests that wait a second each when the second is over, all at once", () =>
    Effect.gen(function* () {
      yield* HttpServer.serveEffect(Server.app)
      const client = Effect.zipRight(text("/wait?ms=1000"), Clock.currentTimeMillis)
      const answered = yield* Effect.all(
        Array.from({ length: 200 }, () => client),
        { concurrency: "unbounded" }
      )
      expect(new Set(answered)).toEqual(new Set([1000]))
    }).pipe(Effect.provide(HttpServerTest.layer()), VirtualClock.run())
  )

  it.scoped("prints where it listens, and serves until it is interrupted", () =>
    Effect.gen(function* () {
      const { stdout } = yield* Output.Captured
      const serving = yield* Effect.fork(Server.serve(Server.app))
      yield* Effect.yieldNow()
      expect(yield* text("/")).toBe("hi\n")
      expect(stdout).toEqual(["listening on http://127.0.0.1:8080"])
      yield* Fiber.interrupt(serving)
    }).pipe(Effect.provide(Layer.merge(HttpServerTest.layer({ port: 8080 }), Output.layerTest)))
  )

  it("writes the address of a server as a URL", () => {
    const at = (hostname: string, isTls?: boolean) =>
      Server.formatUrl({ _tag: "TcpAddress", hostname, port: 80 }, isTls)
    expect(at("127.0.0.1")).toBe("http://127.0.0.1:80")
    expect(at("::1", true)).toBe("https://[::1]:80")
    expect(Server.formatUrl({ _tag: "UnixAddress", path: "/run/aio.sock" })).toBe("unix:/run/aio.sock")
  })

  it.scopedLive(
    "explains in five lines that waits add up to one, and that blocking stops every request",
    () =>
      Effect.gen(function* () {
        const measured = yield* Explanation.measure({ requests: 100, wait: "100 millis", block: "40 millis" })
        expect(measured.all).toBeGreaterThanOrEqual(99)
        expect(measured.all).toBeLessThan(100 * 100)
        // A timer may be a millisecond early by the nanosecond clock.
        expect(measured.held).toBeGreaterThanOrEqual(39)
        expect(Explanation.lines({ ...measured, one: 101, all: 125.4, free: 3, held: 41 })).toEqual([
          "1 request that waits 100 ms: answered after 101 ms",
          "100 requests that wait 100 ms each: all answered after 125 ms (one after another: 10.0 s)",
          "10 requests with nothing to wait for: each answered within 3 ms",
          "the same 10 while one handler blocks for 40 ms: none answered before 41 ms",
          "waiting costs the loop nothing, blocking stops it for all requests: blocking work belongs on a thread (aio executor)"
        ])
      }).pipe(Effect.provide(onSockets()))
  )
})
