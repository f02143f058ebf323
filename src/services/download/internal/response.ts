import { createHash, type Hash } from "node:crypto"
import * as path from "node:path"
import type { Dispatcher } from "undici"
import { plural } from "../../text/Plural.js"
import { formatSize } from "../../text/Sizes.js"
import { type Downloaded, type History, type Request, show, type Target } from "../Download.js"
import { fromContentDisposition } from "../FileName.js"
import { type Headers, lastModified, one, retryAfter } from "./answers.js"
import { readBody } from "./body.js"
import { Decoder } from "./encodings.js"
import { broke, Failure } from "./failure.js"
import { FileSink } from "./fileSink.js"
import { bytesOf, discardPartial, type Folder, findPartial, type Partial } from "./partials.js"
import { isFile } from "./request.js"
import type { Split } from "./split.js"
import * as undici from "./undici.js"

// Handles one response: a redirect, a failure, the rest of a partial file or a whole file. Only a body whose head proves
// what its bytes are is written to the disk, and only an orderly end completes it.

/** Transient statuses, whatever was requested. */
const passingStatus = new Set([408, 425, 429, 502, 503, 504])
const retryableStatus = new Set([...passingStatus, 500])
const redirects = new Set([301, 302, 303, 307, 308])
/** Statuses whose responses have no body, whatever their head says. */
const emptyStatus = new Set([204, 205, 304])
/** Most bytes of a decoded body, if no other limit is set. */
const mostDecoded = 2 ** 30
/** Limits on reading an unwanted body so that its connection can be reused: bytes, and ms. */
const mostIgnored = 65_536
const longestIgnored = 1000
/** How long, in ms, the transfer itself waits for the end of such a body, to reuse the connection. */
const patience = 50
/** Most responses of status 1xx before the final one. */
const mostInterim = 100

/** Most failed requests with a `Range` in a row; the next one has none. */
export const mostRefused = 2

/** The state of a transfer that its responses share: one at a time, several after redirects or a refused range. */
export interface Transfer {
  readonly request: Request
  readonly history: History
  /** Returns the milliseconds to wait after this many bytes. */
  readonly limiter: ((bytes: number) => number) | undefined
  /** The URL of the current request: the original one, or that of a redirect. */
  url: URL
  /** The method of the current request. */
  method: string
  /** Whether redirects are followed; else they are received. */
  readonly redirects: boolean
  /** Whether the outcome is decided, or the transfer aborted. */
  over: boolean
  controller: Dispatcher.DispatchController | undefined
  sink: FileSink | undefined
  /** The further connections of a file in segments. */
  split: Split | undefined
  decoder: Decoder | undefined
  folder: Folder | undefined
  /** The partial file to continue. */
  partial: Partial | undefined
  hash: Hash | undefined
  limiting: NodeJS.Timeout | undefined
  closing: Promise<void> | undefined
  /** The removal of an obsolete partial file. */
  cleaning: Promise<void> | undefined
  /** Whether the current request is for the rest of `partial`. */
  ranged: boolean
  /** Whether its response has brought any bytes of it. */
  progressed: boolean
  /** Whether the current request needs a connection with a provable end. */
  careful: boolean
  readonly succeed: (downloaded: Downloaded) => void
  readonly fail: (error: unknown) => void
  /** Fails the transfer if the step throws or rejects, unless it is over by then. */
  readonly guard: (step: () => void | Promise<void>) => void
  /** Begins further connections, if the file is to be split and its head proves its version; `whole` is called at the end. */
  readonly beginSplit: (from: number, headers: Headers, whole: () => void) => void
  /** Sends the next request. */
  readonly dispatch: () => Promise<void>
  /** Requests the whole file, because the partial file cannot be continued. */
  readonly askWhole: () => Promise<void>
  readonly redirect: (location: string | undefined, status: number) => void
  /** Whether `existing` is `"keep"` and an entry of that name is there: then `kept` decides, once for a name. */
  readonly mayKeep: (name: string) => boolean
  /** Whether an existing file of that name is kept: then the transfer is over. */
  readonly kept: (name: string) => Promise<boolean>
  /** The existing file that is kept unless the server's is newer. */
  since: { readonly size: number; readonly mtimeMs: number } | undefined
  /** Keeps that file: the transfer is over. */
  readonly keepUnmodified: () => Promise<void>
  /** Reports the bytes on the disk from which a further attempt continues. */
  readonly keptBytes: (bytes: number) => void
}

