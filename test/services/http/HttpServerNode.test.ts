import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as tls from "node:tls"
import { fileURLToPath } from "node:url"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { Agent, request as ask } from "undici"
import { WebSocket } from "ws"
import { type Options, ServerStats } from "../../../src/services/http/HttpServer.js"
import * as HttpServerNode from "../../../src/services/http/HttpServerNode.js"
import { echo, endless, request, respond } from "./support.js"

// What HttpServer.test.ts has over TCP and in memory holds over TLS and over a Unix domain socket.

const pem = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../../fixtures/server/${name}`, import.meta.url)))
const ca = pem("cert.pem")
const secure = { tls: { cert: ca, key: pem("key.pem") } }

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "aio-http-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

interface Way {
  readonly options: Options
  /** Where clients connect to. */
  readonly to: (address: HttpServer.Address) => { readonly port?: number; readonly path?: string }
  readonly connect: (to: object) => net.Socket
  readonly agent: (to: object) => Agent
  readonly webSocket: (to: { readonly port?: number; readonly path?: string }) => WebSocket
}

const overTls: Way = {
  options: secure,
  to: (address) => ({ port: address._tag === "TcpAddress" ? address.port : 0 }),
  connect: (to) => tls.connect({ ...to, host: "127.0.0.1", ca, servername: "localhost" }),
  agent: () => new Agent({ connect: { ca, servername: "localhost" } }),
  webSocket: ({ port }) => new WebSocket(`wss://localhost:${port}/ws`, [], { ca })
}

const overUnix = (path: string): Way => ({
  options: { path },
  to: (address) => ({ path: address._tag === "UnixAddress" ? address.path : "" }),
  connect: (to) => net.connect(to as net.IpcNetConnectOpts),
  agent: () => new Agent({ connect: { socketPath: path } }),
  webSocket: ({ path }) => new WebSocket(`ws+unix:${path}:/ws`)
})

const ways: ReadonlyArray<readonly [string, Effect.Effect<Way, never, Scope.Scope>]> = [
  ["TLS", Effect.succeed(overTls)],
  ["a Unix domain socket", Effect.map(folder, (path) => overUnix(join(path, "s")))]
]

/** A server in a scope of its own, and its clients. */
const open = ({ agent, connect, options, to, webSocket }: Way, more: Options = {}) =>
  Effect.gen(function* () {
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
    const services = yield* Layer.buildWithScope(HttpServerNode.layer({ ...options, ...more }), scope)
    const server = Context.get(services, HttpServer.HttpServer)
    const at = to(server.address)
    const dispatcher = yield* Effect.acquireRelease(
      Effect.sync(() => agent(at)),
      (dispatcher) => Effect.promise(() => dispatcher.destroy())
    )
    return {
      address: server.address,
      close: Scope.close(scope, Exit.void),
      connect: () => connect(at),
      get: (path: string, body?: string) =>
        Effect.promise(async () => {
          const method = body === undefined ? "GET" : "POST"
          const url = `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${at.port ?? 1}${path}`
          const { body: got, statusCode } = await ask(url, { dispatcher, method, body: body ?? null })
          return [statusCode, await got.text()]
        }),
      serve: (app: HttpApp.Default<unknown>) => Scope.extend(server.serve(app), scope),
      stats: Context.get(services, ServerStats).snapshot,
      webSocket: () => webSocket(at)
    }
  })

const closed = (socket: net.Socket) =>
  Effect.async<void>(
    (resume) =>
      void socket
        .resume()
        .on("error", () => undefined)
        .once("close", () => resume(Effect.void))
  )

const app = Effect.flatMap(request, (one) =>
  one.url === "/ws"
    ? echo
    : Effect.map(one.text, (body) =>
        respond(`${one.method} ${one.url} ${one.remoteAddress._tag} ${body.length}`)
      )
)

