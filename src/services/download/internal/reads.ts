import type { Socket } from "node:net"

// Reads for undici that cost less. A socket of Node allocates 64 KiB for each read, and hands it on through a stream:
// for one large file that is half of all processor time, most of it in the allocator and in collecting garbage. With
// `onread` a socket reads into one buffer of ours, four times as much at a time, and undici's parser takes it from
// there at once (`npm run bench -- gather`).
//
// undici takes what has arrived with `socket.read()` when it hears "readable", and gives back with `unshift` what it
// has not parsed when it is paused between two chunks of a chunked body; this keeps to exactly that. What is read is
// gone with the next read of any socket, so who keeps a chunk beyond the callback copies it. Parts of a header may be
// kept by the parser itself: they come in small reads, which are copied here.
//
// Two things that undici gets wrong are seen here, before it sees them (`watch`): how a connection ended, because
// undici takes a reset for the end of a body without length; and `100 Continue`, which undici refuses.

const shared = Buffer.allocUnsafeSlow(256 * 1024)
const small = 64 * 1024

/** A socket that undici reads from. */
export interface Reading extends Socket {
  /** What the parser has given back, maybe nothing: it is paused. It comes before the chunk. */
  aioRest?: Buffer | undefined
  aioChunk?: Buffer | undefined
  /** How far the head of an answer has been read; see {@link passInterim}. */
  aioHead?: number
  /** How the connection ended, once it has: only a clean end may end a body. */
  aioEnd?: "clean" | "broken"
  /** Set where TLS is carried by a stream of ours: whether its bytes ended without a close_notify. */
  aioCut?: boolean
}

let reader: Reading | undefined

/** The socket whose bytes the parser has: while an answer's head is reported, the socket that it came from. */
export const source = (): Reading | undefined => reader

/** Takes what has been read, or lets the socket read on. */
function read(this: Reading, size?: number): Buffer | null {
  reader = this
  // The socket itself asks for nothing when it has heard of the end: that comes after what waits here.
  if (size === 0 && (this.aioRest ?? this.aioChunk) !== undefined) return null
  const rest = this.aioRest
  this.aioRest = undefined
  if (rest !== undefined && rest.length > 0) return rest
  const chunk = this.aioChunk
  if (chunk === undefined) return Object.getPrototypeOf(this).read.call(this, 0)
  this.aioChunk = undefined
  passInterim(this, chunk)
  return chunk
}

/** {@link read} of a socket without `onread`. */
function readStream(this: Reading, size?: number): Buffer | null {
  const chunk: Buffer | null = Object.getPrototypeOf(this).read.call(this, size)
  reader = this
  if (chunk !== null) passInterim(this, chunk)
  return chunk
}

function unshift(this: Reading, rest: Buffer): void {
  this.aioRest = Buffer.from(rest)
}

/** For `net.connect`. */
export const onread = {
  buffer: shared,
  callback(this: Reading, length: number, buffer: Uint8Array): boolean {
    const chunk = Buffer.from(buffer.buffer, buffer.byteOffset, length)
    this.aioChunk = length < small ? Buffer.from(chunk) : chunk
    if (this.unshift !== unshift) Object.assign(this, { read, unshift })
    this.emit("readable")
    // While the parser is paused nothing is read, not even the end; it goes on when it asks for more.
    if (this.aioChunk === undefined) return this.aioRest === undefined
    if (this.aioChunk === chunk) this.aioChunk = Buffer.from(chunk)
    return false
  }
}

const status = "HTTP/1.1 ".length
const inHead = status + 3
const [lineBegun, lineEnding] = [inHead + 1, inHead + 2]
const past = -1
const [one, zero, two, cr, lf] = [..."102\r\n"].map((character) => character.charCodeAt(0))

/**
 * Makes an unasked `100 Continue` a `102 Processing`, which undici passes over as RFC 9110, 15.2 asks. `aioHead` counts
 * the bytes of the status line; then, in the head of an interim answer, it finds the empty line, because the next head
 * follows; in any other answer it is `past`, until the handler sets it to 0 at the answer's end.
 */
const passInterim = (socket: Reading, chunk: Buffer): void => {
  let at = socket.aioHead ?? 0
  for (let i = 0; i < chunk.length && at !== past; i++) {
    const byte = chunk[i]
    if (at >= inHead) {
      if (byte === lf) at = at === inHead ? lineBegun : 0
      else at = byte === cr && at === lineBegun ? lineEnding : inHead
    } else if (at === 0 && (byte === cr || byte === lf)) continue
    else if (at === status && byte !== one) at = past
    else if (at === status + 1 && byte !== zero) at = inHead
    else {
      if (at === status + 2 && byte === zero) chunk[i] = two!
      at++
    }
  }
  socket.aioHead = at
}

/**
 * Whether a connection that has ended has ended in order, for a body that nothing else ends; asked within its `end`.
 *
 * libuv reports a reset that arrives together with the last bytes as an end (a partial read and POLLHUP). The kernel
 * still knows: a write fails after a reset, and not after an end. What is written is an empty line, which a server
 * passes over before a request (RFC 9112, 2.2), and it is to close this connection anyway.
 */
export const endedInOrder = (socket: Reading, then: (inOrder: boolean) => void): void => {
  if (socket.aioEnd !== "clean") then(false)
  // TLS has its own end.
  else if (socket.aioCut !== undefined) then(true)
  // The socket's own `write` refuses once the other side has ended.
  else {
    Object.getPrototypeOf(socket).write.call(socket, "\r\n", (error?: Error | null) => then(error == null))
  }
}

/** Called before undici adds its own listeners, so that the end is known here when it is reported there. */
export const watch = (socket: Reading): void => {
  socket.aioHead = 0
  socket.on("error", () => {
    socket.aioEnd = "broken"
  })
  socket.on("end", () => {
    socket.aioEnd ??= socket.aioCut === true ? "broken" : "clean"
  })
  socket.on("close", () => {
    socket.aioEnd ??= "broken"
  })
  if (!Object.hasOwn(socket, "read")) Object.assign(socket, { read: readStream })
}
