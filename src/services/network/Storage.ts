import { createHash } from "node:crypto"
import { mkdtemp, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Context, Data, Duration, Effect, Exit, Layer, Option, Redacted, Stream } from "effect"
import { codes } from "../host/ExitCodes.js"
import { nativeImport } from "../source/NativeImport.js"
import { checkedDuration, someTime } from "../text/Numbers.js"
import * as Printable from "../text/Printable.js"
import { formatSize } from "../text/Sizes.js"
import * as folders from "./internal/folderStorage.js"
import { isOfConnection, reasonOf } from "./internal/reasons.js"
import * as s3 from "./internal/s3.js"
import * as NetworkSettings from "./NetworkSettings.js"

// model

/**
 * An object in the storage.
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
 * The storage did not answer, or refused.
 *
 * @since 0.1.0
 * @category errors
 */
export class StorageError extends Data.TaggedError("StorageError")<{
  readonly reason: string
  /** Whether the same call may succeed later. */
  readonly isTransient: boolean
  readonly cause?: unknown
}> {
  readonly exitCode = codes.failed
  override get message() {
    return `storage: ${this.reason}`
  }
}

// tag

/**
 * Objects by key, as clouds store them. A key is at most 1024 bytes, in parts between slashes of which none is empty, `.`
 * or `..`.
 *
 * @since 0.1.0
 * @category services
 */
export class Storage extends Context.Tag("effect-asyncio/services/Storage")<
  Storage,
  {
    /** How it was configured, without secrets. */
    readonly configured: string
    /** Whether it is in this process. */
    readonly isEmbedded: boolean
    /** The objects whose keys start with the prefix, in the order of their bytes. */
    readonly list: (prefix: string) => Effect.Effect<ReadonlyArray<Stored>, StorageError>
    /** An object of at most 64 MiB, its checksum compared where one is stored; `None` for an unknown key. */
    readonly get: (key: string) => Effect.Effect<Option.Option<Uint8Array>, StorageError>
    /** The bytes of an object of any size; fails for an unknown key. */
    readonly stream: (key: string) => Stream.Stream<Uint8Array, StorageError>
    /** Stores an object, or none: one of the same key is replaced when the new one is whole. */
    readonly put: <E = never>(
      key: string,
      bytes: Uint8Array | Stream.Stream<Uint8Array, E>
    ) => Effect.Effect<Stored & { readonly sha256: string }, StorageError | E>
    readonly remove: (key: string) => Effect.Effect<void, StorageError>
    /**
     * A URL with which a client without credentials can download or upload the object, for 1 second to 7 days. A folder has
     * none.
     */
    readonly presign: (
      key: string,
      options: { readonly method: "GET" | "PUT"; readonly expires: Duration.DurationInput }
    ) => Effect.Effect<string, StorageError>
    /** Succeeds if the folder or the bucket is there. */
    readonly check: Effect.Effect<void, StorageError>
  }
>() {}

type Service = Context.Tag.Service<Storage>

const largest = 64 * 1024 * 1024
const partSize = 8 * 1024 * 1024

const refused = (reason: string) => new StorageError({ reason, isTransient: false })
const tooLarge = (key: string) => refused(`'${key}' is larger than ${formatSize(largest)}; use its stream`)

const failed = (cause: unknown) => {
  const { serviceCode, status = 0 } = cause as { serviceCode?: string; status?: number }
  const reason =
    serviceCode === undefined || serviceCode === "Unknown"
      ? reasonOf(cause)
      : `status ${status}, ${serviceCode}`
  const isBroken = /terminated|other side closed|aborted|fetch failed/.test(reasonOf(cause))
  return new StorageError({
    reason,
    isTransient: status === 429 || status >= 500 || isOfConnection(cause) || isBroken,
    cause
  })
}

const ask = <A>(request: (signal: AbortSignal) => Promise<A>) =>
  Effect.tryPromise({ try: request, catch: failed })