for (const [name, way] of ways) {
  describe(`HttpServerNode over ${name}`, () => {
    it.scopedLive("answers requests with and without a body, and refuses a larger one", () =>
      Effect.gen(function* () {
        const { get, serve, stats } = yield* open(yield* way, { bodySize: 200_000 })
        yield* serve(app)
        const address = name === "TLS" ? "Some" : "None"
        expect(yield* get("/a")).toEqual([200, `GET /a ${address} 0`])
        expect(yield* get("/b", "x".repeat(100_000))).toEqual([200, `POST /b ${address} 100000`])
        expect((yield* get("/c", "x".repeat(300_000)))[0]).toBe(413)
        expect((yield* stats).limits.bodySize).toBe(1)
      })
    )

    it.scopedLive("echoes on a WebSocket, which gets 1001 when the server closes", () =>
      Effect.gen(function* () {
        const { close, serve, webSocket } = yield* open(yield* way)
        yield* serve(app)
        const socket = webSocket()
        const got = Effect.async<string>((resume) => {
          socket.once("message", (data) => resume(Effect.succeed(String(data))))
          socket.on("open", () => socket.send("é"))
        })
        expect(yield* got).toBe("é")
        const code = Effect.async<number>(
          (resume) => void socket.once("close", (code) => resume(Effect.succeed(code)))
        )
        expect(yield* Effect.zipLeft(code, close, { concurrent: true })).toBe(1001)
      })
    )

    it.scopedLive("cancels the handler of a client that goes", () =>
      Effect.gen(function* () {
        const { connect, serve, stats } = yield* open(yield* way)
        const { app, begun, reason } = yield* endless
        yield* serve(app)
        const client = connect()
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        yield* begun
        client.destroy()
        expect(yield* reason).toMatchObject({ reason: "client disconnected", origin: "client" })
        yield* Effect.repeat(Effect.delay(stats, 1), { until: ({ connections }) => connections.open === 0 })
      })
    )

    it.scopedLive("answers 408 to a client that is half-way for too long, 503 to one too many", () =>
      Effect.gen(function* () {
        const { connect, stats } = yield* open(yield* way, { connections: 1, headerTime: "300 millis" })
        const answers = (sent: string) => {
          const client = connect()
          return Effect.async<string>((resume) => {
            let got = ""
            client.on("data", (chunk) => {
              got += chunk
            })
            client.on("error", () => undefined).on("close", () => resume(Effect.succeed(got)))
            client.write(sent)
          })
        }
        const slow = yield* Effect.fork(answers("GET / HT"))
        yield* Effect.repeat(Effect.delay(stats, 1), { until: ({ connections }) => connections.open === 1 })
        expect(yield* answers("")).toMatch(/^HTTP\/1\.1 503 [\s\S]*Retry-After: 1\r\n/)
        expect(yield* slow).toMatch(/^HTTP\/1\.1 408 /)
        expect((yield* stats).limits).toMatchObject({ connections: 1, headerTime: 1 })
      })
    )
  })
}

describe("HttpServerNode over TLS", () => {
  it.scopedLive("closes a client that does not shake hands, or speaks HTTP, and does not wait for it", () =>
    Effect.gen(function* () {
      const { address, close, get, serve } = yield* open(overTls, { headerTime: "100 millis" })
      yield* serve(app)
      const plain = () => net.connect(overTls.to(address) as net.TcpNetConnectOpts)
      const speaks = plain()
      speaks.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      yield* closed(speaks)
      yield* closed(plain())
      expect((yield* get("/"))[0]).toBe(200)
      const silent = plain()
      yield* Effect.async<void>((resume) => void silent.once("connect", () => resume(Effect.void)))
      yield* Effect.zip(closed(silent), close, { concurrent: true })
    })
  )

  it.scopedLive("refuses a certificate or a key that is none", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(open(overTls, { tls: { ...secure.tls, key: "no key" } }))
      expect(error).toMatchObject({ code: "TLS", exitCode: 1 })
      expect(error.message).toMatch(
        /^cannot listen on 127\.0\.0\.1:0: the certificate or the key cannot be used \(.*\); expected PEM$/
      )
    })
  )
})

describe("HttpServerNode over a Unix domain socket", () => {
  it.scopedLive("has its path as address, refuses one in use, and removes it at the end", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "s")
      const { address, close } = yield* open(overUnix(path))
      expect(address).toEqual({ _tag: "UnixAddress", path })
      expect((yield* Effect.flip(open(overUnix(path)))).message).toBe(
        `cannot listen on ${path}: it is in use, or was left behind; choose another path, or remove it`
      )
      yield* close
      expect(existsSync(path)).toBe(false)
    })
  )

  it.scopedLive("has no limit of connections for an address", () =>
    Effect.gen(function* () {
      const way = overUnix(join(yield* folder, "s"))
      const { connect, stats } = yield* open(way, { connectionsPerAddress: 1 })
      const clients = [connect(), connect(), connect()]
      yield* Effect.repeat(Effect.delay(stats, 1), { until: ({ connections }) => connections.open === 3 })
      for (const client of clients) client.destroy()
    })
  )
})
