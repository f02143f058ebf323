import { type Duration, Effect } from "effect"
import { StorageError } from "../../network/Storage.js"
import * as Sleep from "../../task/Sleep.js"
import * as Store from "../Store.js"

/** Pauses before the store is asked again, in milliseconds: the last one for ever. */
const pauses = [20, 50, 100, 200, 500, 1000]

/** Asks the store, or a storage, again while its failures may pass, for so many milliseconds. */
export const patient =
  (limit: number, onFailure?: () => void) =>
  <A, E, R>(ask: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const since = performance.now()
      const attempt = (nth: number): Effect.Effect<A, E, R> =>
        Effect.catchAll(ask, (error) => {
          if (!(error instanceof Store.StoreError || error instanceof StorageError)) return Effect.fail(error)
          onFailure?.()
          if (!error.isTransient || performance.now() - since > limit) return Effect.fail(error)
          return Effect.zipRight(Sleep.sleep(pauses[Math.min(nth, pauses.length - 1)]!), attempt(nth + 1))
        })
      return attempt(0)
    })

/**
 * What a finalizer still asks of the store, for so long at most, whether it fails or not: a query to a store that is cut off
 * goes on alone until its own time limit.
 */
export const within =
  (limit: Duration.DurationInput) =>
  (ask: Effect.Effect<unknown, Store.StoreError | StorageError>): Effect.Effect<void> =>
    // Interruptible in its own fiber; that of the finalizer may have been interrupted already.
    ask.pipe(
      Effect.ignore,
      Effect.disconnect,
      Effect.interruptible,
      Effect.timeoutOption(limit),
      Effect.asVoid
    )
