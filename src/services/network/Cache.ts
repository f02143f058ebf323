import { Clock, Context, Data, Duration, Effect, Layer, Option, Redacted, type Scope } from "effect"
import { codes } from "../host/ExitCodes.js"
import { nativeImport } from "../source/NativeImport.js"
import { checkedDuration, checkOptions, count, someTime } from "../text/Numbers.js"
import { isOfConnection, reasonOf } from "./internal/reasons.js"
import * as NetworkSettings from "./NetworkSettings.js"

// errors

/**
 * The cache did not answer.
 *
 * @since 0.1.0
 * @category errors
 */
export class CacheError extends Data.TaggedError("CacheError")<{
  readonly reason: string
  /** Whether the same call may succeed later. */
  readonly isTransient: boolean
  readonly cause?: unknown
}> {
  readonly exitCode = codes.failed
  override get message() {
    return `cache: ${this.reason}`
  }
}

// tag

/**
 * A cache of texts beside the application server.
 *
 * @since 0.1.0
 * @category services
 */
export class Cache extends Context.Tag("effect-asyncio/services/Cache")<
  Cache,
  {
    /** How it was configured, without secrets. */
    readonly configured: string
    /** Whether it is in this process. */
    readonly isEmbedded: boolean
    /** The value; `None` for a key that was never set, has expired or was dropped. */
    readonly get: (key: string) => Effect.Effect<Option.Option<string>, CacheError>
    /** Sets a value. Without a time to live, which is above zero, it stays until it is dropped for lack of space. */
    readonly set: (
      key: string,
      value: string,
      timeToLive?: Duration.DurationInput
    ) => Effect.Effect<void, CacheError>
    /** Adds to a whole number, 0 if the key has none, and returns the sum. The time to live stays. */
    readonly increment: (key: string, by?: number) => Effect.Effect<number, CacheError>
    readonly remove: (key: string) => Effect.Effect<void, CacheError>
    /** Removes all keys that start with the prefix. */
    readonly clear: (prefix: string) => Effect.Effect<void, CacheError>
    /** Succeeds if the cache answers. */
    readonly check: Effect.Effect<void, CacheError>
  }
>() {}

// make

/**
 * Settings of {@link makeMemory}.
 *
 * @since 0.1.0
 * @category options
 */
export interface MemoryOptions {
  /** How many keys are held; beyond that the one that was used least recently is dropped. Default 10,000. */
  readonly capacity?: number | undefined
}

const positive = (timeToLive: Duration.DurationInput) =>
  Duration.toMillis(checkedDuration("timeToLive", timeToLive, someTime))

