import * as http from "node:http"
import * as net from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope } from "effect"
import { WebSocket } from "undici"
import * as HttpServer from "../../../src/services/http/HttpServer.js"
import * as HttpServerNode from "../../../src/services/http/HttpServerNode.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"

const text = (body: string) => Effect.succeed(HttpServer.text(body))

const echo = HttpServer.webSocket((socket) => Effect.forever(Effect.flatMap(socket.receive, socket.send)))

// A handler that signals its start, never answers, and keeps the reason of its end.
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

/** Listens from now on; the effect waits for the event. */
const nextEvent = (socket: WebSocket, name: "message" | "close") => {
  const event = new Promise<any>((resolve) => socket.addEventListener(name, resolve, { once: true }))
  return Effect.promise(() => event)
}

describe("HttpServerNode", () => {
  it.scopedLive("speaks WebSocket with undici: messages are echoed, a close is answered", () =>
    Effect.gen(function* () {
      const { port } = yield* HttpServer.serve(() => echo)
      const socket = yield* peer(port)
      for (const message of ["", "grüße", "x".repeat(70_000)]) {
        const answer = nextEvent(socket, "message")
        socket.send(message)
        expect((yield* answer).data === message).toBe(true)
      }
      const closed = nextEvent(socket, "close")
      socket.close(4001, "bye")
      expect(yield* closed).toMatchObject({ code: 4001, wasClean: true })
    }).pipe(Effect.provide(HttpServerNode.layer))
  )

  it.scopedLive("closes a WebSocket that breaks the protocol with the code of the violation", () =>
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
    }).pipe(Effect.provide(HttpServerNode.layer))
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
    }).pipe(Effect.provide(HttpServerNode.layer))
  )

  it.scopedLive("fails a session with the code of its client's violation", () =>
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
    }).pipe(Effect.provide(HttpServerNode.layer))
  )

  it.scopedLive("fails the send of a session with the code of its client's close", () =>
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
    }).pipe(Effect.provide(HttpServerNode.layer))
  )

  it.scopedLive("does not wait for a client that leaves a close frame unanswered", () =>
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
    }).pipe(Effect.provide(HttpServerNode.layer))
  )

  it.scopedLive("sends of a long reason the whole characters that have room", () =>
    Effect.gen(function* () {
      const { connect } = yield* HttpServer.serve(() =>
        HttpServer.webSocket((socket) => socket.close(4000, "ü".repeat(100)))
      )
      const socket = yield* connect("/")
      expect(yield* Effect.flip(socket.receive)).toMatchObject({ code: 4000, reason: "ü".repeat(61) })
    }).pipe(Effect.provide(HttpServerNode.layer))
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
    }).pipe(Effect.provide(HttpServerNode.layer))
  )

  it.scopedLive(
    "fails to connect with Node's code if no server listens; ends at once when it is interrupted",
    () =>
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
      }).pipe(Effect.provide(HttpServerNode.layer))
  )

  it.scopedLive("keeps messages that a client sends before the handler has answered", () =>
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
    }).pipe(Effect.provide(HttpServerNode.layer))
  )

  it.scopedLive("refuses an upgrade without a valid WebSocket handshake, and continues", () =>
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
    }).pipe(Effect.provide(HttpServerNode.layer))
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
    }).pipe(Effect.provide(HttpServerNode.layer))
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
    }).pipe(Effect.provide(HttpServerNode.layer))
  )
})
