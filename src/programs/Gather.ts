import { isUtf8 } from "node:buffer"
import { createHash } from "node:crypto"
import {
  Cause,
  Chunk,
  Clock,
  Data,
  Deferred,
  type Duration,
  Effect,
  Either,
  Exit,
  Option,
  Random,
  Stream
} from "effect"
import * as Download from "../services/download/Download.js"
import * as Downloader from "../services/download/Downloader.js"
import * as FileName from "../services/download/FileName.js"
import * as hostQueue from "../services/download/internal/hostQueue.js"
import { codes } from "../services/host/ExitCodes.js"
import * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as GuideServer from "../services/http/GuideServer.js"
import * as EventBuffer from "../services/stream/EventBuffer.js"
import { withOwnScope } from "../services/stream/OwnScope.js"
import * as Cancellation from "../services/task/Cancellation.js"
import { headline, parallel, raise, failures as withoutInterruptions } from "../services/task/Causes.js"
import * as WorkerFibers from "../services/task/WorkerFibers.js"
import * as Lines from "../services/text/Lines.js"
import { anyCount, checkedNumber, checkOptions, countOrInfinity, time } from "../services/text/Numbers.js"
import { formatGiven } from "../services/text/Units.js"

/**
 * What happens to the others when one fails: `"cancel"` interrupts them and waits for their clean-up,
 * `"continue"` lets them finish first (asyncio's `gather`), `"collect"` gives every outcome as a value
 * (`return_exceptions=True`).
 */
export type OnFailure = "cancel" | "continue" | "collect"

export interface GatherOptions {
  /** How many run at once, a whole number from 1 or `Infinity`; default `"unbounded"`, as in asyncio. */
  readonly concurrency?: number | "unbounded" | undefined
  /** Default `"cancel"`. */
  readonly onFailure?: OnFailure | undefined
  /** Names this gather in the reasons of what it cancels; default `"gather"`. */
  readonly name?: string | undefined
  /**
   * Sees the outcome of each item as it settles, cancelled siblings included: `Cancellation.fromExit` reads the
   * reason. Items that were never started are not seen.
   */
  readonly onExit?: ((index: number, exit: Exit.Exit<unknown, unknown>) => void) | undefined
}

type AnyEffect = Effect.Effect<any, any, any>
type Many = Iterable<AnyEffect>
type Success<T> = T extends Effect.Effect<infer A, infer _E, infer _R> ? A : never
// Of no items these are never, where Effect's own would be unknown.
type Failure<T> = T extends Effect.Effect<infer _A, infer E, infer _R> ? E : never
type Context<T> = T extends Effect.Effect<infer _A, infer _E, infer R> ? R : never
type Outcome<T> = T extends Effect.Effect<infer A, infer E, infer _R> ? Exit.Exit<A, E> : never
type ItemOf<T> = T extends Iterable<infer Item extends AnyEffect> ? Item : never
type Results<T extends Many> =
  T extends ReadonlyArray<AnyEffect> ? { -readonly [K in keyof T]: Success<T[K]> } : Array<Success<ItemOf<T>>>
type Outcomes<T extends Many> =
  T extends ReadonlyArray<AnyEffect> ? { -readonly [K in keyof T]: Outcome<T[K]> } : Array<Outcome<ItemOf<T>>>

/**
 * Runs the effects at once and gives their results in input order, as `asyncio.gather` does.
 *
 * Each effect is a task of its own: FiberRefs that it sets stay its own, what it forks ends with it. Its failure
 * is this effect's failure: with `"cancel"` after the siblings' clean-up, with `"continue"` after they have
 * finished (the first to fail wins), with `"collect"` never (`Exit`s instead). Further failures, those of a sibling
 * that was cancelled included, are in the cause too. Dies when `concurrency` is no count. An iterable is read as far
 * as items are started. Ready effects cost 1 to 2 µs each, because they share one fiber.
 *
 * @example
 * import { Effect } from "effect"
 * import * as Gather from "effect-asyncio/programs/Gather"
 *
 * const both = Gather.gather([Effect.succeed(1), Effect.succeed("two")]) // Effect<[number, string]>
 */
