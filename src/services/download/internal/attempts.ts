import { Effect, Either } from "effect"
import * as Sleep from "../../task/Sleep.js"
import * as Download from "../Download.js"
import * as Downloader from "../Downloader.js"

// All attempts at one download: the first in plain callbacks, further ones after a back-off.
//
// When descriptors run short, fewer attempts run at once: an attempt that gets none starves until another attempt ends,
// and new downloads wait while one starves.

/** In ms. */
export const longestRetryAfter = 300_000

export interface Attempts<Item> {
  /** Begins the first attempt; the result aborts it. */
  readonly start: (item: Item, callbacks: Downloader.Callbacks) => Effect.Effect<void>
  /**
   * Attempts until one succeeds or the last has failed; `first` is the failure of an attempt by {@link start}. A
   * `Retry-After` beyond 5 minutes is a failure.
   */
  readonly settle: (
    item: Item,
    first?: Download.DownloadError
  ) => Effect.Effect<Download.Downloaded, Download.DownloadError>
  /**
   * While an attempt starves for a descriptor: calls back when none does any more, and returns a function that cancels the
   * callback. Undefined if a new download may begin at once.
   */
  readonly waitTurn: (callback: () => void) => (() => void) | undefined
}

export const make = <Item>(options: {
  readonly session: Downloader.Session
  readonly retries: number
  /** The pause before the nth retry, from 0, in milliseconds; `Retry-After` may be longer. */
  readonly pauseBefore: (nth: number) => Effect.Effect<number>
  readonly toRequest: (item: Item) => Download.Request
  /** Whether the item may be requested again after a failure. */
  readonly mayRetry: (item: Item) => boolean
  /** Called before the wait for the attempt of that number; the delay is in milliseconds. */
  readonly onRetry: (item: Item, attempt: number, delay: number, error: Download.DownloadError) => void
}): Attempts<Item> => {
  const { mayRetry, onRetry, pauseBefore, retries, session, toRequest } = options
  let running = 0
  const starved = new Set<() => void>()
  const waiting = new Set<() => void>()
  const ended = (error?: Download.DownloadError) => {
    running--
    const [wake] = starved
    if (wake !== undefined && (error?.reason !== "descriptors" || running === 0)) wake()
  }
  const anotherEnds = Effect.async<void>((resume) => {
    const leave = () => {
      starved.delete(wake)
      if (starved.size > 0) return
      for (const callback of waiting) {
        waiting.delete(callback)
        callback()
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
      Effect.tap((result) => ended(Either.isLeft(result) ? result.left : undefined)),
      Effect.onInterrupt(() => Effect.sync(ended))
    )
  return {
    start: (item, { fail, succeed }) => {
      running++
      return session.start(toRequest(item), {
        succeed: (downloaded) => {
          ended()
          succeed(downloaded)
        },
        fail: (error) => {
          ended(error)
          fail(error)
        }
      })
    },
    settle: Effect.fnUntraced(function* (item, first) {
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
        if (!error.retryable || made > retries || !mayRetry(item)) return yield* error
        const { retryAfter = 0 } = error
        if (retryAfter > longestRetryAfter) {
          return yield* new Download.DownloadError({
            ...error,
            detail: `${error.detail}, to be tried again in ${Math.round(retryAfter / 60_000)} minutes`
          })
        }
        const delay = Math.round(Math.max(yield* pauseBefore(made - 1), retryAfter))
        onRetry(item, made + 1, delay, error)
        yield* Sleep.sleep(delay)
        result = yield* attempt(item)
      }
      return result.right
    }),
    waitTurn: (callback) => {
      if (starved.size === 0) return undefined
      waiting.add(callback)
      return () => waiting.delete(callback)
    }
  }
}
