import { createHash, type Hash } from "node:crypto"
import * as dns from "node:dns"
import * as fs from "node:fs"
import type { LookupFunction } from "node:net"
import { isIP } from "node:net"
import * as path from "node:path"
import * as zlib from "node:zlib"
import ipaddr from "ipaddr.js"
import type { Dispatcher } from "undici"
import Agent from "undici/lib/dispatcher/agent.js"
import type { Downloaded, Options, Reason, Failure as Report, Request, Target } from "../Downloader.js"
import { fromContentDisposition } from "../SafeName.js"
import { formatSize } from "../Units.js"
import { existing, FileSink } from "./FileSink.js"
import { describe } from "./files.js"
import { discardPartial, Folder, findPartial, type Partial, readPartial } from "./Partials.js"
import { onread } from "./reads.js"
import { SmallFiles } from "./SmallFiles.js"

// The hot path of `aio gather`: one GET is plain callbacks on undici's dispatcher
// (`npm run bench -- gather`): through @effect/platform's HttpClient a small file costs several times as much.

/** Where the outcome goes; exactly one of them is called, once, unless the transfer is aborted. */
export interface Callbacks {
  readonly succeed: (downloaded: Downloaded) => void
  readonly fail: (failure: Report) => void
}

export interface Transfers {
  /** Begins a transfer; the result aborts it and ends when its file is closed. */
  readonly start: (request: Request, callbacks: Callbacks) => () => Promise<void>
  readonly close: () => Promise<void>
}

class Failure extends Error {
  constructor(
    readonly reason: Reason,
    message: string,
    readonly retryable: boolean,
    readonly more: { readonly retryAfter?: number | undefined; readonly status?: number } = {}
  ) {
    super(message)
  }
}

const isPublic = (address: string): boolean => ipaddr.process(address).range() === "unicast"

const privateAddress = (host: string, address: string): Failure =>
  new Failure(
    "private-address",
    host === address
      ? `${address} is not a public address`
      : `${host} is at ${address}, which is not a public address`,
    false
  )

const publicOnly: LookupFunction = (hostname, options, callback) =>
  dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
    const bad = addresses?.find(({ address }) => !isPublic(address))
    if (error !== null) callback(error, "", 0)
    else if (bad !== undefined) callback(privateAddress(hostname, bad.address), "", 0)
    else if (options.all === true) callback(null, addresses)
    else callback(null, addresses[0]!.address, addresses[0]!.family)
  })

/** Spends bytes at a steady rate: tells each taker how long to wait, so that all of them together keep to it. */
const makeLimiter = (bytesPerSecond: number) => {
  let free = 0 // when the line is free again, in ms
  return (bytes: number): number => {
    const now = performance.now()
    free = Math.max(free, now - 100) + (bytes / bytesPerSecond) * 1000
    return free - now
  }
}

const retryableStatus = new Set([408, 425, 429, 500, 502, 503, 504])
const redirects = new Set([301, 302, 303, 307, 308])
const secrets = new Set(["authorization", "cookie", "proxy-authorization"])

const one = (header: string | Array<string> | undefined): string | undefined =>
  Array.isArray(header) ? header[0] : header

const retryAfter = (header: string | undefined): number | undefined => {
  if (header === undefined) return undefined
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined
}

type Headers = Record<string, string | Array<string> | undefined>

/** A validator that `If-Range` may carry: a strong entity tag, or a date that is strong by RFC 9110, 8.8.2.2. */
const strongValidator = (headers: Headers): string | undefined => {
  const etag = one(headers["etag"])
  if (etag !== undefined) return etag.startsWith('"') ? etag : undefined
  const modified = one(headers["last-modified"])
  if (modified === undefined) return undefined
  return Date.parse(one(headers["date"]) ?? "") - Date.parse(modified) >= 60_000 ? modified : undefined
}

const full = new Set(["ENOSPC", "EDQUOT"])
const refused = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT"
])