export const gather: {
  <const T extends Many>(
    effects: T,
    options: GatherOptions & { readonly onFailure: "collect" }
  ): Effect.Effect<Outcomes<T>, never, Context<ItemOf<T>>>
  <const T extends Many>(
    effects: T,
    options?: GatherOptions & { readonly onFailure?: "cancel" | "continue" | undefined }
  ): Effect.Effect<Results<T>, Failure<ItemOf<T>>, Context<ItemOf<T>>>
} = (effects: Many, options: GatherOptions = {}): any =>
  Effect.suspend(() => {
    const { concurrency = "unbounded", name = "gather", onExit, onFailure = "cancel" } = options
    // An array is read by index and its results have their room: half of the time of small effects is garbage.
    const array = Array.isArray(effects) ? effects : undefined
    const iterator = array === undefined ? effects[Symbol.iterator]() : undefined
    const results = new Array<unknown>(array?.length ?? 0)
    let next = 0
    let read = iterator === undefined
    let failures: Cause.Cause<unknown> = Cause.empty
    let cancellation: Cancellation.Cancellation | undefined
    return WorkerFibers.run({
      concurrency:
        concurrency === "unbounded"
          ? Number.POSITIVE_INFINITY
          : checkedNumber("concurrency", concurrency, countOrInfinity),
      pull: () => {
        if (array !== undefined) return next < array.length ? (array[next++] ?? nothing) : undefined
        const done = read
        read = true // whatever it throws
        if (done) return undefined
        const result = iterator!.next()
        if (result.done === true) return undefined
        read = false
        return result.value ?? nothing
      },
      settle: (index, exit) => {
        results[index] = onFailure === "collect" || exit._tag === "Failure" ? exit : exit.value
        if (exit._tag === "Failure") {
          // An outcome is lost only where an interruption of the whole has brought it about.
          if (onFailure !== "collect" || Cause.isInterrupted(exit.cause)) {
            // What was cancelled for the first failure says nothing new, unless it has failed on its own or broke in
            // its clean-up.
            const first = onFailure === "continue" || (onFailure === "cancel" && cancellation === undefined)
            failures = parallel(failures, first ? exit.cause : withoutInterruptions(exit.cause))
          }
          if (onFailure === "cancel") {
            cancellation ??= { reason: `task ${index} failed: ${headline(exit.cause)}`, origin: name }
          }
        }
        onExit?.(index, exit)
        return cancellation
      }
    }).pipe(
      Effect.onExit((exit) =>
        Effect.suspend(() => {
          if (!read) iterator?.return?.()
          // Interrupted, or broken off by a callback: what has failed by then is not lost.
          return Exit.isFailure(exit) ? raise(withoutInterruptions(failures)) : Effect.void
        })
      ),
      Effect.flatMap(() =>
        onFailure === "collect" || Cause.isEmptyType(failures)
          ? Effect.succeed(results)
          : Effect.failCause(failures)
      )
    )
  })

/** What is `undefined` where an effect should be; an item that dies of it, since `pull` says so of the end. */
const nothing = Effect.dieMessage("Not a valid effect: undefined")

/** One file to download. */
export interface DownloadRequest {
  readonly url: URL
  /** The file name under `directory`; default: what the URL's path suggests. */
  readonly name?: string | undefined
  readonly checksum?: Download.Checksum | undefined
  /** Where it was asked for, for errors: `urls.txt, line 12`. */
  readonly source?: string | undefined
}

/** How to download; what `Download.SessionOptions` has, and what is decided between requests. */
export interface DownloadsOptions extends Download.SessionOptions {
  /** Where to save; without it bodies are read, counted and dropped. */
  readonly directory?: string | undefined
  /** Transfers under way at once; default 16. */
  readonly concurrency?: number | undefined
  /** Transfers under way at once from one host (name and port); default: no bound but `concurrency`. */
  readonly perHost?: number | undefined
  /** Further attempts after one that failed for a passing reason; default 3. */
  readonly retries?: number | undefined
  /** The whole transfer's time, retries included; default unlimited. */
  readonly timeout?: Duration.DurationInput | undefined
  /** What a failed transfer does to the others; default `"continue"`. `"collect"` does the same, and reads as such. */
  readonly onFailure?: OnFailure | undefined
  /** Sent with every request, except secrets across origins. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Most bytes of a decoded body; default unlimited, and 1 GiB for a compressed body. */
  readonly maxSize?: number | undefined
  /** As in `Download.Target`; default `"replace"`. */
  readonly existing?: "replace" | "keep" | undefined
  /** As in `Download.Target`; default true. */
  readonly resume?: boolean | undefined
  /** As in `Download.Target`; default false. */
  readonly fsync?: boolean | undefined
  /** As in `Download.Target`; default false. */
  readonly contentDisposition?: boolean | undefined
  /**
   * The names that were taken before, with {@link makeClaims}: of requests that were checked before anything is
   * fetched, say. Each request's name is checked as it comes, in any case.
   */
  readonly claims?: Claims | undefined
  /** Whether to give `progress` events, at most ten a second for a transfer; default false. */
  readonly progress?: boolean | undefined
  /**
   * Ends the downloads in order when it completes: what is under way is cancelled with that reason, nothing more is
   * begun, and the summary still comes. Default: never.
   */
  readonly stop?: Effect.Effect<Cancellation.Cancellation> | undefined
}

