import { dirname, join } from "node:path"
import { Cause, Data, Deferred, type Duration, Effect, Exit, Option, Stream } from "effect"
import type * as Events from "../host/Events.js"
import * as EventBuffer from "../stream/EventBuffer.js"
import { withOwnScope } from "../stream/OwnScope.js"
import * as Backoff from "../task/Backoff.js"
import * as Cancellation from "../task/Cancellation.js"
import { headline } from "../task/Causes.js"
import * as Deadline from "../task/Deadline.js"
import type * as Gather from "../task/Gather.js"
import * as WorkerFibers from "../task/WorkerFibers.js"
import { notDoneIn } from "../text/Durations.js"
import { anyCount, checkOptions, countOrInfinity, time } from "../text/Numbers.js"
import * as Download from "./Download.js"
import * as Downloader from "./Downloader.js"
import { make as makeAttempts } from "./internal/attempts.js"
import * as hostQueue from "./internal/hostQueue.js"
import * as outcomes from "./internal/outcomes.js"
import * as NameClaims from "./NameClaims.js"

/**
 * Settings of {@link downloads}: those of a session, and those of all requests together.
 *
 * @since 0.1.0
 * @category options
 */
export interface DownloadsOptions extends Download.SessionOptions {
  /** The folder of the files; without it bodies are read, counted and discarded. */
  readonly directory?: string | undefined
  /** Most transfers at once; default 16. */
  readonly concurrency?: number | undefined
  /** Most transfers at once from one host (name and port); default: bounded by `concurrency` only. */
  readonly perHost?: number | undefined
  /** Further attempts after a transient failure; default 3. */
  readonly retries?: number | undefined
  /** The pauses before further attempts; default as in `Backoff.make`. A longer `Retry-After` wins. */
  readonly backoff?: Backoff.Backoff | undefined
  /** Time limit of a whole transfer, retries included; default unlimited. */
  readonly timeout?: Duration.DurationInput | undefined
  /** The effect of a failed transfer on the others; default `"continue"`. `"collect"` is the same here. */
  readonly onFailure?: Gather.OnFailure | undefined
  /** Sent with every request, except secrets across origins. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Most bytes of a decoded body; default unlimited, and 1 GiB for a compressed body. */
  readonly maxSize?: number | undefined
  /** As in `Download.Target`; default `"replace"`. */
  readonly existing?: Download.Target["existing"]
  /** As in `Download.Target`; default false. */
  readonly mtime?: boolean | undefined
  /** As in `Download.Target`; default true. */
  readonly resume?: boolean | undefined
  /** As in `Download.Target`, up to 64; default 1. */
  readonly split?: number | undefined
  /** As in `Download.Target`; default false. */
  readonly fsync?: boolean | undefined
  /** As in `Download.Target`; default false. */
  readonly contentDisposition?: boolean | undefined
  /**
   * Takes each body in place of a file; excludes `directory`. A transfer is not retried once its first bytes have been
   * taken. Default: none.
   */
  readonly receive?: ((request: Download.DownloadRequest) => Download.Receiver) | undefined
  /**
   * Names that are already taken, made with `NameClaims.make`: for instance of requests that were checked before the first
   * download. Each request's name is checked as it arrives in any case.
   */
  readonly claims?: NameClaims.NameClaims | undefined
  /** Whether to emit `progress` events, at most ten a second for a transfer; default false. */
  readonly progress?: boolean | undefined
  /**
   * Ends the downloads gracefully when it completes: running transfers are cancelled with its result as the reason, no
   * further one starts, and the summary is still emitted. Default: never.
   */
  readonly stop?: Effect.Effect<Cancellation.Cancellation> | undefined
}

/**
 * An event of {@link downloads}: those of `aio gather --json`, whose schema is `Events.Gather`. `index` is the request's
 * place in the input, from 1; `name` is its URL, without user and password.
 *
 * @since 0.1.0
 * @category events
 */
export type DownloadEvent = Exclude<typeof Events.Gather.Type, { readonly event: "planned" }>

/**
 * The end of one download.
 *
 * @since 0.1.0
 * @category events
 */
export type Finished = Extract<DownloadEvent, { readonly event: "finished" }>

/**
 * The last event: the outcomes of all requests.
 *
 * @since 0.1.0
 * @category events
 */
export type Summary = Extract<DownloadEvent, { readonly event: "summary" }>

/**
 * The `reason` of a download that is skipped because the file is not modified.
 *
 * @since 0.1.0
 * @category constants
 */
export const notModified = outcomes.notModified

class FirstFailure extends Data.TaggedError("FirstFailure")<{
  readonly cancellation: Cancellation.Cancellation
}> {}

interface Item extends outcomes.Item {
  readonly history: Download.History
  /** The name from `Content-Disposition` that an earlier attempt has claimed. */
  claimed?: string
  /** Whether a receiver has taken bytes of the body. */
  taken: boolean
}

const buffered = 1024

