import { Context, Data, type Duration, Effect, Layer, Option } from "effect"

// model

/**
 * A file in the storage.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stored {
  readonly key: string
  /** Bytes. */
  readonly size: number
}

// errors

/**
 * The storage did not answer.
 *
 * @since 0.1.0
 * @category errors
 */
export class StorageError extends Data.TaggedError("StorageError")<{ readonly reason: string }> {
  override get message() {
    return `storage: ${this.reason}`
  }
}

// tag

/**
 * Files by key in the cloud, such as S3.
 *
 * @since 0.1.0
 * @category services
 */
export class Storage extends Context.Tag("effect-asyncio/services/Storage")<
  Storage,
  {
    /** The files whose keys start with the prefix, by key. */
    readonly list: (prefix: string) => Effect.Effect<ReadonlyArray<Stored>, StorageError>
    /** The content of a file; `None` for an unknown key. */
    readonly get: (key: string) => Effect.Effect<Option.Option<Uint8Array>, StorageError>
    /** Stores a file, replacing one of the same key. */
    readonly put: (key: string, bytes: Uint8Array) => Effect.Effect<void, StorageError>
  }
>() {}

/**
 * The initial content of an embedded storage and its behaviour.
 *
 * @since 0.1.0
 * @category models
 */
export interface Embedded {
  readonly files: Readonly<Record<string, Uint8Array>>
  /** Time that each answer takes. */
  readonly latency: Duration.DurationInput
  /** Answers with this failure instead. */
  readonly down?: string
}

// make

/**
 * A storage in memory. Its latency is a time of the current clock.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ down, files, latency }: Embedded): Effect.Effect<Context.Tag.Service<Storage>> =>
  Effect.sync(() => {
    const held = new Map(Object.entries(files))
    const reached = Effect.zipRight(
      Effect.sleep(latency),
      down === undefined ? Effect.void : new StorageError({ reason: down })
    )
    return {
      list: (prefix) =>
        Effect.map(reached, () =>
          Array.from(held, ([key, bytes]) => ({ key, size: bytes.length }))
            .filter(({ key }) => key.startsWith(prefix))
            .sort((a, b) => (a.key < b.key ? -1 : 1))
        ),
      get: (key) => Effect.map(reached, () => Option.fromNullable(held.get(key))),
      // A copy: the caller may go on writing to its own bytes.
      put: (key, bytes) =>
        Effect.suspend(() => {
          const copy = bytes.slice()
          return Effect.map(reached, () => void held.set(key, copy))
        })
    }
  })

// layers

/**
 * Embedded: two files of the user `ada`, each answer after 150 ms.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Storage> = Layer.effect(
  Storage,
  make({
    latency: 150,
    files: { "ada/portrait.png": new Uint8Array(48_128), "ada/notes.txt": new Uint8Array(3_072) }
  })
)

/**
 * Empty and without latency, except for the given content.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (given: Partial<Embedded> = {}): Layer.Layer<Storage> =>
  Layer.effect(Storage, make({ latency: 0, files: {}, ...given }))
