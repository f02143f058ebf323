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

const shared = Buffer.allocUnsafeSlow(256 * 1024)
const small = 64 * 1024

interface Reading extends Socket {
  /** What the parser has given back, maybe nothing: it is paused. It comes before the chunk. */
  aioRest?: Buffer | undefined
  aioChunk?: Buffer | undefined
}

/** Takes what has been read, or lets the socket read on. */
function read(this: Reading, size?: number): Buffer | null {
  // The socket itself asks for nothing when it has heard of the end: that comes after what waits here.
  if (size === 0 && (this.aioRest ?? this.aioChunk) !== undefined) return null
  const rest = this.aioRest
  this.aioRest = undefined
  if (rest !== undefined && rest.length > 0) return rest
  const chunk = this.aioChunk
  if (chunk === undefined) return Object.getPrototypeOf(this).read.call(this, 0)
  this.aioChunk = undefined
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
    if (!Object.hasOwn(this, "read")) Object.assign(this, { read, unshift })
    this.emit("readable")
    // While the parser is paused nothing is read, not even the end; it goes on when it asks for more.
    if (this.aioChunk === undefined) return this.aioRest === undefined
    if (this.aioChunk === chunk) this.aioChunk = Buffer.from(chunk)
    return false
  }
}
