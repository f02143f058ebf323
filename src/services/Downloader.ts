import { readdirSync } from "node:fs"
import { Context, Data, Effect, Fiber, HashMap, Layer, Option, Ref, Runtime, type Scope } from "effect"
import { codes } from "./Exits.js"
import { describe, tryFolder } from "./internal/files.js"
import { anyCount, checkOptions, type Range } from "./internal/numbers.js"
import { readProxies } from "./internal/proxies.js"
import { formatSize } from "./Units.js"

/** A file's expected content. */
export interface Checksum {
  readonly algorithm: "sha256"
  /** Lower-case hexadecimal. */
  readonly hex: string
}

/** Where the body goes. It appears under its final name only when it is whole and verified. */
export interface Target {
  /** The folder; made when it is missing. */
  readonly directory: string
  /** A plain file name; `SafeName.fromUrl` gives one for a URL. */
  readonly name: string
  /** Takes the name from `Content-Disposition` where the server sends a usable one. */
  readonly contentDisposition?: boolean | undefined
  /** Asked before a name from `Content-Disposition` is used; false refuses it as taken by another download. */
  readonly claim?: ((name: string) => boolean) | undefined
  /**
   * An existing file of that name: replaced when the new one is whole (default), or left and not fetched; where the
   * request has a checksum, only a file that has it is left.
   */
  readonly existing?: "replace" | "keep" | undefined
  /** Continues what an earlier attempt or process left, when it is provably the same version; default true. */
  readonly resume?: boolean | undefined
  /** Makes file and folder survive a power cut before the download counts as done; default false. */
  readonly fsync?: boolean | undefined
}

/** What the attempts at one download know of each other. */
export interface History {
  /** The length that each strong validator has stood for: it stands for no other. */
  readonly lengths: Map<string, number>
  /** Requests in a row that asked for the rest of a file in vain; after some the whole file is asked for. */
  refused: number
}

/** For the first attempt at a download; give the same to every further one. */
export const makeHistory = (): History => ({ lengths: new Map(), refused: 0 })

/** One GET, redirects included. */
export interface Request {
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Without a target the body is read, decoded and counted, and not kept. */
  readonly target?: Target | undefined
  readonly checksum?: Checksum | undefined
  /** Refuses more decoded bytes than this; default unlimited, and 1 GiB for a compressed body, which may be a bomb. */
  readonly maxSize?: number | undefined
  /** Of earlier attempts at the same download; default none. */
  readonly history?: History | undefined
  /** Bytes so far (of the whole file, the resumed part included) and in all, where known; several times a second. */
  readonly onProgress?: ((received: number, total: number | undefined) => void) | undefined
  /** Is given what a person should know although the download goes on: a sentence without the URL. */
  readonly onNote?: ((detail: string) => void) | undefined
  /** Is given, when an attempt has ended without its file, the bytes on the disk with which a further one goes on. */
  readonly onKept?: ((bytes: number) => void) | undefined
}

/** What a finished download was. */
export interface Downloaded {
  /** Bytes of the decoded body; of the whole file where it was resumed. */
  readonly size: number
  /** Where it is, when it was saved. */
  readonly path: string | undefined
  /** The file was there already and `existing` is `"keep"`: nothing was fetched. */
  readonly skipped: boolean
  /** Bytes that were there from an earlier attempt and did not have to be fetched again. */
  readonly resumedFrom: number
  /** HTTP status of the last response; 0 when skipped. */
  readonly status: number
  /** What was odd about the response, for a person. */
  readonly note?: string | undefined
}

/** Why a download failed. */
export type Reason =
  | "dns"
  | "connect"
  | "tls"
  | "stalled"
  | "timeout"
  | "dropped"
  | "status"
  | "redirect"
  | "private-address"
  | "too-large"
  | "decode"
  | "range"
  | "checksum"
  | "name-taken"
  | "disk-full"
  | "descriptors"
  | "file"
  | "protocol"