/** Sorts what undici, zlib, TLS and the file system throw into reasons that a person can act on. */
const classify = (error: unknown, request: Request, stallTimeout: number): Failure => {
  if (error instanceof Failure) return error
  const {
    code = "",
    message,
    errors
  } = error as NodeJS.ErrnoException & { errors?: ReadonlyArray<NodeJS.ErrnoException> }
  const first = errors?.[0]
  if (first !== undefined) return classify(first, request, stallTimeout)
  if (full.has(code)) {
    return new Failure("disk-full", `no space left on the disk of ${request.target?.directory}`, false)
  }
  if (code === "ENOTFOUND") return new Failure("dns", `no address found for ${request.url.hostname}`, false)
  if (code === "EAI_AGAIN")
    return new Failure("dns", `the name server did not answer for ${request.url.hostname}`, true)
  if (refused.has(code)) {
    return new Failure(
      "connect",
      code.startsWith("UND") ? "no connection in time" : `no connection (${code})`,
      true
    )
  }
  if (code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT") {
    return new Failure("stalled", `nothing arrived for ${Math.round(stallTimeout / 1000)} s`, true)
  }
  if (
    /^(UND_ERR_SOCKET|ECONNRESET|EPIPE|ECONNABORTED|UND_ERR_RES_CONTENT_LENGTH_MISMATCH|UND_ERR_CLOSED)$/.test(
      code
    )
  ) {
    return new Failure("dropped", "the connection broke before the body was whole", true)
  }
  if (/^(CERT_|ERR_TLS|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|ERR_SSL|EPROTO)/.test(code)) {
    return new Failure("tls", `${message} (${code})`, false)
  }
  if (code.startsWith("Z_") || code.startsWith("ERR__ERROR_") || code.startsWith("ERR_BROTLI")) {
    return code === "Z_BUF_ERROR"
      ? new Failure("dropped", "the compressed body ends too early", true)
      : new Failure("decode", `the body is not what its Content-Encoding says (${message})`, false)
  }
  if (code === "EBUSY") return new Failure("file", message, true)
  if ((error as NodeJS.ErrnoException).syscall !== undefined && /^E[A-Z]+$/.test(code)) {
    const { directory, name } = request.target ?? { directory: "", name: "" }
    return new Failure(
      "file",
      `cannot save ${path.join(directory, name)}: ${describe(error)} (${code})`,
      false
    )
  }
  return new Failure("protocol", message || code || String(error), false)
}

const makeDecoder = (encoding: string): (zlib.Gunzip | zlib.BrotliDecompress) | undefined => {
  switch (encoding.trim().toLowerCase()) {
    case "":
    case "identity":
      return undefined
    case "gzip":
    case "x-gzip":
      return zlib.createGunzip()
    case "deflate":
      return zlib.createInflate()
    case "br":
      return zlib.createBrotliDecompress()
    default:
      throw new Failure("decode", `Content-Encoding '${encoding}' is unknown`, false)
  }
}

type Env = Readonly<Record<string, string | undefined>>

const proxied = (env: Env) => ({
  httpProxy: env["http_proxy"] || env["HTTP_PROXY"] || "",
  httpsProxy: env["https_proxy"] || env["HTTPS_PROXY"] || "",
  noProxy: env["no_proxy"] || env["NO_PROXY"] || ""
})

const makeDispatcher = async (options: Options, env: Env, stallTimeout: number): Promise<Dispatcher> => {
  const { connectTimeout = 10_000, denyPrivate = false } = options
  const agent = {
    headersTimeout: stallTimeout,
    bodyTimeout: stallTimeout,
    connect: { timeout: connectTimeout, onread, ...(denyPrivate ? { lookup: publicOnly } : {}) }
  }
  const proxies = proxied(env)
  if (proxies.httpProxy === "" && proxies.httpsProxy === "") return new Agent(agent)
  const [{ default: EnvHttpProxyAgent }, { default: Base }, { default: connect }] = await Promise.all([
    import("undici/lib/dispatcher/env-http-proxy-agent.js"),
    import("undici/lib/dispatcher/dispatcher.js"),
    import("undici/lib/api/api-connect.js")
  ])
  // Tunnels need it; undici's index.js, which is not loaded here, puts it there.
  Object.assign(Base.prototype, { connect })
  const tls = { timeout: connectTimeout }
  // The proxy itself may well be at a private address; what it is asked for is checked in `start`.
  return new EnvHttpProxyAgent({
    ...agent,
    ...proxies,
    proxyTunnel: false,
    connect: tls,
    proxyTls: tls,
    requestTls: tls
  })
}

