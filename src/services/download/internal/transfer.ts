import { createHash, type Hash } from "node:crypto"
import * as dns from "node:dns"
import * as fs from "node:fs"
import type { LookupFunction } from "node:net"
import { isIP } from "node:net"
import * as path from "node:path"
import { Duration } from "effect"
import ipaddr from "ipaddr.js"
import type { Dispatcher } from "undici"
import { describe } from "../../host/OwnFiles.js"
import { formatSize, plural } from "../../text/Units.js"
import type {
  Downloaded,
  SessionOptions as Options,
  Reason,
  Failure as Report,
  Request,
  Target
} from "../Download.js"
import { fromContentDisposition } from "../FileName.js"
import { contentRange, type Headers, isWhole, one, strongValidator, whyNotJoined } from "./answers.js"
import { makeDispatcher } from "./connections.js"
import { Decoder, readEncodings } from "./encodings.js"
import { existing, FileSink } from "./fileSink.js"
import { discardPartial, Folder, findPartial, type Partial, readPartial } from "./partials.js"
import type { Proxies } from "./proxies.js"
import { endedInOrder, type Reading, source } from "./reads.js"
import { SmallFiles } from "./smallFiles.js"

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

const globalUnicast = ipaddr.IPv6.parseCIDR("2000::/3")

/** An IPv6 address outside of 2000::/3 is none for the whole world, or stands for an IPv4 address. */
const isPublic = (text: string): boolean => {
  const address = ipaddr.process(text)
  return address.range() === "unicast" && (address instanceof ipaddr.IPv4 || address.match(globalUnicast))
}

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

/** These speak of the moment, whatever was asked for. */
const passingStatus = new Set([408, 425, 429, 502, 503, 504])
const retryableStatus = new Set([...passingStatus, 500])
const redirects = new Set([301, 302, 303, 307, 308])
const secrets = new Set(["authorization", "cookie", "proxy-authorization"])

const retryAfter = (header: string | undefined): number | undefined => {
  if (header === undefined) return undefined
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined
}

/** Failures that may be due to a `Range`. */
const ofRange = new Set<Reason>(["dropped", "stalled", "status", "protocol"])
/** Requests with a `Range` that fail so before the next goes without. */
const mostRefused = 2
/** Most bytes of a body that is decoded, where no other limit is set. */
const mostDecoded = 2 ** 30
/** What is read of a body of no interest so that its connection can be used again: bytes, and ms. */
const mostIgnored = 65_536
const longestIgnored = 1000
/** How long, in ms, the transfer itself waits for the end of such a body, so that it can use the connection again. */
const patience = 50
/** Answers of status 1xx before the one that counts. */
const mostInterim = 100

const textDecoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const full = new Set(["ENOSPC", "EDQUOT"])
const broke = "the connection broke before the body was whole"
const descriptors = new Set(["EMFILE", "ENFILE"])
const refused = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT"
])

