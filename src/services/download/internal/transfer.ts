import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { Duration } from "effect"
import type { Dispatcher } from "undici"
import { withPackage } from "../../host/OptionalPackage.js"
import {
  type Downloaded,
  makeHistory,
  type SessionOptions as Options,
  type Reason,
  type Failure as Report,
  type Request,
  show,
  type Target
} from "../Download.js"
import { one } from "./answers.js"
import { classify, Failure } from "./failure.js"
import { existing } from "./fileSink.js"
import { bytesOf, discardPartial, Folder, findPartial, type Partial, readPartial } from "./partials.js"
import { inFolder, whyOutside } from "./place.js"
import { makeProxyOf, type Proxies } from "./proxies.js"
import { headersFor, redirected, resent, type Sent, secretsKept } from "./request.js"
import { makeHandler, mostRefused, refuseFolder, type Transfer } from "./response.js"
import { SmallFiles } from "./smallFiles.js"
import { divide, make as makeSplit } from "./split.js"
import { type Dispatching, makeDispatcher, timeoutOf } from "./undici.js"

// The hot path of `aio gather`: one GET is plain callbacks on undici's dispatcher
// (`npm run bench -- gather`): through @effect/platform's HttpClient a small file costs several times as much.

/** The callbacks of a transfer: exactly one is called, once, unless it is aborted. */
export interface Callbacks {
  readonly succeed: (downloaded: Downloaded) => void
  readonly fail: (failure: Report) => void
}

export interface Transfers {
  /** Begins a transfer; the result aborts it and ends when its file is closed. */
  readonly start: (request: Request, callbacks: Callbacks) => () => Promise<void>
  readonly close: () => Promise<void>
}

/** Limits all transfers together to a steady rate: returns the milliseconds to wait after some bytes. */
const makeLimiter = (bytesPerSecond: number) => {
  let free = 0 // when the next bytes may be received, in ms
  return (bytes: number): number => {
    const now = performance.now()
    free = Math.max(free, now - 100) + (bytes / bytesPerSecond) * 1000
    return free - now
  }
}

