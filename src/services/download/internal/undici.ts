import type { LookupFunction, Socket } from "node:net"
import { Duplex } from "node:stream"
import type { buildConnector as Build, Dispatcher } from "undici"
import buildConnector from "undici/lib/core/connect.js"
import Agent from "undici/lib/dispatcher/agent.js"
import Pool from "undici/lib/dispatcher/pool.js"
import { makeProxyOf, type Proxies } from "./proxies.js"

// The one file that uses internals of undici, and of how a socket of Node reads; undici.contract.test.ts states each
// assumption. One file, because its parts share the socket: how it reads, how it ends, how it is connected.
//
// Reads. A socket of Node allocates 64 KiB for each read, and passes it through a stream: for one large file that is
// half of all processor time, most of it in the allocator and the garbage collector. With `onread` a socket reads into
// one buffer of its own, four times as much at a time, and undici's parser takes it from there at once
// (`npm run bench -- gather`). undici takes what has arrived with `socket.read()` on "readable", and gives back with
// `unshift` what it has not parsed when it is paused between two chunks of a chunked body; the sockets here keep to
// exactly that. The next read of a socket overwrites the one before, so a consumer that keeps a chunk copies it. The
// parser itself may keep parts of a header: they come in small reads, which are copied here. No two connections share
// a buffer, so that even a kept slice could only ever show bytes of its own connection.
//
// Ends. undici takes a reset for the end of a body without length, and refuses `100 Continue`: `watch` sees both
// first. Node reports TLS bytes that end without a close_notify as a clean end, and only a body that the connection's
// end ends can suffer from that. Such a body is fetched over a careful dispatcher: there TLS runs over a `Carrier`,
// which sees which of the two ended first. It costs twice the processor time, so it is not used for every body.

/** A connection whose response is read. */
export interface Connection extends Socket {
  /** The bytes that the paused parser has returned, maybe none. They precede the chunk. */
  aioRest?: Buffer | undefined
  aioChunk?: Buffer | undefined
  /** How far the head of an answer has been read; see {@link passInterim}. */
  aioHead?: number
  /** How the connection ended, once it has: only a clean end may end a body. */
  aioEnd?: "clean" | "broken"
  /** Set if TLS is carried by a {@link Carrier}: whether its bytes ended without a close_notify. */
  aioCut?: boolean
}

/** A connection's read buffer. */
const readSize = 256 * 1024
/** Connections with a buffer of that size; further ones have a small one, so that a thousand take 66 MiB, not 250. */
const mostLarge = 16
/** Reads smaller than this are copied. */
const small = 64 * 1024

let reader: Connection | undefined

/** The connection whose bytes the parser reads: while a response's head is reported, its connection. */
export const answering = (): Connection | undefined => reader

export const isEncrypted = (connection: Connection): boolean =>
  (connection as { encrypted?: boolean }).encrypted === true