/**
 * A cache in memory. Expiry follows the current clock. Dies with a `RangeError` when a setting is out of range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMemory = (options: MemoryOptions = {}): Effect.Effect<Context.Tag.Service<Cache>> =>
  Effect.sync(() => {
    checkOptions(options, { capacity: count })
    const { capacity = 10_000 } = options
    // In the order of use, the least recent first.
    const held = new Map<string, { readonly value: string; readonly until: number }>()
    const read = (key: string, now: number) => {
      const entry = held.get(key)
      if (entry === undefined) return undefined
      held.delete(key)
      if (now >= entry.until) return undefined
      held.set(key, entry)
      return entry
    }
    const write = (key: string, value: string, until: number) => {
      held.delete(key)
      held.set(key, { value, until })
      for (const oldest of held.keys()) {
        if (held.size <= capacity) break
        held.delete(oldest)
      }
    }
    return {
      configured: "in memory",
      isEmbedded: true,
      get: (key) => Effect.map(Clock.currentTimeMillis, (now) => Option.fromNullable(read(key, now)?.value)),
      set: (key, value, timeToLive) =>
        Effect.map(Clock.currentTimeMillis, (now) =>
          write(key, value, timeToLive === undefined ? Number.POSITIVE_INFINITY : now + positive(timeToLive))
        ),
      increment: (key, by = 1) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const entry = read(key, now)
          const sum = Number(entry?.value ?? 0) + by
          if (!Number.isSafeInteger(sum)) {
            return new CacheError({
              reason: `the value of '${key}' is not a whole number`,
              isTransient: false
            })
          }
          write(key, String(sum), entry?.until ?? Number.POSITIVE_INFINITY)
          return Effect.succeed(sum)
        }),
      remove: (key) => Effect.sync(() => void held.delete(key)),
      clear: (prefix) =>
        Effect.sync(() => {
          for (const key of held.keys()) if (key.startsWith(prefix)) held.delete(key)
        }),
      check: Effect.void
    }
  })

const makeRedis = (
  url: Redacted.Redacted<URL>
): Effect.Effect<Context.Tag.Service<Cache>, NetworkSettings.MissingPackage, Scope.Scope> =>
  Effect.gen(function* () {
    const { Redis } = yield* NetworkSettings.load(
      "ioredis",
      "REDIS_URL",
      (): Promise<typeof import("ioredis")> => nativeImport("ioredis")
    )
    const redis = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const redis = new Redis(Redacted.value(url).href, {
          lazyConnect: true,
          connectTimeout: 5000,
          commandTimeout: 10_000,
          maxRetriesPerRequest: 1,
          retryStrategy: (attempt) => Math.min(attempt * 50, 2000)
        })
        redis.on("error", () => undefined) // the commands that it fails report it
        return redis
      }),
      (redis) => Effect.sync(() => redis.disconnect())
    )
    const ask = <A>(name: string, command: () => Promise<A>) =>
      Effect.tryPromise({
        try: command,
        catch: (cause) => {
          const reason = reasonOf(cause)
          const isTransient =
            isOfConnection(cause) ||
            /retries per request|closed|timed out|LOADING|READONLY|TRYAGAIN/i.test(reason)
          return new CacheError({
            // The last error of the connection says more than the retries that it cost.
            reason: /retries per request/.test(reason) ? "no connection to the server" : reason,
            isTransient,
            cause
          })
        }
      }).pipe(Effect.withSpan(`Cache.${name}`, { attributes: { "db.system.name": "redis" } }))
    return {
      configured: `Redis, ${NetworkSettings.shown(url)}`,
      isEmbedded: false,
      get: (key) =>
        Effect.map(
          ask("get", () => redis.get(key)),
          Option.fromNullable
        ),
      set: (key, value, timeToLive) =>
        Effect.suspend(() => {
          const ms = timeToLive === undefined ? undefined : Math.max(1, Math.round(positive(timeToLive)))
          return Effect.asVoid(
            ask("set", () => (ms === undefined ? redis.set(key, value) : redis.set(key, value, "PX", ms)))
          )
        }),
      increment: (key, by = 1) => ask("increment", () => redis.incrby(key, by)),
      remove: (key) => Effect.asVoid(ask("remove", () => redis.unlink(key))),
      clear: (prefix) =>
        ask("clear", async () => {
          const match = `${prefix.replace(/[\\*?[\]]/g, "\\$&")}*`
          for await (const keys of redis.scanStream({ match, count: 500 })) {
            if ((keys as ReadonlyArray<string>).length > 0) await redis.unlink(...(keys as Array<string>))
          }
        }),
      check: Effect.asVoid(ask("check", () => redis.ping()))
    }
  })

// layers

/**
 * The embedded cache, in memory.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEmbedded: Layer.Layer<Cache> = Layer.effect(Cache, makeMemory())

/**
 * By the setting `REDIS_URL`: Redis for `redis://user:password@host:6379/0`, over TLS for `rediss://` (needs `ioredis`),
 * {@link layerEmbedded} without it. A server that is down fails the calls, not the layer; the connection is made again.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Cache, NetworkSettings.MissingPackage | NetworkSettings.SettingError> =
  Layer.scoped(
    Cache,
    Effect.flatMap(
      NetworkSettings.url("REDIS_URL", ["redis:", "rediss:"], "redis://host:6379/0"),
      Option.match({ onNone: () => makeMemory(), onSome: makeRedis })
    )
  )