/** What happens in {@link downloads}. `index` is the request's place in the input, from 0. */
export type DownloadEvent =
  | { readonly event: "started"; readonly index: number; readonly url: string }
  | {
      readonly event: "progress"
      readonly index: number
      readonly url: string
      /** Bytes of the file so far. */
      readonly received: number
      /** Bytes of the whole file, where the server says. */
      readonly total?: number | undefined
    }
  | {
      readonly event: "retried"
      readonly index: number
      readonly url: string
      /** The attempt that comes next; the first one was 1. */
      readonly attempt: number
      /** Milliseconds until then. */
      readonly delay: number
      readonly reason: Download.Reason
      readonly detail: string
    }
  | {
      /** What a person should know although nothing has failed. */
      readonly event: "note"
      readonly index: number
      readonly url: string
      readonly detail: string
    }
  | ({ readonly event: "finished"; readonly index: number; readonly url: string } & Download.Downloaded)
  | {
      readonly event: "failed"
      readonly index: number
      readonly url: string
      readonly reason: Download.Reason | "cancelled"
      readonly detail: string
      readonly status?: number | undefined
      /** Bytes on the disk with which the next run goes on; left out where there are none. */
      readonly kept?: number | undefined
    }
  | Summary

/** The last event: what has become of all requests. */
export interface Summary {
  readonly event: "summary"
  readonly finished: number
  readonly skipped: number
  readonly failed: number
  /** Decoded bytes of what has finished, those there before not counted. */
  readonly bytes: number
  /** Milliseconds from the first request. */
  readonly elapsed: number
  readonly retries: number
  /** How many failed for which reason. */
  readonly causes: Readonly<Record<string, number>>
  /** The partial files with which the next run goes on, and their bytes; left out where there are none. */
  readonly kept?: { readonly files: number; readonly bytes: number } | undefined
}

/** A name that two requests would both write. */
export class NameTaken extends Data.TaggedError("NameTaken")<{
  readonly name: string
  /** The name as the earlier request has it; in other letters perhaps. */
  readonly taken: string
  readonly url: string
  readonly source: string | undefined
  /** Whether it is the same URL, with another checksum. */
  readonly same: boolean
}> {
  readonly exitCode = codes.usage
  override get message() {
    const { name, same, source, taken, url } = this
    const where = `${source === undefined ? "" : `${source}: `}${url}: `
    if (same)
      return `${where}it is asked for already, with another checksum or without one; ask for it once, with the right one`
    const other = name === taken ? "" : `, and '${name}' is the same file where case does not count`
    return `${where}another URL is saved as '${taken}' already${other}; give one of them a name of its own (URL, TAB, name)`
  }
}

/** A folder has the name that a file is to have. */
export class FolderInTheWay extends Data.TaggedError("FolderInTheWay")<{
  readonly directory: string
  readonly name: string
  readonly source: string | undefined
}> {
  readonly exitCode = codes.usage
  override get message() {
    const { directory, name, source } = this
    return `${source === undefined ? "" : `${source}: `}${directory}/${name} is a folder; move it away, or give the file another name`
  }
}

/** The file name under which a request is saved. */
export const nameOf = (request: DownloadRequest): string => request.name ?? FileName.fromUrl(request.url)

/** The URL as it is shown: without user and password. */
export const show = (url: URL): string => {
  if (url.username === "" && url.password === "") return url.href
  const copy = new URL(url.href)
  copy.username = ""
  copy.password = ""
  return copy.href
}

