import type * as Persistence from "@effect/experimental/Persistence"
import { type Context, type Duration, Effect, Layer, Option } from "effect"
import { withPackage } from "../host/OptionalPackage.js"
import { nativeImport } from "../source/NativeImport.js"
import * as Cache from "./Cache.js"

const load = Effect.promise(() =>
  withPackage(
    "CachePersistence",
    "@effect/experimental",
    (): Promise<typeof Persistence> => nativeImport("@effect/experimental/Persistence")
  )
)

const make = (persistence: typeof Persistence) => (cache: Context.Tag.Service<typeof Cache.Cache>) => {
  const failing = (method: string) => (cause: unknown) =>
    persistence.PersistenceBackingError.make(method, cause)
  return persistence.BackingPersistence.of({
    [persistence.BackingPersistenceTypeId]: persistence.BackingPersistenceTypeId,
    make: (storeId) => {
      const keyOf = (key: string) => `${storeId}:${key}`
      const get = (method: string) => (key: string) =>
        Effect.mapBoth(cache.get(keyOf(key)), {
          onFailure: failing(method),
          onSuccess: Option.flatMap(Option.liftThrowable((text) => JSON.parse(text) as unknown))
        })
      const set =
        (method: string) => (key: string, value: unknown, timeToLive: Option.Option<Duration.Duration>) =>
          Effect.try({ try: () => JSON.stringify(value) ?? "null", catch: failing(method) }).pipe(
            Effect.flatMap((text) => cache.set(keyOf(key), text, Option.getOrUndefined(timeToLive))),
            Effect.mapError(failing(method))
          )
      return Effect.succeed({
        get: get("get"),
        getMany: (keys) => Effect.forEach(keys, get("getMany"), { concurrency: "unbounded" }),
        set: set("set"),
        setMany: (entries) =>
          Effect.forEach(entries, ([key, value, timeToLive]) => set("setMany")(key, value, timeToLive), {
            concurrency: "unbounded",
            discard: true
          }),
        remove: (key) => Effect.mapError(cache.remove(keyOf(key)), failing("remove")),
        clear: Effect.mapError(cache.clear(keyOf("")), failing("clear"))
      })
    }
  })
}

/**
 * The backing of `@effect/experimental`'s `Persistence` (`PersistedCache`, `RequestResolver.persisted`) in the {@link Cache.Cache},
 * thus in memory or in Redis. Values are stored as JSON under `storeId:key`; one that is not JSON counts as absent. Needs the
 * package `@effect/experimental`, which is loaded with the layer.
 *
 * @example
 * import { Layer } from "effect"
 * import * as Persistence from "@effect/experimental/Persistence"
 * import * as Cache from "effect-asyncio/services/Cache"
 * import * as CachePersistence from "effect-asyncio/services/CachePersistence"
 *
 * // Layer<ResultPersistence>
 * const results = Persistence.layerResult.pipe(Layer.provide(CachePersistence.layer), Layer.provide(Cache.layerEmbedded))
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Persistence.BackingPersistence, never, Cache.Cache> = Layer.unwrapEffect(
  Effect.map(load, (package_) =>
    Layer.effect(package_.BackingPersistence, Effect.map(Cache.Cache, make(package_)))
  )
)
