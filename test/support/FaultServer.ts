import { createHash } from "node:crypto"
import * as http from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { afterAll } from "vitest"

/** What a handler may do with one request, faults included. */
export interface Exchange {
  readonly request: http.IncomingMessage
  readonly response: http.ServerResponse
  readonly socket: Socket
  /** How often this path was asked for, this time included. */
  readonly attempt: number
  readonly path: string
}

export type Handler = (exchange: Exchange) => void

/** A request as it arrived. */
export interface Seen {
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
}

export interface FaultServer {
  readonly origin: string
  readonly port: number
  /** The URL of a path here. */
  readonly url: (path: string) => string
  /** All requests so far. */
  readonly seen: ReadonlyArray<Seen>
  readonly seenAt: (path: string) => ReadonlyArray<Seen>
  /** Resolves when this many requests for the path have arrived. */
  readonly arrived: (path: string, count?: number) => Promise<void>
  readonly close: () => Promise<void>
}

/** A scripted server on loopback: each path has its handler, everything else is a 404. */
export const start = async (
  handlers: Readonly<Record<string, Handler>>,
  options: { readonly host?: string; readonly create?: (listener: http.RequestListener) => http.Server } = {}
): Promise<FaultServer> => {
  const { create = http.createServer, host = "127.0.0.1" } = options
  const seen: Array<Seen> = []
  const waiting = new Set<() => void>()
  const seenAt = (path: string) => seen.filter((one) => one.path === path)
  const server = create((request, response) => {
    const path = (request.url ?? "/").split("?")[0]!
    seen.push({ path, headers: request.headers })
    const attempt = seenAt(path).length
    for (const check of waiting) check()
    const handler = handlers[path]
    if (handler === undefined) response.writeHead(404).end()
    else handler({ request, response, socket: request.socket, attempt, path })
  })
  server.on("clientError", (_error, socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const { port } = server.address() as AddressInfo
  const name = host.includes(":") ? `[${host}]` : host
  const origin = `${"setSecureContext" in server ? "https" : "http"}://${name}:${port}`
  return {
    origin,
    port,
    url: (path) => origin + path,
    seen,
    seenAt,
    arrived: (path, count = 1) =>
      new Promise((resolve) => {
        const check = () => {
          if (seenAt(path).length < count) return
          waiting.delete(check)
          resolve()
        }
        waiting.add(check)
        check()
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}

/** As {@link start}, for the test file that calls this: the servers are closed after its tests. */
export const starter = (): typeof start => {
  const servers: Array<FaultServer> = []
  afterAll(async () => {
    await Promise.all(servers.map(({ close }) => close()))
  })
  return async (...args) => {
    const server = await start(...args)
    servers.push(server)
    return server
  }
}

/** Bytes that repeat nowhere, so that a splice shows; the same for the same seed. */
export const bytes = (length: number, seed = 1): Buffer => {
  const result = Buffer.alloc(length)
  let state = seed >>> 0 || 1
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    result[i] = state >>> 24
  }
  return result
}

export const sha256 = (body: Uint8Array): string => createHash("sha256").update(body).digest("hex")

/** Answers with the body. */
export const ok =
  (body: Uint8Array | string, headers: http.OutgoingHttpHeaders = {}): Handler =>
  ({ response }) => {
    response.writeHead(200, { "content-length": Buffer.byteLength(body), ...headers }).end(body)
  }

export const status =
  (code: number, headers: http.OutgoingHttpHeaders = {}, body = ""): Handler =>
  ({ response }) => {
    response.writeHead(code, headers).end(body)
  }

export const redirect = (location: string, code = 302): Handler => status(code, { location })

/** One handler for each attempt; the last one stays. */
export const inTurn =
  (...handlers: ReadonlyArray<Handler>): Handler =>
  (exchange) =>
    handlers[Math.min(exchange.attempt, handlers.length) - 1]!(exchange)

/** Sends the head and so many bytes, and breaks the connection when they are out. */
export const dropAfter =
  (body: Buffer, sent: number, headers: http.OutgoingHttpHeaders = {}): Handler =>
  ({ response, socket }) => {
    response.writeHead(200, { "content-length": body.length, ...headers })
    response.write(body.subarray(0, sent), () => socket.end())
  }

/** A file as a good server has it: ranges, `If-Range`, a strong entity tag (null for none). */
export const file =
  (
    body: Buffer,
    etag: string | null = '"v1"',
    send: (response: http.ServerResponse, part: Buffer) => void = (response, part) => response.end(part)
  ): Handler =>
  ({ request, response }) => {
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "")
    const valid = request.headers["if-range"] === undefined || request.headers["if-range"] === etag
    const from = range !== null && valid ? Number(range[1]) : 0
    const tag = etag === null ? {} : { etag }
    if (range !== null && valid && from >= body.length) {
      response.writeHead(416, { ...tag, "content-range": `bytes */${body.length}` }).end()
      return
    }
    const part = body.subarray(from)
    if (range !== null && valid) {
      response.writeHead(206, {
        ...tag,
        "content-length": part.length,
        "content-range": `bytes ${from}-${body.length - 1}/${body.length}`
      })
    } else response.writeHead(200, { ...tag, "accept-ranges": "bytes", "content-length": part.length })
    send(response, part)
  }

/** A response written by hand, head and all. */
export const raw =
  (text: string | Buffer, then: (socket: Socket) => void = (socket) => socket.end()): Handler =>
  ({ socket }) => {
    socket.write(text, () => then(socket))
  }
