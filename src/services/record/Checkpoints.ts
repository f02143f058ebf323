import { accessSync, constants } from "node:fs"
import { dirname } from "node:path"
import { Context, Data, Effect, Either, Layer, Option, Schema } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as OwnFiles from "../host/OwnFiles.js"

/** A checkpoint that cannot be used; names its file. */
export class CheckpointError extends Data.TaggedError("CheckpointError")<{
  readonly path: string
  readonly detail: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    return `cannot use the checkpoint ${this.path}: ${this.detail}`
  }
}

/** How far work on an input has come: the input's name, and a place in it as JSON. */
export interface Checkpoint {
  readonly input: string
  readonly position: unknown
}

/** Keeps checkpoints in files. */
export class Checkpoints extends Context.Tag("effect-asyncio/services/Checkpoints")<
  Checkpoints,
  {
    /**
     * None when there is no such file. Fails when it is no regular file or link to one, has more than 1 MiB, or is no
     * checkpoint, and when its folder cannot be written to.
     */
    readonly read: (path: string) => Effect.Effect<Option.Option<Checkpoint>, CheckpointError>
    /**
     * In place of the one before, in one step: a process that is killed meanwhile leaves one or the other. A link at
     * the path is replaced, not what it leads to.
     */
    readonly write: (path: string, checkpoint: Checkpoint) => Effect.Effect<void, CheckpointError>
  }
>() {}

const reasons: Readonly<Record<string, string>> = { ENOENT: "there is no such folder" }

const failure =
  (path: string) =>
  (error: unknown): CheckpointError => {
    if (error instanceof CheckpointError) return error
    const { code } = error as NodeJS.ErrnoException
    return new CheckpointError({ path, detail: reasons[code ?? ""] ?? OwnFiles.describe(error) })
  }

const limit = 1024 * 1024

const Content = Schema.parseJson(
  Schema.Struct({
    schema: Schema.Literal(1),
    input: Schema.String,
    position: Schema.Unknown.pipe(Schema.filter((position) => position !== undefined))
  })
)

const decode = Schema.decodeUnknownEither(Content)

const find = (path: string): Option.Option<Checkpoint> => {
  let bytes: Buffer
  try {
    bytes = OwnFiles.readNamed(path, limit)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
    return Option.none()
  }
  return Either.match(decode(bytes.toString("utf8")), {
    onLeft: () => {
      throw new CheckpointError({
        path,
        detail: "it is not a checkpoint; name another file, or remove it to start over"
      })
    },
    onRight: ({ input, position }) => Option.some({ input, position })
  })
}

/** Files, each written beside under a name that cannot be guessed, and renamed. */
export const layer: Layer.Layer<Checkpoints> = Layer.succeed(Checkpoints, {
  read: (path) =>
    Effect.try({
      try: () => {
        const found = find(path)
        accessSync(dirname(path), constants.W_OK | constants.X_OK)
        return found
      },
      catch: failure(path)
    }),
  write: (path, { input, position }) =>
    Effect.try({
      try: () =>
        OwnFiles.replaceFile(path, Buffer.from(`${JSON.stringify({ schema: 1, input, position })}\n`)),
      catch: failure(path)
    })
})

/** Keeps them in this map, as JSON keeps them; `"broken"` is a file that is no checkpoint. */
export const layerTest = (files: Map<string, Checkpoint | "broken"> = new Map()): Layer.Layer<Checkpoints> =>
  Layer.succeed(Checkpoints, {
    read: (path) => {
      const found = files.get(path)
      return found === "broken"
        ? Effect.fail(new CheckpointError({ path, detail: "it is not a checkpoint" }))
        : Effect.succeed(Option.fromNullable(found))
    },
    write: (path, checkpoint) =>
      Effect.sync(() => void files.set(path, JSON.parse(JSON.stringify(checkpoint)) as Checkpoint))
  })
