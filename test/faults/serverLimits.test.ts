import * as net from "node:net"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, LogLevel, Scope } from "effect"
import { type Options, ServerStats, type Snapshot } from "../../src/services/http/HttpServer.js"
import * as HttpServerNode from "../../src/services/http/HttpServerNode.js"

// Each limit: the answer of the server that meets it, its counter, and that others are served.

/** A client that sends bytes and collects what comes back. */
class Client {
  got = ""
  closed = false
  private waiting: Array<() => void> = []

  constructor(readonly socket: net.Socket) {
    socket.setEncoding("latin1")
    socket.on("data", (chunk) => {
      this.got += chunk
      this.wake()
    })
    socket.on("error", () => undefined)
    socket.on("close", () => {
      this.closed = true
      this.wake()
    })
  }
  private wake() {
    const waiting = this.waiting
    this.waiting = []
    for (const one of waiting) one()
  }
  send(bytes: string | Buffer) {
    this.socket.write(bytes)
    return this
  }
  until(done: () => boolean): Effect.Effect<string> {
    return Effect.async((resume) => {
      const look = () => (done() ? resume(Effect.succeed(this.got)) : void this.waiting.push(look))
      look()
    })
  }
  readonly end = Effect.suspend(() => this.until(() => this.closed))
}

const connect = (port: number) =>
  Effect.acquireRelease(
    Effect.async<Client>((resume) => {
      const client = new Client(
        net.connect({ port, host: "127.0.0.1" }, () => resume(Effect.succeed(client)))
      )
    }),
    ({ socket }) => Effect.sync(() => void socket.destroy())
  )