/**
 * Downloads the requests, many at once, as a stream of events. Requests are taken as slots become free, so an infinite
 * list costs no memory except for its names. After a transient failure (a dropped connection, a stall, 408, 425, 429,
 * 5xx) a transfer is retried after the pauses of `Backoff`, or after a longer `Retry-After`; a
 * `Retry-After` beyond 5 minutes is a failure.
 *
 * Failed transfers are events; the stream itself fails as the input fails, and with `NameTaken` when two requests would
 * write one file. Ending the stream early cancels running transfers.
 *
 * @example
 * import { Effect, Stream } from "effect"
 * import * as Downloader from "effect-asyncio/services/Downloader"
 * import * as Downloads from "effect-asyncio/services/Downloads"
 *
 * const program = Downloads.downloads([{ url: new URL("https://example.com/a.iso") }], { directory: "isos" }).pipe(
 *   Stream.filter((event) => event.event === "finished"),
 *   Stream.runForEach((event) => Effect.log(event)),
 *   Effect.provide(Downloader.layer)
 * )
 *
 * @since 0.1.0
 * @category streams
 */
export const downloads = <E = never, R = never>(
  list: Iterable<Download.DownloadRequest> | Stream.Stream<Download.DownloadRequest, E, R>,
  options: DownloadsOptions = {}
): Stream.Stream<
  DownloadEvent,
  E | NameClaims.NameTaken | Downloader.ProxyError,
  R | Downloader.Downloader
