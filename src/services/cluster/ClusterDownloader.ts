import { randomUUID } from "node:crypto"
import { type Duration, Effect, Either, Layer, type Scope } from "effect"
import { DownloadError, type Reason, type Request } from "../download/Download.js"
import * as Downloader from "../download/Downloader.js"
import type { MissingPackage } from "../network/NetworkSettings.js"
import * as Sleep from "../task/Sleep.js"
import { checkOptions, count, time } from "../text/Numbers.js"
import { plural } from "../text/Plural.js"
import { JobRefused } from "../thread/ExecutorError.js"
import type { Settled } from "../thread/Job.js"
import * as Builtins from "./internal/builtins.js"
import * as DownloadWire from "./internal/downloadWire.js"
import * as Session from "./internal/session.js"
import * as Submission from "./internal/submission.js"
import type { RunError } from "./RunError.js"
import type * as Store from "./Store.js"

// The submitter's side: downloads that other machines make, by way of a store.

/**
 * Settings of {@link layer}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The store: `FILE`, `sqlite:FILE` or `postgres://user@host/database`. */
  readonly store: string
  /** The runners of this group: letters, digits, `.`, `_` and `-`, at most 40. Default `default`. */
  readonly group?: string | undefined
  /** A download that this many runners had when they died fails; default 3. */
  readonly tries?: number | undefined
  /** How long a store that does not answer is asked again; default 1 minute. */
  readonly patience?: Duration.DurationInput | undefined
  /**
   * Called before downloads fail because none can be made any more: no runner of the group allows them, or the store has failed.
   * Default: does nothing.
   */
  readonly onRefused?: ((error: JobRefused) => void) | undefined
}

const mebibyte = 1024 * 1024

/** How often it looks which runners there are, in milliseconds. */
const lookEvery = 1000

const make = (
  options: Options
): Effect.Effect<
  typeof Downloader.Downloader.Service,
  Store.StoreError | MissingPackage | RunError,
  Scope.Scope