/** Failures that a `Range` may have caused. */
const ofRange = new Set<Reason>(["dropped", "stalled", "status", "protocol"])
export const make = async (options: Options, proxies: Proxies): Promise<Transfers> => {
  const { denyPrivate = false, maxRedirects = 10 } = options
  const connectTimeout = Duration.toMillis(options.connectTimeout ?? 10_000)
  const stallTimeout = Duration.toMillis(options.stallTimeout ?? 30_000)
  const silence = timeoutOf(stallTimeout)
  const addresses = denyPrivate
    ? await withPackage("denyPrivate", "ipaddr.js", () => import("./addresses.js"))
    : undefined
  const lookup = addresses?.publicOnly
  let keep = true
  const dispatchers: Array<Dispatching> = []
  const dial = async (careful: boolean): Promise<Dispatching> => {
    const { ca } = options
    const dispatcher = await makeDispatcher({
      connectTimeout,
      stallTimeout,
      lookup,
      ca,
      proxies,
      careful,
      keep
    })
    dispatchers.push(dispatcher)
    return dispatcher
  }
  let dispatcher = await dial(false)
  let carefulDispatcher: Promise<Dispatching> | undefined
  /** Descriptors run short: closes idle connections, and keeps none from now on. */
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
  const proxyOf = makeProxyOf(proxies)

  const start: Transfers["start"] = (given, callbacks) => {
    const request = inFolder(given)
    const { body, method = "GET", receiver, target } = request
    let sent: Sent = { method, body }
    let hops = 0

    const keptBytes = (bytes: number) => {
      if (bytes > 0) request.onKept?.(bytes)
    }
    /** Ends the transfer and closes its resources; a continuable part stays unless `forget`. */
    const close = (forget: boolean): Promise<void> => {
      const { controller, decoder, folder, limiting, partial, sink, split } = transfer
      transfer.over = true
      clearTimeout(limiting)
      controller?.abort(new Error("over"))
      decoder?.destroy()
      const stopped = split?.stop() ?? Promise.resolve()
      if (sink !== undefined) transfer.closing ??= stopped.then(() => sink.abandon(forget)).then(keptBytes)
      else if (partial !== undefined && target !== undefined && folder !== undefined) {
        if (forget) transfer.closing ??= discardPartial(folder, target, partial.file)
        else keptBytes(bytesOf(partial))
      }
      return transfer.closing ?? Promise.resolve()
    }
    const fail = (error: unknown) => {
      if (transfer.over) return
      const failure = classify(error, request, transfer.url, stallTimeout)
      const { history, progressed, ranged } = transfer
      if (ranged && progressed) history.refused = 0
      else if (ranged && ofRange.has(failure.reason)) history.refused++
      const forget =
        failure.reason === "range" || failure.reason === "checksum" || failure.reason === "too-large"
      const report = () => callbacks.fail(failure.report(request.url))
      const spared = failure.reason === "descriptors" ? spare() : undefined
      Promise.all([close(forget), spared]).then(report, report)
    }
    const guard: Transfer["guard"] = (step) => {
      try {
        step()?.catch(fail)
      } catch (error) {
        fail(error)
      }
    }

    const redirect: Transfer["redirect"] = (location, status) => {
      const next = redirected(transfer.url, location, status)
      if (++hops > maxRedirects) throw new Failure("redirect", `more than ${maxRedirects} redirects`, false)
      sent = resent(sent, request, next, status)
      transfer.method = sent.method
      transfer.url = next
      guard(dispatch)
    }

    const dispatch = async (): Promise<void> => {
      const { partial, ranged, url } = transfer
      // Only a GET can be repeated to learn how its connection ends.
      if (sent.method !== "GET" && url.protocol === "https:") transfer.careful = true
      if (addresses !== undefined) {
        await addresses.refusePrivate(url, proxyOf(url) !== "")
        if (transfer.over) return
      }
      transfer.progressed = false
      let using = dispatcher
      if (transfer.careful) {
        carefulDispatcher ??= dial(true)
        using = await carefulDispatcher
        if (transfer.over) return
      }
      const rest =
        ranged && partial !== undefined
          ? { offset: partial.offset, validator: partial.sidecar.validator }
          : undefined
      using.dispatch(
        {
          origin: url.origin,
          path: url.pathname + url.search,
          method: sent.method as Dispatcher.HttpMethod,
          body: sent.body ?? null,
          // The agent has them too, but a proxy's agent does not pass them on.
          headersTimeout: silence,
          bodyTimeout: silence,
          headers: headersFor(request, url, { rest, since: transfer.since?.mtimeMs }, sent.body === body)
        },
        makeHandler(transfer)
      )
    }

    const note = (text: string | undefined) => {
      if (text !== undefined) request.onNote?.(text)
    }
    let looked: string | undefined // the last name of which an existing file was checked
    const mayKeep: Transfer["mayKeep"] = (name) => {
      if (target === undefined) return false
      const { existing } = target
      const keeps = existing === "keep" || (existing === "newer" && request.checksum !== undefined)
      if (!keeps || looked === name) return false
      if (fs.lstatSync(path.join(target.directory, name), { throwIfNoEntry: false }) === undefined)
        return false
      looked = name
      return true
    }
    const kept: Transfer["kept"] = async (name) => {
      const file = path.join(target!.directory, name)
      const there = await existing(file, request.checksum, () => transfer.over)
      if (transfer.over || there === undefined) return transfer.over
      if (there.right) {
        await close(true)
        callbacks.succeed({ size: there.size, path: file, skipped: true, resumedFrom: 0, status: 0 })
        return true
      }
      note(`${file} is there, but its ${request.checksum!.algorithm} is another; it is fetched again`)
      return false
    }

    const beginSplit: Transfer["beginSplit"] = (from, headers, whole) => {
      const { partial, sink, url } = transfer
      const { total, validator } = sink?.version ?? {}
      if (transfer.over || sink === undefined || total === undefined || validator === undefined) return
      const missing = partial?.sidecar.missing ?? [[from, total]]
      const most = target?.split ?? 1
      if (
        missing.length === 1 &&
        (divide(missing, most).length < 2 || one(headers["accept-ranges"]) === "none")
      )
        return
      transfer.hash = undefined
      transfer.split = makeSplit({
        most,
        missing,
        total,
        validator,
        sink,
        request: { url, secrets: request.secrets, headers: secretsKept(request, url) },
        start,
        onProgress: request.onProgress,
        whole,
        fail
      })
    }

    /** The existing file that may be new enough. */
    const since = (target: Target): Transfer["since"] => {
      if (target.existing !== "newer" || request.checksum !== undefined) return undefined
      try {
        const stat = fs.statSync(path.join(target.directory, target.name))
        return stat.isFile() ? stat : undefined
      } catch {
        return undefined
      }
    }
    const keepUnmodified = async () => {
      const { size } = transfer.since!
      const file = path.join(target!.directory, target!.name)
      await close(true)
      callbacks.succeed({ size, path: file, skipped: true, resumedFrom: 0, status: 304 })
    }

    const begin = async (): Promise<void> => {
      if (target !== undefined) {
        const why = whyOutside(given.target!)
        if (why !== undefined) throw new Failure("file", why, false)
        const folder = await openFolder(target)
        transfer.folder = folder
        note(folder.takeNote())
        if (mayKeep(target.name) && (await kept(target.name))) return
        if (target.contentDisposition !== true) refuseFolder(transfer, target.name)
        transfer.since = since(target)
        let partial: Partial | undefined
        if (target.resume !== false) partial = await findPartial(folder, target, show(request.url), note)
        transfer.partial = partial
        if (partial !== undefined && partial.sidecar.total === undefined) {
          await discardPartial(folder, target, partial.file)
          transfer.partial = partial = undefined
        }
        if (partial !== undefined) {
          const { total, validator } = partial.sidecar
          const { lengths, refused } = transfer.history
          if (!lengths.has(validator)) lengths.set(validator, total!)
          transfer.ranged = refused < mostRefused
        }
        if (
          request.checksum !== undefined &&
          partial !== undefined &&
          partial.sidecar.missing === undefined
        ) {
          const hash = createHash(request.checksum.algorithm)
          transfer.hash = hash
          for await (const chunk of readPartial(partial)) hash.update(chunk as Buffer)
        }
      }
      if (!transfer.over) await dispatch()
    }

    const transfer: Transfer = {
      request,
      history: request.history ?? makeHistory(),
      limiter,
      url: request.url,
      method,
      redirects: receiver === undefined || maxRedirects > 0,
      over: false,
      controller: undefined,
      sink: undefined,
      split: undefined,
      decoder: undefined,
      folder: undefined,
      partial: undefined,
      hash: request.checksum === undefined ? undefined : createHash(request.checksum.algorithm),
      limiting: undefined,
      closing: undefined,
      cleaning: undefined,
      ranged: false,
      progressed: false,
      careful: false,
      succeed: callbacks.succeed,
      fail,
      guard,
      dispatch,
      askWhole: () => {
        transfer.ranged = false
        return dispatch()
      },
      redirect,
      beginSplit,
      since: undefined,
      keepUnmodified,
      mayKeep,
      kept,
      keptBytes
    }
    guard(begin)
    return () => close(false)
  }

  const close = async () => {
    await carefulDispatcher
    await Promise.all([...dispatchers.map((dispatcher) => dispatcher.destroy()), smallFiles.close()])
  }
  return { start, close }
}
