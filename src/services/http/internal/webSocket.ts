import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { WebSocket, WebSocketServer } from "ws"

// The one place that knows ws; loaded with the first WebSocket.

/** Who holds one end of a WebSocket. */
export interface Holder {
  /** False: enough for now, until {@link Wire.resume}. */
  readonly message: (message: string | Uint8Array) => boolean
  /** Nothing more comes. May be told again; the first time counts. */
  readonly closed: (code: number, reason: string) => void
}

/** One end of a WebSocket. */
export interface Wire {
  /** `done` when the system has taken the message, or with the error that it cannot be sent. */
  readonly send: (message: string | Uint8Array, done: (error?: Error | null) => void) => void
  /** Throws on a code that may not be sent. Until the connection is open, it gives it up. */
  readonly close: (code: number, reason: string) => void
  readonly resume: () => void
}

const settings = {
  maxPayload: 1024 * 1024,
  perMessageDeflate: false,
  closeTimeout: 1000 // ms for the far end to answer a goodbye; one that neither answers nor reads is not waited for
}

const server = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  handleProtocols: () => false,
  ...settings
})
// Without a listener ws would answer a bad handshake itself; so it is left to who called `accept`.
server.on("wsClientError", () => undefined)

// What ws tells the far end when it breaks the protocol (RFC 6455, 7.4.1): 1002, but for these.
const violations: Readonly<Record<string, number>> = {
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008,
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 1009,
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009
}

const hold = (socket: WebSocket, holder: Holder): Wire => {
  socket.on("message", (data, isBinary) => {
    // A copy: what ws gives is a view of all that came with it.
    if (!holder.message(isBinary ? new Uint8Array(data as Buffer) : data.toString())) socket.pause()
  })
  socket.on("error", (error: NodeJS.ErrnoException) =>
    holder.closed(violations[error.code ?? ""] ?? 1002, error.message)
  )
  socket.on("close", (code, reason) => holder.closed(code, reason.toString()))
  return {
    send: (message, done) => {
      socket.send(message, done)
      // Taken at once, as usual. ws says so only by `nextTick`, which in a session that sends for ever keeps the event
      // loop from turning.
      if (socket.readyState === socket.OPEN && socket.bufferedAmount === 0) done()
    },
    close: (code, reason) => {
      // As many whole characters as a close frame has room for.
      const room = Buffer.alloc(123)
      socket.close(code, room.subarray(0, new TextEncoder().encodeInto(reason, room).written))
      if (socket.isPaused) socket.resume() // the answer comes behind what has been held back
    },
    resume: () => socket.resume()
  }
}

/** The server's end of what `upgrade` was asked for; undefined, with nothing answered, for no proper handshake. */
export const accept = (
  request: IncomingMessage,
  raw: Duplex,
  head: Buffer,
  holder: Holder
): Wire | undefined => {
  if (request.headers["sec-websocket-version"] !== "13") return undefined // ws takes the draft's 8 too
  let wire: Wire | undefined
  server.handleUpgrade(request, raw, head, (socket) => {
    wire = hold(socket, holder)
  })
  return wire
}

/** A client's end; `opened` is told once, and why if it failed. */
export const connect = (url: string, holder: Holder, opened: (failure?: string) => void): Wire => {
  const socket = new WebSocket(url.replace(/#.*/s, ""), settings)
  socket.once("open", () => opened())
  socket.once("error", (error: NodeJS.ErrnoException) => opened(error.code ?? error.message))
  socket.once("unexpected-response", (_, response) => {
    opened(`no WebSocket but status ${response.statusCode}`)
    socket.terminate()
  })
  return hold(socket, holder)
}
