import { EventEmitter } from "node:events"
import * as net from "node:net"
import type { Dispatcher } from "undici"
import connect from "undici/lib/api/api-connect.js"
import buildConnector from "undici/lib/core/connect.js"
import Agent from "undici/lib/dispatcher/agent.js"
import Pool from "undici/lib/dispatcher/pool.js"
import ProxyAgent from "undici/lib/dispatcher/proxy-agent.js"
import { afterEach, describe, expect, it } from "vitest"
import {
  type Dispatching,
  kindOf,
  makeDispatcher,
  timeoutOf
} from "../../../../src/services/download/internal/undici.js"

// What internal/undici.ts takes for granted of undici and of Node's sockets, an assumption a test, against undici
// itself. A failure is a sentence that says what broke.

const nothing = () => undefined
const holds = (sentence: string, ...[actual, expected]: readonly [unknown, unknown]) =>
  expect(actual, sentence).toEqual(expected)

const cleanups: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** A server that calls back with each connection; the port. */
const listen = async (onConnection: (socket: net.Socket) => void): Promise<number> => {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => undefined)
    onConnection(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as net.AddressInfo).port
}
/** A server that sends these pieces at the first bytes of each connection. */
const sending = (...pieces: ReadonlyArray<string>) =>
  listen((socket) => socket.once("data", () => socket.write(pieces.join(""))))

interface Outcome {
  readonly statuses: ReadonlyArray<number>
  readonly body: string
  readonly error: unknown
}
const get = (
  dispatcher: Dispatching,
  origin: string,
  more: Partial<Dispatcher.DispatchHandler> = {},
  options: Partial<Dispatcher.DispatchOptions> = {}
): Promise<Outcome> =>
  new Promise((resolve) => {
    const statuses: Array<number> = []
    const body: Array<string> = []
    const end = (error?: unknown) => resolve({ statuses, body: body.join(""), error })
    dispatcher.dispatch(
      { origin, path: "/", method: "GET", ...options },
      {
        onRequestStart: () => undefined,
        onResponseStart: (_controller, status) => {
          statuses.push(status)
        },
        onResponseData: (_controller, chunk) => {
          body.push(chunk.toString("latin1"))
        },
        onResponseEnd: () => end(),
        onResponseError: (_controller, error) => end(error),
        ...more
      }
    )
  })
const owned = <D extends Dispatching>(dispatcher: D): D => {
  cleanups.push(() => dispatcher.destroy())
  return dispatcher
}

/** In a socket's place: what undici does with it is counted, and what it reads is what the test puts there. */
class Probe extends EventEmitter {
  readonly calls: Array<string> = []
  readonly unread: Array<Buffer> = []
  readonly given: Array<Buffer> = []
  destroyed = false
  writable = true
  readonly remoteAddress = "127.0.0.1"
  read() {
    this.calls.push("read")
    return this.unread.shift() ?? null
  }
  unshift(rest: Buffer) {
    this.calls.push("unshift")
    this.given.push(Buffer.from(rest))
  }
  write() {
    return true
  }
  destroy() {
    this.destroyed = true
    this.emit("close")
    return this
  }
  readonly cork = nothing
  readonly uncork = nothing
  readonly ref = nothing
  readonly unref = nothing
  readonly setTimeout = nothing
  resume() {
    this.calls.push("resume")
  }
  pause() {
    this.calls.push("pause")
  }
}
const probed = async (handler: Partial<Dispatcher.DispatchHandler> = {}) => {
  const probe = new Probe()
  let listeners: ReadonlyArray<string | symbol> = []
  const pool = new Pool("http://a.example", {
    connect: (_options: unknown, callback: (error: null, socket: never) => void) => {
      setImmediate(() => {
        listeners = probe.eventNames()
        callback(null, probe as never)
      })
    }
  })
  const outcome = get(pool, "http://a.example", handler)
  while (!probe.eventNames().includes("readable")) await new Promise((resolve) => setImmediate(resolve))
  probe.calls.length = 0
  cleanups.push(() => probe.destroy())
  return { probe, outcome, listeners }
}

