import { Data, Deferred, Effect, FiberId } from "effect"

/** A service that another one waits for will never be ready. */
export class NeverReady extends Data.TaggedError("NeverReady")<{
  readonly other: string
  readonly message: string
}> {}

/** Which services are ready, and which will never be ready again. */
export interface Readiness {
  /** Those of the given services that are not ready. */
  readonly missing: (names: ReadonlyArray<string>) => ReadonlyArray<string>
  /** Waits for a moment in which all are ready; fails when one will never be ready. */
  readonly await: (names: ReadonlyArray<string>) => Effect.Effect<void, NeverReady>
  /** Notes that a run of the service was ready, whether or not it has ended since. */
  readonly reached: (name: string) => void
  readonly up: (name: string) => Effect.Effect<void>
  readonly down: (name: string) => void
  /** The service has ended for good: it stays ready, or will never be. Waiting services notice with {@link changed}. */
  readonly settle: (name: string, ready: boolean) => void
  /** Makes every waiting service look again. */
  readonly changed: Effect.Effect<void>
}

export const make = (): Readiness => {
  /** Services whose run is ready and has not ended, and services that were ready and have ended well for good. */
  const ready = new Set<string>()
  const everReady = new Set<string>()
  /** Why a service will never be ready again. */
  const gone = new Map<string, string>()
  let change = Deferred.unsafeMake<void>(FiberId.none)
  const changed = Effect.suspend(() => {
    const before = change
    change = Deferred.unsafeMake(FiberId.none)
    return Deferred.succeed(before, undefined)
  })
  const untilReady = (names: ReadonlyArray<string>): Effect.Effect<void, NeverReady> =>
    Effect.suspend(() => {
      const other = names.find((name) => gone.has(name))
      if (other !== undefined) return new NeverReady({ other, message: gone.get(other)! })
      return names.every((name) => ready.has(name))
        ? Effect.void
        : Effect.zipRight(Deferred.await(change), untilReady(names))
    })
  return {
    missing: (names) => names.filter((name) => !ready.has(name)),
    await: untilReady,
    reached: (name) => {
      everReady.add(name)
    },
    up: (name) => {
      ready.add(name)
      return changed
    },
    down: (name) => {
      ready.delete(name)
    },
    settle: (name, isReady) => {
      if (isReady) ready.add(name)
      else gone.set(name, everReady.has(name) ? `${name} has ended for good` : `${name} was never ready`)
    },
    changed
  }
}