/** What is known of a failure. */
export interface Failure {
  readonly reason: Reason
  /** Without user and password. */
  readonly url: string
  /** What happened, for a person, without the URL. */
  readonly detail: string
  /** Whether the same request may well succeed later. */
  readonly retryable: boolean
  /** How long the server asked to wait (`Retry-After` of a 429 or 503), in milliseconds. */
  readonly retryAfter?: number | undefined
  readonly status?: number | undefined
}

/** A download that failed. */
export class DownloadError extends Data.TaggedError("DownloadError")<Failure> {
  override get message() {
    return `${this.url}: ${this.detail}`
  }
}

/** A proxy in the environment that cannot be read. */
export class ProxyError extends Data.TaggedError("ProxyError")<{
  readonly variable: string
  /** Without user and password. */
  readonly value: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    const shown = this.value.replace(/[\p{Cc}\p{Cf}]/gu, "?")
    return `the environment variable ${this.variable} names no proxy ('${shown}'); expected http://host:port`
  }
}

/** What holds for every request of a session. */
export interface Options {
  /** How long a connection, TLS included, may take, in milliseconds; default 10,000. */
  readonly connectTimeout?: number | undefined
  /** How long nothing at all may arrive, in milliseconds, to about a second; default 30,000. */
  readonly stallTimeout?: number | undefined
  /** Bytes a second over all transfers together; default unlimited. */
  readonly limitRate?: number | undefined
  /** Redirects followed for one request; default 10. */
  readonly maxRedirects?: number | undefined
  /** Refuses addresses that are not public, looked at after DNS and at every redirect; default false. */
  readonly denyPrivate?: boolean | undefined
  /**
   * Sends requests for these origins elsewhere, say to an embedded server:
   * `{ "https://a.example": "http://127.0.0.1:8080" }`.
   */
  readonly origins?: Readonly<Record<string, string>> | undefined
}

/** Where a transfer's outcome goes: one of them is called, once, unless it is aborted. */
export interface Callbacks {
  readonly succeed: (downloaded: Downloaded) => void
  readonly fail: (error: DownloadError) => void
}

/** Connections, folders and rates that requests share. */
export interface Session {
  /**
   * Begins one attempt at a request. The result aborts it: closes the connection and keeps what can be continued.
   * Callbacks, because an effect for each of thousands of small files costs as much as the file; {@link fetch} is
   * the same as an effect.
   */
  readonly start: (request: Request, callbacks: Callbacks) => Effect.Effect<void>
}

/** One attempt at a request; interrupting it closes the connection and keeps what can be continued. */
export const fetch = (session: Session, request: Request): Effect.Effect<Downloaded, DownloadError> =>
  Effect.async((resume) =>
    session.start(request, {
      succeed: (downloaded) => resume(Effect.succeed(downloaded)),
      fail: (error) => resume(Effect.fail(error))
    })
  )

/** Nothing can be saved in a folder; `message` says why. */
export class DirectoryError extends Data.TaggedError("DirectoryError")<{
  readonly directory: string
  readonly detail: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    return `cannot save in ${this.directory}: ${this.detail}`
  }
}

/** Makes the folder where it is missing, and fails where no file can be created in it: once, before anything is fetched. */
export const checkDirectory = (directory: string): Effect.Effect<void, DirectoryError> =>
  Effect.try({
    try: () => tryFolder(directory),
    catch: (error) => {
      const { code, message } = error as NodeJS.ErrnoException
      // ENOTDIR is about another path, which the message names.
      return new DirectoryError({ directory, detail: code === "ENOTDIR" ? message : describe(error) })
    }
  })

/** The names of the folders in a folder, which no file there can have; none where it cannot be read. */
export const foldersIn = (directory: string): Effect.Effect<ReadonlySet<string>> =>
  Effect.sync(() => {
    try {
      const entries = readdirSync(directory, { withFileTypes: true })
      return new Set(entries.filter((entry) => entry.isDirectory()).map(({ name }) => name))
    } catch {
      return new Set()
    }
  })

