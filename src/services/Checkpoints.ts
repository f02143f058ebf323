import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { Context, Data, Effect, Layer, Option } from "effect"
import { codes } from "./Exits.js"

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
    /** None when there is no such file; fails when it cannot be read or is no checkpoint. */
    readonly read: (path: string) => Effect.Effect<Option.Option<Checkpoint>, CheckpointError>
    /** In place of the one before, in one step: whoever is killed meanwhile leaves one or the other. */
    readonly write: (path: string, checkpoint: Checkpoint) => Effect.Effect<void, CheckpointError>
  }
>() {}

const reasons: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EISDIR: "it is a folder",
  ENOENT: "there is no such folder"
}

const failure = (path: string) => (error: unknown) => {
  const { code, message } = error as NodeJS.ErrnoException
  return new CheckpointError({ path, detail: reasons[code ?? ""] ?? message })
}

const schema = 1

const decode = (path: string, text: string): Checkpoint => {
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch {
    // told below
  }
  const { input, position, schema: version } = (found ?? {}) as Checkpoint & { readonly schema?: unknown }
  if (version !== schema || typeof input !== "string") {
    throw new CheckpointError({ path, detail: "it is none; name another file, or remove it to begin anew" })
  }
  return { input, position }
}

/** Files, each written beside and renamed. */
export const layer: Layer.Layer<Checkpoints> = Layer.succeed(Checkpoints, {
  read: (path) =>
    Effect.try({
      try: () => {
        let text: string
        try {
          text = readFileSync(path, "utf8")
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === "ENOENT") return Option.none()
          throw error
        }
        return Option.some(decode(path, text))
      },
      catch: (error) => (error instanceof CheckpointError ? error : failure(path)(error))
    }),
  write: (path, { input, position }) =>
    Effect.try({
      try: () => {
        const beside = `${path}.${process.pid}.tmp`
        try {
          writeFileSync(beside, `${JSON.stringify({ schema, input, position })}\n`)
          renameSync(beside, path)
        } catch (error) {
          rmSync(beside, { force: true })
          throw error
        }
      },
      catch: failure(path)
    })
})

/** Keeps them in this map; `"broken"` is a file that is no checkpoint. */
export const layerTest = (files: Map<string, Checkpoint | "broken"> = new Map()): Layer.Layer<Checkpoints> =>
  Layer.succeed(Checkpoints, {
    read: (path) => {
      const found = files.get(path)
      return found === "broken"
        ? Effect.fail(new CheckpointError({ path, detail: "it is none" }))
        : Effect.succeed(Option.fromNullable(found))
    },
    write: (path, checkpoint) => Effect.sync(() => void files.set(path, checkpoint))
  })
