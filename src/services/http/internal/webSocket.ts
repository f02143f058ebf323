import type { IncomingMessage } from "node:http"
import type { Socket as NetSocket } from "node:net"
import { type WebSocket, WebSocketServer } from "ws"
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

interface Held extends Wire {
  readonly number: number
  /** Pings that were sent since the last frame came; Infinity once reading has paused. */
  missed: number
  readonly ping: () => void
  readonly terminate: () => void
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
    for (const held of open) {
      if ((held.number + tick) % ticks !== 0) continue
      if (held.missed < 2) {
        held.missed++
        held.ping()
      } else if (held.missed === 2) {
        stats.limits.pingInterval++
        held.terminate()
      }
    }
    if (open.size === 0) {
      clearInterval(pings)
      pings = undefined
    }
  }

  const hold = (socket: WebSocket, raw: NetSocket, holder: Holder): Wire => {
    const held: Held = {
      socket: socket as unknown as globalThis.WebSocket,
      number: opened++,
      missed: 0,
      send: (message) => socket.send(message),
      waiting: () => socket.bufferedAmount,
      blocked: () => {
        raw.setTimeout(timer(limits.writeTime))
      },
      close: (code, reason = "") => {
        socket.close(code, fitting(reason))
        if (socket.isPaused) socket.resume() // the answer follows the paused messages
      },
      // The answers to pings wait behind what is not read.
      pause: () => {
        held.missed = Number.POSITIVE_INFINITY
        socket.pause()
      },
      resume: () => {
        held.missed = 0
        socket.resume()
      },
      ping: () => socket.ping(),
      terminate: () => socket.terminate()
    }
    const alive = () => {
      if (held.missed !== Number.POSITIVE_INFINITY) held.missed = 0
    }
    socket.on("pong", alive)
    socket.on("message", (data, isBinary) => {
      alive()
      // A copy: ws passes a view of the whole received chunk.
      holder.message(isBinary ? new Uint8Array(data as Buffer) : data.toString())
    })
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const code = violations[error.code ?? ""] ?? 1002
      if (code === 1009) stats.limits.messageSize++
      holder.closed(code, error.message)
    })
    socket.on("close", (code, reason) => {
      open.delete(held)
      holder.closed(code, reason.toString())
    })
    raw.on("drain", () => {
      raw.setTimeout(0)
      holder.drained()
    })
    raw.on("timeout", () => {
      if (raw.writableLength === 0) return
      stats.limits.writeTime++
      socket.terminate()
    })
    open.add(held)
    if (pings === undefined && timer(limits.pingInterval) > 0) {
      pings = setInterval(ping, Math.max(1, limits.pingInterval / ticks)).unref()
    }
    return held
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
      for (const held of open) held.close(code, reason)
    }
  }
}

export type WebSockets = ReturnType<typeof make>
