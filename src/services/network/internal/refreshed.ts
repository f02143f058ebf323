import { Clock, Deferred, Effect, Exit, type Scope } from "effect"

/** A value that is good until a time, and is better fetched again from another; in milliseconds of the clock. */
export interface Expiring<A> {
  readonly value: A
  readonly until: number
  readonly renew: number
}

export interface Refreshed<A, E> {
  readonly get: Effect.Effect<A, E>
  /** Forgets the value if it turns out to be bad before its time. */
  readonly drop: (isBad: (value: A) => boolean) => void
}

/**
 * A value that is fetched when it is first needed and kept until it expires. From `renew` on it is still
 * given out while one fetch runs beside. There is one fetch for all that wait; it goes on when one of them is interrupted.
 * A fetch that fails fails those that wait, and the next call tries again.
 */
export const make = <A, E>(
  fetch: Effect.Effect<Expiring<A>, E>
): Effect.Effect<Refreshed<A, E>, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    let held: Expiring<A> | undefined
    let fetching: Deferred.Deferred<A, E> | undefined
    const start = Effect.suspend(() => {
      if (fetching !== undefined) return Effect.succeed(fetching)
      return Effect.flatMap(Deferred.make<A, E>(), (done) => {
        fetching = done
        return fetch.pipe(
          Effect.interruptible,
          Effect.onExit((exit) => {
            fetching = undefined
            if (Exit.isSuccess(exit)) held = exit.value
            return Deferred.done(
              done,
              Exit.map(exit, ({ value }) => value)
            )
          }),
          Effect.forkIn(scope),
          Effect.as(done)
        )
      })
    }).pipe(Effect.uninterruptible)
    return {
      get: Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (held === undefined || now >= held.until) return Effect.flatMap(start, Deferred.await)
        return now < held.renew ? Effect.succeed(held.value) : Effect.as(start, held.value)
      }),
      drop: (isBad) => {
        if (held !== undefined && isBad(held.value)) held = undefined
      }
    }
  })