export const refuseFolder = ({ folder, request: { target } }: Transfer, name: string): void => {
  if (target !== undefined && folder?.folders.has(name) === true)
    throw new Failure("file", `${path.join(target.directory, name)} is a folder`, false)
}

/** The handler of one response. */
export const makeHandler = (transfer: Transfer): Dispatcher.DispatchHandler => {
  const { history, limiter, request } = transfer
  const { receiver, target } = request
  let own: Dispatcher.DispatchController | undefined
  let connection: undici.Connection | undefined
  let interim = 0
  let version: string | undefined // the strong validator of a response with the whole file
  let limit = request.maxSize
  let note: string | undefined
  let expected: number | undefined // bytes of the whole file
  let received = 0 // bytes of the whole file so far, as they are sent
  let size = 0 // decoded
  let next: (() => void) | undefined // called after a response with an unwanted body
  let ignored = 0
  let skipBody = false
  let done = false
  let ignoring: NodeJS.Timeout | undefined
  let progressAt = 0
  const waits = new Set<"disk" | "decoder" | "rate">() // reasons why the socket is paused

  const pause = (why: "disk" | "decoder" | "rate") => {
    if (waits.size === 0) transfer.controller?.pause()
    waits.add(why)
  }
  const unpause = (why: "disk" | "decoder" | "rate") => {
    if (waits.delete(why) && waits.size === 0 && !transfer.over) transfer.controller?.resume()
  }

  const onDecoded = (chunk: Buffer) => {
    if (transfer.over) return
    size += chunk.length
    if (limit !== undefined && size > limit) {
      const decoded = request.maxSize === undefined ? " when decoded; a larger maximum size permits more" : ""
      transfer.fail(new Failure("too-large", `more than ${formatSize(limit)}${decoded}`, false))
      return
    }
    transfer.hash?.update(chunk)
    if (transfer.sink?.write(chunk) === true || receiver?.data(chunk) === false) {
      if (transfer.decoder === undefined) pause("disk")
      else transfer.decoder.pause()
    }
  }

  const onWhole = () =>
    transfer.guard(async () => {
      if (transfer.split === undefined && expected !== undefined && received !== expected) {
        throw new Failure("dropped", `${received} of ${plural(expected, "byte")} arrived`, true)
      }
      const { checksum } = request
      if (transfer.split !== undefined) {
        transfer.sink!.flush()
        size = expected!
      }
      if (version !== undefined) sameLength(version, size)
      const actual =
        transfer.split === undefined
          ? transfer.hash?.digest("hex")
          : checksum && (await transfer.sink!.digest(checksum.algorithm))
      if (checksum !== undefined && actual !== checksum.hex) {
        // The continued part may be corrupt on the disk: then the whole file is downloaded.
        const resumed = transfer.partial !== undefined
        throw new Failure("checksum", `${checksum.algorithm} is ${actual}, not ${checksum.hex}`, resumed)
      }
      await transfer.cleaning
      if (transfer.over) return
      let file: string | undefined
      if (transfer.sink !== undefined) {
        // From here on the file gets its name: an abort waits for it.
        const finishing = transfer.sink.finish()
        transfer.closing = finishing.then(
          () => undefined,
          () => transfer.sink?.abandon(false).then(transfer.keptBytes)
        )
        file = await finishing.catch((error) => {
          transfer.closing = undefined
          throw error
        })
      }
      // Parts that were not continued are obsolete.
      if (transfer.folder?.partials.has(target!.name) === true) {
        const left = await findPartial(transfer.folder, target!, show(request.url))
        if (left !== undefined) await discardPartial(transfer.folder, target!, left.file)
      }
      if (transfer.over) return
      transfer.over = true
      transfer.succeed({
        size,
        path: file,
        skipped: false,
        resumedFrom: transfer.partial === undefined ? 0 : bytesOf(transfer.partial),
        status: transfer.partial === undefined ? 200 : 206,
        ...(note === undefined ? {} : { note })
      })
    })

  /** Continues with `then` at once; reads at most a little of the body, if that keeps the connection. */
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
    if (then === undefined || transfer.over) return
    if (!done) {
      transfer.controller = undefined // the transfer does not wait for the rest
      ignoring = setTimeout(() => own?.abort(new Error("body of no interest")), longestIgnored)
    }
    transfer.guard(then)
  }

  const sameLength = (validator: string, length: number) => {
    const known = history.lengths.get(validator)
    if (known !== undefined && known !== length) {
      const why = `${validator} stood for ${plural(known, "byte")}, and stands for ${length} now`
      throw new Failure("range", why, true)
    }
    history.lengths.set(validator, length)
  }

  const onDrain = () => {
    wantMore()
    transfer.split?.resume()
  }
  const wantMore = () => (transfer.decoder === undefined ? unpause("disk") : transfer.decoder.resume())

  const onEnd = () => {
    if (transfer.over) return
    if (transfer.split !== undefined) transfer.split.leave(received)
    else if (transfer.decoder === undefined) onWhole()
    else transfer.decoder.end()
  }

  /** Takes a wanted body, if its head proves what it is. */
  const onBody = (status: number, headers: Headers) => {
    const { careful, partial, ranged } = transfer
    const disposition = one(headers["content-disposition"])
    const suggested = disposition === undefined ? undefined : fromContentDisposition(disposition)
    const piece =
      ranged && partial?.sidecar.total !== undefined
        ? { offset: partial.offset, validator: partial.sidecar.validator, total: partial.sidecar.total }
        : undefined
    const body = readBody(status, headers, {
      empty: transfer.method === "HEAD" || emptyStatus.has(status),
      received: receiver !== undefined && receiver.asFile !== true,
      endProves: careful || connection === undefined || !undici.isEncrypted(connection),
      // With identity requested, an encoding can only be the file's own.
      names: isFile(request)
        ? [target?.name ?? "", request.url.pathname, transfer.url.pathname, suggested ?? ""]
        : undefined,
      piece,
      ranged
    })
    if (body === "end") {
      transfer.careful = true
      return passBody(transfer.dispatch, false)
    }
    if (body === "range") return passBody(transfer.askWhole, false)
    const { encodings, total, validator } = body
    const { since } = transfer
    const modified = lastModified(headers)
    // Some servers take If-Modified-Since for another time than exactly theirs as no condition.
    if (since !== undefined && !body.rest && total === since.size && modified && +modified <= since.mtimeMs)
      return passBody(transfer.keepUnmodified, false)
    const encoded = encodings.undo.length > 0
    if (body.rest) received = size = piece!.offset
    else {
      if (validator !== undefined && total !== undefined) sameLength(validator, total)
      // A part of the same version is kept until this body is complete.
      if (partial !== undefined && (encoded || validator !== partial.sidecar.validator)) {
        transfer.cleaning = discardPartial(transfer.folder!, target!, partial.file)
        transfer.cleaning.catch(transfer.fail)
      }
      transfer.partial = undefined
      transfer.ranged = false
      version = validator
      if (request.checksum !== undefined) transfer.hash = createHash(request.checksum.algorithm)
    }
    expected = body.sent
    note = encodings.note
    if (encoded) {
      limit ??= mostDecoded
      transfer.decoder = new Decoder(encodings.undo, {
        data: onDecoded,
        end: onWhole,
        error: transfer.fail,
        drain: () => unpause("decoder")
      })
    } else if (limit !== undefined && (expected ?? 0) > limit) {
      throw new Failure("too-large", `${formatSize(expected!)}, more than ${formatSize(limit)}`, false)
    }
    receiver?.head({ status, headers, url: transfer.url }, wantMore)
    if (target !== undefined) {
      const time = target.mtime === true ? modified : undefined
      openSink(target, suggested, encoded ? undefined : validator, time)
      transfer.beginSplit(received, headers, onWhole)
    }
  }

  /** Decides the file's name, and takes the bytes under it; without a validator they cannot be continued later. */
  const openSink = (
    target: Target,
    suggested: string | undefined,
    validator: string | undefined,
    modified: Date | undefined
  ) => {
    const { folder, partial } = transfer
    if (folder === undefined) return
    let name = partial?.sidecar.name ?? target.name
    if (target.contentDisposition === true && suggested !== undefined) name = suggested
    if (name !== target.name) {
      const resolved = request.resolveName === undefined ? name : request.resolveName(name)
      if (resolved === undefined) {
        const why = `Content-Disposition names it ${name}, the name of another download`
        throw new Failure("name-taken", why, false)
      }
      name = resolved
      if (transfer.mayKeep(name)) {
        // With a checksum it takes time to decide whether this body is wanted.
        passBody(async () => {
          if (!(await transfer.kept(name)) && !transfer.over) await transfer.dispatch()
        }, false)
        return
      }
    }
    refuseFolder(transfer, name)
    transfer.sink = new FileSink(
      folder,
      target,
      name,
      validator !== undefined && target.resume !== false && expected !== undefined
        ? { url: show(request.url), validator, total: expected }
        : undefined,
      partial,
      modified,
      onDrain,
      transfer.fail
    )
  }

  return {
    onRequestStart: (started) => {
      receiver?.onSend?.()
      own = started
      transfer.controller = started
      if (transfer.over) started.abort(new Error("over"))
    },
    onResponseStart: (_controller, status, headers, statusMessage) => {
      if (transfer.over) return
      connection = undici.answering()
      transfer.guard(() => {
        if (status < 100) throw new Failure("protocol", `HTTP ${status} is not a status`, false)
        if (status < 200) {
          if (++interim > mostInterim)
            throw new Failure("protocol", `more than ${mostInterim} interim answers`, false)
        } else if (status === 304 && transfer.since !== undefined) {
          passBody(transfer.keepUnmodified)
        } else if (redirects.has(status) && transfer.redirects) {
          passBody(() => transfer.redirect(one(headers["location"]), status))
        } else if (status === 416 && transfer.ranged) {
          // The partial file is not a part of the server's current version.
          passBody(async () => {
            await discardPartial(transfer.folder!, target!, transfer.partial!.file)
            transfer.partial = undefined
            if (!transfer.over) await transfer.askWhole()
          })
        } else if (status >= 300 && transfer.ranged && !passingStatus.has(status)) {
          passBody(() => {
            history.refused = mostRefused
            return transfer.askWhole()
          })
        } else if (status >= 300) {
          const detail = `HTTP ${status} ${statusMessage ?? ""}`.trim()
          const after = status === 429 || status === 503 ? retryAfter(one(headers["retry-after"])) : undefined
          const more = { status, retryAfter: after }
          const failure = new Failure("status", detail, retryableStatus.has(status), more)
          if (receiver !== undefined && receiver.refuses?.(failure.report(request.url)) === false)
            onBody(status, headers)
          else passBody(() => transfer.fail(failure))
        } else onBody(status, headers)
      })
    },
    onResponseData: (_controller, arrived) => {
      let chunk = arrived
      if (skipBody) {
        ignored += chunk.length
        if (ignored > mostIgnored) own?.abort(new Error("body of no interest"))
        return
      }
      if (transfer.over) return
      transfer.progressed = true
      const { split } = transfer
      if (split !== undefined) chunk = chunk.subarray(0, split.take(received, chunk.length))
      received += chunk.length
      if (transfer.decoder === undefined) onDecoded(chunk)
      else if (!transfer.decoder.write(chunk)) pause("decoder")
      if (split !== undefined) {
        split.progress()
        if (split.enough(received) && received !== expected) {
          skipBody = true
          transfer.controller = undefined
          own?.abort(new Error("other connections have the rest"))
          split.leave(received)
          return
        }
      } else if (request.onProgress !== undefined) {
        const now = Date.now()
        if (now - progressAt >= 100) {
          progressAt = now
          request.onProgress(transfer.decoder === undefined ? size : received, expected)
        }
      }
      const wait = limiter?.(chunk.length) ?? 0
      if (wait > 5 && !transfer.over) {
        pause("rate")
        clearTimeout(transfer.limiting)
        transfer.limiting = setTimeout(unpause, wait, "rate")
      }
    },
    onResponseEnd: () => {
      done = true
      if (connection !== undefined) undici.answered(connection)
      if (skipBody) return goOn()
      if (transfer.over) return
      if (connection === undefined) onEnd()
      else {
        undici.ifInOrder(connection, (inOrder) => {
          if (inOrder || transfer.split !== undefined) onEnd()
          else transfer.fail(new Failure("dropped", broke, true))
        })
      }
    },
    onResponseError: (_controller, error) => {
      done = true
      if (skipBody) return goOn()
      // Its segment is one like the others.
      if (transfer.split !== undefined && !transfer.over) return transfer.split.leave(received)
      const malformed = connection === undefined && undici.kindOf(error) === "wrong-length"
      transfer.fail(malformed ? new Failure("protocol", "the head of the answer is malformed", false) : error)
    }
  }
}