/** Takes the bytes that were read, or resumes reading. */
function read(this: Connection, size?: number): Buffer | null {
  reader = this
  // Once its end has arrived the socket requests no bytes: the end is delivered after the bytes that wait here.
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
function readStream(this: Connection, size?: number): Buffer | null {
  const chunk: Buffer | null = Object.getPrototypeOf(this).read.call(this, size)
  reader = this
  if (chunk !== null) passInterim(this, chunk)
  return chunk
}

function unshift(this: Connection, rest: Buffer): void {
  this.aioRest = Buffer.from(rest)
}

/** A read of a socket with `onread`: false stops its reading. */
function onRead(this: Connection, length: number, buffer: Uint8Array): boolean {
  const chunk = Buffer.from(buffer.buffer, buffer.byteOffset, length)
  this.aioChunk = length < small ? Buffer.from(chunk) : chunk
  if (this.unshift !== unshift) Object.assign(this, { read, unshift })
  this.emit("readable")
  // While the parser is paused nothing is read, not even the end; reading resumes on its next request.
  if (this.aioChunk === undefined) return this.aioRest === undefined
  if (this.aioChunk === chunk) this.aioChunk = Buffer.from(chunk)
  return false
}

const status = "HTTP/1.1 ".length
const inHead = status + 3
const [lineBegun, lineEnding] = [inHead + 1, inHead + 2]
const past = -1
const [one, zero, two, cr, lf] = [..."102\r\n"].map((character) => character.charCodeAt(0))

/**
 * Makes an unasked `100 Continue` a `102 Processing`, which undici passes over as RFC 9110, 15.2 asks. `aioHead` counts
 * the bytes of the status line; then, in the head of an interim answer, it finds the empty line, because the next head
 * follows; in any other answer it is `past`, until {@link answered} sets it to 0.
 */
const passInterim = (socket: Connection, chunk: Buffer): void => {
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

/** Must be called at the end of each response. */
export const answered = (connection: Connection): void => {
  connection.aioHead = 0
}

/**
 * Whether a body that only its connection's end can have ended is complete; called in the handler of that end. Calls back
 * at once if the connection is open.
 *
 * libuv reports a reset that arrives together with the last bytes as an end (a partial read and POLLHUP). The kernel
 * still knows: a write fails after a reset, and not after an end. The written bytes are an empty line, which a server
 * ignores before a request (RFC 9112, 2.2), and which closes this connection anyway.
 */
export const ifInOrder = (connection: Connection, then: (inOrder: boolean) => void): void => {
  if (connection.aioEnd === undefined) then(true)
  else if (connection.aioEnd !== "clean") then(false)
  // TLS has its own end.
  else if (connection.aioCut !== undefined) then(true)
  // The socket's own `write` refuses once the other side has ended.
  else {
    Object.getPrototypeOf(connection).write.call(connection, "\r\n", (error?: Error | null) =>
      then(error == null)
    )
  }
}

/** Called before undici adds its own listeners, so that the end is recorded here before undici handles it. */
const watch = (socket: Connection): void => {
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

type Connector = Build.connector

/** Connects sockets that read into a buffer of their own. */
const reading = (options: Build.BuildOptions): Connector => {
  const onread: { buffer: Uint8Array | undefined; callback: typeof onRead } = {
    buffer: undefined,
    callback: onRead
  }
  const connect = buildConnector({ ...options, onread } as Build.BuildOptions)
  let large = 0
  return (options, callback) => {
    const isLarge = large < mostLarge
    if (isLarge) large++
    const release = () => {
      if (isLarge) large--
    }
    // Node reads it synchronously while it creates the socket.
    onread.buffer = Buffer.allocUnsafeSlow(isLarge ? readSize : small)
    try {
      connect(options, (...[error, socket]) => {
        if (error !== null) {
          release()
          return callback(error, null)
        }
        socket.once("close", release)
        callback(null, socket)
      })
    } finally {
      onread.buffer = undefined
    }
  }
}

/** TLS's own bytes. */
class Carrier extends Duplex implements Pick<Connection, "aioCut"> {
  aioCut?: boolean

  constructor(readonly raw: Duplex) {
    super()
    raw
      .on("data", (chunk) => {
        if (!this.push(chunk)) raw.pause()
      })
      .on("end", () => {
        const { aioCut } = raw as Pick<Connection, "aioCut">
        if (aioCut !== undefined) this.aioCut = aioCut
        this.push(null)
      })
      .on("error", (error) => this.destroy(error))
      .on("close", () => {
        if (!raw.readableEnded) this.destroy(new Error("closed"))
      })
  }

  /** Decides, when all bytes have reached TLS, whether TLS had ended by itself. */
  judge(secure: Connection) {
    this.prependOnceListener("end", () => {
      const { ended } = (secure as unknown as { _readableState: { ended: boolean } })._readableState
      secure.aioCut = !ended
    })
    secure.aioCut = false
  }

  override _read() {
    this.raw.resume()
  }
  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void) {
    this.raw.write(chunk, encoding, done as () => void)
  }
  override _final(done: () => void) {
    this.raw.end(done)
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void) {
    this.raw.destroy()
    done(error)
  }
}

/** Connects, and runs TLS over a {@link Carrier}. */
const carried =
  (dial: Connector, secure: Connector): Connector =>
  (options, callback) => {
    if (options.protocol !== "https:") return dial(options, callback)
    dial({ ...options, protocol: "http:", port: options.port || "443" }, (...[error, raw]) => {
      if (error !== null) return callback(error, null)
      const carrier = new Carrier(raw)
      secure({ ...options, httpSocket: carrier as never }, (...[error, socket]) => {
        if (socket !== null) carrier.judge(socket)
        if (error === null) callback(null, socket)
        else callback(error, null)
      })
    })
  }

/** The tunnel that the current connector requests from its proxy. */
let tunnel: { carrier?: Carrier } | undefined

type Ask = Dispatcher["connect"]

/** A proxy's connections, for tunnels. */
class ProxyPool extends Pool {
  constructor(
    origin: URL,
    options: Pool.Options,
    /** undici's own `connect`, which its index.js, not loaded here, would add to every dispatcher. */
    readonly ask: Ask,
    readonly careful: boolean
  ) {
    super(origin, options)
  }

  override async connect(options: never): Promise<Dispatcher.ConnectData> {
    const under = tunnel
    const data: Dispatcher.ConnectData = await this.ask(options)
    if (!this.careful) return data
    const carrier = new Carrier(data.socket)
    if (under !== undefined) under.carrier = carrier
    return { ...data, socket: carrier }
  }
}

const watched =
  (connect: Connector): Connector =>
  (options, callback) => {
    const through: typeof tunnel = {}
    tunnel = through
    connect(options, (...[error, socket]) => {
      if (error !== null) return callback(error, null)
      if (isEncrypted(socket)) through.carrier?.judge(socket)
      watch(socket)
      callback(null, socket)
    })
    tunnel = undefined
  }

const factory = (origin: string | URL, { connect, ...options }: Pool.Options) =>
  new Pool(origin, {
    ...options,
    connect: watched(typeof connect === "function" ? connect : buildConnector(connect ?? {}))
  })

/** A timeout that undici accepts, 0 for none. */
export const timeoutOf = (milliseconds: number): number =>
  Number.isFinite(milliseconds) ? Math.ceil(milliseconds) : 0

export interface Dialing {
  /** Milliseconds. */
  readonly connectTimeout: number
  /** Milliseconds. */
  readonly stallTimeout: number
  /** How names become addresses. */
  readonly lookup?: LookupFunction | undefined
  /** Certificates of authorities, as PEM, in place of Node's. */
  readonly ca?: string | undefined
  readonly proxies: Proxies
  /** Requires that TLS is closed by a close_notify, for bodies without another end. */
  readonly careful: boolean
  /** Whether connections are kept for further requests. */
  readonly keep: boolean
}

/** What a transfer needs of a dispatcher of undici. */
export interface Dispatching {
  readonly dispatch: (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler) => boolean
  readonly close: () => Promise<void>
  readonly destroy: () => Promise<void>
}

/** Connects directly or through proxies, and watches how each connection ends. */
export const makeDispatcher = async (dialing: Dialing): Promise<Dispatching> => {
  const { ca, careful, connectTimeout: timeout, keep, lookup, proxies } = dialing
  const silence = timeoutOf(dialing.stallTimeout)
  const agent = { headersTimeout: silence, bodyTimeout: silence, pipelining: keep ? 1 : 0, factory }
  const tls = { timeout, ...(ca === undefined ? {} : { ca }) }
  const direct = { ...tls, ...(lookup === undefined ? {} : { lookup }) }
  const secure = buildConnector(tls)
  const straight = new Agent({
    ...agent,
    connect: careful ? carried(buildConnector(direct), secure) : reading(direct)
  })
  if (proxies.http === "" && proxies.https === "") return straight
  const [{ default: ProxyAgent }, { default: ask }] = await Promise.all([
    import("undici/lib/dispatcher/proxy-agent.js"),
    import("undici/lib/api/api-connect.js")
  ])
  const proxyOf = makeProxyOf(proxies)
  // The proxy itself may have a private address; the transfer checks the requested URLs.
  const through = (proxy: string): Dispatching => {
    const uri = new URL(proxy)
    const user = `${decodeURIComponent(uri.username)}:${decodeURIComponent(uri.password)}`
    uri.username = uri.password = ""
    return new ProxyAgent({
      ...agent,
      uri: uri.href,
      // undici itself leaves out a user without a password.
      ...(user === ":" ? {} : { token: `Basic ${Buffer.from(user).toString("base64")}` }),
      proxyTunnel: false,
      connect: careful ? carried(secure, secure) : tls,
      proxyTls: tls,
      requestTls: tls,
      clientFactory: (origin: URL, options: object) =>
        new ProxyPool(origin, careful ? { connect: carried(secure, secure) } : options, ask, careful)
    })
  }
  const agents = new Map<string, Dispatching>([["", straight]])
  for (const proxy of [proxies.http, proxies.https]) if (!agents.has(proxy)) agents.set(proxy, through(proxy))
  const all = (end: (agent: Dispatching) => Promise<void>) => async () => {
    await Promise.all([...agents.values()].map(end))
  }
  return {
    dispatch: (options, handler) =>
      agents.get(proxyOf(new URL(String(options.origin))))!.dispatch(options, handler),
    close: all((agent) => agent.close()),
    destroy: all((agent) => agent.destroy())
  }
}

/** The meaning of an error of undici. */
export type Kind = "connect-timeout" | "silence" | "upgrade" | "closed" | "wrong-length" | "not-http"

const kinds: Readonly<Record<string, Kind>> = {
  UND_ERR_CONNECT_TIMEOUT: "connect-timeout",
  UND_ERR_HEADERS_TIMEOUT: "silence",
  UND_ERR_BODY_TIMEOUT: "silence",
  UND_ERR_SOCKET: "closed",
  UND_ERR_CLOSED: "closed",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "wrong-length",
  // undici asserts properties of every response.
  ERR_ASSERTION: "not-http"
}

/** The kind of an error; undefined for errors of other origin, and for those with a sufficient message. */
export const kindOf = (error: unknown): Kind | undefined => {
  const { code = "", message } = error as NodeJS.ErrnoException
  return message === "bad upgrade" ? "upgrade" : kinds[code]
}