/** File names in use. */
export interface Claims {
  /** Takes a name; false when it is taken. */
  readonly claim: (name: string) => boolean
  /** Takes a request's name, which an equal request may have already; fails when another has it. */
  readonly check: (request: DownloadRequest) => Effect.Effect<void, NameTaken>
  /** {@link check}, and whether this is the first of equal requests that begins. */
  readonly begin: (request: DownloadRequest) => Effect.Effect<boolean, NameTaken>
}

interface Claim {
  readonly name: string
  /** The URL and the checksum, as a digest: of a long list the names are kept, and nothing else. */
  readonly url: string | undefined
  readonly checksum: string | undefined
  begun: boolean
}

const digest = (url: URL): string => {
  const { hash, href } = url // the fragment is not sent
  return createHash("sha256")
    .update(hash === "" ? href : href.slice(0, -hash.length))
    .digest("base64")
}

/**
 * Refuses a request whose name an earlier one has, unless it is the same request again: the same URL, name and
 * checksum. Keeps the names, and nothing else of a request.
 */
export const makeClaims = (): Claims => {
  const claims = new Map<string, Claim>()
  const keyOf = (name: string) => name.toLowerCase() // two names are one file where case does not count
  const take = (request: DownloadRequest): Claim | NameTaken => {
    const name = nameOf(request)
    const key = keyOf(name)
    const url = digest(request.url)
    const checksum = request.checksum?.hex
    const earlier = claims.get(key)
    if (earlier === undefined) {
      const claim = { name, url, checksum, begun: false }
      claims.set(key, claim)
      return claim
    }
    if (earlier.url === url && earlier.name === name && earlier.checksum === checksum) return earlier
    const same = earlier.url === url && earlier.name === name
    return new NameTaken({
      name,
      taken: earlier.name,
      url: show(request.url),
      source: request.source,
      same
    })
  }
  return {
    claim: (name) => {
      const key = keyOf(name)
      if (claims.has(key)) return false
      claims.set(key, { name, url: undefined, checksum: undefined, begun: true })
      return true
    },
    check: (request) =>
      Effect.suspend(() => {
        const taken = take(request)
        return taken instanceof NameTaken ? Effect.fail(taken) : Effect.void
      }),
    begin: (request) =>
      Effect.suspend(() => {
        const taken = take(request)
        if (taken instanceof NameTaken) return Effect.fail(taken)
        const first = !taken.begun
        taken.begun = true
        return Effect.succeed(first)
      })
  }
}

class FirstFailure extends Data.TaggedError("FirstFailure")<{
  readonly cancellation: Cancellation.Cancellation
}> {}

interface Item {
  readonly index: number
  readonly request: DownloadRequest
  readonly url: string
  readonly history: Download.History
  /** The name that the server gave it in an earlier attempt. */
  claimed?: string
  /** What has been noted of it. */
  readonly notes: Set<string>
  /** Bytes that the last attempt has left for a further one. */
  kept: number
}

const firstDelay = 500 // ms
const longestDelay = 30_000
const longestRetryAfter = 300_000
const buffered = 1024

/**
 * Downloads what the stream names, many at once, as a stream of events. Requests are taken as places get free, so
 * an endless list costs no memory but its names. A transfer that fails for a passing reason (a dropped connection,
 * a stall, 408, 425, 429, 5xx) is tried again after 0.5 s, doubled each time up to 30 s, with jitter, or when
 * `Retry-After` says; a `Retry-After` beyond 5 minutes is a failure.
 *
 * Failed transfers are events; the stream itself fails where the input does, and with `NameTaken` when two requests
 * would write one file. Ending the stream early cancels what is under way.
 *
 * @example
 * import { Effect, Stream } from "effect"
 * import * as Gather from "effect-asyncio/programs/Gather"
 * import * as Downloader from "effect-asyncio/services/Downloader"
 *
 * const program = Gather.downloads([{ url: new URL("https://example.com/a.iso") }], { directory: "isos" }).pipe(
 *   Stream.filter((event) => event.event === "finished"),
 *   Stream.runForEach((event) => Effect.log(event)),
 *   Effect.provide(Downloader.layer)
 * )
 */
