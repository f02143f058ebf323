import * as http from "node:http"
import * as net from "node:net"
import { assert, describe, expect, it } from "@effect/vitest"
import { Data, Deferred, Duration, Effect, Exit, FastCheck, Fiber, Scope, TestClock } from "effect"
import { WebSocket } from "undici"
import * as HttpServer from "../../../src/services/http/HttpServer.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"

class NoRows extends Data.TaggedError("NoRows") {
  override readonly message = "no rows"
}

const text = (body: string) => Effect.succeed(HttpServer.text(body))

const echo = HttpServer.webSocket((socket) => Effect.forever(Effect.flatMap(socket.receive, socket.send)))

// A handler that tells when a request has come, never answers, and tells how it ended.
const endless = Effect.map(
  Effect.all({ begun: Deferred.make<void>(), ended: Deferred.make<Exit.Exit<never>>() }),
  ({ begun, ended }) => ({
    begun: Deferred.await(begun),
    reason: Effect.map(Deferred.await(ended), (exit) => Cancellation.fromExit(exit)[0]),
    handler: () =>
      Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
        Effect.onExit((exit) => Deferred.succeed(ended, exit))
      )
  })
)

// What a client on a bare socket gets until the server closes the connection.
const raw = (port: number, bytes: string) =>
  Effect.async<string>((resume) => {
    const socket = net.connect(port, "127.0.0.1", () => socket.write(bytes))
    let got = ""
    socket.on("data", (chunk) => (got += chunk))
    socket.on("error", () => undefined)
    socket.on("close", () => resume(Effect.succeed(got)))
    return Effect.sync(() => socket.destroy())
  })

const handshake = [
  "GET / HTTP/1.1",
  "Host: a",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "\r\n"
].join("\r\n")