/** Sorts what undici, zlib, TLS and the file system throw into reasons that a person can act on. */
const classify = (error: unknown, request: Request, url: URL, stallTimeout: number): Failure => {
  if (error instanceof Failure) return error
  const {
    code = "",
    message,
    errors
  } = error as NodeJS.ErrnoException & { errors?: ReadonlyArray<NodeJS.ErrnoException> }
  // The resolver names what it looked up: behind a proxy that is the proxy's name.
  const { hostname = url.hostname } = error as { hostname?: string }
  const first = errors?.find(({ code }) => descriptors.has(code ?? "")) ?? errors?.[0]
  if (first !== undefined) return classify(first, request, url, stallTimeout)
  if (descriptors.has(code)) return new Failure("descriptors", `too many open files (${code})`, true)
  if (full.has(code)) {
    return new Failure("disk-full", `no space left on the disk of ${request.target?.directory}`, false)
  }
  if (code === "ENOTFOUND") return new Failure("dns", `no address found for ${hostname}`, false)
  if (code === "EAI_AGAIN") return new Failure("dns", `the name server did not answer for ${hostname}`, true)
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
  if (message === "bad upgrade") {
    return new Failure("protocol", "the server switched to another protocol, which was not asked for", false)
  }
  if (
    /^(UND_ERR_SOCKET|ECONNRESET|EPIPE|ECONNABORTED|UND_ERR_RES_CONTENT_LENGTH_MISMATCH|UND_ERR_CLOSED)$/.test(
      code
    )
  ) {
    return new Failure("dropped", broke, true)
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
  // What undici takes for granted of every answer, and this one does not keep to.
  if (code === "ERR_ASSERTION") return new Failure("protocol", "the answer is not HTTP", false)
  return new Failure("protocol", message || code || String(error), false)
}

export const make = async (options: Options, proxies: Proxies): Promise<Transfers> => {
  const { denyPrivate = false, maxRedirects = 10 } = options
  const connectTimeout = Duration.toMillis(options.connectTimeout ?? 10_000)
  const stallTimeout = Duration.toMillis(options.stallTimeout ?? 30_000)
  const lookup = denyPrivate ? publicOnly : undefined
  let keep = true
  const dispatchers: Array<Dispatcher> = []
  const dial = async (careful: boolean): Promise<Dispatcher> => {
    const dispatcher = await makeDispatcher({ connectTimeout, stallTimeout, lookup, proxies, careful, keep })
    dispatchers.push(dispatcher)
    return dispatcher
  }
  let dispatcher = await dial(false)
  let carefulDispatcher: Promise<Dispatcher> | undefined
  /** Descriptors are scarce: closes idle connections, and keeps none from now on. */
  const spare = async () => {
    if (!keep) return
    keep = false
    const before = dispatcher
    dispatcher = await dial(false)
    before.close().catch(() => undefined)
  }
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
  const viaProxy = proxies.http !== "" || proxies.https !== ""

  const start: Transfers["start"] = (request, callbacks) => {
    let url = request.url
    const target = request.target
    let hops = 0
    let over = false
    let controller: Dispatcher.DispatchController | undefined
    let sink: FileSink | undefined
    let decoder: Decoder | undefined
    let folder: Folder | undefined
    let partial: Partial | undefined
    let hash: Hash | undefined
    let limiting: NodeJS.Timeout | undefined
    let closing: Promise<void> | undefined
    let looked: string | undefined // the name from Content-Disposition under which there was a file
    let cleaning: Promise<void> | undefined // of a partial file that is of no use any more
    let ranged = false // whether what is under way asks for the rest of `partial`
    let progressed = false // whether that has brought any of it
    let careful = false // whether what is under way needs a connection that ends provably
    const history = request.history ?? { lengths: new Map<string, number>(), refused: 0 }
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
      const failure = classify(error, request, url, stallTimeout)
      if (ranged && progressed) history.refused = 0
      else if (ranged && ofRange.has(failure.reason)) history.refused++
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
      const spared = failure.reason === "descriptors" ? spare() : undefined
      Promise.all([close(forget), spared]).then(report, report)
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
        const user = `${textDecoded(url.username)}:${textDecoded(url.password)}`
        headers["authorization"] = `Basic ${Buffer.from(user).toString("base64")}`
      }
      for (const [name, value] of Object.entries(request.headers ?? {})) {
        const key = name.toLowerCase()
        if (url.origin === origin || !secrets.has(key)) headers[key] = value
      }
      if (ranged && partial !== undefined) {
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
      progressed = false
      let using = dispatcher
      if (careful) {
        carefulDispatcher ??= dial(true)
        using = await carefulDispatcher
        if (over) return
      }
      using.dispatch(
        {
          origin: url.origin,
          path: url.pathname + url.search,
          method: "GET",
          // The agent has them too, but a proxy's own does not hand them on.
          headersTimeout: stallTimeout,
          bodyTimeout: stallTimeout,
          headers: headersFor()
        },
        makeHandler()
      )
    }

    /** What an earlier attempt has left is of no use, or of none yet: asks for the whole file. */
    const askWhole = (): Promise<void> => {
      ranged = false
      return dispatch()
    }

    /** One response. */
    const makeHandler = (): Dispatcher.DispatchHandler => {
      let own: Dispatcher.DispatchController | undefined
      let connection: Reading | undefined
      let interim = 0
      let version: string | undefined // the strong validator of a whole answer
      let limit = request.maxSize
      let note: string | undefined
      let expected: number | undefined // bytes of the whole file
      let received = 0 // bytes of the whole file so far, as they are sent
      let size = 0 // decoded
      let next: (() => void) | undefined // after a response whose body is of no interest
      let ignored = 0
      let skipBody = false
      let done = false
      let ignoring: NodeJS.Timeout | undefined
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
        if (limit !== undefined && size > limit) {
          const decoded =
            request.maxSize === undefined ? " when decoded; a larger maximum size permits more" : ""
          fail(new Failure("too-large", `more than ${formatSize(limit)}${decoded}`, false))
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
            throw new Failure("dropped", `${received} of ${plural(expected, "byte")} arrived`, true)
          }
          if (version !== undefined) sameLength(version, size)
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
          // What was not continued has become useless.
          if (folder?.partials.has(target!.name) === true) {
            const left = await findPartial(folder, target!, href(request.url))
            if (left !== undefined) await discardPartial(folder, target!, left.file)
          }
          if (over) return
          over = true
          callbacks.succeed({
            size,
            path: file,
            skipped: false,
            resumedFrom: partial?.offset ?? 0,
            status: partial === undefined ? 200 : 206,
            ...(note === undefined ? {} : { note })
          })
        })

      /** Goes on with `then` at once; of the body at most a little is read, when that keeps the connection. */
      const passBody = (then: () => void | Promise<void>, keep = true) => {
        next = then
        skipBody = true
        if (keep) ignoring = setTimeout(goOn, patience)
        else {
          own?.abort(new Error("body of no interest"))
          goOn()
        }
      }
      const goOn = () => {
        const then = next
        next = undefined
        clearTimeout(ignoring)
        if (then === undefined || over) return
        if (!done) {
          controller = undefined // the rest is no matter of the transfer
          ignoring = setTimeout(() => own?.abort(new Error("body of no interest")), longestIgnored)
        }
        guard(then)
      }

      const sameLength = (validator: string, length: number) => {
        const known = history.lengths.get(validator)
        if (known !== undefined && known !== length) {
          const why = `${validator} stood for ${plural(known, "byte")}, and stands for ${length} now`
          throw new Failure("range", why, true)
        }
        history.lengths.set(validator, length)
      }

      const onEnd = () => {
        if (over) return
        if (decoder === undefined) onWhole()
        else decoder.end()
      }

      const onBody = (status: number, headers: Headers) => {
        const sent = one(headers["content-length"])
        const length = sent === undefined ? undefined : Number(sent)
        const transfer = one(headers["transfer-encoding"])?.trim().toLowerCase() ?? "identity"
        if (transfer !== "chunked" && transfer !== "identity") {
          throw new Failure("decode", `Transfer-Encoding '${transfer}' is unknown`, false)
        }
        const unbounded = length === undefined && transfer === "identity"
        if (unbounded && !careful && (connection as { encrypted?: boolean }).encrypted === true) {
          careful = true
          return passBody(dispatch, false)
        }
        // Where identity is asked for, an encoding can only be the file's own.
        const disposition = one(headers["content-disposition"])
        const names = target && [
          ...[target.name, request.url.pathname, url.pathname],
          ...(disposition === undefined ? [] : [fromContentDisposition(disposition) ?? ""])
        ]
        const encodings = readEncodings(headers, names)
        if (encodings.unknown !== undefined) {
          throw new Failure("decode", `Content-Encoding '${encodings.unknown}' is unknown`, false)
        }
        const encoded = encodings.undo.length > 0
        const validator = strongValidator(headers)
        const piece =
          ranged && partial?.sidecar.total !== undefined
            ? { offset: partial.offset, validator: partial.sidecar.validator, total: partial.sidecar.total }
            : undefined
        if (status === 206) {
          const why =
            whyNotJoined(headers, piece, length) ?? (encoded ? "the part sent is compressed" : undefined)
          if (why !== undefined) throw new Failure("range", why, ranged)
          received = piece!.offset
          size = piece!.offset
          expected = piece!.total
        } else {
          const whole = isWhole(headers, length)
          const total = encoded ? undefined : (length ?? contentRange(headers)?.end)
          if (ranged) {
            const same = validator === piece?.validator
            // Anything else may be the rest alone, under a status that says that it is all.
            if (!whole || !same || total !== piece?.total) return passBody(askWhole, false)
          }
          if (!whole) {
            const range = one(headers["content-range"])
            throw new Failure("range", `Content-Range '${range}' is not that of a whole file`, false)
          }
          if (validator !== undefined && total !== undefined) sameLength(validator, total)
          // A part of the same version is of use until this is whole.
          if (partial !== undefined && (encoded || validator !== partial.sidecar.validator)) {
            cleaning = discardPartial(folder!, target!, partial.file)
            cleaning.catch(fail)
          }
          partial = undefined
          ranged = false
          version = validator
          expected = encoded ? length : total
          if (request.checksum !== undefined) hash = createHash(request.checksum.algorithm)
        }
        note = encodings.note
        if (encoded) limit ??= mostDecoded
        else if (limit !== undefined && (expected ?? 0) > limit) {
          throw new Failure("too-large", `${formatSize(expected!)}, more than ${formatSize(limit)}`, false)
        }
        if (encoded) {
          decoder = new Decoder(encodings.undo, {
            data: onDecoded,
            end: onWhole,
            error: fail,
            drain: () => unpause("decoder")
          })
        }
        if (target === undefined || folder === undefined) return
        let name = partial?.sidecar.name ?? target.name
        if (target.contentDisposition === true && disposition !== undefined) {
          name = fromContentDisposition(disposition) ?? name
        }
        if (name !== target.name) {
          const resolved = request.resolveName === undefined ? name : request.resolveName(name)
          if (resolved === undefined) {
            const why = `Content-Disposition names it ${name}, as another download`
            throw new Failure("name-taken", why, false)
          }
          name = resolved
          const file = path.join(target.directory, name)
          const there = looked !== name && fs.lstatSync(file, { throwIfNoEntry: false }) !== undefined
          if (target.existing === "keep" && there) {
            // What is there decides whether this body is wanted, and that takes time where there is a checksum.
            looked = name
            passBody(async () => {
              if (!(await kept(name)) && !over) await dispatch()
            }, false)
            return
          }
        }
        refuseFolder(name)
        const resumable = !encoded && target.resume !== false && expected !== undefined
        sink = new FileSink(
          folder,
          target,
          name,
          validator !== undefined && resumable
            ? { url: href(request.url), validator, total: expected }
            : undefined,
          partial,
          () => (decoder === undefined ? unpause("disk") : decoder.resume()),
          fail
        )
      }

      return {
        onRequestStart: (started) => {
          own = started
          controller = started
          if (over) started.abort(new Error("over"))
        },
        onResponseStart: (_controller, status, headers, statusMessage) => {
          if (over) return
          connection = source()
          guard(() => {
            if (status < 100) throw new Failure("protocol", `HTTP ${status} is no status`, false)
            if (status < 200) {
              if (++interim > mostInterim)
                throw new Failure("protocol", `more than ${mostInterim} interim answers`, false)
            } else if (redirects.has(status)) {
              passBody(() => redirect(one(headers["location"]), status))
            } else if (status === 416 && ranged) {
              // What is there is not a part of what the server has now.
              passBody(async () => {
                await discardPartial(folder!, target!, partial!.file)
                partial = undefined
                if (!over) await askWhole()
              })
            } else if (status >= 300 && ranged && !passingStatus.has(status)) {
              passBody(() => {
                history.refused = mostRefused
                return askWhole()
              })
            } else if (status >= 300) {
              const detail = `HTTP ${status} ${statusMessage ?? ""}`.trim()
              const after =
                status === 429 || status === 503 ? retryAfter(one(headers["retry-after"])) : undefined
              passBody(() =>
                fail(
                  new Failure("status", detail, retryableStatus.has(status), { status, retryAfter: after })
                )
              )
            } else onBody(status, headers)
          })
        },
        onResponseData: (_controller, chunk) => {
          if (skipBody) {
            ignored += chunk.length
            if (ignored > mostIgnored) own?.abort(new Error("body of no interest"))
            return
          }
          if (over) return
          progressed = true
          received += chunk.length
          if (decoder === undefined) onDecoded(chunk)
          else if (!decoder.write(chunk)) pause("decoder")
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
          done = true
          if (connection !== undefined) connection.aioHead = 0
          if (skipBody) return goOn()
          if (over) return
          // undici takes a reset for an end; here only what was closed in order is whole.
          if (connection?.aioEnd === undefined) onEnd()
          else {
            endedInOrder(connection, (inOrder) => {
              if (inOrder) onEnd()
              else fail(new Failure("dropped", broke, true))
            })
          }
        },
        onResponseError: (_controller, error) => {
          done = true
          if (skipBody) return goOn()
          const malformed =
            connection === undefined &&
            (error as NodeJS.ErrnoException).code === "UND_ERR_RES_CONTENT_LENGTH_MISMATCH"
          fail(malformed ? new Failure("protocol", "the head of the answer is malformed", false) : error)
        }
      }
    }

    const refuseFolder = (name: string) => {
      if (target !== undefined && folder?.folders.has(name) === true)
        throw new Failure("file", `${path.join(target.directory, name)} is a folder`, false)
    }
    const tell = (note: string | undefined) => {
      if (note !== undefined) request.onNote?.(note)
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
      tell(`${file} is there, but its sha256 is another; it is fetched anew`)
      return false
    }

    const begin = async (): Promise<void> => {
      if (target !== undefined) {
        folder = await openFolder(target)
        tell(folder.takeNote())
        if (target.existing === "keep" && (await kept(target.name))) return
        if (target.contentDisposition !== true) refuseFolder(target.name)
        if (target.resume !== false) partial = await findPartial(folder, target, href(request.url), tell)
        if (partial !== undefined && partial.sidecar.total === undefined) {
          await discardPartial(folder, target, partial.file)
          partial = undefined
        }
        if (partial !== undefined) {
          const { total, validator } = partial.sidecar
          if (!history.lengths.has(validator)) history.lengths.set(validator, total!)
          ranged = history.refused < mostRefused
        }
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
    await carefulDispatcher
    await Promise.all([...dispatchers.map((dispatcher) => dispatcher.destroy()), smallFiles.close()])
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