export const downloads = <E = never, R = never>(
  list: Iterable<DownloadRequest> | Stream.Stream<DownloadRequest, E, R>,
  options: DownloadsOptions = {}
): Stream.Stream<DownloadEvent, E | NameTaken | Downloader.ProxyError, R | Downloader.Downloader> =>
  withOwnScope(list, (requests) =>
    Effect.gen(function* () {
      checkOptions(options, { concurrency: countOrInfinity, perHost: countOrInfinity, retries: anyCount })
      checkOptions(options, { maxSize: anyCount, timeout: time })
      const { concurrency = 16, onFailure = "continue", retries = 3 } = options
      const session = yield* (yield* Downloader.Downloader).open(options)
      const claims = options.claims ?? makeClaims()
      const queue = hostQueue.make<Item>({
        perHost: options.perHost ?? Number.POSITIVE_INFINITY,
        host: ({ request }) => request.url.host,
        // Waiting requests are let pass each other only where a host may be busy; else they need not wait here.
        lowWater: options.perHost === undefined ? concurrency : buffered
      })
      const { emit, end, full, stream, whenRoom } = EventBuffer.make<DownloadEvent, E | NameTaken>({
        capacity: buffered
      })

      const begun = yield* Clock.currentTimeNanos
      const counts = { finished: 0, skipped: 0, failed: 0, bytes: 0, retries: 0 }
      const causes: Record<string, number> = {}
      const keptParts = { files: 0, bytes: 0 }
      let count = 0
      const failed = (
        { index, kept, url }: Item,
        reason: Download.Reason | "cancelled",
        detail: string,
        status?: number
      ) => {
        counts.failed++
        causes[reason] = (causes[reason] ?? 0) + 1
        if (kept > 0) {
          keptParts.files++
          keptParts.bytes += kept
        }
        emit({
          event: "failed",
          index,
          url,
          reason,
          detail,
          ...(status === undefined ? {} : { status }),
          ...(kept === 0 ? {} : { kept })
        })
      }
      const note = (item: Item, text: string) => {
        const detail = plain(text) // the names of what lies in a folder are others' words
        if (item.notes.has(detail)) return
        item.notes.add(detail)
        emit({ event: "note", index: item.index, url: item.url, detail })
      }
      const finished = ({ index, url }: Item, downloaded: Download.Downloaded) => {
        if (downloaded.skipped) counts.skipped++
        else {
          counts.finished++
          counts.bytes += downloaded.size - downloaded.resumedFrom
        }
        emit({ event: "finished", index, url, ...downloaded })
      }

      const target = (item: Item): Download.Target | undefined =>
        options.directory === undefined
          ? undefined
          : {
              directory: options.directory,
              name: nameOf(item.request),
              existing: options.existing,
              resume: options.resume,
              fsync: options.fsync,
              contentDisposition: options.contentDisposition,
              claim: (name) => {
                if (name !== item.claimed && !claims.claim(name)) return false
                item.claimed = name
                return true
              }
            }
      const toRequest = (item: Item): Download.Request => ({
        url: item.request.url,
        onNote: (detail) => note(item, detail),
        onKept: (bytes) => {
          item.kept = bytes
        },
        headers: options.headers,
        target: target(item),
        checksum: item.request.checksum,
        maxSize: options.maxSize,
        history: item.history,
        onProgress:
          options.progress === true
            ? (received, total) =>
                emit({ event: "progress", index: item.index, url: item.url, received, total })
            : undefined
      })

      const delayOf = Effect.fnUntraced(function* (attempt: number, error: Download.DownloadError) {
        const jitter = yield* Random.next
        const backOff = Math.min(longestDelay, firstDelay * 2 ** (attempt - 1)) * (0.5 + jitter / 2)
        return Math.round(Math.max(backOff, error.retryAfter ?? 0))
      })

      // Where descriptors run short, fewer attempts run at once: one that has got none waits until another ends, and
      // new ones wait for it.
      let running = 0
      const starved = new Set<() => void>()
      const takers = new Set<() => void>()
      const endAttempt = (error?: Download.DownloadError) => {
        running--
        const [wake] = starved
        if (wake !== undefined && (error?.reason !== "descriptors" || running === 0)) wake()
      }
      const anotherEnds = Effect.async<void>((resume) => {
        const leave = () => {
          starved.delete(wake)
          if (starved.size > 0) return
          for (const take of takers) {
            takers.delete(take)
            take()
          }
        }
        const wake = () => {
          leave()
          resume(Effect.void)
        }
        starved.add(wake)
        return Effect.sync(leave)
      })
      const attempt = (item: Item) =>
        Effect.suspend(() => {
          running++
          return Effect.either(Downloader.fetch(session, toRequest(item)))
        }).pipe(
          Effect.tap((result) => endAttempt(Either.isLeft(result) ? result.left : undefined)),
          Effect.onInterrupt(() => Effect.sync(endAttempt))
        )

      /** All attempts; `first` is how the first one failed, when it has been made. */
      const transfer = Effect.fnUntraced(function* (item: Item, first?: Download.DownloadError) {
        const { index, url } = item
        let result: Either.Either<Download.Downloaded, Download.DownloadError> =
          first === undefined ? yield* attempt(item) : Either.left(first)
        for (let made = 1; Either.isLeft(result); made++) {
          const error: Download.DownloadError = result.left
          if (error.reason === "descriptors" && running > 0) {
            made--
            yield* anotherEnds
            result = yield* attempt(item)
            continue
          }
          if (!error.retryable || made > retries) return yield* error
          const delay = yield* delayOf(made, error)
          if (delay > longestRetryAfter) {
            return yield* new Download.DownloadError({
              ...error,
              detail: `${error.detail}, to be tried again in ${Math.round(delay / 60_000)} minutes`
            })
          }
          counts.retries++
          emit({
            event: "retried",
            index,
            url,
            attempt: made + 1,
            delay,
            reason: error.reason,
            detail: error.detail
          })
          yield* Effect.sleep(delay)
          result = yield* attempt(item)
        }
        return result.right
      })

      const { timeout } = options
      /** A transfer to its end, with what the first attempt alone does not need: retries, a deadline, cancelling. */
      const settle = (item: Item, first?: Download.DownloadError) =>
        (timeout === undefined
          ? transfer(item, first)
          : Effect.timeoutFail(transfer(item, first), {
              duration: timeout,
              onTimeout: () =>
                new Download.DownloadError({
                  reason: "timeout",
                  url: item.url,
                  detail: `not done in ${formatGiven(timeout)}`,
                  retryable: false
                })
            })
        ).pipe(
          Effect.matchEffect({
            onSuccess: (downloaded) => Effect.sync(() => finished(item, downloaded)),
            onFailure: (error) => {
              failed(item, error.reason, error.detail, error.status)
              const cancellation = { reason: `${item.url} failed: ${error.detail}`, origin: "gather" }
              return onFailure === "cancel" ? Effect.fail(new FirstFailure({ cancellation })) : Effect.void
            }
          })
        )

      const worker = Effect.suspend(() => {
        let item: Item | undefined
        // The hot path, in plain callbacks: takes items and downloads them until one needs more than a first attempt.
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
            if (starved.size > 0) {
              takers.add(take)
              cancel = () => Effect.sync(() => takers.delete(take))
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
            emit({ event: "started", index: next.index, url: next.url })
            if (timeout !== undefined) return resume(Effect.succeed("deadline"))
            running++
            const abort = session.start(toRequest(next), {
              succeed: (downloaded) => {
                item = undefined
                endAttempt()
                finished(next, downloaded)
                queue.release(next)
                take()
              },
              fail: (error) => {
                endAttempt(error)
                resume(Effect.succeed(error))
              }
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
              failed(item, "cancelled", why === undefined ? "cancelled" : `cancelled: ${why.reason}`)
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
              index: count++,
              request,
              url: show(request.url),
              history: Download.makeHistory(),
              notes: new Set(),
              kept: 0
            }
            if (options.directory === undefined || (yield* claims.begin(request))) items.push(item)
            else note(item, `${request.source ?? "the command line"} asks for it again; it is fetched once`)
          }
          queue.offer(items)
          yield* queue.low
        })
      ).pipe(Effect.andThen(Effect.sync(queue.end)))

      // The feed and the workers are one group: whichever fails first ends the others, with its reason.
      const work: ReadonlyArray<Effect.Effect<void, E | NameTaken | FirstFailure>> = [
        feed,
        ...Array.from({ length: concurrency }, () => worker)
      ]
      let left = work.length
      const done = yield* Deferred.make<void>()
      const stopped = Effect.raceFirst(
        Effect.flatMap(options.stop ?? Effect.never, (cancellation) => new FirstFailure({ cancellation })),
        Deferred.await(done)
      )
      const group = options.stop === undefined ? work : [...work, stopped]
      let next = 0
      let broken: Cause.Cause<E | NameTaken> | undefined
      const run = WorkerFibers.run({
        concurrency: group.length,
        pull: () => group[next++],
        settle: (index, exit: Exit.Exit<void, E | NameTaken | FirstFailure>) => {
          if (index < work.length && --left === 0) Deferred.unsafeDone(done, Effect.void)
          if (Exit.isSuccess(exit) || broken !== undefined) return undefined
          const error = Cause.failureOption(exit.cause)
          if (Option.isSome(error) && error.value instanceof FirstFailure) return error.value.cancellation
          if (Cause.isInterruptedOnly(exit.cause)) return undefined
          broken = exit.cause as Cause.Cause<E | NameTaken>
          return { reason: `the list failed: ${headline(broken)}`, origin: "gather" }
        }
      }).pipe(
        Effect.andThen(Clock.currentTimeNanos),
        Effect.tap((now) => {
          emit({
            event: "summary",
            ...counts,
            elapsed: Number(now - begun) / 1e6,
            causes,
            ...(keptParts.files === 0 ? {} : { kept: keptParts })
          })
          return Effect.sync(() => end(broken))
        })
      )
      yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
        Cancellation.cancel(fiber, { reason: "nobody reads the events any more", origin: "gather" })
      )
      return stream
    })
  )