/** Fetches and saves. Retries, concurrency and names are the program's: see `Gather.downloads`. */
export class Downloader extends Context.Tag("effect-asyncio/services/Downloader")<
  Downloader,
  { readonly open: (options?: Options) => Effect.Effect<Session, ProxyError, Scope.Scope> }
>() {}

const milliseconds: Range = { least: 0, whole: false, infinite: true }
const checkSession = (options: Options) =>
  checkOptions(options, {
    connectTimeout: milliseconds,
    stallTimeout: milliseconds,
    limitRate: { least: 0, above: true, whole: false, infinite: true },
    maxRedirects: anyCount
  })

/**
 * The network and the file system: undici and node:fs. Honours `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` (either
 * case) of the environment, and Node's own `NODE_EXTRA_CA_CERTS`.
 */
export const layer: Layer.Layer<Downloader> = Layer.succeed(Downloader, {
  open: (options = {}) =>
    Effect.gen(function* () {
      checkSession(options)
      // Loaded here so that whoever only uses the tag or the test layer does not load undici.
      const { make } = yield* Effect.promise(() => import("./internal/transfer.js"))
      const proxies = readProxies(process.env)
      if ("variable" in proxies) return yield* new ProxyError(proxies)
      const transfers = yield* Effect.acquireRelease(
        Effect.promise(() => make(options, proxies)),
        (transfers) => Effect.promise(transfers.close)
      )
      return {
        start: (request, { fail, succeed }) => {
          checkOptions(request, { maxSize: anyCount })
          return Effect.promise(
            transfers.start(request, { succeed, fail: (failure) => fail(new DownloadError(failure)) })
          )
        }
      }
    })
})

/** What {@link layerTest} answers for a URL. */
export type Scripted = Effect.Effect<Uint8Array | string, DownloadError>

/** The files that {@link layerTest} has saved, by path. */
export class Files extends Context.Tag("effect-asyncio/services/Downloader/Files")<
  Files,
  Ref.Ref<HashMap.HashMap<string, Uint8Array>>
>() {}

/**
 * Serves from memory: each URL's script is an effect, so it can wait on TestClock, fail, or answer differently the
 * second time. Keeps to `maxSize` and `existing`; saves into {@link Files}. An unscripted URL is a 404.
 */
export const layerTest = (scripts: Readonly<Record<string, Scripted>>): Layer.Layer<Downloader | Files> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const files = yield* Ref.make(HashMap.empty<string, Uint8Array>())
      const fail = (request: Request, reason: Reason, detail: string, status?: number) =>
        new DownloadError({ reason, url: request.url.href, detail, retryable: false, status })
      const fetch = Effect.fnUntraced(function* (request: Request) {
        const { maxSize = Number.POSITIVE_INFINITY, target } = request
        const path = target === undefined ? undefined : `${target.directory}/${target.name}`
        const there = path === undefined ? Option.none() : HashMap.get(yield* Ref.get(files), path)
        if (Option.isSome(there) && target?.existing === "keep") {
          return { size: there.value.length, path, skipped: true, resumedFrom: 0, status: 0 }
        }
        const script = scripts[request.url.href]
        if (script === undefined) return yield* fail(request, "status", "404 Not Found", 404)
        const body = yield* script
        const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body
        if (bytes.length > maxSize)
          return yield* fail(request, "too-large", `more than ${formatSize(maxSize)}`)
        if (path !== undefined) yield* Ref.update(files, HashMap.set(path, bytes))
        return { size: bytes.length, path, skipped: false, resumedFrom: 0, status: 200 }
      })
      const open = (options: Options = {}) =>
        Effect.map(Effect.runtime(), (runtime): Session => {
          checkSession(options)
          const fork = Runtime.runFork(runtime)
          return {
            start: (request, { fail, succeed }) =>
              Fiber.interrupt(
                fork(Effect.match(fetch(request), { onSuccess: succeed, onFailure: fail }), {
                  immediate: false
                })
              )
          }
        })
      return Context.make(Downloader, { open }).pipe(Context.add(Files, files))
    })
  )
