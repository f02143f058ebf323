import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { WebSocket, WebSocketServer } from "ws"

// The only file that uses ws; loaded with the first WebSocket.

/** The callbacks of one end of a WebSocket. */
export interface Holder {
  /** Returns false to pause messages until {@link Wire.resume}. */
  readonly message: (message: string | Uint8Array) => boolean
  /** No message follows. May be called again; the first call counts. */
  readonly closed: (code: number, reason: string) => void
}

/** One end of a WebSocket. */
export interface Wire {
  /** Calls `done` when the system has accepted the message, or with the error that it cannot be sent. */
  readonly send: (message: string | Uint8Array, done: (error?: Error | null) => void) => void
  /** Throws on a code that may not be sent. Before the connection is open, abandons it. */
  readonly close: (code: number, reason: string) => void
  readonly resume: () => void
}

const settings = {
  maxPayload: 1024 * 1024,
  perMessageDeflate: false,
  closeTimeout: 1000 // ms for the far end to answer the close frame, whether or not it still reads
}

const server = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  handleProtocols: () => false,
  ...settings
})
// Without a listener ws would answer a bad handshake itself; the caller of `accept` answers it.
server.on("wsClientError", () => undefined)

// Close codes that ws sends on a violation of the protocol (RFC 6455, 7.4.1): 1002, except for these.
const violations: Readonly<Record<string, number>> = {
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008,
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 1009,
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009
}

const hold = (socket: WebSocket, holder: Holder): Wire => {
  socket.on("message", (data, isBinary) => {
    // A copy: ws passes a view of the whole received chunk.
    if (!holder.message(isBinary ? new Uint8Array(data as Buffer) : data.toString())) socket.pause()
  })
  socket.on("error", (error: NodeJS.ErrnoException) =>
    holder.closed(violations[error.code ?? ""] ?? 1002, error.message)
  )
  socket.on("close", (code, reason) => holder.closed(code, reason.toString()))
  return {
    send: (message, done) => {
      socket.send(message, done)
      // Usually the system accepts it at once. ws reports that by `nextTick`, which starves the event loop in a session
      // that sends for ever.
      if (socket.readyState === socket.OPEN && socket.bufferedAmount === 0) done()
    },
    close: (code, reason) => {
      // As many whole characters as a close frame has room for.
      const room = Buffer.alloc(123)
      socket.close(code, room.subarray(0, new TextEncoder().encodeInto(reason, room).written))
      if (socket.isPaused) socket.resume() // the answer follows the paused messages
    },
    resume: () => socket.resume()
  }
}

/** The server's end after an `upgrade`; undefined, with nothing answered, if the handshake is not valid. */
export const accept = (
  request: IncomingMessage,
  raw: Duplex,
  head: Buffer,
  holder: Holder
): Wire | undefined => {
  if (request.headers["sec-websocket-version"] !== "13") return undefined // ws accepts version 8 of the draft too
  let wire: Wire | undefined
  server.handleUpgrade(request, raw, head, (socket) => {
    wire = hold(socket, holder)
  })
  return wire
}

/** A client's end; calls `opened` once, with the reason if it fails. */
export const connect = (url: string, holder: Holder, opened: (failure?: string) => void): Wire => {
  const socket = new WebSocket(url.replace(/#.*/s, ""), settings)
  socket.once("open", () => opened())
  socket.once("error", (error: NodeJS.ErrnoException) => opened(error.code ?? error.message))
  socket.once("unexpected-response", (_, response) => {
    opened(`status ${response.statusCode} instead of a WebSocket`)
    socket.terminate()
  })
  return hold(socket, holder)
}