// A WebSocket of undici's: what the handshake and the frames are held against.
const peer = (port: number, path = "/") =>
  Effect.acquireRelease(
    Effect.async<WebSocket>((resume) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`)
      socket.binaryType = "arraybuffer"
      socket.addEventListener("open", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.close())
  )

const nextEvent = (socket: WebSocket, name: "message" | "close") =>
  Effect.async<any>((resume) => {
    socket.addEventListener(name, (event: unknown) => resume(Effect.succeed(event)), { once: true })
  })

for (const [name, layer] of [
  ["layer", HttpServer.layer],
  ["layerTest", HttpServer.layerTest]
] as const) {
  describe(`HttpServer.${name}`, () => {
    it.scopedLive("gives the handler what was asked, and the client what it answered", () =>
      Effect.gen(function* () {
        const server = yield* HttpServer.serve((request) =>
          Effect.succeed(
            HttpServer.text(`${request.method} ${request.path} ${request.query.get("a")}`, {
              status: 201,
              headers: { "x-own": "yes" }
            })
          )
        )
        const reply = yield* server.request("/a%20b?a=%C3%A9&b", { method: "PUT" })
        expect(reply).toMatchObject({ status: 201, body: "PUT /a%20b é", headers: { "x-own": "yes" } })
        expect(server.url).toBe(`http://127.0.0.1:${server.port}`)
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("answers 500 for a failure and a defect, reports them, and lives on", () =>
      Effect.gen(function* () {
        const reports: Array<string> = []
        const server = yield* HttpServer.serve(
          (request): Effect.Effect<HttpServer.Response, NoRows> => {
            if (request.path === "/fail") return Effect.fail(new NoRows())
            if (request.path === "/die") throw new TypeError("undefined is no function")
            return text("well")
          },
          { report: (failure) => Effect.sync(() => void reports.push(failure.message)) }
        )
        expect((yield* server.request("/fail")).status).toBe(500)
        expect((yield* server.request("/die")).status).toBe(500)
        expect((yield* server.request("/")).body).toBe("well")
        expect(reports).toEqual(["GET /fail failed: no rows", "GET /die failed: undefined is no function"])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("cancels the handler of a client that goes, and says so", () =>
      Effect.gen(function* () {
        const { begun, handler, reason } = yield* endless
        const server = yield* HttpServer.serve(handler)
        const client = yield* Effect.fork(server.request("/slow"))
        yield* begun
        yield* Fiber.interrupt(client)
        expect(yield* reason).toEqual({ reason: "client disconnected", origin: "GET /slow" })
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("lets running requests end when it closes", () =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const draining = yield* Deferred.make<number>()
        const scope = yield* Scope.make()
        const server = yield* HttpServer.serve(
          () =>
            Deferred.succeed(begun, undefined).pipe(
              Effect.zipRight(Deferred.await(go)),
              Effect.as(HttpServer.text("done"))
            ),
          { onDrain: (running) => Deferred.succeed(draining, running) }
        ).pipe(Scope.extend(scope))
        const client = yield* Effect.fork(server.request("/"))
        yield* Deferred.await(begun)
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        expect(yield* Deferred.await(draining)).toBe(1)
        expect((yield* Effect.flip(server.request("/late"))).reason).toBe("ECONNREFUSED")
        yield* Deferred.succeed(go, undefined)
        expect((yield* Fiber.join(client)).body).toBe("done")
        yield* Fiber.join(closing)
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("cancels what runs longer than the grace period, with 503", () =>
      Effect.gen(function* () {
        const { begun, handler, reason } = yield* endless
        const scope = yield* Scope.make()
        const server = yield* Scope.extend(HttpServer.serve(handler, { grace: 20 }), scope)
        const client = yield* Effect.fork(server.request("/slow"))
        yield* begun
        yield* Scope.close(scope, Exit.void)
        expect(yield* reason).toEqual({
          reason: "server closed and the grace period of 20ms is over",
          origin: "server"
        })
        expect((yield* Fiber.join(client)).status).toBe(503)
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("refuses a port in use with one clear line", () =>
      Effect.gen(function* () {
        const { port } = yield* HttpServer.serve(() => text("first"))
        const error = yield* Effect.flip(HttpServer.serve(() => text("second"), { port }))
        expect(error).toMatchObject({ _tag: "ListenError", code: "EADDRINUSE", exitCode: 1 })
        expect(error.message).toBe(
          `cannot listen on 127.0.0.1:${port}: the port is in use; choose another, or 0 for a free one`
        )
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("frees its port when its scope closes", () =>
      Effect.gen(function* () {
        const { port } = yield* Effect.scoped(HttpServer.serve(() => text("first")))
        const again = yield* HttpServer.serve(() => text("second"), { port })
        expect((yield* again.request("/")).body).toBe("second")
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("talks WebSocket: texts and bytes of every length come back whole and in order", () =>
      Effect.gen(function* () {
        const server = yield* HttpServer.serve(() => echo)
        const socket = yield* server.connect("/")
        const lengths = [0, 1, 125, 126, 65_535, 65_536, 1024 * 1024]
        for (const length of lengths) {
          yield* socket.send("x".repeat(length))
          yield* socket.send(new Uint8Array(length).fill(length & 255))
        }
        for (const length of lengths) {
          expect((yield* socket.receive) === "x".repeat(length)).toBe(true)
          const bytes = yield* socket.receive
          assert(typeof bytes !== "string")
          expect(bytes.length === length && bytes.every((byte) => byte === (length & 255))).toBe(true)
        }
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("tells a session that receives that the client closed, and lets it finish", () =>
      Effect.gen(function* () {
        const ended = yield* Deferred.make<string>()
        const server = yield* HttpServer.serve(() =>
          HttpServer.webSocket((socket) =>
            Effect.forever(socket.receive).pipe(
              Effect.catchTag("SocketClosed", (closed) => Deferred.succeed(ended, closed.message))
            )
          )
        )
        const socket = yield* server.connect("/")
        yield* socket.send("one")
        yield* socket.close(1000, "enough")
        expect(yield* Deferred.await(ended)).toBe("the WebSocket is closed (1000, enough)")
        expect((yield* Effect.flip(socket.send("two")))._tag).toBe("SocketClosed")
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("cancels a session that does not receive when the client closes", () =>
      Effect.gen(function* () {
        const { begun, handler, reason } = yield* endless
        const server = yield* HttpServer.serve(() => HttpServer.webSocket(handler))
        yield* Effect.scoped(Effect.zipRight(server.connect("/feed"), begun))
        expect(yield* reason).toEqual({ reason: "client disconnected", origin: "GET /feed" })
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive(
      "closes the WebSocket when the session ends: 1000, and 1011 with a report when it failed",
      () =>
        Effect.gen(function* () {
          const reports: Array<string> = []
          const server = yield* HttpServer.serve(
            (request) =>
              HttpServer.webSocket((socket) =>
                Effect.zipRight(
                  socket.send("hello"),
                  request.path === "/" ? Effect.void : Effect.fail(new NoRows())
                )
              ),
            { report: (failure) => Effect.sync(() => void reports.push(failure.message)) }
          )
          for (const [path, code] of [
            ["/", 1000],
            ["/bad", 1011]
          ] as const) {
            const socket = yield* server.connect(path)
            expect(yield* socket.receive).toBe("hello")
            expect((yield* Effect.flip(socket.receive)).code).toBe(code)
          }
          expect(reports).toEqual(["GET /bad failed: no rows"])
        }).pipe(Effect.provide(layer))
    )

    it.scopedLive("tells WebSockets at once when it closes", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const server = yield* Scope.extend(
          HttpServer.serve(() => echo, { grace: "1 hour" }),
          scope
        )
        const socket = yield* server.connect("/")
        yield* socket.send("in time")
        expect(yield* socket.receive).toBe("in time")
        yield* Scope.close(scope, Exit.void)
        expect((yield* Effect.flip(socket.receive)).code).toBe(1001)
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("says 426 where only a WebSocket is served, and fails to connect where none is", () =>
      Effect.gen(function* () {
        const server = yield* HttpServer.serve(({ path }) => (path === "/ws" ? echo : text("plain")))
        expect((yield* server.request("/ws")).status).toBe(426)
        expect((yield* Effect.flip(server.connect("/"))).message).toBe(
          "/ was not answered: no WebSocket but status 200"
        )
      }).pipe(Effect.provide(layer))
    )
  })
}

describe("HttpServer.layer", () => {
  it.scopedLive("speaks the WebSocket of others: undici's messages come back, its close is answered", () =>
    Effect.gen(function* () {
      const { port } = yield* HttpServer.serve(() => echo)
      const socket = yield* peer(port)
      for (const message of ["", "grüße", "x".repeat(70_000)]) {
        const answer = yield* Effect.fork(nextEvent(socket, "message"))
        yield* Effect.yieldNow()
        socket.send(message)
        expect((yield* Fiber.join(answer)).data === message).toBe(true)
      }
      const closed = yield* Effect.fork(nextEvent(socket, "close"))
      yield* Effect.yieldNow()
      socket.close(4001, "bye")
      expect(yield* Fiber.join(closed)).toMatchObject({ code: 4001, wasClean: true })
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("closes a WebSocket that breaks the protocol with the code that says how", () =>
    Effect.gen(function* () {
      const { port } = yield* HttpServer.serve(() => echo)
      const closedWith = (frames: ReadonlyArray<number>) =>
        Effect.async<number>((resume) => {
          const request = http.get({
            port,
            headers: {
              connection: "Upgrade",
              upgrade: "websocket",
              "sec-websocket-version": "13",
              "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="
            }
          })
          request.once("upgrade", (response, socket) => {
            // The sample of RFC 6455, 1.3.
            expect(response.headers["sec-websocket-accept"]).toBe("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            socket.once("data", (bytes: Buffer) => {
              resume(Effect.succeed(bytes.readUInt16BE(2)))
              socket.destroy()
            })
            socket.write(Buffer.from(frames))
          })
          return Effect.sync(() => request.destroy())
        })
      const key = [0, 0, 0, 0]
      expect(yield* closedWith([0x81, 0x01, 0x61])).toBe(1002) // not masked
      expect(yield* closedWith([0xc1, 0x80, ...key])).toBe(1002) // reserved bit
      expect(yield* closedWith([0x83, 0x80, ...key])).toBe(1002) // unknown opcode
      expect(yield* closedWith([0x80, 0x80, ...key])).toBe(1002) // continuation of nothing
      expect(yield* closedWith([0x09, 0x80, ...key])).toBe(1002) // ping in fragments
      expect(yield* closedWith([0x81, 0x81, ...key, 0xff])).toBe(1007) // no UTF-8
      expect(yield* closedWith([0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, ...key])).toBe(1009) // 4 GiB
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("puts fragments together and answers the ping between them", () =>
    Effect.gen(function* () {
      const { port } = yield* HttpServer.serve(() => echo)
      // The text "a" to be continued, the ping "p", the continuation "b"; masked with zeros.
      const frames = [
        [0x01, 0x61],
        [0x89, 0x70],
        [0x80, 0x62]
      ].flatMap(([first, byte]) => [...[first!, 0x81, 0, 0, 0, 0, byte!]])
      const got = yield* Effect.async<Buffer>((resume) => {
        let all = Buffer.alloc(0)
        const socket = net.connect(port, "127.0.0.1", () =>
          socket.write(Buffer.concat([Buffer.from(handshake), Buffer.from(frames)]))
        )
        socket.on("data", (chunk: Buffer) => {
          all = Buffer.concat([all, chunk])
          const body = all.subarray(all.indexOf("\r\n\r\n") + 4)
          if (body.length < 7) return
          resume(Effect.succeed(body))
          socket.destroy()
        })
        return Effect.sync(() => socket.destroy())
      })
      expect([...got]).toEqual([0x8a, 0x01, 0x70, 0x81, 0x02, 0x61, 0x62])
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("tells a session how its client broke the protocol", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<HttpServer.SocketClosed>()
      const { connect } = yield* HttpServer.serve(() =>
        HttpServer.webSocket((socket) =>
          Effect.forever(socket.receive).pipe(Effect.catchAll((closed) => Deferred.succeed(ended, closed)))
        )
      )
      const socket = yield* connect("/")
      yield* socket.send("x".repeat(1024 * 1024 + 1))
      expect((yield* Deferred.await(ended)).code).toBe(1009)
      expect((yield* Effect.flip(socket.receive)).code).toBe(1009)
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("tells a session that sends how its client closed", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<HttpServer.SocketClosed>()
      const { connect } = yield* HttpServer.serve(() =>
        HttpServer.webSocket((socket) =>
          Effect.zipRight(socket.receive, Effect.forever(socket.send("x"))).pipe(
            Effect.catchAll((closed) => Deferred.succeed(ended, closed))
          )
        )
      )
      const socket = yield* connect("/")
      yield* socket.send("go")
      yield* socket.receive
      yield* socket.close(4001, "bye")
      expect(yield* Deferred.await(ended)).toMatchObject({ code: 4001, reason: "bye" })
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("does not wait for a client that leaves a goodbye unanswered", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<HttpServer.SocketClosed>()
      const { port } = yield* HttpServer.serve(() =>
        HttpServer.webSocket((socket) =>
          Effect.zipRight(socket.close(4000, "enough"), socket.receive).pipe(
            Effect.catchAll((closed) => Deferred.succeed(ended, closed))
          )
        )
      )
      yield* Effect.fork(raw(port, handshake))
      expect(yield* Deferred.await(ended)).toMatchObject({ code: 4000, reason: "enough" })
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("sends of a long reason the whole characters that have room", () =>
    Effect.gen(function* () {
      const { connect } = yield* HttpServer.serve(() =>
        HttpServer.webSocket((socket) => socket.close(4000, "ü".repeat(100)))
      )
      const socket = yield* connect("/")
      expect(yield* Effect.flip(socket.receive)).toMatchObject({ code: 4000, reason: "ü".repeat(61) })
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("holds back a client that sends faster than the session receives", () =>
    Effect.gen(function* () {
      const slow = yield* Deferred.make<void>()
      const count = 500 // of 64 KiB: more than the buffers on the way hold
      const server = yield* HttpServer.serve((request) =>
        request.path === "/ws"
          ? HttpServer.webSocket((socket) =>
              Deferred.await(slow).pipe(
                Effect.zipRight(Effect.replicateEffect(socket.receive, count)),
                Effect.flatMap((messages) => socket.send(String(messages.length)))
              )
            )
          : text("hi")
      )
      const socket = yield* server.connect("/ws")
      let sent = 0
      const client = yield* Effect.fork(
        Effect.replicateEffect(
          Effect.tap(socket.send(new Uint8Array(64 * 1024)), () => sent++),
          count,
          { discard: true }
        )
      )
      // Turns of the loop, in which all would be sent if nothing held it back.
      let before = -1
      while (before !== sent) {
        before = sent
        yield* Effect.replicateEffect(server.request("/"), 20, { discard: true })
      }
      expect(sent).toBeGreaterThan(0)
      expect(sent).toBeLessThan(count)
      yield* Deferred.succeed(slow, undefined)
      yield* Fiber.join(client)
      expect(yield* socket.receive).toBe(String(count))
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("fails to connect with Node's code where nobody listens; interrupted, it gives up", () =>
    Effect.gen(function* () {
      const { begun, handler, reason } = yield* endless
      const scope = yield* Scope.make()
      const server = yield* Scope.extend(HttpServer.serve(handler), scope)
      const client = yield* Effect.fork(server.connect("/ws#part"))
      yield* begun
      yield* Fiber.interrupt(client)
      expect(yield* reason).toEqual({ reason: "client disconnected", origin: "GET /ws" })
      yield* Scope.close(scope, Exit.void)
      expect((yield* Effect.flip(server.connect("/"))).reason).toBe("ECONNREFUSED")
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("keeps what a hasty client sends before the handler has answered", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const { port, request } = yield* HttpServer.serve(({ path }) =>
        path === "/"
          ? text("hi")
          : Deferred.succeed(begun, undefined).pipe(
              Effect.zipRight(Deferred.await(go)),
              Effect.zipRight(echo)
            )
      )
      const socket = net.connect(port, "127.0.0.1")
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      socket.write(handshake.replace("/", "/ws"))
      yield* Deferred.await(begun)
      // The texts "a" and "b", in two pieces.
      socket.write(Buffer.from([0x81, 0x81, 0, 0]))
      yield* request("/")
      socket.write(Buffer.from([0, 0, 0x61, 0x81, 0x81, 0, 0, 0, 0, 0x62]))
      yield* request("/")
      yield* Deferred.succeed(go, undefined)
      const got = yield* Effect.async<ReadonlyArray<number>>((resume) => {
        let all = Buffer.alloc(0)
        socket.on("data", (chunk: Buffer) => {
          all = Buffer.concat([all, chunk])
          const body = all.subarray(all.indexOf("\r\n\r\n") + 4)
          if (body.length === 6) resume(Effect.succeed([...body]))
        })
      })
      expect(got).toEqual([0x81, 0x01, 0x61, 0x81, 0x01, 0x62])
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("refuses an upgrade that is no proper WebSocket handshake, and goes on", () =>
    Effect.gen(function* () {
      const server = yield* HttpServer.serve(({ path }) => (path === "/ws" ? echo : text("plain")))
      const upgrade = (path: string, version: number, key = "dGhlIHNhbXBsZSBub25jZQ==") =>
        raw(
          server.port,
          `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: ${version}\r\nSec-WebSocket-Key: ${key}\r\n\r\n`
        )
      expect(yield* upgrade("/ws", 8)).toMatch(/^HTTP\/1\.1 426 /)
      expect(yield* upgrade("/ws", 13, "short")).toMatch(/^HTTP\/1\.1 426 /)
      expect(yield* upgrade("/", 13)).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*\r\n\r\nplain$/)
      expect((yield* server.request("/")).body).toBe("plain")
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("answers nonsense with 400, and a header that HTTP does not have with 500 and a report", () =>
    Effect.gen(function* () {
      const reports: Array<string> = []
      const server = yield* HttpServer.serve(
        () => Effect.succeed(HttpServer.text("x", { headers: { "x-split": "a\r\nb" } })),
        { report: (failure) => Effect.sync(() => void reports.push(failure.message)) }
      )
      expect(yield* raw(server.port, "nonsense\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 /)
      expect((yield* server.request("/")).status).toBe(500)
      expect(reports).toHaveLength(1)
    }).pipe(Effect.provide(HttpServer.layer))
  )

  it.scopedLive("does not wait for connections on which nothing is asked", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { port, request } = yield* Scope.extend(
        HttpServer.serve(() => text("hi"), { grace: "1 hour" }),
        scope
      )
      const silent = yield* Effect.fork(raw(port, ""))
      yield* request("/") // kept alive; by now the silent one is connected too
      yield* Scope.close(scope, Exit.void)
      expect(yield* Fiber.join(silent)).toBe("")
    }).pipe(Effect.provide(HttpServer.layer))
  )
})

describe("HttpServer.layerTest", () => {
  it.scoped("answers 100 requests that wait a second each when the second is over, and not before", () =>
    Effect.gen(function* () {
      let answered = 0
      const server = yield* HttpServer.serve(() => Effect.delay(text("done"), "1 second"))
      const clients = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 100 }, () =>
            Effect.tap(server.request("/"), () => Effect.sync(() => answered++))
          ),
          { concurrency: "unbounded", discard: true }
        )
      )
      yield* TestClock.adjust("999 millis")
      expect(answered).toBe(0)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(clients)
      expect(answered).toBe(100)
    }).pipe(Effect.provide(HttpServer.layerTest))
  )

  it.scoped("lets a blocking handler hold up all others", () =>
    Effect.gen(function* () {
      const { block } = yield* HttpServer.HttpServer
      const server = yield* HttpServer.serve(({ path }) =>
        path === "/block" ? Effect.as(block("1 second"), HttpServer.text("blocked")) : text("hi")
      )
      yield* Effect.fork(server.request("/block"))
      yield* Effect.yieldNow()
      const other = yield* Effect.fork(server.request("/"))
      yield* TestClock.adjust("999 millis")
      expect(yield* Fiber.poll(other)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      expect((yield* Fiber.join(other)).body).toBe("hi")
    }).pipe(Effect.provide(HttpServer.layerTest))
  )

  it.scoped("gives running requests exactly the grace period", () =>
    Effect.gen(function* () {
      const { begun, handler, reason } = yield* endless
      const scope = yield* Scope.make()
      const server = yield* Scope.extend(HttpServer.serve(handler), scope)
      yield* Effect.fork(server.request("/slow"))
      yield* begun
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("4999 millis")
      expect(yield* Fiber.poll(closing)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      expect((yield* reason)?.reason).toBe("server closed and the grace period of 5s is over")
    }).pipe(Effect.provide(HttpServer.layerTest))
  )

  it.effect.prop(
    "answers each request when its own wait is over, whatever the others wait",
    [FastCheck.array(FastCheck.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 8 })],
    ([waits]) =>
      Effect.gen(function* () {
        const server = yield* HttpServer.serve(({ query }) =>
          Effect.delay(text("done"), Duration.millis(Number(query.get("ms"))))
        )
        const done: Array<number> = []
        yield* Effect.fork(
          Effect.forEach(
            waits,
            (ms) => Effect.tap(server.request(`/?ms=${ms}`), () => Effect.sync(() => done.push(ms))),
            { concurrency: "unbounded" }
          )
        )
        const middle = Math.floor(Math.max(...waits) / 2)
        yield* TestClock.adjust(middle)
        expect([...done].sort()).toEqual(waits.filter((ms) => ms <= middle).sort())
        yield* TestClock.adjust(50)
        expect(done).toHaveLength(waits.length)
      }).pipe(Effect.scoped, Effect.provide(HttpServer.layerTest)),
    { fastCheck: { numRuns: 20 } }
  )
})
