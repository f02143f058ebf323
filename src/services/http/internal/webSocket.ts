import type { IncomingMessage } from "node:http"
import type { Socket as NetSocket } from "node:net"
import { type RawData, type WebSocket, WebSocketServer } from "ws"
import { type Resolved, timer } from "./limits.js"
import type { Holder, Wire } from "./session.js"
import type { Stats } from "./stats.js"

// The only file that uses ws; loaded with the first WebSocket.

// Close codes that ws sends on a violation of the protocol (RFC 6455, 7.4.1): 1002, except for these.
const violations: Readonly<Record<string, number>> = {
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008,
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 1009,
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009
}

/** As many whole characters as a close frame has room for. */
const fitting = (reason: string) => {
  const room = Buffer.alloc(123)
  return room.subarray(0, new TextEncoder().encodeInto(reason, room).written)
}

const held = Symbol("effect-asyncio/services/http/webSocket")
type Holding<A> = A & { [held]: Held }

/** The server's end. What Node and ws call are functions of all, which find it by the socket. */
class Held implements Wire {
  /** Pings that were sent since the last frame came; Infinity once reading has paused. */
  missed = 0

  constructor(
    readonly ws: WebSocket,
    private readonly raw: NetSocket,
    readonly holder: Holder,
    readonly server: { readonly limits: Resolved; readonly stats: Stats; readonly open: Set<Held> },
    readonly number: number
  ) {
    ;(ws as Holding<WebSocket>)[held] = this
    ;(raw as Holding<NetSocket>)[held] = this
    ws.on("pong", onPong).on("message", onMessage).on("error", onError).on("close", onClose)
    raw.on("drain", onDrain).on("timeout", onTimeout)
  }

  get socket(): globalThis.WebSocket {
    return this.ws as unknown as globalThis.WebSocket
  }
  send(message: string | Uint8Array): void {
    this.ws.send(message)
  }
  waiting(): number {
    return this.ws.bufferedAmount
  }
  blocked(): void {
    this.raw.setTimeout(timer(this.server.limits.writeTime))
  }
  close(code: number, reason = ""): void {
    this.ws.close(code, fitting(reason))
    if (this.ws.isPaused) this.ws.resume() // the answer follows the paused messages
  }
  // The answers to pings wait behind what is not read.
  pause(): void {
    this.missed = Number.POSITIVE_INFINITY
    this.ws.pause()
  }
  resume(): void {
    this.missed = 0
    this.ws.resume()
  }
  ping(): void {
    this.ws.ping()
  }
  terminate(): void {
    this.ws.terminate()
  }
  alive(): void {
    if (this.missed !== Number.POSITIVE_INFINITY) this.missed = 0
  }
}

function onPong(this: WebSocket) {
  ;(this as Holding<WebSocket>)[held].alive()
}
function onMessage(this: WebSocket, data: RawData, isBinary: boolean) {
  const one = (this as Holding<WebSocket>)[held]
  one.alive()
  // A copy: ws passes a view of the whole received chunk.
  one.holder.message(isBinary ? new Uint8Array(data as Buffer) : data.toString())
}
function onError(this: WebSocket, error: NodeJS.ErrnoException) {
  const { holder, server } = (this as Holding<WebSocket>)[held]
  const code = violations[error.code ?? ""] ?? 1002
  if (code === 1009) server.stats.limits.messageSize++
  holder.closed(code, error.message)
}
function onClose(this: WebSocket, code: number, reason: Buffer) {
  const one = (this as Holding<WebSocket>)[held]
  one.server.open.delete(one)
  one.holder.closed(code, reason.toString())
}
function onDrain(this: NetSocket) {
  this.setTimeout(0)
  ;(this as Holding<NetSocket>)[held].holder.drained()
}
function onTimeout(this: NetSocket) {
  const { server, ws } = (this as Holding<NetSocket>)[held]
  if (this.writableLength === 0) return
  server.stats.limits.writeTime++
  ws.terminate()
}

/** The WebSockets of one server. */
export const make = (limits: Resolved, stats: Stats) => {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    handleProtocols: () => false,
    maxPayload: limits.messageSize,
    perMessageDeflate: false,
    closeTimeout: 1000 // ms for the far end to answer the close frame, whether or not it still reads
  } as ConstructorParameters<typeof WebSocketServer>[0])
  // Without a listener ws would answer a bad handshake itself; the caller of `accept` answers it.
  server.on("wsClientError", () => undefined)
  const open = new Set<Held>()
  let pings: NodeJS.Timeout | undefined

  // One timer for all, in ticks of which each WebSocket has one: 10,000 pings are not sent at once.
  const ticks = 8
  let tick = 0
  let opened = 0
  const ping = () => {
    tick++
    for (const one of open) {
      if ((one.number + tick) % ticks !== 0) continue
      if (one.missed < 2) {
        one.missed++
        one.ping()
      } else if (one.missed === 2) {
        stats.limits.pingInterval++
        one.terminate()
      }
    }
    if (open.size === 0) {
      clearInterval(pings)
      pings = undefined
    }
  }

  const shared = { limits, stats, open }
  const hold = (socket: WebSocket, raw: NetSocket, holder: Holder): Wire => {
    const one = new Held(socket, raw, holder, shared, opened++)
    open.add(one)
    if (pings === undefined && timer(limits.pingInterval) > 0) {
      pings = setInterval(ping, Math.max(1, limits.pingInterval / ticks)).unref()
    }
    return one
  }

  return {
    /** The server's end after an `upgrade`; undefined, with nothing answered, if the handshake is not valid. */
    accept: (request: IncomingMessage, raw: NetSocket, head: Buffer, holder: Holder): Wire | undefined => {
      let wire: Wire | undefined
      server.handleUpgrade(request, raw, head, (socket) => {
        wire = hold(socket, raw, holder)
      })
      return wire
    },
    /** Sends a close frame to all. */
    close: (code: number, reason: string) => {
      for (const one of open) one.close(code, reason)
    }
  }
}

export type WebSockets = ReturnType<typeof make>