> =>
  withOwnScope(list, (requests) =>
    Effect.gen(function* () {
      checkOptions(options, { concurrency: countOrInfinity, perHost: countOrInfinity, retries: anyCount })
      checkOptions(options, { maxSize: anyCount, split: { least: 1, most: 64, whole: true }, timeout: time })
      const { concurrency = 16, onFailure = "continue", retries = 3 } = options
      const session = yield* (yield* Downloader.Downloader).open(options)
      const claims = options.claims ?? NameClaims.make()
      const queue = hostQueue.make<Item>({
        perHost: options.perHost ?? Number.POSITIVE_INFINITY,
        host: ({ request }) => request.url.host,
        // Requests overtake each other only if a host may be busy, so only then many of them wait here.
        lowWater: options.perHost === undefined ? concurrency : buffered
      })
      const { emit, end, full, stream, whenRoom } = EventBuffer.make<DownloadEvent, E | NameClaims.NameTaken>(
        {
          capacity: buffered
        }
      )

      const clock = yield* Effect.clock
      const report = outcomes.make(clock, emit)
      let count = 0
      let stopReason: string | undefined
      let endReason: string | undefined // of a run that ends before its items
      let broken: Cause.Cause<E | NameClaims.NameTaken> | undefined

      const target = (item: Item): Download.Target | undefined =>
        options.directory === undefined
          ? undefined
          : {
              directory: options.directory,
              name: NameClaims.nameOf(item.request),
              existing: options.existing,
              mtime: options.mtime,
              resume: options.resume,
              split: options.split,
              fsync: options.fsync,
              contentDisposition: options.contentDisposition
            }
      const receiver = (item: Item): Download.Receiver | undefined => {
        const receiver = options.receive?.(item.request)
        return (
          receiver && {
            ...receiver,
            data: (piece) => {
              item.taken = true
              return receiver.data(piece)
            }
          }
        )
      }
      const resolveName = (item: Item, suggested: string): string | undefined => {
        const folder = dirname(NameClaims.nameOf(item.request))
        if (suggested !== item.claimed && !claims.claim(join(folder, suggested))) return undefined
        item.claimed = suggested
        return suggested
      }
      const toRequest = (item: Item): Download.Request => ({
        url: item.request.url,
        resolveName: (suggested) => resolveName(item, suggested),
        onNote: (detail) => report.note(item, detail),
        onKept: (bytes) => {
          item.kept = bytes
        },
        headers: options.headers,
        target: target(item),
        receiver: receiver(item),
        checksum: item.request.checksum,
        maxSize: options.maxSize,
        history: item.history,
        onProgress:
          options.progress === true
            ? (received, total) =>
                emit({
                  event: "progress",
                  index: item.index,
                  name: item.url,
                  bytes: received,
                  ...(total === undefined ? {} : { total })
                })
            : undefined
      })

      const attempts = makeAttempts<Item>({
        session,
        retries,
        pauseBefore: Backoff.make(options.backoff),
        toRequest: (item) => {
          item.begun = clock.unsafeCurrentTimeNanos()
          if (item.attempts === 0) item.attempts = 1
          return toRequest(item)
        },
        mayRetry: ({ taken }) => !taken,
        onRetry: report.retrying
      })

      const { timeout } = options
      /** A download to its end, with the parts that a first attempt does not need: retries, a deadline, cancellation. */
      const settle = (item: Item, first?: Download.DownloadError) =>
        (timeout === undefined
          ? attempts.settle(item, first)
          : Deadline.timeout(attempts.settle(item, first), {
              limit: timeout,
              late: { reason: notDoneIn(timeout), origin: "timeout" },
              onTimeout: () =>
                new Download.DownloadError({
                  reason: "timeout",
                  url: item.url,
                  detail: notDoneIn(timeout),
                  retryable: false
                })
            })
        ).pipe(
          Effect.matchEffect({
            onSuccess: (downloaded) => Effect.sync(() => report.succeeded(item, downloaded)),
            onFailure: (error) => {
              report.failed(item, error)
              const cancellation = { reason: `${item.url} failed: ${error.detail}`, origin: "gather" }
              return onFailure === "cancel" ? Effect.fail(new FirstFailure({ cancellation })) : Effect.void
            }
          })
        )

      const worker = Effect.suspend(() => {
        let item: Item | undefined
        // The hot path, in plain callbacks: downloads items until one needs more than a first attempt.
        const downloadSome = Effect.async<Download.DownloadError | "deadline" | undefined>((resume) => {
          let cancel: () => Effect.Effect<void>
          const take = () => {
            if (full()) {
              let waits = true
              cancel = () =>
                Effect.sync(() => {
                  waits = false
                })
              return whenRoom(() => {
                if (waits) take()
              })
            }
            const leave = attempts.waitTurn(take)
            if (leave !== undefined) {
              cancel = () => Effect.sync(leave)
              return
            }
            let taken = false
            const untake = queue.unsafeTake((next) => {
              taken = true
              begin(next)
            })
            if (!taken) cancel = () => Effect.sync(untake)
          }
          const begin = (next: Item | undefined) => {
            item = next
            if (next === undefined) return resume(Effect.succeed(undefined))
            emit({ event: "started", index: next.index, name: next.url })
            if (timeout !== undefined) return resume(Effect.succeed("deadline"))
            const abort = attempts.start(next, {
              succeed: (downloaded) => {
                item = undefined
                report.succeeded(next, downloaded)
                queue.release(next)
                take()
              },
              fail: (error) => resume(Effect.succeed(error))
            })
            cancel = () => abort
          }
          take()
          return Effect.suspend(() => cancel())
        })
        return downloadSome.pipe(
          Effect.tap((first) => {
            if (item === undefined) return Effect.void
            const current = item
            return Effect.map(settle(current, first === "deadline" ? undefined : first), () => {
              item = undefined
              queue.release(current)
            })
          }),
          Effect.repeat({ until: (first) => first === undefined }),
          Effect.onInterrupt((interruptors) =>
            Effect.sync(() => {
              if (item === undefined) return
              const [why] = Cancellation.fromInterruptors(interruptors)
              report.cancelled(item, why?.reason)
            })
          ),
          Effect.asVoid
        )
      })

      const source = Stream.StreamTypeId in requests ? requests : Stream.fromIterable(requests)
      const feed = Stream.runForEachChunk(source, (chunk) =>
        Effect.gen(function* () {
          const items: Array<Item> = []
          for (const request of chunk) {
            const item: Item = {
              index: ++count,
              request,
              url: Download.show(request.url),
              history: Download.makeHistory(),
              notes: new Set(),
              attempts: 0,
              begun: report.begun,
              kept: 0,
              taken: false
            }
            if (options.directory === undefined || (yield* claims.begin(request))) items.push(item)
            else {
              const source = request.source ?? "the command line"
              report.skipped(item, `${source} lists it again; it is fetched once`)
            }
          }
          queue.offer(items)
          yield* queue.low
        })
      ).pipe(Effect.andThen(Effect.sync(queue.end)))

      // The feed and the workers are one group: the first failure interrupts the others, with its reason.
      const work: ReadonlyArray<Effect.Effect<void, E | NameClaims.NameTaken | FirstFailure>> = [
        feed,
        ...Array.from({ length: concurrency }, () => worker)
      ]
      let left = work.length
      const done = yield* Deferred.make<void>()
      const stopped = Effect.raceFirst(
        Effect.flatMap(options.stop ?? Effect.never, (cancellation) => {
          stopReason = cancellation.reason
          return new FirstFailure({ cancellation })
        }),
        Deferred.await(done)
      )
      const group = options.stop === undefined ? work : [...work, stopped]
      let next = 0
      const run = WorkerFibers.run({
        concurrency: group.length,
        pull: () => group[next++],
        settle: (index, exit: Exit.Exit<void, E | NameClaims.NameTaken | FirstFailure>) => {
          if (index < work.length && --left === 0) Deferred.unsafeDone(done, Effect.void)
          if (Exit.isSuccess(exit) || broken !== undefined) return undefined
          const error = Cause.failureOption(exit.cause)
          if (Option.isSome(error) && error.value instanceof FirstFailure) {
            endReason ??= error.value.cancellation.reason
            return error.value.cancellation
          }
          if (Cause.isInterruptedOnly(exit.cause)) return undefined
          broken = exit.cause as Cause.Cause<E | NameClaims.NameTaken>
          endReason = `the list failed: ${headline(broken)}`
          return { reason: endReason, origin: "gather" }
        }
      }).pipe(
        Effect.andThen(() => {
          for (const item of queue.rest()) report.skipped(item, `never begun: ${endReason}`)
          report.summary(stopReason, broken)
          end(broken)
        })
      )
      yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
        Cancellation.cancel(fiber, { reason: "the events are not read any more", origin: "gather" })
      )
      return stream
    })
  )