// #region example
/** The four pages of the guide, from the embedded server; prints each as it arrives. */
export const example: Effect.Effect<
  void,
  NameTaken | Downloader.ProxyError,
  Downloader.Downloader | GuideServer.GuideServer | Output.Output
> = Effect.gen(function* () {
  const { origin } = yield* GuideServer.GuideServer
  const origins = Object.fromEntries(GuideServer.pages.map(({ url }) => [url, origin]))
  yield* Output.note(`(the guide's pages, from an embedded server at ${origin})`)
  yield* downloads(
    GuideServer.pages.map(({ url }) => ({ url: new URL(url) })),
    { origins }
  ).pipe(
    Stream.runForEach((event) =>
      event.event === "finished"
        ? Output.print(`Downloaded ${event.url.replace(/\/$/, "")}, size ${event.size}`)
        : Effect.void
    )
  )
})
// #endregion

/** Characters of a wrong text that a message quotes. */
const quotable = 80

/** What stands before the last @ may be a user's name and password. */
const withoutUser = (text: string): string => {
  const at = text.lastIndexOf("@")
  return at < 0 ? text : (/^[a-z][a-z0-9+.-]{0,30}:\/\//i.exec(text)?.[0] ?? "") + text.slice(at + 1)
}

/** Without what moves a terminal's cursor, or reorders or hides text. */
const plain = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "?")