describe("undici's inside", () => {
  it("its parts are at the paths from which they are imported", () => {
    for (const [path, part] of Object.entries({
      "core/connect": buildConnector,
      "dispatcher/agent": Agent,
      "dispatcher/pool": Pool,
      "dispatcher/proxy-agent": ProxyAgent,
      "api/api-connect": connect
    })) {
      holds(`undici/lib/${path}.js does not export a function or a class any more`, typeof part, "function")
    }
  })

  it("nothing of it is patched, whatever is constructed", async () => {
    const before = Object.getOwnPropertyNames(Object.getPrototypeOf(Pool.prototype))
    const proxies = { http: "http://127.0.0.1:1", https: "http://127.0.0.1:1", except: "" }
    const dialing = { connectTimeout: 1000, stallTimeout: 1000, keep: true }
    owned(await makeDispatcher({ ...dialing, careful: false, proxies }))
    owned(await makeDispatcher({ ...dialing, careful: true, proxies }))
    const after = Object.getOwnPropertyNames(Object.getPrototypeOf(Pool.prototype))
    holds("makeDispatcher has changed the prototype of undici's dispatchers", after, before)
  })

  it("takes bytes with socket.read() alone, when it hears 'readable'", async () => {
    const { listeners, outcome, probe } = await probed()
    holds("undici listens on a socket before the connector's callback: `watch` comes too late", listeners, [])
    holds("undici reads a socket by 'data' now", probe.listenerCount("data"), 0)
    probe.unread.push(Buffer.from("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"), Buffer.from("ab"))
    probe.emit("readable")
    const { body } = await outcome
    holds("undici does not read on until read() gives null", body, "ab")
    holds("undici uses more than read() of a socket that is read", [...new Set(probe.calls)], ["read"])
  })

  it("returns unparsed bytes with unshift() when it is paused, and reads them first", async () => {
    let controller: Dispatcher.DispatchController | undefined
    const chunks: Array<string> = []
    const { outcome, probe } = await probed({
      onResponseData: (given, chunk) => {
        controller = given
        chunks.push(String(chunk))
        if (chunks.length === 1) given.pause()
      }
    })
    const rest = "2\r\ncd\r\n0\r\n\r\n"
    probe.unread.push(Buffer.from(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n${rest}`))
    probe.emit("readable")
    holds("a paused undici passes chunks on all the same", chunks, ["ab"])
    // The line end that closes a chunk may be parsed before or after the pause.
    holds(
      "a paused undici does not give back what it has not parsed, in one piece",
      probe.given.map((piece) => String(piece).replace(/^\r\n/, "")),
      [rest]
    )
    probe.calls.length = 0
    probe.unread.push(probe.given[0]!)
    controller!.resume()
    await outcome
    holds("undici that goes on does not begin with read()", probe.calls[0], "read")
    holds("undici loses what it has given back", chunks, ["ab", "cd"])
  })

  it("keeps nothing of a body's bytes beyond the callback", async () => {
    const body: Array<string> = []
    const { outcome, probe } = await probed({
      onResponseData: (_controller, chunk) => {
        body.push(String(chunk))
      }
    })
    // Cut within a chunk, within a chunk's size, and within the line end after it; all in one buffer.
    const buffer = Buffer.alloc(64)
    const pieces = [
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
      "0",
      "4\r\nab",
      "cd\r",
      "\n0",
      "\r\n\r\n"
    ]
    for (const piece of pieces) {
      buffer.fill("?")
      const read = piece.startsWith("HTTP") ? Buffer.from(piece) : buffer.subarray(0, buffer.write(piece))
      probe.unread.push(read)
      probe.emit("readable")
    }
    holds("undici fails where a read overwrites the one before", (await outcome).error, undefined)
    holds("undici passes on bytes of an overwritten read", body.join(""), "abcd")
  })

  it("refuses 100 Continue that was not asked for, and passes over 102", async () => {
    const ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    const [unasked, processing] = await Promise.all([
      sending(`HTTP/1.1 100 Continue\r\n\r\n${ok}`),
      sending(`HTTP/1.1 102 Processing\r\n\r\n${ok}`)
    ])
    const agent = owned(new Agent())
    const refused = await get(agent, `http://127.0.0.1:${unasked}`)
    holds("undici passes over 100 Continue by itself: passInterim can go", refused.error !== undefined, true)
    const passed = await get(agent, `http://127.0.0.1:${processing}`)
    holds(
      "undici does not report 102 and go on: passInterim turns 100 into an error",
      passed.statuses,
      [102, 200]
    )
  })

  it("takes a reset for the end of a body without length, and 'end' is heard in the order of listening", async () => {
    const { outcome, probe } = await probed()
    probe.unread.push(Buffer.from("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nsome"))
    probe.emit("readable")
    probe.emit("error", Object.assign(new Error("reset"), { code: "ECONNRESET" }))
    probe.destroy()
    const { body, error } = await outcome
    holds("undici fails a body that a reset ends: `watch` can go", [body, error], ["some", undefined])
  })

  it("passes its options to Agent's factory, with the given `connect`", () => {
    const connect = () => undefined
    const seen: Array<unknown> = []
    const agent = owned(
      new Agent({
        connect: connect as never,
        factory: (origin: string | URL, options: Pool.Options) => {
          seen.push(options.connect)
          return new Pool(origin, { connect: connect as never })
        }
      })
    )
    void get(agent, "http://a.example").catch(() => undefined)
    holds(
      "Agent does not pass `connect` to its factory: connections are not watched",
      seen[0] === connect,
      true
    )
  })

  it("ProxyAgent asks clientFactory's client for a tunnel, within the call of its connector", async () => {
    const Proxies = ProxyAgent as unknown as new (options: object) => Dispatcher
    const asked: Array<string> = []
    const client = {
      connect: ({ path }: { path: string }) => {
        asked.push(path)
        return new Promise(nothing)
      }
    }
    let connector: ((options: object, callback: () => void) => unknown) | undefined
    const agent = owned(
      new Proxies({
        uri: "http://127.0.0.1:1",
        clientFactory: (_origin: URL, options: { connect?: unknown }) => {
          holds("clientFactory is not given its `connect`", typeof options.connect, "function")
          return Object.assign(client, { close: async () => undefined, destroy: async () => undefined })
        },
        factory: (origin: string, options: Pool.Options) => {
          connector = options.connect as never
          return new Pool(origin, { connect: (() => undefined) as never })
        }
      })
    )
    void get(agent, "https://a.example").catch(() => undefined)
    void connector?.({ host: "a.example", protocol: "https:" }, () => undefined)
    holds("a tunnel is not asked for at once: it would get another connection's Carrier", asked, [
      "a.example:443"
    ])
  })

  it("its errors have the codes that kindOf maps", async () => {
    const [silent, switching, closing, longer] = await Promise.all([
      listen(() => undefined),
      sending("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
      listen((socket) => socket.once("data", () => socket.end())),
      sending("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")
    ])
    const agent = owned(new Agent())
    const kind = async (port: number, options: object = {}) =>
      kindOf((await get(agent, `http://127.0.0.1:${port}`, {}, options)).error)
    holds("a silence has another code", await kind(silent, { headersTimeout: 100 }), "silence")
    holds("an unasked upgrade has another message", await kind(switching), "upgrade")
    holds("a connection that is closed before its answer has another code", await kind(closing), "closed")
    expect((await get(agent, `http://127.0.0.1:${longer}`)).error, "two lengths are accepted").toBeDefined()
  })

  it("accepts what timeoutOf gives, and takes 0 for no timeout", async () => {
    const port = await sending("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    for (const milliseconds of [0, 0.5, 1000, Number.POSITIVE_INFINITY]) {
      const timeout = timeoutOf(milliseconds)
      const agent = owned(new Agent({ headersTimeout: timeout, bodyTimeout: timeout }))
      const options = { headersTimeout: timeout, bodyTimeout: timeout }
      const { error } = await get(agent, `http://127.0.0.1:${port}`, {}, options)
      holds(
        `undici refuses a timeout of ${milliseconds} ms`,
        error === undefined || kindOf(error) === "silence",
        true
      )
    }
  })
})

describe("Node's sockets", () => {
  it("`onread` reaches the socket, which looks at its buffer while it is made and never again", async () => {
    const port = await listen((socket) => socket.write("hello"))
    const buffers: Array<Uint8Array> = []
    const onread = {
      buffer: undefined as Uint8Array | undefined,
      callback: (length: number, buffer: Uint8Array) => {
        buffers.push(buffer)
        return length > 0
      }
    }
    const connect = buildConnector({ timeout: 1000, onread } as object)
    const own = [Buffer.alloc(16), Buffer.alloc(16)]
    for (const [i, buffer] of own.entries()) {
      onread.buffer = buffer
      await new Promise<void>((resolve, reject) => {
        const options = { hostname: "127.0.0.1", host: "127.0.0.1", protocol: "http:", port: String(port) }
        connect(options as never, (...[error, socket]) => {
          if (socket === null) return reject(error)
          cleanups.push(() => socket.destroy())
          const wait = () => (buffers.length > i ? resolve() : setImmediate(wait))
          wait()
        })
        onread.buffer = undefined
      })
    }
    holds(
      "a socket does not read into the buffer that `onread` had when it was made",
      [buffers[0] === own[0], buffers[1] === own[1]],
      [true, true]
    )
  })

  it("every connection of the direct dispatcher reads into a buffer of its own", async () => {
    const seen = new Set<ArrayBufferLike>()
    const big = "x".repeat(2 ** 20)
    const port = await sending(`HTTP/1.1 200 OK\r\ncontent-length: ${big.length}\r\n\r\n${big}`)
    const dispatcher = owned(
      await makeDispatcher({
        connectTimeout: 1000,
        stallTimeout: 5000,
        keep: false,
        careful: false,
        proxies: { http: "", https: "", except: "" }
      })
    )
    const one = async () => {
      const own = new Set<ArrayBufferLike>()
      await get(dispatcher, `http://127.0.0.1:${port}`, {
        onResponseData: (_controller, chunk) => {
          if (chunk.buffer.byteLength === 256 * 1024) own.add(chunk.buffer)
        }
      })
      return own
    }
    const all = await Promise.all([one(), one(), one(), one()])
    for (const own of all) {
      holds("a connection reads into more than one buffer", own.size <= 1, true)
      for (const buffer of own) {
        holds("two connections read into one buffer", seen.has(buffer), false)
        seen.add(buffer)
      }
    }
    holds(
      "no connection reads into a buffer of 256 KiB: large files cost twice the time",
      seen.size > 0,
      true
    )
  })
})
