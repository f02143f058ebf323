import { createHash } from "node:crypto"
import { Effect, Either, Schema, Stream } from "effect"
import type { MissingPackage } from "../../network/NetworkSettings.js"
import * as Storage from "../../network/Storage.js"
import { formatSize } from "../../text/Sizes.js"
import { RunError } from "../RunError.js"
import { patient } from "./patience.js"

// Values that are too large for a row: objects in a storage. The row has the object's name, size and checksum, behind a mark that
// base64 does not have. Keys begin with the id of the run, so that whatever a crash leaves is found when the run has ended.

const mark = "@"

const Reference = Schema.parseJson(
  Schema.Struct({
    name: Schema.String.pipe(Schema.pattern(/^[\w.-]{1,150}$/)),
    size: Schema.NonNegativeInt,
    sha256: Schema.String
  })
)
const decode = Schema.decodeUnknownEither(Reference)

/** Bytes of the largest object: it is made and read in memory. */
export const largest = 1024 * 1024 * 1024

/** Whether the text of a column, up to its first space, refers to an object. */
export const isReference = (text: string): boolean => text.startsWith(mark)

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

export interface Objects {
  /** Whether there is a storage; `put` is for those that have one. */
  readonly isThere: boolean
  /** Stores the bytes, and gives the reference for the row: the same one for the same name and bytes. */
  readonly put: (run: string, name: string, bytes: Uint8Array) => Effect.Effect<string, Storage.StorageError>
  /** The bytes, as their reference describes them; the failure is why not. */
  readonly get: (run: string, text: string) => Effect.Effect<Uint8Array, string>
  /** Removes the objects of those texts that refer to one. An object that cannot be removed is left for `removeRun`. */
  readonly remove: (run: string, texts: ReadonlyArray<string>) => Effect.Effect<void>
  /** Removes all objects of a run. */
  readonly removeRun: (run: string) => Effect.Effect<void, Storage.StorageError>
}

const none: Objects = {
  isThere: false,
  put: () => Effect.dieMessage("there is no storage"),
  get: () =>
    Effect.fail("it is in a storage, and none is given here; expected --storage, or Options.storage"),
  remove: () => Effect.void,
  removeRun: () => Effect.void
}

/** Objects of the storage that this text names; it is asked again for so many milliseconds while its failures may pass. */
export const make = (
  text: string | undefined,
  patience: number
): Effect.Effect<Objects, RunError | MissingPackage> =>
  Effect.gen(function* () {
    if (text === undefined) return none
    const storage = yield* Effect.catchTag(
      Storage.open(text),
      "SettingError",
      ({ message }) => new RunError({ message })
    )
    const ask = patient(patience)
    const prefixOf = (run: string) => `aio-jobs/${run}.`
    const found = (run: string, text: string) =>
      Either.map(decode(text.slice(mark.length).split(" ", 1)[0]), ({ name, ...about }) => ({
        ...about,
        key: prefixOf(run) + name
      }))
    /** The object's bytes, or the first ones of too many. */
    const read = (key: string, size: number) =>
      Effect.suspend(() => {
        const parts: Array<Uint8Array> = []
        let left = size
        const enough = Stream.takeUntil(storage.stream(key), (part) => {
          parts.push(part)
          left -= part.length
          return left < 0
        })
        return Effect.map(Stream.runDrain(enough), () => Buffer.concat(parts))
      })
    return {
      isThere: true,
      put: (run, name, bytes) =>
        Effect.map(
          ask(storage.put(prefixOf(run) + name, bytes)),
          ({ sha256, size }) => mark + JSON.stringify({ name, size, sha256 })
        ),
      get: (run, text) =>
        Effect.gen(function* () {
          const reference = found(run, text)
          if (Either.isLeft(reference)) return yield* Effect.fail("its row names no object")
          const { key, sha256: wanted, size } = reference.right
          const bytes = yield* Effect.mapError(ask(read(key, size)), ({ message }) => message)
          return bytes.length === size && sha256(bytes) === wanted
            ? bytes
            : yield* Effect.fail(
                `the object '${key}' is not the one that was stored, of ${formatSize(size)} with another checksum`
              )
        }),
      remove: (run, texts) =>
        Effect.forEach(
          texts.filter(isReference),
          (text) =>
            Either.match(found(run, text), {
              onLeft: () => Effect.void,
              onRight: ({ key }) => Effect.ignore(storage.remove(key))
            }),
          { discard: true }
        ),
      removeRun: (run) =>
        Effect.flatMap(ask(storage.list(prefixOf(run))), (all) =>
          Effect.forEach(all, ({ key }) => ask(storage.remove(key)), { concurrency: 8, discard: true })
        )
    }
  })
