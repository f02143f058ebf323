import { Context, Data, type Duration, Effect, Layer, Option } from "effect"

// model

/** A file in the storage. */
export interface Stored {
  readonly key: string
  /** Bytes. */
  readonly size: number
}

// errors

/** The storage could not be asked. */
export class StorageError extends Data.TaggedError("StorageError")<{ readonly reason: string }> {
  override get message() {
    return `storage: ${this.reason}`
  }
}

// tag

/** Files by key in the cloud, as S3 keeps them. */
export class Storage extends Context.Tag("effect-asyncio/services/Storage")<
  Storage,
  {
    /** Whose keys start with the prefix, by key. */
    readonly list: (prefix: string) => Effect.Effect<ReadonlyArray<Stored>, StorageError>
    /** None where there is no such key. */
    readonly get: (key: string) => Effect.Effect<Option.Option<Uint8Array>, StorageError>
    /** Replaces what has the key. */
    readonly put: (key: string, bytes: Uint8Array) => Effect.Effect<void, StorageError>
  }
>() {}

/** What an embedded storage holds at first and how it behaves. */
export interface Embedded {
  readonly files: Readonly<Record<string, Uint8Array>>
  /** How long each answer takes. */
  readonly latency: Duration.DurationInput
  /** Answers with this failure instead. */
  readonly down?: string
}

// make

/** A storage in memory. It takes its time by the clock at hand. */
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
      // Copied: the caller may go on writing into its own.
      put: (key, bytes) =>
        Effect.suspend(() => {
          const copy = bytes.slice()
          return Effect.map(reached, () => void held.set(key, copy))
        })
    }
  })

// layers

/** Embedded: two files of the user `ada`, each answer after 150 ms. */
export const layer: Layer.Layer<Storage> = Layer.effect(
  Storage,
  make({
    latency: 150,
    files: { "ada/portrait.png": new Uint8Array(48_128), "ada/notes.txt": new Uint8Array(3_072) }
  })
)

/** Empty and at once, but for what is given. */
export const layerTest = (given: Partial<Embedded> = {}): Layer.Layer<Storage> =>
  Layer.effect(Storage, make({ latency: 0, files: {}, ...given }))
