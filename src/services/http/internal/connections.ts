import * as http from "node:http"
import type { Server as NetServer, Socket as NetSocket } from "node:net"
import { Server as NetServerClass } from "node:net"
import * as HttpServerError from "@effect/platform/HttpServerError"
import { SocketGenericError } from "@effect/platform/Socket"
import { Effect } from "effect"
import { withPackage } from "../../host/OptionalPackage.js"
import { reasons } from "../HttpServer.js"
import { type Resolved, timer } from "./limits.js"
import { NodeRequest, type Connection as Owner, responseOf } from "./nodeRequest.js"

import type { Requests } from "./requests.js"
import type { ServerRequest } from "./serverRequest.js"
import * as Session from "./session.js"
import type { Stats } from "./stats.js"
import type { WebSockets } from "./webSocket.js"

// What belongs to a connection hangs on the connection: its requests, those that wait, and its time limits.

const held = Symbol("effect-asyncio/services/http/connection")
type Held = NetSocket & { [held]?: Connection }

/** Requests that are read and wait for their turn, about 3 KB each; a connection beyond either number is closed. */
const waitingAtMost = { ofOne: 5_000, ofAll: 20_000 }

const pauseFor = 1000 // ms; then reading goes on, because the end of a connection that is not read goes unnoticed

const lingerFor = 1000 // ms in which a client may read an answer that was sent before its request was read
const lingeringAtMost = 1000

/** An answer by hand, where there is no request to answer. */
const plain = (status: number, more = "") =>
  `HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\n${more}Connection: close\r\nContent-Length: 0\r\n\r\n`

/** The connections of one server. */
export class Connections {
  readonly open = new Set<Connection>()
  private readonly byAddress = new Map<string, number>()
  /** Requests that wait in all connections. */
  waiting = 0
  private lingering = 0
  /** All connections beneath TLS, also those that have not shaken hands. */
  private readonly handshaking = new Set<NetSocket>()
  webSockets: WebSockets | undefined

  constructor(
    readonly limits: Resolved,
    readonly stats: Stats,
    readonly requests: Requests
  ) {}

  get closing(): boolean {
    return this.requests.closing
  }

  /** Attaches to the server. `event` is the one that reports a connection on which HTTP is spoken. */
  attach(server: http.Server, event: "connection" | "secureConnection"): void {
    if (event === "secureConnection") {
      server.on("connection", (socket: NetSocket) => {
        // A little more than the limit: the one too many is answered with 503 once it has shaken hands.
        if (this.handshaking.size >= this.limits.connections + lingeringAtMost) {
          this.stats.limits.connections++
          return void socket.destroy()
        }
        this.handshaking.add(socket)
        socket.once("close", () => this.handshaking.delete(socket))
      })
    }
    server.on("connection", this.requests.accepted)
    const [speak] = server.listeners(event) as Array<(socket: NetSocket) => void>
    server.off(event, speak!)
    server.on(event, (socket: NetSocket) => {
      if (this.admit(socket)) speak!.call(server, socket)
    })
    server.on("request", (source, response) => this.arrived(source, response))
    server.on("checkContinue", (source: http.IncomingMessage, response: http.ServerResponse) => {
      if (!this.tooLarge(source)) response.writeContinue()
      this.arrived(source, response)
    })
    server.on("upgrade", (source, socket, head) => this.upgrade(source, socket as NetSocket, head))
    server.on("clientError", (error, socket) => {
      const connection = (socket as Held)[held]
      // Without one it has not shaken hands.
      if (connection === undefined) socket.destroy()
      else connection.broken(error)
    })
    server.on("timeout", (socket) => (socket as Held)[held]?.idle())
  }

  private admit(socket: NetSocket): boolean {
    const { limits, stats } = this
    const address = socket.remoteAddress ?? ""
    const ofAddress = this.byAddress.get(address) ?? 0
    stats.connections++
    const over =
      this.open.size >= limits.connections
        ? "connections"
        : address !== "" && ofAddress >= limits.connectionsPerAddress
          ? "connectionsPerAddress"
          : undefined
    if (over !== undefined) {
      stats.limits[over]++
      this.refuse(socket)
      return false
    }
    const connection = new Connection(this, socket, address === "" ? undefined : address)
    ;(socket as Held)[held] = connection
    this.open.add(connection)
    stats.open++
    this.byAddress.set(address, ofAddress + 1)
    socket.once("close", () => {
      this.open.delete(connection)
      stats.open--
      const left = this.byAddress.get(address)! - 1
      if (left === 0) this.byAddress.delete(address)
      else this.byAddress.set(address, left)
      connection.gone()
    })
    return true
  }

  /** Answers 503 and closes, without a parser; waits a little, as a close with unread input discards the answer. */
  private refuse(socket: NetSocket) {
    socket.on("error", () => socket.destroy())
    if (this.lingering >= lingeringAtMost) return socket.destroy()
    this.lingering++
    const end = setTimeout(() => socket.destroy(), lingerFor)
    socket.once("close", () => {
      this.lingering--
      clearTimeout(end)
    })
    socket.once("end", () => socket.destroy())
    socket.end(plain(503, "Retry-After: 1\r\n"))
    return socket.resume()
  }

