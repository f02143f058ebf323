import { readdirSync } from "node:fs"
import type * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import { Context, Data, Effect, Layer, type Scope } from "effect"
import { codes } from "../host/ExitCodes.js"
import { describe, tryFolder } from "../host/OwnFiles.js"
import { anyCount, checkOptions } from "../text/Numbers.js"
import * as Printable from "../text/Printable.js"
import { DownloadError, type Downloaded, type Request, type SessionOptions } from "./Download.js"
import { whyOutside } from "./internal/place.js"
import { readProxies } from "./internal/proxies.js"
import { checkSession } from "./internal/session.js"

/**
 * A proxy in the environment that cannot be read.
 *
 * @since 0.1.0
 * @category errors
 */
export class ProxyError extends Data.TaggedError("ProxyError")<{
  readonly variable: string
  /** Without user and password. */
  readonly value: string
  /** Whether it is a SOCKS proxy, which is not supported. */
  readonly socks: boolean
}> {
  readonly exitCode = codes.usage
  override get message() {
    const shown = Printable.line(this.value)
    if (this.socks)
      return `the environment variable ${this.variable} names a SOCKS proxy ('${shown}'), which is not supported; expected http://host:port, or unset it`
    return `the environment variable ${this.variable} is not a proxy ('${shown}'); expected http://host:port`
  }
}

/**
 * The callbacks of a transfer: exactly one is called, once, unless it is aborted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Callbacks {
  readonly succeed: (downloaded: Downloaded) => void
  readonly fail: (error: DownloadError) => void
}

/**
 * Connections, folders and rates that requests share.
 *
 * @since 0.1.0
 * @category models
 */
export interface Session {
  /**
   * Begins one attempt at a request. The result aborts it: closes the connection and keeps a continuable part. Uses
   * callbacks, because an effect for each of thousands of small files costs as much as the file; {@link fetch} is the same
   * as an effect.
   */
  readonly start: (request: Request, callbacks: Callbacks) => Effect.Effect<void>
}

/**
 * One attempt at a request; interrupting it closes the connection and keeps a continuable part.
 *
 * @since 0.1.0
 * @category effects
 */
export const fetch = (session: Session, request: Request): Effect.Effect<Downloaded, DownloadError> =>
  Effect.async((resume) =>
    session.start(request, {
      succeed: (downloaded) => resume(Effect.succeed(downloaded)),
      fail: (error) => resume(Effect.fail(error))
    })
  )

/**
 * A response whose body is read once: as a stream, as bytes, as text, or decoded, for instance by
 * `HttpIncomingMessage.schemaBodyJson`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Response extends HttpIncomingMessage.HttpIncomingMessage<DownloadError> {
  readonly status: number
  /** After redirects. */
  readonly url: URL
}

/**
 * One attempt at a request whose body is taken in place of a file, with the limits and rules of a download: decoded,
 * bounded by `maxSize`, whole or an error. Succeeds with the head; the end of the scope closes the connection. A status of
 * 400 or more is a failure.
 *
 * @example
 * import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
 * import { Effect, Schema } from "effect"
 * import * as Downloader from "effect-asyncio/services/Downloader"
 *
 * const Release = Schema.Struct({ tag: Schema.String })
 *
 * const program = Effect.gen(function* () {
 *   const session = yield* (yield* Downloader.Downloader).open({ denyPrivate: true })
 *   const url = new URL("https://example.com/latest.json")
 *   const response = yield* Downloader.response(session, { url, maxSize: 1_000_000 })
 *   return yield* HttpIncomingMessage.schemaBodyJson(Release)(response)
 * }).pipe(Effect.scoped, Effect.provide(Downloader.layer))
 *
 * @since 0.1.0
 * @category effects
 */
export const response = (
  session: Session,
  request: Omit<Request, "target" | "receiver">
): Effect.Effect<Response, DownloadError, Scope.Scope> =>
  Effect.gen(function* () {
    // Loaded here: files need no @effect/platform.
    const { receive, Response } = yield* Effect.promise(() => import("./internal/incoming.js"))
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.tap(restore(receive(session, request)), ({ abort }) => Effect.addFinalizer(() => abort))
    ).pipe(Effect.map((received) => new Response(received)))
  })

/**
 * No file can be saved in a folder; `message` names the reason.
 *
 * @since 0.1.0
 * @category errors
 */
export class DirectoryError extends Data.TaggedError("DirectoryError")<{
  readonly directory: string
  readonly detail: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    return `cannot save in ${this.directory}: ${this.detail}`
  }
}

/**
 * Creates the folder if it is missing, and fails if no file can be created in it: a check before the first download.
 *
 * @since 0.1.0
 * @category effects
 */
export const checkDirectory = (directory: string): Effect.Effect<void, DirectoryError> =>
  Effect.try({
    try: () => tryFolder(directory),
    catch: (error) => {
      const { code, message } = error as NodeJS.ErrnoException
      // ENOTDIR is about another path, which the message names.
      return new DirectoryError({ directory, detail: code === "ENOTDIR" ? message : describe(error) })
    }
  })

/**
 * The names of the folders in a folder, which no file there can have; empty if it cannot be read.
 *
 * @since 0.1.0
 * @category effects
 */
export const foldersIn = (directory: string): Effect.Effect<ReadonlySet<string>> =>
  Effect.sync(() => {
    try {
      const entries = readdirSync(directory, { withFileTypes: true })
      return new Set(entries.filter((entry) => entry.isDirectory()).map(({ name }) => name))
    } catch {
      return new Set()
    }
  })

/**
 * Fails if a link or a file is in the place of a folder of this name (`a/b.bin`) below the directory: a check before the first
 * download, and repeated at each.
 *
 * @since 0.1.0
 * @category effects
 */
export const checkPlace = (directory: string, name: string): Effect.Effect<void, DirectoryError> =>
  Effect.suspend(() => {
    if (!name.includes("/")) return Effect.void
    const detail = whyOutside({ directory, name })
    return detail === undefined ? Effect.void : new DirectoryError({ directory, detail })
  })

/**
 * Downloads and saves. Retries, concurrency and names are up to its callers: see `Downloads.downloads`.
 *
 * @since 0.1.0
 * @category services
 */
export class Downloader extends Context.Tag("effect-asyncio/services/Downloader")<
  Downloader,
  {
    /**
     * Opens a session in the current scope, which closes its connections. Fails if a proxy of the environment is not
     * a URL; dies of a setting out of range.
     */
    readonly open: (options?: SessionOptions) => Effect.Effect<Session, ProxyError, Scope.Scope>
  }
>() {}

type Service = Context.Tag.Service<typeof Downloader>

/**
 * Downloads from other URLs than the requested ones, for instance from an embedded server in place of the web: for
 * `Effect.updateService`. Events and errors of `Downloads.downloads` keep the requested URL.
 *
 * @since 0.1.0
 * @category functions
 */
export const mapUrl =
  (f: (url: URL) => URL) =>
  ({ open }: Service): Service => ({
    open: (options) =>
      Effect.map(open(options), ({ start }) => ({
        start: (request, callbacks) => start({ ...request, url: f(request.url) }, callbacks)
      }))
  })

/**
 * The network and the file system: undici and node:fs. Honours `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
 * `NO_PROXY` (either case) of the environment, and Node's own `NODE_EXTRA_CA_CERTS`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Downloader> = Layer.succeed(Downloader, {
  open: (options = {}) =>
    Effect.gen(function* () {
      checkSession(options)
      // Loaded here: the tag and the test layer need no undici.
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