> =>
  Effect.gen(function* () {
    checkOptions(options, { tries: count, patience: time })
    const session = yield* Session.open({ ...options, run: undefined })
    const { module, version } = Builtins.downloads
    const submission = Submission.make({
      ...session,
      job: module,
      run: { id: randomUUID(), module, version, name: "fetch", settings: {}, tries: options.tries ?? 3 },
      resumable: false,
      taken: false,
      maxSize: mebibyte,
      onRun: () => Effect.void
    })
    yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(submission.work)), (fiber) =>
      Submission.end({ ...submission, fiber })
    )

    // Where the URLs of a host go: to the runner with the fewest hosts, as long as it lives.

    let runners: ReadonlyArray<string> = []
    const places = new Map<string, string>()
    const hosts = new Map<string, number>()
    const move = (host: string, runner: string) => {
      const before = places.get(host)
      if (before === runner) return
      if (before !== undefined) hosts.set(before, (hosts.get(before) ?? 1) - 1)
      hosts.set(runner, (hosts.get(runner) ?? 0) + 1)
      places.set(host, runner)
    }
    const placeOf = (host: string): string => {
      const known = places.get(host)
      if (known !== undefined && runners.includes(known)) return known
      const hostsOf = (runner: string) => hosts.get(runner) ?? 0
      const free = runners.reduce((least, one) => (hostsOf(one) < hostsOf(least) ? one : least))
      move(host, free)
      return free
    }

    // Downloads wait here while there is no runner.
    const waiting = new Set<{ readonly go: () => void; readonly fail: (error: JobRefused) => void }>()
    let refused: JobRefused | undefined
    const refuse = (reason: string) => {
      refused = new JobRefused({ job: module, reason })
      for (const one of waiting) one.fail(refused)
      waiting.clear()
    }
    let warned = false
    const look = Effect.gen(function* () {
      const all = yield* session.ask(session.queue.runners(session.group))
      const offer = JSON.stringify(Builtins.offerOf({ module, version }))
      runners = all.flatMap(({ id, offers }) => (offers?.includes(offer) === true ? [id] : []))
      if (runners.length > 0) {
        refused = undefined
        const some = [...waiting]
        waiting.clear()
        for (const { go } of some) go()
      } else if (all.length > 0) {
        refuse(`no runner of group ${session.group} can run it: ${Builtins.downloads.without}`)
      } else if (waiting.size > 0 && !warned) {
        warned = true
        yield* Effect.logWarning(
          `no runner of group ${session.group} is there; ${plural(waiting.size, "download")} wait`
        )
      }
    })
    yield* look
    yield* Effect.forkScoped(
      Effect.zipRight(Sleep.sleep(lookEvery), look).pipe(
        Effect.forever,
        Effect.catchAll((error) => Effect.sync(() => refuse(error.message)))
      )
    )

    const start = (
      request: Request,
      settings: DownloadWire.Request["session"],
      { fail, succeed }: Downloader.Callbacks
    ): Effect.Effect<void> => {
      const failed = (reason: Reason, detail: string, more: Partial<DownloadError> = {}) =>
        fail(new DownloadError({ reason, url: request.url.href, detail, retryable: false, ...more }))
      const wire = DownloadWire.requestOf(request, settings)
      if (typeof wire === "string") {
        failed("protocol", wire)
        return Effect.void
      }
      const settle = ({ result }: Settled<unknown>) => {
        if (Either.isLeft(result)) {
          const error = result.left
          if (error._tag === "JobRefused") options.onRefused?.(error)
          return error._tag === "JobRefused"
            ? failed("connect", error.reason)
            : error._tag === "NotSerializable"
              ? failed("protocol", error.detail)
              : failed("dropped", "detail" in error ? error.detail : error.message)
        }
        const decoded = DownloadWire.decodeResult(result.right)
        if (Either.isLeft(decoded)) return failed("protocol", "its result cannot be read")
        const { ended, history, host, kept, notes } = decoded.right
        for (const note of notes) request.onNote?.(note)
        if (kept !== undefined) request.onKept?.(kept)
        if (request.history !== undefined) {
          for (const [validator, length] of history.lengths) request.history.lengths.set(validator, length)
          request.history.refused = history.refused
        }
        if (ended._tag === "Failed") {
          const { detail, reason, retryAfter, retryable, status } = ended
          return failed(reason, detail, { retryable, retryAfter, status })
        }
        const { _tag, ...downloaded } = ended
        succeed({ path: undefined, ...downloaded, host })
      }
      const { host } = request.url
      let cancel: ((onGone: () => void) => void) | undefined
      const go = () => {
        cancel = submission.submit(
          { inputs: [[wire]], context: undefined, timeout: undefined },
          ([settled], runner) => {
            if (typeof runner === "string") move(host, runner)
            settle(settled!)
          },
          { wants: placeOf(host) }
        )
      }
      const wait = {
        go,
        fail: (error: JobRefused) => settle({ result: Either.left(error), run: 0 })
      }
      if (refused !== undefined) wait.fail(refused)
      else if (runners.length > 0) go()
      else waiting.add(wait)
      return Effect.async<void>((resume) => {
        waiting.delete(wait)
        if (cancel === undefined) return resume(Effect.void)
        cancel(() => resume(Effect.void))
      })
    }

    return Downloader.Downloader.of({
      open: (given = {}) =>
        given.ca === undefined
          ? Effect.sync(() => {
              const settings = DownloadWire.sessionOf(given)
              return { start: (request, callbacks) => start(request, settings, callbacks) }
            })
          : Effect.dieMessage("ca: a runner trusts the authorities of its own environment")
    })
  })

/**
 * Downloads on other machines: each attempt goes through a store to a runner of the group that allows downloads (`aio runner
 * --downloads DIR`, or `RunnerDownloads.job`), and is saved in its folder; `directory` of a target counts for nothing. All URLs of
 * one host go to one runner while it lives, and hosts are shared out evenly. Retries, limits and names are up to
 * `Downloads.downloads`, as for files of this machine.
 *
 * An attempt whose runner dies is made by another: at least once. Interrupted, it ends on its runner within 2 seconds and
 * leaves a part that can be continued there. Receivers, bodies, names from the server and `ca` are for this machine;
 * `limitRate` holds for each runner; there is no progress before an attempt ends. Headers and passwords of URLs are in the
 * store until then.
 *
 * Fails with `StoreError` if the store cannot be opened, with `RunError` if the group has no valid name. Needs what `Store.open`
 * needs.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as ClusterDownloader from "effect-asyncio/services/ClusterDownloader"
 * import * as Downloads from "effect-asyncio/services/Downloads"
 *
 * export const program = Downloads.downloads([{ url: new URL("https://example.com/a.iso") }], { directory: "." }).pipe(
 *   Stream.filter((event) => event.event === "finished"),
 *   Stream.runForEach((event) => Effect.log(event)),
 *   Effect.provide(ClusterDownloader.layer({ store: "postgres://jobs@db.example.org/jobs", group: "mirrors" }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<Downloader.Downloader, Store.StoreError | MissingPackage | RunError> =>
  Layer.scoped(Downloader.Downloader, make(options))