  tooLarge(source: http.IncomingMessage): boolean {
    const length = source.headers["content-length"]
    return length !== undefined && Number(length) > this.limits.bodySize
  }

  private arrived(source: http.IncomingMessage, response: http.ServerResponse) {
    ;(source.socket as Held)[held]!.arrived(source, response)
  }

  private upgrade(source: http.IncomingMessage, socket: NetSocket, head: Buffer) {
    const connection = (socket as Held)[held]!
    let wire: Session.Wire | undefined
    let early = head
    // Read while the handler runs: otherwise the end of the connection would go unnoticed.
    const onEarly = (chunk: Buffer) => {
      early = Buffer.concat([early, chunk])
      socket.pause()
    }
    socket.once("data", onEarly)
    socket.on("error", () => socket.destroy())
    let response: http.ServerResponse | undefined
    const request = new NodeRequest(
      source,
      () => {
        response ??= responseOf(source, socket)
        return response
      },
      connection
    )
    socket.once("end", () => {
      if (wire === undefined) connection.gone()
    })
    const { limits, stats } = this
    const loaded = this.loadWebSockets
    request.session = Effect.suspend(() => {
      const fault = handshakeFault(source)
      if (fault !== undefined) {
        return Effect.fail(
          new HttpServerError.RequestError({ request, reason: "Decode", description: fault })
        )
      }
      return Effect.succeed(
        Session.make({
          limits,
          stats,
          open: (holder) =>
            Effect.flatMap(loaded, (webSockets) => {
              socket.off("data", onEarly)
              if (!connection.closed && !request.answered) {
                wire = webSockets.accept(source, socket.resume(), early, holder)
              }
              if (wire === undefined) {
                return new SocketGenericError({ reason: "Open", cause: "the connection is closed" })
              }
              request.upgraded = true
              if (this.closing) wire.close(1001, reasons.closing)
              return Effect.succeed(wire)
            })
        })
      )
    })
    connection.begin(request)
  }

  private readonly loadWebSockets = Effect.suspend(() =>
    this.webSockets !== undefined
      ? Effect.succeed(this.webSockets)
      : Effect.map(
          Effect.promise(() => withPackage("a WebSocket", "ws", () => import("./webSocket.js"))),
          ({ make }) => {
            this.webSockets ??= make(this.limits, this.stats)
            return this.webSockets
          }
        )
  )

  /** Stops listening and closes what is idle. Calls `gone` when all connections are. */
  close(server: http.Server, gone: () => void): void {
    // Not http.Server's own close: it cuts off answers that are ended and not yet sent.
    NetServerClass.prototype.close.call(server as NetServer, () => {
      server.close(() => undefined) // its timer
      gone()
    })
    this.webSockets?.close(1001, reasons.closing)
    // Requests that have arrived are read first.
    setImmediate(() =>
      setImmediate(() => {
        for (const connection of this.open) connection.closeIfIdle()
      })
    )
  }

  destroy(): void {
    for (const connection of this.open) connection.socket.destroy()
    for (const socket of this.handshaking) socket.destroy()
  }
}

/** Why a request for a WebSocket is not one (RFC 6455, 4.2.1). */
const handshakeFault = ({ headers, method }: http.IncomingMessage): string | undefined => {
  if (method !== "GET") return "a WebSocket is asked for by GET"
  if (headers.upgrade?.toLowerCase() !== "websocket") return "not an upgrade to a WebSocket"
  if (headers["sec-websocket-version"] !== "13") return "expected version 13 of the WebSocket protocol"
  if (!/^[+/0-9A-Za-z]{22}==$/.test(headers["sec-websocket-key"] ?? "")) return "not a WebSocket key"
  return undefined
}

/** One connection. */
export class Connection implements Owner {
  private readonly running = new Set<ServerRequest>()
  /** Answered requests whose answers wait for those of earlier ones. */
  private behind = 0
  private queue: Array<readonly [http.IncomingMessage, http.ServerResponse]> = []
  private paused: NodeJS.Timeout | undefined = undefined
  private listening = false
  /** The status to answer with when the requests before have been answered; then the connection is closed. */
  private failure: number | undefined = undefined
  closed = false

  constructor(
    readonly server: Connections,
    readonly socket: NetSocket,
    readonly address: string | undefined
  ) {}

  get backlog(): number {
    return this.server.limits.backlog
  }

  /** Bytes wait for the client: the connection is closed unless it takes some of them within the time. */
  onBlocked(): void {
    this.server.stats.limits.backlog++
    this.socket.setTimeout(timer(this.server.limits.writeTime))
  }

  // requests

  private get underWay() {
    return this.running.size + this.behind
  }