const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`
const post = (headers: string, body = "") => `POST /body HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n${body}`
const shake = get(
  "/ws",
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
const frame = (first: number, payload: string) => {
  const bytes = Buffer.from(payload)
  return Buffer.concat([Buffer.from([first, 0x80 | bytes.length, 0, 0, 0, 0]), bytes])
}

const large = new Uint8Array(8_000_000)

/** What the handlers of one server have done. */
class Log {
  begun: Array<string> = []
  ended: Array<string> = []
  most = 0
}

const app = (log: Log): HttpApp.Default<unknown> =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const { url } = request
    switch (url.replace(/\?.*/, "")) {
      case "/wait":
        return yield* Effect.acquireUseRelease(
          Effect.sync(() => {
            log.begun.push(url)
            log.most = Math.max(log.most, log.begun.length - log.ended.length)
          }),
          () => Effect.never,
          () => Effect.sync(() => log.ended.push(url))
        )
      case "/late":
        return yield* Effect.delay(HttpServerResponse.text(url), Number(url.slice(6)))
      case "/block": {
        const end = performance.now() + 600
        while (performance.now() < end);
        return HttpServerResponse.text("blocked")
      }
      case "/body":
        log.begun.push(url)
        return HttpServerResponse.text(`${(yield* request.text).length}`)
      case "/large":
        return HttpServerResponse.uint8Array(large)
      case "/stubborn":
        log.begun.push(url)
        return yield* Effect.uninterruptible(Effect.never)
      case "/ws": {
        const socket = yield* HttpServerRequest.upgrade
        const write = yield* socket.writer
        yield* socket.runRaw((message) =>
          message === "flood" ? Effect.forever(write("x".repeat(10_000))) : write(message)
        )
        return HttpServerResponse.empty()
      }
      default:
        return HttpServerResponse.text("fine")
    }
  }).pipe(Effect.scoped)

/** Serves until the scope closes. */
const serve = (options: Options = {}) =>
  Effect.gen(function* () {
    const log = new Log()
    const services = yield* Layer.build(HttpServerNode.layer({ report: () => Effect.void, ...options }))
    const { address, serve } = Context.get(services, HttpServer.HttpServer)
    yield* serve(app(log))
    const port = address._tag === "TcpAddress" ? address.port : 0
    const { snapshot } = Context.get(services, ServerStats)
    const fine = Effect.gen(function* () {
      const client = yield* connect(port)
      assert.match(yield* client.send(get("/", "Connection: close\r\n")).end, /^HTTP\/1\.1 200 [\s\S]*fine$/)
    }).pipe(Effect.scoped)
    const until = (done: (stats: Snapshot) => boolean) =>
      Effect.repeat(Effect.delay(snapshot, 2), { until: done })
    return { log, port, snapshot, fine, until, client: connect(port) }
  })

type Case = readonly [
  limit: keyof Snapshot["limits"],
  what: string,
  options: Options,
  sent: string | Buffer,
  answer: RegExp
]
const chunk = `3e8\r\n${"x".repeat(1000)}\r\n`
// What the client sends, and all that the server answers until it closes the connection.
const cases: ReadonlyArray<Case> = [
  ["headerTime", "silence", { headerTime: "50 millis" }, "", /^HTTP\/1\.1 408 [\s\S]*Connection: close/],
  ["headerTime", "half a head", { headerTime: "50 millis" }, "GET / HT", /^HTTP\/1\.1 408 /],
  [
    "headerSize",
    "a large head",
    { headerSize: 500 },
    get("/", `X: ${"x".repeat(600)}\r\n`),
    /^HTTP\/1\.1 431 /
  ],
  [
    "bodyTime",
    "half a body",
    { bodyTime: "50 millis" },
    post("Content-Length: 9", "half"),
    /^HTTP\/1\.1 408 /
  ],
  [
    "bodySize",
    "a long body",
    { bodySize: 500 },
    post("Content-Length: 501", "x"),
    /^HTTP\/1\.1 413 [\s\S]*onnection: close/
  ],
  [
    "bodySize",
    "a long body that asks first",
    { bodySize: 500 },
    post("Expect: 100-continue\r\nContent-Length: 501"),
    /^HTTP\/1\.1 413 /
  ],
  [
    "bodySize",
    "a long body in chunks",
    { bodySize: 500 },
    post("Transfer-Encoding: chunked", chunk),
    /^HTTP\/1\.1 413 [\s\S]*onnection: close/
  ],
  [
    "idleTime",
    "nothing after an answer",
    { idleTime: "50 millis" },
    get("/"),
    /^HTTP\/1\.1 200 [\s\S]*fine$/
  ],
  ["writeTime", "nothing is read of a large answer", { writeTime: "100 millis" }, get("/large"), /^$/],
  [
    "writeTime",
    "nothing is read of a WebSocket",
    { writeTime: "100 millis", backlog: 100_000 },
    Buffer.concat([Buffer.from(shake), frame(0x81, "flood")]),
    /^$/
  ],
  [
    "pingInterval",
    "pings are not answered",
    { pingInterval: "40 millis" },
    shake,
    /^HTTP\/1\.1 101 [\s\S]*\r\n\r\n(\x89\x00){2}$/
  ]
]

describe("server: limits", () => {
  it.scopedLive.each(cases)("%s: %s", ([limit, what, options, sent, answer]) =>
    Effect.gen(function* () {
      const { client, fine, until } = yield* serve(options)
      const one = yield* client
      if (answer.source === "^$") one.socket.pause()
      one.send(sent)
      yield* until(({ limits }) => limits[limit] > 0)
      if (answer.source === "^$") yield* until(({ connections }) => connections.open === 0)
      else assert.match(yield* one.end, answer, what)
      yield* fine
      yield* until(({ requests }) => requests.running === 0)
    })
  )

  it.scopedLive.each(["connections", "connectionsPerAddress"] as const)(
    "%s: more are answered with 503",
    (limit) =>
      Effect.gen(function* () {
        const { client, fine, snapshot, until } = yield* serve({ [limit]: 2 })
        const two = [yield* client, yield* client]
        yield* until(({ connections }) => connections.open === 2)
        assert.match(yield* (yield* client).send(get("/")).end, /^HTTP\/1\.1 503 [\s\S]*Retry-After: 1\r\n/)
        assert.strictEqual((yield* snapshot).limits[limit], 1)
        for (const { socket } of two) socket.destroy()
        yield* until(({ connections }) => connections.open === 0)
        yield* fine
      })
  )

  it.scopedLive(
    "waitTime: what waits longer while the thread is busy is answered with 503 and not begun",
    () =>
      Effect.gen(function* () {
        const { client, fine, log, snapshot, until } = yield* serve({ waitTime: "500 millis" })
        const one = yield* client
        one.send(get("/block").repeat(2) + get("/block") + get("/wait"))
        yield* until(({ limits }) => limits.waitTime > 0)
        yield* one.until(() => /HTTP\/1\.1 503 [\s\S]*Retry-After: 1\r\n/i.test(one.got))
        yield* until(({ requests }) => requests.running === 0)
        assert.deepStrictEqual(log.begun, [])
        assert.isAbove((yield* snapshot).limits.waitTime, 0)
        yield* fine
      })
  )

  it.scopedLive("a chunk that is none is answered with 400 and cancels the handler that reads", () =>
    Effect.gen(function* () {
      const { client, snapshot, until } = yield* serve()
      const one = yield* client
      assert.match(
        yield* one.send(post("Transfer-Encoding: chunked", "nonsense\r\n")).end,
        /^HTTP\/1\.1 400 /
      )
      yield* until(({ requests }) => requests.running === 0)
      assert.strictEqual((yield* snapshot).requests.malformed, 1)
    })
  )
})

describe("server: pipelining", () => {
  it.scopedLive("answers come in order, whatever time they take", () =>
    Effect.gen(function* () {
      const { client, snapshot } = yield* serve({ pipelined: 3 })
      const one = yield* client
      const times = Array.from({ length: 40 }, (_, i) => (i * 7) % 10)
      one.send(times.map((ms) => get(`/late?${ms}`)).join("") + get("/", "Connection: close\r\n"))
      const got = yield* one.end
      assert.deepStrictEqual(
        [...got.matchAll(/\/late\?(\d)/g)].map(([, ms]) => Number(ms)),
        times
      )
      assert.match(got, /fine$/)
      assert.isAbove((yield* snapshot).limits.pipelined, 0)
    })
  )

  it.scopedLive("at most so many are under way, and all are cancelled when the client goes", () =>
    Effect.gen(function* () {
      const { client, fine, log, snapshot, until } = yield* serve({ pipelined: 5 })
      const one = yield* client
      one.send(get("/wait").repeat(2000))
      yield* until(({ requests }) => requests.running === 5)
      one.socket.destroy()
      yield* until(({ requests }) => requests.running === 0)
      assert.deepStrictEqual([log.most, log.begun.length, log.ended.length], [5, 5, 5])
      assert.strictEqual((yield* snapshot).requests.cancelled["client disconnected"], 5)
      yield* fine
    })
  )

  it.scopedLive("a client that sends requests without end is not read any further", () =>
    Effect.gen(function* () {
      const { client, fine, until } = yield* serve()
      const one = yield* client
      const before = process.memoryUsage().rss
      const many = Buffer.from(get("/wait").repeat(20_000))
      let taken = 0
      for (let i = 0; i < 40; i++) one.socket.write(many, (error) => error == null && taken++)
      yield* until(({ requests }) => requests.running === 8)
      yield* Effect.sleep(200)
      yield* fine
      assert.isBelow(taken, 40)
      assert.isBelow(process.memoryUsage().rss - before, 150_000_000)
    })
  )
})

describe("server: clients that go and handlers that stay", () => {
  it.scopedLive("a storm of disconnects cancels every handler", () =>
    Effect.gen(function* () {
      const { client, fine, log, until } = yield* serve()
      for (let storm = 0; storm < 3; storm++) {
        const clients = yield* Effect.all(
          Array.from({ length: 100 }, () => client),
          { concurrency: 50 }
        )
        for (const one of clients) one.send(get("/wait"))
        yield* until(() => log.begun.length === (storm + 1) * 100)
        for (const { socket } of clients) socket.destroy()
        yield* until(({ connections, requests }) => requests.running === 0 && connections.open === 0)
      }
      assert.strictEqual(log.ended.length, 300)
      yield* fine
    })
  )

  it.scopedLive(
    "a handler that ignores interruption is answered, and delays the end no longer than twice the grace",
    () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { client, log, until } = yield* Scope.extend(serve({ grace: "50 millis" }), scope).pipe(
          Logger.withMinimumLogLevel(LogLevel.None)
        )
        const one = yield* client
        one.send(get("/stubborn"))
        yield* until(() => log.begun.length === 1)
        yield* Effect.timeout(Scope.close(scope, Exit.void), "10 seconds")
        assert.match(yield* one.end, /^HTTP\/1\.1 503 /)
      })
  )

  it.scopedLive("a load during a drain loses no accepted request", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { client, snapshot } = yield* Scope.extend(serve(), scope)
      let answered = 0
      let broken = 0
      const load = Effect.gen(function* () {
        const one = yield* client
        while (!one.closed) {
          const before = one.got.length
          one.send(get("/late?5"))
          const got = yield* one.until(
            () => (one.got.endsWith("/late?5") && one.got.length > before) || one.closed
          )
          const last = got.slice(before)
          if (last.endsWith("/late?5")) answered++
          else if (last !== "") broken++
          one.got = ""
        }
      }).pipe(Effect.scoped)
      const clients = yield* Effect.forEach(Array.from({ length: 50 }), () => Effect.fork(load))
      yield* Effect.repeat(Effect.sleep(1), { until: () => answered > 200 })
      yield* Scope.close(scope, Exit.void)
      yield* Effect.forEach(clients, Fiber.join)
      const { cancelled, total } = (yield* snapshot).requests
      assert.deepStrictEqual([broken, cancelled["server is closing"]], [0, 0])
      assert.strictEqual(answered, total)
    })
  )
})
