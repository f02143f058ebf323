import { Context, Effect, Fiber, HashMap, Layer, Option, Ref, Runtime } from "effect"
import { formatSize } from "../text/Sizes.js"
import { DownloadError, type Reason, type Request, type SessionOptions } from "./Download.js"
import { Downloader, type Session } from "./Downloader.js"
import { checkSession } from "./internal/session.js"

/**
 * The answer of {@link layer} for a URL.
 *
 * @since 0.1.0
 * @category models
 */
export type Scripted = Effect.Effect<Uint8Array | string, DownloadError>

/**
 * The files that {@link layer} has saved, by path.
 *
 * @since 0.1.0
 * @category services
 */
export class Files extends Context.Tag("effect-asyncio/services/DownloaderTest/Files")<
  Files,
  Ref.Ref<HashMap.HashMap<string, Uint8Array>>
>() {}

/**
 * Serves from memory: each URL's script is an effect, so it can wait on TestClock, fail, or answer differently the
 * second time; or a function of the request, its method and body included. Applies `maxSize` and `existing`; saves into {@link Files}. An unscripted URL is a 404.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  scripts: Readonly<Record<string, Scripted | ((request: Request) => Scripted)>>
): Layer.Layer<Downloader | Files> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const files = yield* Ref.make(HashMap.empty<string, Uint8Array>())
      const fail = (request: Request, reason: Reason, detail: string, status?: number) =>
        new DownloadError({ reason, url: request.url.href, detail, retryable: false, status })
      const fetch = Effect.fnUntraced(function* (request: Request) {
        const { maxSize = Number.POSITIVE_INFINITY, receiver, target } = request
        const path = target === undefined ? undefined : `${target.directory}/${target.name}`
        const there = path === undefined ? Option.none() : HashMap.get(yield* Ref.get(files), path)
        if (Option.isSome(there) && target?.existing === "keep") {
          return { size: there.value.length, path, skipped: true, resumedFrom: 0, status: 0 }
        }
        const script = scripts[request.url.href]
        receiver?.onSend?.()
        let status = 200
        const body = yield* (
          script === undefined
            ? fail(request, "status", "404 Not Found", 404)
            : Effect.isEffect(script)
              ? script
              : script(request)
        ).pipe(
          Effect.catchIf(
            (error) => error.status !== undefined && receiver?.refuses?.(error) === false,
            (error) => {
              status = error.status!
              return Effect.succeed("")
            }
          )
        )
        const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body
        if (bytes.length > maxSize)
          return yield* fail(request, "too-large", `more than ${formatSize(maxSize)}`)
        receiver?.head({ status, headers: {}, url: request.url }, () => undefined)
        receiver?.data(bytes)
        if (path !== undefined) yield* Ref.update(files, HashMap.set(path, bytes))
        return { size: bytes.length, path, skipped: false, resumedFrom: 0, status }
      })
      const open = (options: SessionOptions = {}) =>
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
