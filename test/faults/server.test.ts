import { readdirSync } from "node:fs"
import * as net from "node:net"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Ref, Scope } from "effect"
import type { Options } from "../../src/services/http/HttpServer.js"
import * as HttpServerNode from "../../src/services/http/HttpServerNode.js"
import * as EventLoop from "../../src/services/task/EventLoop.js"

// What a client may send that no client should; the server answers, closes, and serves the next one.

const raw = (port: number, bytes: string | Buffer) =>
  Effect.async<string>((resume) => {
    const socket = net.connect(port, "127.0.0.1", () => socket.write(bytes))
    let got = ""
    socket.setEncoding("latin1").on("data", (chunk) => {
      got += chunk
    })
    socket.on("error", () => undefined)
    socket.on("close", () => resume(Effect.succeed(got)))
    return Effect.sync(() => socket.destroy())
  })

type App = HttpApp.Default<unknown>

const byPath = (answers: Readonly<Record<string, App>>): App =>
  Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ url }) => answers[url] ?? HttpServerResponse.text("fine")
  )

const echo: App = Effect.gen(function* () {
  const socket = yield* HttpServerRequest.upgrade
  const write = yield* socket.writer
  yield* socket.runRaw(write)
  return HttpServerResponse.empty()
}).pipe(Effect.scoped)

const handler = byPath({ "/ws": echo })

const get = (headers: string, line = "GET / HTTP/1.1") => `${line}\r\n${headers}\r\n\r\n`
const post = (headers: string, body: string) => `POST / HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n${body}`

const malformed: ReadonlyArray<readonly [string, string, number]> = [
  ["no request line", "\0\x01\x02garbage\r\n\r\n", 400],
  ["an unknown version", get("Host: a", "GET / HTTP/9.9"), 400],
  ["an invalid method", get("Host: a", "G(T / HTTP/1.1"), 400],
  ["lower-case protocol", get("Host: a", "GET / http/1.1"), 400],
  ["a TLS hello", "\x16\x03\x01\x00\xa5\x01\x00\x00", 400],
  ["no Host", get("X: y"), 400],
  ["a blank before the colon", get("Host : a"), 400],
  ["a header without colon", get("Host: a\r\nnonsense"), 400],
  ["a header without name", get("Host: a\r\n: x"), 400],
  ["NUL in a header", get("Host: a\r\nX: a\0b"), 400],
  ["a folded header", get("Host: a\r\nX: a\r\n b: c"), 400],
  ["a bare CR in a header", get("Host: a\r\nX: a\rb"), 400],
  ["length and chunks", post("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), 400],
  ["two lengths", post("Content-Length: 4\r\nContent-Length: 5", "abcd"), 400],
  ["a negative length", post("Content-Length: -1", ""), 400],
  ["a length in words", post("Content-Length: four", "abcd"), 400],
  ["a length with a sign", post("Content-Length: +4", "abcd"), 400],
  ["a huge length", post("Content-Length: 99999999999999999999", "abcd"), 400],
  ["chunked, and then not last", post("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"), 400],
  ["a tab before the colon", get("Host\t: a"), 400],
  ["a URL with a blank", get("Host: a", "GET /a b HTTP/1.1"), 400],
  ["HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400],
  ["a bare LF in the request line", "GET /\nHTTP/1.1\r\nHost: a\r\n\r\n", 400],
  ["an empty length", post("Content-Length:", "abcd"), 400],
  ["a length in hex", post("Content-Length: 0x4", "abcd"), 400],
  ["more than 16 KiB of headers", get(`Host: a\r\nX: ${"x".repeat(20_000)}`), 431],
  ["a URL of more than 16 KiB", get("Host: a", `GET /${"x".repeat(20_000)} HTTP/1.1`), 431]
]

const hello = (more: string) =>
  get(`Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${more}`, "GET /ws HTTP/1.1")
const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
const shake = hello(`Sec-WebSocket-Version: 13\r\n${key}`)

/** A frame of a client's, masked with zeros. */
const frame = (first: number, payload: string | Buffer, second = 0x80) => {
  const bytes = Buffer.from(payload)
  return Buffer.concat([Buffer.from([first, second | bytes.length, 0, 0, 0, 0]), bytes])
}

const frames: ReadonlyArray<readonly [string, Buffer, number]> = [
  ["not masked", Buffer.from([0x81, 0x01, 0x61]), 1002],
  ["reserved bits", frame(0xc1, "a"), 1002],
  ["an unknown opcode", frame(0x83, "a"), 1002],
  ["a control frame in pieces", frame(0x09, "a"), 1002],
  ["a continuation of nothing", frame(0x80, "a"), 1002],
  ["text that is not UTF-8", frame(0x81, Buffer.from([0xff, 0xfe])), 1007],
  ["an invalid close code", frame(0x88, Buffer.from([0x03, 0xed])), 1002],
  ["a close frame of one byte", frame(0x88, "a"), 1002],
  ["a length of 2^63", Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 1009],
  ["a message of 2 MiB", Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0]), 1009],
  ["compressed text that was not agreed upon", frame(0xc1, Buffer.from([0x4a, 0x04, 0x00])), 1002],
  ["text within a fragmented text", Buffer.concat([frame(0x01, "a"), frame(0x81, "b")]), 1002],
  [
    "a character that is cut off at the end of the last fragment",
    Buffer.concat([frame(0x01, "a"), frame(0x80, Buffer.from([0xe2, 0x82]))]),
    1007
  ],
  ["a close reason that is not UTF-8", frame(0x88, Buffer.from([0x03, 0xe8, 0xff])), 1007],
  [
    "fragments of 1.2 MB together",
    Buffer.concat([frame(0x02, ""), ...Array.from({ length: 10_000 }, () => frame(0x00, "x".repeat(120)))]),
    1009
  ],
  [
    "500,000 fragments of a byte",
    Buffer.concat([frame(0x01, "a"), ...Array.from({ length: 500_000 }, () => frame(0x00, "x"))]),
    1008
  ],
  [
    "500,000 fragments of nothing",
    Buffer.concat([frame(0x01, ""), ...Array.from({ length: 500_000 }, () => frame(0x00, ""))]),
    1008
  ]
]

/** Serves the app until the scope closes, and returns its port. */
const serve = (app: App = handler, options: Options = {}) =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const server = yield* Layer.buildWithScope(HttpServerNode.layer(options), scope)
    const { address, serve } = Context.get(server, HttpServer.HttpServer)
    yield* serve(app)
    return address._tag === "TcpAddress" ? address.port : 0
  })
