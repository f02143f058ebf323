import { hostname } from "node:os"
import { resolve } from "node:path"
import { Effect, Either, Scope } from "effect"
import { DownloadError } from "../download/Download.js"
import * as Downloader from "../download/Downloader.js"
import { NotSerializable } from "../thread/ExecutorError.js"
import * as Builtins from "./internal/builtins.js"
import * as DownloadWire from "./internal/downloadWire.js"
import type * as Runner from "./Runner.js"

// The runner's side of `ClusterDownloader`.

/** Transfers at once; a transfer waits for the network most of its time. */
const transfers = 64

/** Sessions that stay open, one for each set of settings. */
const mostSessions = 8

/**
 * Lets a runner make the downloads of `ClusterDownloader`: into files below `directory`, and nowhere else, at most 64 at once. Names are
 * those of the request; one that is no path within the folder is refused, and so is one whose folders lead out of it by a link.
 * Sessions stay open until the scope closes.
 *
 * Whoever can write to the store makes the runner send requests into its network, and replace files of the folder.
 *
 * Fails with `DirectoryError` if no file can be created in the folder.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as Downloader from "effect-asyncio/services/Downloader"
 * import * as InlineExecutor from "effect-asyncio/services/InlineExecutor"
 * import * as Runner from "effect-asyncio/services/Runner"
 * import * as RunnerDownloads from "effect-asyncio/services/RunnerDownloads"
 *
 * const runner = Layer.unwrapScoped(
 *   Effect.map(RunnerDownloads.job({ directory: "mirror" }), (downloads) =>
 *     Runner.layer({ store: "jobs.sqlite", builtins: [downloads] })
 *   )
 * )
 *
 * export const main = Effect.flatMap(Runner.Runner, ({ failure }) => failure).pipe(
 *   Effect.provide(Layer.provide(runner, [Downloader.layer, InlineExecutor.layer]))
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const job = ({
  directory
}: {
  readonly directory: string
}): Effect.Effect<Runner.BuiltinJob, Downloader.DirectoryError, Downloader.Downloader | Scope.Scope> =>
  Effect.gen(function* () {
    const folder = resolve(directory)
    yield* Downloader.checkDirectory(folder)
    const downloader = yield* Downloader.Downloader
    const scope = yield* Effect.scope
    const sessions = new Map<string, Downloader.Session>()
    const opening = Effect.unsafeMakeSemaphore(1)
    /** The session of these settings; beyond some, one of the attempt's own. */
    const sessionOf = (settings: DownloadWire.Request["session"]) =>
      Effect.gen(function* () {
        const key = JSON.stringify(settings)
        const known = sessions.get(key)
        if (known !== undefined) return known
        if (sessions.size >= mostSessions) return yield* downloader.open(settings)
        const opened = yield* Scope.extend(downloader.open(settings), scope)
        sessions.set(key, opened)
        return opened
      }).pipe(opening.withPermits(1))
    /** Names of files that are being saved, where case does not count. */
    const busy = new Set<string>()
    return {
      module: Builtins.downloads.module,
      version: Builtins.downloads.version,
      atOnce: transfers,
      run: (given, { job }) =>
        Effect.gen(function* () {
          const { headers, target, url, ...request } = yield* DownloadWire.decodeRequest(given)
          const session = yield* sessionOf(request.session)
          const history = DownloadWire.toHistory(request.history)
          const notes: Array<string> = []
          let kept: number | undefined
          const fetch = Downloader.fetch(session, {
            url: new URL(url),
            headers,
            target: target && { ...target, directory: folder },
            checksum: request.checksum,
            maxSize: request.maxSize,
            history,
            onNote: (note) => {
              if (notes.length < 100) notes.push(note)
            },
            onKept: (bytes) => {
              kept = bytes
            }
          })
          const name = target?.name.toLowerCase()
          const alone = Effect.suspend(() => {
            if (name === undefined) return fetch
            if (busy.has(name)) {
              const detail = `another download saves ${target?.name} at this moment`
              return new DownloadError({ reason: "name-taken", url, detail, retryable: true })
            }
            busy.add(name)
            return Effect.ensuring(
              fetch,
              Effect.sync(() => busy.delete(name))
            )
          })
          const ended = yield* Effect.either(alone)
          const result: DownloadWire.Result = {
            host: hostname(),
            notes,
            kept,
            history: DownloadWire.historyOf(history),
            ended: Either.match(ended, {
              onLeft: ({ detail, reason, retryAfter, retryable, status }) => ({
                _tag: "Failed" as const,
                reason,
                detail,
                retryable,
                retryAfter,
                status
              }),
              onRight: (downloaded) => ({ _tag: "Downloaded" as const, ...downloaded })
            })
          }
          return result
        }).pipe(
          Effect.scoped,
          Effect.mapError(({ message: detail }) => new NotSerializable({ job, part: "arguments", detail }))
        )
    }
  })
