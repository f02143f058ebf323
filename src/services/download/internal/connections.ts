import type { LookupFunction } from "node:net"
import { Duplex } from "node:stream"
import type { buildConnector as Build, Dispatcher } from "undici"
import buildConnector from "undici/lib/core/connect.js"
import Agent from "undici/lib/dispatcher/agent.js"
import Pool from "undici/lib/dispatcher/pool.js"
import type { Proxies } from "./proxies.js"
import { onread, type Reading, watch } from "./reads.js"

// The dispatcher of `aio gather`: direct or by way of proxies, each socket watched for how it ends.
//
// Node reports TLS bytes that end without a close_notify as a clean end, and only a body that the connection's end
// ends can suffer from that. Such a body is fetched over a careful dispatcher: there TLS runs over a stream of ours,
// which sees what ended first. It costs twice the processor time, so it is not for every body.

export interface Dialing {
  /** Milliseconds. */
  readonly connectTimeout: number
  /** Milliseconds. */
  readonly stallTimeout: number
  /** How names become addresses. */
  readonly lookup?: LookupFunction | undefined
  readonly proxies: Proxies
  /** Demands that TLS is closed by a close_notify, for bodies that nothing else ends. */
  readonly careful: boolean
  /** Whether connections are kept for further requests. */
  readonly keep: boolean
}

type Connector = Build.connector

/** TLS's own bytes. */
class Carrier extends Duplex implements Pick<Reading, "aioCut"> {
  aioCut?: boolean

  constructor(readonly raw: Duplex) {
    super()
    raw
      .on("data", (chunk) => {
        if (!this.push(chunk)) raw.pause()
      })
      .on("end", () => {
        const { aioCut } = raw as Pick<Reading, "aioCut">
        if (aioCut !== undefined) this.aioCut = aioCut
        this.push(null)
      })
      .on("error", (error) => this.destroy(error))
      .on("close", () => {
        if (!raw.readableEnded) this.destroy(new Error("closed"))
      })
  }

  /** Decides, when all bytes have reached TLS, whether TLS had ended by itself. */
  judge(secure: Reading) {
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

/** The tunnel that the connector under way asks its proxy for. */
let tunnel: { carrier?: Carrier } | undefined

/** Asks a proxy for tunnels whose TLS runs over a {@link Carrier}. */
class Tunnels extends Pool {
  override async connect(options: never): Promise<Dispatcher.ConnectData> {
    const under = tunnel
    const data = await super.connect(options)
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
      if ((socket as { encrypted?: boolean }).encrypted === true) through.carrier?.judge(socket)
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

export const makeDispatcher = async (dialing: Dialing): Promise<Dispatcher> => {
  const { careful, connectTimeout: timeout, keep, lookup, proxies, stallTimeout } = dialing
  const agent = { headersTimeout: stallTimeout, bodyTimeout: stallTimeout, pipelining: keep ? 1 : 0, factory }
  const direct = { timeout, ...(lookup === undefined ? {} : { lookup }) }
  const secure = buildConnector({ timeout })
  const careless = { ...direct, onread }
  if (proxies.http === "" && proxies.https === "") {
    return new Agent({ ...agent, connect: careful ? carried(buildConnector(direct), secure) : careless })
  }
  const [{ default: EnvHttpProxyAgent }, { default: Base }, { default: connect }] = await Promise.all([
    import("undici/lib/dispatcher/env-http-proxy-agent.js"),
    import("undici/lib/dispatcher/dispatcher.js"),
    import("undici/lib/api/api-connect.js")
  ])
  // Tunnels need it; undici's index.js, which is not loaded here, puts it there.
  Object.assign(Base.prototype, { connect })
  const tls = { timeout }
  // The proxy itself may well be at a private address; what it is asked for is checked by the transfer.
  return new EnvHttpProxyAgent({
    ...agent,
    httpProxy: proxies.http,
    httpsProxy: proxies.https,
    noProxy: proxies.except,
    proxyTunnel: false,
    connect: careful ? carried(secure, secure) : tls,
    proxyTls: tls,
    requestTls: tls,
    ...(careful
      ? { clientFactory: (origin: URL) => new Tunnels(origin, { connect: carried(secure, secure) }) }
      : {})
  })
}