  arrived(source: http.IncomingMessage, response: http.ServerResponse): void {
    if (this.failure !== undefined) return
    if (this.queue.length === 0 && this.underWay < this.server.limits.pipelined) {
      this.accept(source, response)
      return
    }
    // The rest of what was read at once; further requests are not read.
    this.queue.push([source, response])
    this.pause()
    if (++this.server.waiting > waitingAtMost.ofAll || this.queue.length > waitingAtMost.ofOne) {
      this.socket.destroy()
    }
  }

  private accept(source: http.IncomingMessage, response: http.ServerResponse) {
    const request = new NodeRequest(source, response, this)
    if (this.server.tooLarge(source)) {
      this.server.stats.requests++
      this.server.stats.limits.bodySize++
      return this.refuse(request, response)
    }
    this.begin(request)
  }

  begin(request: NodeRequest): void {
    if (this.server.requests.start(request, this.ended)) this.running.add(request)
    else this.settled(request)
  }

  private readonly ended = (request: ServerRequest) => {
    this.running.delete(request)
    this.settled(request as NodeRequest)
    this.proceed()
  }

  private settled({ response }: NodeRequest) {
    if (
      this.closed ||
      typeof response === "function" ||
      response.socket !== null ||
      response.writableFinished
    )
      return
    this.behind++
    response.once("finish", () => {
      this.behind--
      this.proceed()
    })
  }

  private proceed() {
    while (this.queue.length > 0 && this.underWay < this.server.limits.pipelined) {
      if (this.closed || this.failure !== undefined) return
      const [source, response] = this.queue.shift()!
      this.server.waiting--
      this.accept(source, response)
    }
    if (this.queue.length === 0) this.unpause()
    if (this.underWay > 0) return
    if (this.failure !== undefined) this.fail(this.failure)
    else if (this.server.closing) this.closeIfIdle()
  }

  private pause() {
    if (this.paused !== undefined) return
    this.paused = setTimeout(() => this.unpause(), pauseFor)
    this.server.stats.limits.pipelined++
    this.socket.pause()
    if (this.listening) return
    this.listening = true
    // Node resumes it for each request that has been answered.
    this.socket.on("resume", () => {
      if (this.paused !== undefined) this.socket.pause()
    })
  }

  private unpause() {
    if (this.paused === undefined) return
    clearTimeout(this.paused)
    this.paused = undefined
    if (!this.closed) this.socket.resume()
  }

  /** Answers 413 before the body is read, and lets the client read the answer. */
  private refuse(request: NodeRequest, response: http.ServerResponse) {
    response.shouldKeepAlive = false
    response.writeHead(413, { "content-length": 0 })
    response.flushHeaders()
    request.answered = true
    request.source.resume()
    const end = setTimeout(() => response.end(), lingerFor)
    request.source.once("end", () => response.end())
    response.once("close", () => clearTimeout(end))
  }

  // ends

  /** The client has gone, or the connection was closed. */
  gone(): void {
    this.closed = true
    clearTimeout(this.paused)
    this.server.waiting -= this.queue.length
    this.queue = []
    for (const request of this.running) {
      if ((request as NodeRequest).left) this.server.requests.cancel(request, reasons.disconnected)
    }
  }

  /** Node cannot read further: the client sent what is not HTTP, or was too slow. */
  broken(error: NodeJS.ErrnoException): void {
    if (this.closed || this.failure !== undefined || !this.socket.writable) return void this.socket.destroy()
    if (error.code === "ECONNRESET" || error.code === "EPIPE") return void this.socket.destroy()
    const status = statusOf(error)
    const { stats } = this.server
    const incomplete = [...this.running].find(
      (request) => request instanceof NodeRequest && !request.source.complete
    ) as NodeRequest | undefined
    if (status === 408) stats.limits[incomplete === undefined ? "headerTime" : "bodyTime"]++
    else if (status === 431) stats.limits.headerSize++
    else stats.malformed++
    // The request whose body it is cannot be read to its end; those before it can.
    if (incomplete !== undefined && this.running.size === 1) {
      if (incomplete.answered) return void this.socket.destroy()
      incomplete.answered = true
      this.fail(status)
      return
    }
    this.failure = status
    this.server.waiting -= this.queue.length
    this.queue = []
    if (this.underWay === 0) this.fail(status)
  }

  private fail(status: number) {
    if (this.closed) return
    this.socket.end(plain(status))
    this.socket.destroySoon()
  }

  /** No byte has come or gone for the time that was set. */
  idle(): void {
    const { limits } = this.server.stats
    if (this.socket.writableLength > 0) limits.writeTime++
    else if (this.underWay > 0 || this.queue.length > 0) return
    else limits.idleTime++
    this.socket.destroy()
  }

  closeIfIdle(): void {
    if (this.underWay > 0 || this.queue.length > 0) return
    if (this.socket.writableLength === 0) this.socket.destroy()
    else this.socket.once("drain", () => this.closeIfIdle())
  }
}

const statusOf = (error: NodeJS.ErrnoException) => {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return 431
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return 413
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return 408
    default:
      return 400
  }
}