const isFine = (port: number) =>
  Effect.map(raw(port, get("Host: a\r\nConnection: close")), (got) => assert.match(got, /^HTTP\/1\.1 200 /))

describe("server: invalid requests", () => {
  it.scopedLive(
    "malformed requests are answered with 400 or 431, never handled, and the next is served",
    () =>
      Effect.gen(function* () {
        const port = yield* serve()
        for (const [what, bytes, status] of malformed) {
          const got = yield* raw(port, bytes)
          assert.deepStrictEqual([what, got.slice(0, 12)], [what, `HTTP/1.1 ${status}`])
          assert.notInclude(got, "fine")
        }
        yield* isFine(port)
      })
  )

  it.scopedLive("invalid handshakes are refused", () =>
    Effect.gen(function* () {
      const port = yield* serve()
      for (const more of [
        key,
        `Sec-WebSocket-Version: 12\r\n${key}`,
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short"
      ]) {
        assert.match(yield* raw(port, hello(more)), /^HTTP\/1\.1 4\d\d /)
      }
      yield* isFine(port)
    })
  )

  it.scopedLive("bad frames close their WebSocket with the code of the violation", () =>
    Effect.gen(function* () {
      const port = yield* serve()
      for (const [what, bytes, code] of frames) {
        const got = yield* raw(port, Buffer.concat([Buffer.from(shake), bytes]))
        const closing = Buffer.from(got.slice(got.indexOf("\r\n\r\n") + 4), "latin1")
        assert.deepStrictEqual([what, closing[0], closing.readUInt16BE(2)], [what, 0x88, code])
      }
      yield* isFine(port)
    })
  )

  const connect = (port: number, bytes: string | Buffer) =>
    Effect.acquireRelease(
      Effect.async<net.Socket>((resume) => {
        const socket = net.connect(port, "127.0.0.1", () =>
          socket.write(bytes, () => resume(Effect.succeed(socket)))
        )
        socket.on("error", () => undefined)
      }),
      (socket) => Effect.sync(() => void socket.destroy())
    )

  const wait = get("Host: a", "GET /wait HTTP/1.1")
  const kinds: ReadonlyArray<readonly [what: string, bytes: string | Buffer]> = [
    ["silent", ""],
    ["half-way in a head", "GET / HT"],
    ["half-way in a body", post("Content-Length: 10", "half")],
    ["idle after an answer", get("Host: a")],
    ["waiting for an answer", wait],
    ["waiting for many answers, pipelined", wait.repeat(100)],
    ["a WebSocket", shake],
    [
      "a WebSocket half-way in a frame",
      Buffer.concat([Buffer.from(shake), frame(0x81, "abc").subarray(0, 7)])
    ]
  ]
  /** Answers as `handler` does, but never answers `/wait`. */
  const waiting = byPath({ "/ws": echo, "/wait": Effect.never })

  it.scopedLive("no client delays the end for longer than the grace period", () =>
    Effect.gen(function* () {
      const sockets: Array<net.Socket> = []
      yield* Effect.scoped(
        Effect.gen(function* () {
          const port = yield* serve(waiting, { grace: "200 millis", idleTime: "1 minute" })
          for (const [, bytes] of kinds) {
            // Closed by the server, not by the end of a scope.
            const socket = yield* Effect.provideService(
              connect(port, bytes),
              Scope.Scope,
              yield* Scope.make()
            )
            sockets.push(socket.resume())
          }
          yield* isFine(port)
        })
      )
      yield* Effect.promise(() =>
        Promise.all(
          sockets.map((socket) => socket.destroyed || new Promise((done) => socket.on("close", done)))
        )
      )
    })
  )

  it.scopedLive("a client that is silent or half-way for too long is closed", () =>
    Effect.gen(function* () {
      const port = yield* serve(handler, { headerTime: "100 millis", bodyTime: "200 millis" })
      // A body that the handler does not need holds up no answer; its connection is closed as the others are.
      for (const [i, status] of [408, 408, 200].entries()) {
        const [what, bytes] = kinds[i]!
        const got = yield* raw(port, bytes)
        assert.deepStrictEqual([what, got.slice(0, 12)], [what, `HTTP/1.1 ${status}`])
      }
      yield* isFine(port)
    })
  )

  /**
   * Writes the piece again and again until `most` bytes are sent, and returns how many were: fewer where the server stops
   * reading, or closes the connection.
   */
  const flood = (socket: net.Socket, piece: Buffer, most: number) =>
    Effect.async<number>((resume) => {
      let sent = 0
      let still: NodeJS.Timeout
      const end = () => resume(Effect.succeed(sent))
      const write = () => {
        clearTimeout(still)
        if (sent > most || socket.destroyed) return end()
        still = setTimeout(end, 300)
        sent += piece.length
        socket.write(piece, write)
      }
      write()
    })

  const silent: App = Effect.gen(function* () {
    const socket = yield* HttpServerRequest.upgrade
    yield* socket.runRaw(() => Effect.never)
    return HttpServerResponse.empty()
  })

  // A session that never receives, or a client that never reads what is sent back.
  const floods = [
    ["texts", "a session that echoes", frame(0x81, "x".repeat(100))],
    ["pings", "a session that echoes", frame(0x89, "x".repeat(100))],
    ["empty frames", "a session that echoes", frame(0x81, "")],
    ["texts", "a session that does not receive", frame(0x81, "x".repeat(100))],
    ["pings", "a session that does not receive", frame(0x89, "x".repeat(100))]
  ] as const
  it.scopedLive.each(floods)(
    "a flood of %s to %s that is not read is held back, and others are served",
    ([, session, one]) =>
      Effect.gen(function* () {
        const port = yield* serve(session.endsWith("echoes") ? handler : byPath({ "/ws": silent }))
        const socket = yield* connect(port, shake)
        socket.pause()
        const many = Buffer.concat(Array.from({ length: 2000 }, () => one))
        const before = process.memoryUsage().rss
        const sent = yield* flood(socket, many, 40_000_000)
        yield* isFine(port)
        // Read no further than its session receives, or closed as a flood.
        assert.isTrue(sent < 40_000_000 || socket.destroyed, `${sent} bytes were taken`)
        assert.isBelow(process.memoryUsage().rss - before, 150_000_000)
      })
  )

  it.scopedLive("a body without an end is not kept, and others are served", () =>
    Effect.gen(function* () {
      const port = yield* serve()
      const socket = yield* connect(port, post("Transfer-Encoding: chunked", ""))
      socket.resume()
      const chunk = Buffer.concat([Buffer.from("10000\r\n"), Buffer.alloc(0x10000, "x"), Buffer.from("\r\n")])
      const before = process.memoryUsage().rss
      yield* flood(socket, chunk, 200_000_000)
      yield* isFine(port)
      assert.isBelow(process.memoryUsage().rss - before, 150_000_000)
    })
  )

  it.scopedLive("hundreds of clients that are silent, half-way, idle or waiting are freed when they go", () =>
    Effect.gen(function* () {
      const descriptors = () => readdirSync("/proc/self/fd").length
      const running = yield* Ref.make(0)
      const wait = Effect.acquireUseRelease(
        Ref.update(running, (n) => n + 1),
        () => Effect.never,
        () => Ref.update(running, (n) => n - 1)
      )
      const port = yield* serve(byPath({ "/ws": echo, "/wait": wait }))
      const before = descriptors()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const kinds = ["", "GET / HT", get("Host: a"), get("Host: a", "GET /wait HTTP/1.1"), shake]
          yield* Effect.forEach(
            Array.from({ length: 500 }, (_, i) => kinds[i % kinds.length]!),
            (bytes) => connect(port, bytes),
            { concurrency: 100 }
          )
          yield* Effect.repeat(EventLoop.nextTurn, {
            until: () => Effect.map(Ref.get(running), (n) => n === 100)
          })
          yield* isFine(port)
        })
      )
      yield* Effect.repeat(EventLoop.nextTurn, {
        until: () => Effect.map(Ref.get(running), (n) => n === 0 && descriptors() <= before)
      })
      yield* isFine(port)
    })
  )
})