/** A text from outside in a message: its beginning, without a password and without what moves a terminal's cursor. */
const quote = (text: string): string => {
  const shown = withoutUser(text)
  return `'${plain(shown.length > quotable ? `${shown.slice(0, quotable)}…` : shown)}'`
}

/** Characters of a host name; longer ones are no names, and to encode them takes time with the square of that. */
const longestHost = 1024
const hostOf = (text: string): string => {
  const authority = /^[^:]*:[/\\]*([^/\\?#]*)/.exec(text.replace(/[\t\r\n]+/g, ""))?.[1] ?? ""
  return authority.slice(authority.lastIndexOf("@") + 1)
}

/** Reads a URL that a person wrote; on the left what is wrong with it, and of `shown` only what is no secret. */
export const parseUrl = (text: string, shown = text): Either.Either<URL, string> => {
  const quoted = () => quote(shown)
  if (text.length > longestHost && hostOf(text).length > longestHost)
    return Either.left(`the host name in ${quoted()} is longer than ${longestHost} characters`)
  if (!URL.canParse(text)) return Either.left(`${quoted()} is no URL; write it like https://example.com/file`)
  const url = new URL(text)
  return url.protocol === "http:" || url.protocol === "https:"
    ? Either.right(url)
    : Either.left(`${quoted()} is no web address; only http:// and https:// are downloaded`)
}

/** Reads `sha256:HEX`; on the left what is wrong with it. */
export const parseChecksum = (text: string): Either.Either<Download.Checksum, string> =>
  /^sha256:[0-9a-f]{64}$/i.test(text)
    ? Either.right({ algorithm: "sha256", hex: text.slice(7).toLowerCase() })
    : Either.left(`${quote(text)} is no checksum; write sha256: and 64 hexadecimal digits`)

/** A line of a list that can't be read; `message` names the list, the line and what would be right. */
export class ListError extends Data.TaggedError("ListError")<{
  readonly list: string
  readonly line: number | undefined
  readonly detail: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    const { detail, line, list } = this
    const name = list === "-" ? "standard input" : list
    return line === undefined ? `cannot read the list ${name}: ${detail}` : `${name}, line ${line}: ${detail}`
  }
}

const parseLine = (line: string): Either.Either<DownloadRequest, string> => {
  const [text = "", ...fields] = line.split("\t").map((field) => field.trim())
  // A password may have a TAB in it, and the @ stand behind that.
  const url = parseUrl(text, line.includes("@") ? line : text)
  if (Either.isLeft(url)) return Either.left(url.left)
  const request: { url: URL; name?: string; checksum?: Download.Checksum } = { url: url.right }
  for (const field of fields) {
    if (field === "") continue
    if (/^sha256:/i.test(field)) {
      const checksum = parseChecksum(field)
      if (Either.isLeft(checksum)) return Either.left(checksum.left)
      request.checksum = checksum.right
    } else if (request.name !== undefined) {
      return Either.left(`${quote(field)} is a third field; write URL, TAB, file name, TAB, sha256:HEX`)
    } else if (FileName.fromNetwork(field) !== field) {
      return Either.left(
        `${quote(field)} is no plain file name; leave out folders, leading dots and special characters`
      )
    } else request.name = field
  }
  return Either.right(request)
}

/** Most bytes of a line of a list. */
const longestLine = 1024 * 1024
const hash = 0x23

/**
 * Reads a list of downloads, a URL a line, after it TAB and a file name, TAB and `sha256:HEX` where wanted; blank
 * lines and lines that start with `#` are passed over. A line has 1 MiB at the most. `-` is standard input. Streamed:
 * nothing of it is kept.
 */
export const readList = (list: string): Stream.Stream<DownloadRequest, ListError, Input.Input> => {
  const source = list === "-" ? "standard input" : list
  const fail = (detail: string, line?: number) => new ListError({ list, line, detail })
  return Stream.unwrap(
    Effect.map(Input.Input, ({ open }) => {
      let found: Array<string | { readonly wrong: string }> = []
      let unended = 0 // bytes of the line whose end has not come
      const lines = Lines.make({
        maxLine: longestLine,
        onLine: (line, cut) => {
          const wrong = cut
            ? "is longer than 1 MiB"
            : line[0] === hash || isUtf8(line)
              ? undefined
              : "is not UTF-8"
          const text = line.toString("utf8")
          found.push(wrong === undefined ? text : { wrong: `${quote(text)} ${wrong}` })
        }
      })
      const take = () => {
        const taken = found
        found = []
        return Chunk.unsafeFromArray(taken)
      }
      const whole = Stream.mapChunks(open(list), (chunks) => {
        for (const bytes of chunks) {
          lines.push(bytes)
          const last = bytes.lastIndexOf(10)
          unended = last < 0 ? unended + bytes.length : bytes.length - last - 1
          // Its end may never come.
          if (unended > longestLine) lines.end()
        }
        return take()
      })
      const rest = Stream.suspend(() => {
        lines.end()
        return Stream.fromChunk(take())
      })
      let number = 0
      return Stream.concat(
        Stream.mapError(whole, (error) => fail(error.detail)),
        rest
      ).pipe(
        // Parsed some at a time as they are needed, so that they die young; without waiting for more lines to come.
        Stream.chunks,
        Stream.mapConcatChunk((lines) => Chunk.chunksOf(lines, 64)),
        Stream.flattenChunks,
        Stream.mapChunksEffect((lines) =>
          Effect.suspend(() => {
            const requests: Array<DownloadRequest> = []
            for (const line of lines) {
              number++
              if (typeof line !== "string") return Effect.fail(fail(line.wrong, number))
              if (line.trim() === "" || line.startsWith("#")) continue
              const request = parseLine(number === 1 ? line.replace(/^\uFEFF/, "") : line)
              if (Either.isLeft(request)) return Effect.fail(fail(request.left, number))
              requests.push({ ...request.right, source: `${source}, line ${number}` })
            }
            return Effect.succeed(Chunk.unsafeFromArray(requests))
          })
        )
      )
    })
  )
}