const withKey = <A, E, R>(key: string, body: () => Effect.Effect<A, E, R>) =>
  Effect.suspend((): Effect.Effect<A, E | StorageError, R> => {
    const problem = folders.problem(key)
    return problem === undefined ? body() : refused(`the key '${key}' ${problem}`)
  })

const streamOf = <E>(bytes: Uint8Array | Stream.Stream<Uint8Array, E>): Stream.Stream<Uint8Array, E> =>
  bytes instanceof Uint8Array ? Stream.make(bytes) : bytes

// make

/** The list of a folder of this process: at once while it is small. */
const listOwn = (root: string): Service["list"] => {
  let isSmall = true
  return (prefix) =>
    Effect.suspend(() => {
      try {
        const found = isSmall ? folders.listNow(root, prefix, 100) : undefined
        if (found !== undefined) return Effect.succeed(found)
        isSmall = false
      } catch {
        // Removed meanwhile, or not allowed: the list below has the reason.
      }
      return ask(() => folders.list(root, prefix))
    })
}

/**
 * Objects as files of the folder, which is made when it is needed. A key that is a prefix of another up to a slash cannot be
 * stored beside it. Links are not followed out of the folder.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeFolder = (root: string, isEmbedded = false): Service => ({
  configured: isEmbedded ? "a temporary folder" : `folder ${root}`,
  isEmbedded,
  list: isEmbedded ? listOwn(root) : (prefix) => ask(() => folders.list(root, prefix)),
  get: (key) =>
    withKey(key, () =>
      Effect.acquireUseRelease(
        ask(() => folders.open(root, key)),
        (file) =>
          file === undefined
            ? Effect.succeedNone
            : Effect.flatMap(
                ask(() => file.stat()),
                ({ size }) =>
                  size > largest
                    ? tooLarge(key)
                    : Effect.map(
                        ask(() => file.readFile()),
                        Option.some<Uint8Array>
                      )
              ),
        (file) => Effect.promise(async () => file?.close())
      )
    ),
  stream: (key) =>
    Stream.unwrapScoped(
      withKey(key, () =>
        Effect.map(
          Effect.acquireRelease(
            Effect.filterOrFail(
              ask(() => folders.open(root, key)),
              (file) => file !== undefined,
              () => refused(`there is no '${key}'`)
            ),
            (file) => Effect.promise(() => file.close())
          ),
          (file) =>
            Stream.repeatEffectOption(
              Effect.flatMap(
                Effect.mapError(
                  ask(() => file.read(Buffer.allocUnsafe(64 * 1024))),
                  Option.some
                ),
                ({ buffer, bytesRead }) =>
                  bytesRead === 0 ? Effect.fail(Option.none()) : Effect.succeed(buffer.subarray(0, bytesRead))
              )
            )
        )
      )
    ),
  put: (key, bytes) =>
    withKey(key, () =>
      Effect.acquireUseRelease(
        ask(() => folders.create(root, key)),
        (file) =>
          Effect.gen(function* () {
            const hash = createHash("sha256")
            let size = 0
            yield* Stream.runForEach(streamOf(bytes), (some) => {
              hash.update(some)
              size += some.length
              return ask(() => file.write(some))
            })
            yield* ask(() => file.commit())
            return { key, size, sha256: hash.digest("hex") }
          }),
        (file, exit) => (Exit.isSuccess(exit) ? Effect.void : Effect.promise(() => file.abort()))
      )
    ),
  remove: (key) => withKey(key, () => ask(() => folders.remove(root, key))),
  presign: () => refused("a folder has no URLs"),
  check: Effect.asVoid(ask(() => stat(root)))
})

const makeS3 = (endpoint: Redacted.Redacted<URL>, given?: string) =>
  Effect.gen(function* () {
    const accessKeyId = yield* NetworkSettings.required("S3_ACCESS_KEY_ID", "S3_ENDPOINT")
    const secretAccessKey = yield* NetworkSettings.required("S3_SECRET_ACCESS_KEY", "S3_ENDPOINT")
    const bucket = given ?? Redacted.value(yield* NetworkSettings.required("S3_BUCKET", "S3_ENDPOINT"))
    const region = Option.getOrElse(yield* NetworkSettings.text("S3_REGION"), () => "us-east-1")
    const library = yield* NetworkSettings.load(
      "s3mini",
      "S3_ENDPOINT",
      (): Promise<typeof import("s3mini")> => nativeImport("s3mini")
    )
    const url = new URL(Redacted.value(endpoint))
    url.pathname = `${url.pathname.replace(/\/+$/, "")}/${encodeURIComponent(bucket)}`
    const access = {
      endpoint: url.href,
      region,
      accessKeyId: Redacted.value(accessKeyId),
      secretAccessKey: Redacted.value(secretAccessKey)
    }
    const named = <A>(name: string, request: (client: ReturnType<typeof s3.client>) => Promise<A>) =>
      ask((signal) => request(s3.client(library, access, signal))).pipe(Effect.withSpan(`Storage.${name}`))

    const multipart = <E>(key: string, bytes: Stream.Stream<Uint8Array, E>) =>
      Effect.gen(function* () {
        const hash = createHash("sha256")
        const parts: Array<{ readonly partNumber: number; readonly etag: string }> = []
        let held: Array<Uint8Array> = []
        let heldSize = 0
        let size = 0
        let upload: string | undefined
        const flush = Effect.suspend(() => {
          const part = Buffer.concat(held)
          held = []
          heldSize = 0
          return Effect.gen(function* () {
            upload ??= yield* named("multipart", (client) => client.getMultipartUploadId(key))
            const id = upload
            parts.push(yield* named("part", (client) => client.uploadPart(key, id, part, parts.length + 1)))
          })
        })
        const abort = Effect.suspend(() => {
          const id = upload
          return id === undefined
            ? Effect.void
            : Effect.ignore(
                Effect.timeout(
                  named("abort", (client) => client.abortMultipartUpload(key, id)),
                  "5 seconds"
                )
              )
        })
        const run = Effect.gen(function* () {
          yield* Stream.runForEach(bytes, (some) => {
            hash.update(some)
            size += some.length
            held.push(some)
            heldSize += some.length
            return heldSize < partSize ? Effect.void : flush
          })
          if (upload === undefined) {
            yield* named("put", (client) => s3.put(client, key, Buffer.concat(held)))
          } else {
            if (heldSize > 0) yield* flush
            const id = upload
            yield* named("complete", (client) => client.completeMultipartUpload(key, id, parts))
          }
          return { key, size, sha256: hash.digest("hex") }
        })
        return yield* Effect.onExit(run, (exit) => (Exit.isSuccess(exit) ? Effect.void : abort))
      })

    const service: Service = {
      configured: `S3, ${NetworkSettings.shown(endpoint)}, bucket ${bucket}`,
      isEmbedded: false,
      list: (prefix) =>
        Effect.map(
          named("list", (client) => client.listObjects("/", prefix)),
          (found) => (found ?? []).map(({ Key, Size }) => ({ key: Key, size: Number(Size) }))
        ),
      get: (key) =>
        withKey(key, () =>
          Effect.flatMap(
            named("get", async (client) => {
              const response = await s3.get(client, key)
              if (response === undefined) return undefined
              if (Number(response.headers.get("content-length") ?? 0) > largest) {
                await response.body?.cancel()
                return "large" as const
              }
              return { bytes: new Uint8Array(await response.arrayBuffer()), wanted: s3.checksumOf(response) }
            }),
            (found) => {
              if (found === undefined) return Effect.succeedNone
              if (found === "large") return tooLarge(key)
              const { bytes, wanted } = found
              return wanted === undefined || wanted === s3.sha256(bytes)
                ? Effect.succeedSome(bytes)
                : new StorageError({ reason: `'${key}' differs from its checksum`, isTransient: true })
            }
          )
        ),
      stream: (key) =>
        Stream.unwrapScoped(
          withKey(key, () =>
            Effect.gen(function* () {
              const controller = yield* Effect.acquireRelease(
                Effect.sync(() => new AbortController()),
                (controller) => Effect.sync(() => controller.abort())
              )
              const response = yield* ask(() => s3.get(s3.client(library, access, controller.signal), key))
              if (response?.body == null) return yield* refused(`there is no '${key}'`)
              const { body } = response
              return Stream.fromReadableStream({ evaluate: () => body, onError: failed })
            })
          )
        ),
      put: (key, bytes) => withKey(key, () => multipart(key, streamOf(bytes))),
      remove: (key) =>
        withKey(key, () => Effect.asVoid(named("remove", (client) => client.deleteObject(key)))),
      presign: (key, { expires, method }) =>
        withKey(key, () => {
          const seconds = Duration.toSeconds(checkedDuration("expires", expires, someTime))
          return ask(() => s3.client(library, access).getPresignedUrl(method, key, seconds))
        }),
      check: Effect.filterOrFail(
        named("check", (client) => client.bucketExists()),
        (exists) => exists,
        () => refused(`there is no bucket '${bucket}'`)
      ).pipe(Effect.asVoid)
    }
    return service
  })

const s3Endpoint = NetworkSettings.url("S3_ENDPOINT", ["https:", "http:"], "https://s3.example.org")

/**
 * The storage that a text names: a folder, or `s3://BUCKET` with the endpoint and the credentials of {@link layer}'s settings.
 * Fails with `SettingError` if it names none, or a setting is missing. A server that is down fails the calls.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Storage from "effect-asyncio/services/Storage"
 *
 * export const program = Effect.flatMap(Storage.open("/srv/objects"), ({ list }) => list("reports/"))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (
  text: string
): Effect.Effect<Service, NetworkSettings.MissingPackage | NetworkSettings.SettingError> =>
  Effect.gen(function* () {
    const [, scheme] = /^([a-z][\w+.-]+):/i.exec(text) ?? []
    if (scheme === undefined && text.trim() !== "") return makeFolder(resolve(text))
    const [, bucket] = /^s3:\/\/([\w.-]+)\/?$/i.exec(text) ?? []
    if (bucket === undefined) {
      // The text may hold a password: a message shows its scheme only.
      const shown = scheme === undefined ? Printable.line(text) : `${scheme}:…`
      const problem = `'${shown}' is no storage; expected a folder or s3://BUCKET`
      return yield* new NetworkSettings.SettingError({ setting: "storage", problem })
    }
    yield* NetworkSettings.required("S3_ENDPOINT", "s3://BUCKET")
    return yield* makeS3(Option.getOrThrow(yield* s3Endpoint), bucket)
  })

// layers

const temporary = Effect.map(
  Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "aio-storage-"))),
    (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
  ),
  (folder) => makeFolder(folder, true)
)

/**
 * The embedded storage: a temporary folder, which ends with the layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEmbedded: Layer.Layer<Storage> = Layer.scoped(Storage, temporary)

/**
 * By settings: the S3 protocol for `S3_ENDPOINT` (AWS, MinIO, R2) with `S3_BUCKET`, `S3_ACCESS_KEY_ID`,
 * `S3_SECRET_ACCESS_KEY` and perhaps `S3_REGION` (needs `s3mini`); a folder for `STORAGE_DIR`; else {@link layerEmbedded}. A
 * server that is down fails the calls, not the layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Storage, NetworkSettings.MissingPackage | NetworkSettings.SettingError> =
  Layer.scoped(
    Storage,
    Effect.gen(function* () {
      const endpoint = yield* s3Endpoint
      if (Option.isSome(endpoint)) return yield* makeS3(endpoint.value)
      const folder = yield* NetworkSettings.text("STORAGE_DIR")
      return Option.isSome(folder) ? makeFolder(resolve(folder.value)) : yield* temporary
    })
  )
