import { Clock, Context, Data, Duration, Effect, Layer, Option } from "effect"

// errors

/**
 * The cache did not answer.
 *
 * @since 0.1.0
 * @category errors
 */
export class CacheError extends Data.TaggedError("CacheError")<{ readonly reason: string }> {
  override get message() {
    return `cache: ${this.reason}`
  }
}

// tag

/**
 * A cache of texts beside the application server, such as Redis.
 *
 * @since 0.1.0
 * @category services
 */
export class Cache extends Context.Tag("effect-asyncio/services/Cache")<
  Cache,
  {
    /** The value; `None` for a key that was never set or has expired. */
    readonly get: (key: string) => Effect.Effect<Option.Option<string>, CacheError>
    /** Sets a value; without a time to live it stays. */
    readonly set: (
      key: string,
      value: string,
      timeToLive?: Duration.DurationInput
    ) => Effect.Effect<void, CacheError>
  }
>() {}

/**
 * The initial content of an embedded cache and its behaviour.
 *
 * @since 0.1.0
 * @category models
 */
export interface Embedded {
  readonly entries: Readonly<Record<string, string>>
  /** Time that each answer takes. */
  readonly latency: Duration.DurationInput
  /** Answers with this failure instead. */
  readonly down?: string
}

// make

/**
 * A cache in memory. Expiry and latency are times of the current clock.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ down, entries, latency }: Embedded): Effect.Effect<Context.Tag.Service<Cache>> =>
  Effect.sync(() => {
    const held = new Map(
      Object.entries(entries).map(([key, value]) => [key, { value, until: Number.POSITIVE_INFINITY }])
    )
    const reached = Effect.zipRight(
      Effect.sleep(latency),
      down === undefined ? Clock.currentTimeMillis : new CacheError({ reason: down })
    )
    return {
      get: (key) =>
        Effect.map(reached, (now) => {
          const entry = held.get(key)
          if (entry !== undefined && now < entry.until) return Option.some(entry.value)
          held.delete(key)
          return Option.none()
        }),
      set: (key, value, timeToLive = Duration.infinity) =>
        Effect.map(
          reached,
          (now) => void held.set(key, { value, until: now + Duration.toMillis(timeToLive) })
        )
    }
  })

// layers

/**
 * Embedded: the visits of the user `ada`, each answer after 10 ms.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Cache> = Layer.effect(
  Cache,
  make({ latency: 10, entries: { "visits:ada": "41" } })
)

/**
 * Empty and without latency, except for the given content.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (given: Partial<Embedded> = {}): Layer.Layer<Cache> =>
  Layer.effect(Cache, make({ latency: 0, entries: {}, ...given }))