export const make = async (options: Options, env: Env): Promise<Transfers> => {
  const { denyPrivate = false, maxRedirects = 10, origins = {}, stallTimeout = 30_000 } = options
  const dispatcher = await makeDispatcher(options, env, stallTimeout)
  const limiter = options.limitRate === undefined ? undefined : makeLimiter(options.limitRate)
  const smallFiles = new SmallFiles()
  const folders = new Map<string, Promise<Folder>>()
  const openFolder = (target: Target) => {
    const key = path.resolve(target.directory)
    let folder = folders.get(key)
    if (folder === undefined) {
      folder = Folder.open(key, smallFiles)
      folders.set(key, folder)
      folder.catch(() => folders.delete(key))
    }
    return folder
  }
  const viaProxy = !(dispatcher instanceof Agent)

  const start: Transfers["start"] = (request, callbacks) => {
    let url = request.url
    const target = request.target
    let hops = 0
    let over = false
    let controller: Dispatcher.DispatchController | undefined
    let sink: FileSink | undefined
    let decoder: ReturnType<typeof makeDecoder>
    let folder: Folder | undefined
    let partial: Partial | undefined
    let hash: Hash | undefined
    let limiting: NodeJS.Timeout | undefined
    let closing: Promise<void> | undefined
    let looked: string | undefined // the name from Content-Disposition under which there was a file
    let cleaning: Promise<void> | undefined // of a partial file that is of no use any more
    const origin = request.url.origin
    const href = (url: URL) => (url.username || url.password ? stripUser(url) : url.href)

    const keptBytes = (bytes: number) => {
      if (bytes > 0) request.onKept?.(bytes)
    }
    /** Ends the transfer and closes what it holds; bytes that can be continued stay unless `forget`. */
    const close = (forget: boolean): Promise<void> => {
      over = true
      clearTimeout(limiting)
      controller?.abort(new Error("over"))
      decoder?.destroy()
      if (sink !== undefined) closing ??= sink.abandon(forget).then(keptBytes)
      else if (partial !== undefined && target !== undefined && folder !== undefined) {
        if (forget) closing ??= discardPartial(folder, target, partial.file)
        else keptBytes(partial.offset)
      }
      return closing ?? Promise.resolve()
    }
    const fail = (error: unknown) => {
      if (over) return
      const failure = classify(error, request, stallTimeout)
      const forget =
        failure.reason === "range" || failure.reason === "checksum" || failure.reason === "too-large"
      const report = () =>
        callbacks.fail({
          reason: failure.reason,
          url: href(request.url),
          // Some of it is the server's words: nothing of it may move a terminal's cursor.
          detail: failure.message.replace(/\p{Cc}+/gu, " "),
          retryable: failure.retryable,
          ...failure.more
        })
      close(forget).then(report, report)
    }
    /** A step that may throw or reject fails the transfer, unless it is over by then. */
    const guard = (step: () => void | Promise<void>) => {
      try {
        step()?.catch(fail)
      } catch (error) {
        fail(error)
      }
    }

    const headersFor = (): Record<string, string> => {
      const headers: Record<string, string> = {
        "user-agent": "aio",
        accept: "*/*",
        "accept-encoding": target === undefined ? "gzip, deflate, br" : "identity"
      }
      if (url.username !== "" || url.password !== "") {
        const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
        headers["authorization"] = `Basic ${Buffer.from(user).toString("base64")}`
      }
      for (const [name, value] of Object.entries(request.headers ?? {})) {
        const key = name.toLowerCase()
        if (url.origin === origin || !secrets.has(key)) headers[key] = value
      }
      if (partial !== undefined) {
        headers["range"] = `bytes=${partial.offset}-`
        headers["if-range"] = partial.sidecar.validator
      }
      return headers
    }

    const redirect = (location: string | undefined, status: number) => {
      if (location === undefined)
        throw new Failure("redirect", `HTTP ${status} without a Location`, false, { status })
      if (!URL.canParse(location, url.href))
        throw new Failure("redirect", `redirected to '${location}', which is no URL`, false)
      const next = new URL(location, url.href)
      if (next.protocol !== "http:" && next.protocol !== "https:") {
        throw new Failure("redirect", `redirected to ${next.protocol}, which is not http or https`, false)
      }
      if (url.protocol === "https:" && next.protocol === "http:") {
        throw new Failure("redirect", `redirected from https down to ${next.origin}`, false)
      }
      if (++hops > maxRedirects) throw new Failure("redirect", `more than ${maxRedirects} redirects`, false)
      if (next.origin === url.origin && next.username === "") {
        next.username = url.username
        next.password = url.password
      }
      url = next
      guard(dispatch)
    }

    const dispatch = async (): Promise<void> => {
      const host = url.hostname.replace(/^\[|\]$/g, "")
      if (denyPrivate && isIP(host) !== 0 && !isPublic(host)) throw privateAddress(host, host)
      if (denyPrivate && viaProxy && isIP(host) === 0) {
        const addresses = await dns.promises.lookup(host, { all: true })
        const bad = addresses.find(({ address }) => !isPublic(address))
        if (bad !== undefined) throw privateAddress(host, bad.address)
        if (over) return
      }
      const mapped = origins[url.origin]
      dispatcher.dispatch(
        {
          origin: mapped ?? url.origin,
          path: url.pathname + url.search,
          method: "GET",
          // The agent has them too, but a proxy's own does not hand them on.
          headersTimeout: stallTimeout,
          bodyTimeout: stallTimeout,
          headers: mapped === undefined ? headersFor() : { ...headersFor(), host: url.host }
        },
        makeHandler()
      )
    }

    /** One response. */
    const makeHandler = (): Dispatcher.DispatchHandler => {
      let expected: number | undefined // bytes of the whole file
      let received = 0 // bytes of the whole file so far, as they are sent
      let size = 0 // decoded
      let next: (() => void) | undefined // after a response whose body is of no interest
      let ignored = 0
      let skipBody = false
      let progressAt = 0
      const waits = new Set<"disk" | "decoder" | "rate">() // what the socket waits for

      const pause = (why: "disk" | "decoder" | "rate") => {
        if (waits.size === 0) controller?.pause()
        waits.add(why)
      }
      const unpause = (why: "disk" | "decoder" | "rate") => {
        if (waits.delete(why) && waits.size === 0 && !over) controller?.resume()
      }

      const onDecoded = (chunk: Buffer) => {
        if (over) return
        size += chunk.length
        if (request.maxSize !== undefined && size > request.maxSize) {
          fail(new Failure("too-large", `more than ${formatSize(request.maxSize)}`, false))
          return
        }
        hash?.update(chunk)
        if (sink?.write(chunk) === true) {
          if (decoder === undefined) pause("disk")
          else decoder.pause()
        }
      }

      const onWhole = () =>
        guard(async () => {
          if (expected !== undefined && received !== expected) {
            throw new Failure("dropped", `${received} of ${expected} bytes arrived`, true)
          }
          const { checksum } = request
          const actual = hash?.digest("hex")
          if (checksum !== undefined && actual !== checksum.hex) {
            // What was continued may have been spoilt on the disk: then the whole file is fetched.
            const resumed = partial !== undefined
            throw new Failure("checksum", `${checksum.algorithm} is ${actual}, not ${checksum.hex}`, resumed)
          }
          await cleaning
          if (over) return
          let file: string | undefined
          if (sink !== undefined) {
            // From here on the file is as good as named: an abort waits for it.
            const finishing = sink.finish()
            closing = finishing.then(
              () => undefined,
              () => sink?.abandon(false).then(keptBytes)
            )
            file = await finishing.catch((error) => {
              closing = undefined
              throw error
            })
          }
          if (over) return
          over = true
          callbacks.succeed({
            size,
            path: file,
            skipped: false,
            resumedFrom: partial?.offset ?? 0,
            status: partial === undefined ? 200 : 206
          })
        })

      const onBody = (status: number, headers: Headers) => {
        const length = one(headers["content-length"])
        const announced = length === undefined ? undefined : Number(length)
        decoder = makeDecoder(one(headers["content-encoding"]) ?? "")
        if (status === 206) {
          const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(one(headers["content-range"]) ?? "")
          const etag = one(headers["etag"])
          const modified = one(headers["last-modified"])
          const end = range === null ? 0 : Number(range[2]) + 1
          const total = range === null || range[3] === "*" ? partial?.sidecar.total : Number(range[3])
          const wrong =
            partial === undefined
              ? "a part was sent that nobody asked for"
              : range === null || Number(range[1]) >= end
                ? `Content-Range '${one(headers["content-range"]) ?? ""}' is malformed`
                : Number(range[1]) !== partial.offset
                  ? `asked for bytes from ${partial.offset}, got bytes from ${range[1]}`
                  : total !== end
                    ? "the part sent does not reach the end"
                    : partial.sidecar.total !== undefined && total !== partial.sidecar.total
                      ? `the file was ${partial.sidecar.total} bytes long, and is ${total} now`
                      : (partial.sidecar.validator.startsWith('"') ? etag : modified) !== undefined &&
                          (partial.sidecar.validator.startsWith('"') ? etag : modified) !==
                            partial.sidecar.validator
                        ? "the part sent is of another version"
                        : announced !== undefined && announced !== end - partial.offset
                          ? "Content-Length and Content-Range disagree"
                          : decoder !== undefined
                            ? "the part sent is compressed"
                            : undefined
          if (wrong !== undefined) throw new Failure("range", wrong, partial !== undefined)
          received = partial!.offset
          size = partial!.offset
          expected = end
        } else {
          // The whole file: it has changed, or the server does not do ranges.
          if (partial !== undefined) cleaning = discardPartial(folder!, target!, partial.file)
          cleaning?.catch(fail)
          partial = undefined
          expected = announced
          if (request.checksum !== undefined) hash = createHash(request.checksum.algorithm)
        }
        if (request.maxSize !== undefined && decoder === undefined && (expected ?? 0) > request.maxSize) {
          throw new Failure(
            "too-large",
            `${formatSize(expected!)}, more than ${formatSize(request.maxSize)}`,
            false
          )
        }
        decoder
          ?.on("data", onDecoded)
          .on("end", onWhole)
          .on("error", fail)
          .on("drain", () => unpause("decoder"))
        if (target === undefined || folder === undefined) return
        let name = partial?.sidecar.name ?? target.name
        const disposition = one(headers["content-disposition"])
        if (target.contentDisposition === true && disposition !== undefined) {
          name = fromContentDisposition(disposition) ?? name
        }
        if (name !== target.name) {
          if (target.claim?.(name) === false) {
            throw new Failure(
              "name-taken",
              `Content-Disposition names it ${name}, as another download`,
              false
            )
          }
          const file = path.join(target.directory, name)
          if (target.existing === "keep" && looked !== name && fs.existsSync(file)) {
            // What is there decides whether this body is wanted, and that takes time where there is a checksum.
            looked = name
            skipBody = true
            decoder?.destroy()
            controller?.abort(new Error("the file is there already"))
            guard(async () => {
              if (!(await kept(name)) && !over) await dispatch()
            })
            return
          }
        }
        refuseFolder(name)
        const validator =
          decoder === undefined && target.resume !== false ? strongValidator(headers) : undefined
        sink = new FileSink(
          folder,
          target,
          name,
          validator === undefined && partial === undefined
            ? undefined
            : { url: href(request.url), validator: validator ?? partial!.sidecar.validator, total: expected },
          partial,
          () => (decoder === undefined ? unpause("disk") : decoder.resume()),
          fail
        )
      }

      return {
        onRequestStart: (started) => {
          controller = started
          if (over) started.abort(new Error("over"))
        },
        onResponseStart: (_controller, status, headers, statusMessage) => {
          if (status < 200 || over) return
          guard(() => {
            if (redirects.has(status)) {
              skipBody = true
              next = () => redirect(one(headers["location"]), status)
            } else if (status === 416 && partial !== undefined) {
              // What is there is not a part of what the server has now.
              skipBody = true
              next = () =>
                guard(async () => {
                  await discardPartial(folder!, target!, partial!.file)
                  partial = undefined
                  if (!over) await dispatch()
                })
            } else if (status >= 300) {
              skipBody = true
              const detail = `HTTP ${status} ${statusMessage ?? ""}`.trim()
              const after =
                status === 429 || status === 503 ? retryAfter(one(headers["retry-after"])) : undefined
              next = () =>
                fail(
                  new Failure("status", detail, retryableStatus.has(status), { status, retryAfter: after })
                )
            } else onBody(status, headers)
          })
        },
        onResponseData: (_controller, chunk) => {
          if (over) return
          if (skipBody) {
            // A short body is read to keep the connection, a long one is not worth it.
            ignored += chunk.length
            if (ignored > 65_536 && next !== undefined) {
              const then = next
              next = undefined
              controller?.abort(new Error("body of no interest"))
              guard(then)
            }
            return
          }
          received += chunk.length
          if (decoder === undefined) onDecoded(chunk)
          else if (!decoder.write(Buffer.from(chunk))) pause("decoder")
          if (request.onProgress !== undefined) {
            const now = Date.now()
            if (now - progressAt >= 100) {
              progressAt = now
              request.onProgress(decoder === undefined ? size : received, expected)
            }
          }
          const wait = limiter?.(chunk.length) ?? 0
          if (wait > 5 && !over) {
            pause("rate")
            clearTimeout(limiting)
            limiting = setTimeout(unpause, wait, "rate")
          }
        },
        onResponseEnd: () => {
          if (over) return
          if (skipBody) {
            const then = next
            next = undefined
            if (then !== undefined) guard(then)
          } else if (decoder === undefined) onWhole()
          else decoder.end()
        },
        onResponseError: (_controller, error) => {
          if (!skipBody || next !== undefined) fail(error)
        }
      }
    }

    const refuseFolder = (name: string) => {
      if (target !== undefined && folder?.folders.has(name) === true)
        throw new Failure("file", `${path.join(target.directory, name)} is a folder`, false)
    }
    /** Whether what has the name already is left: then the transfer is over. */
    const kept = async (name: string): Promise<boolean> => {
      const file = path.join(target!.directory, name)
      const there = await existing(file, request.checksum, () => over)
      if (over || there === undefined) return over
      if (there.right) {
        await close(true)
        callbacks.succeed(skipped(file, there.size))
        return true
      }
      request.onNote?.(`${file} is there, but its sha256 is another; it is fetched anew`)
      return false
    }
    const takeNotes = () => {
      for (const note of folder?.takeNotes() ?? []) request.onNote?.(note)
    }

    const begin = async (): Promise<void> => {
      if (target !== undefined) {
        folder = await openFolder(target)
        takeNotes()
        if (target.existing === "keep" && (await kept(target.name))) return
        if (target.contentDisposition !== true) refuseFolder(target.name)
        if (target.resume !== false) partial = await findPartial(folder, target, href(request.url))
        takeNotes()
        if (request.checksum !== undefined && partial !== undefined) {
          hash = createHash(request.checksum.algorithm)
          for await (const chunk of readPartial(partial)) hash.update(chunk as Buffer)
        }
      }
      if (!over) await dispatch()
    }
    if (request.checksum !== undefined) hash = createHash(request.checksum.algorithm)
    guard(begin)
    return () => close(false)
  }

  const close = async () => {
    await Promise.all([dispatcher.destroy(), smallFiles.close()])
  }
  return { start, close }
}

const skipped = (file: string, size: number): Downloaded => ({
  size,
  path: file,
  skipped: true,
  resumedFrom: 0,
  status: 0
})

const stripUser = (url: URL): string => {
  const copy = new URL(url.href)
  copy.username = ""
  copy.password = ""
  return copy.href
}
