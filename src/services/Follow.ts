import { type FileHandle, open, stat } from "node:fs/promises"
import { Chunk, Context, type Duration, Effect, Layer, Stream } from "effect"
import { InputError } from "./Input.js"

/** Bytes of a file that is followed. */
export interface Piece {
  readonly bytes: Uint8Array
  /** Which file: it changes when another takes the name. */
  readonly file: string
  /** How many bytes of that file end with these. */
  readonly position: number
  /** Whether these do not go on from the piece before: the first, of another file, or of one that was cut. */
  readonly anew: boolean
}

/** Settings of the service. */
export interface Options {
  /** How often a file is looked at that had nothing new; default 100 ms. */
  readonly interval?: Duration.DurationInput | undefined
}

/** Files that others append to, as `tail -F` reads them. */
export class Follow extends Context.Tag("effect-asyncio/services/Follow")<
  Follow,
  {
    /**
     * All of the file, then what is appended, without end. When another file takes the name the rest of the old one
     * comes first, then the new one from its beginning; one that was cut is read anew. A file that vanishes is waited
     * for; fails when there is none to begin with.
     *
     * @param from where to go on: in the file of that name, or in the one that was rotated to `NAME.1` meanwhile.
     */
    readonly open: (path: string, from?: Pick<Piece, "file" | "position">) => Stream.Stream<Piece, InputError>
  }
>() {}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file",
  EACCES: "it may not be read"
}

const inputError = (path: string) => (error: unknown) => {
  const { code, message } = error as NodeJS.ErrnoException
  return new InputError({ path, detail: reasons[code ?? ""] ?? message })
}

const known = async (path: string): Promise<{ readonly file: string; readonly size: number } | undefined> => {
  try {
    const { dev, ino, isFile, size } = await stat(path).then((found) => ({
      ...found,
      isFile: found.isFile()
    }))
    if (!isFile) throw new Error("it is no file; only files can be followed")
    return { file: `${dev}:${ino}`, size }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined
    throw error
  }
}

const pieceSize = 64 * 1024

class Followed {
  private handle: FileHandle | undefined
  private file = ""
  private position = 0
  private anew = true

  constructor(
    private readonly path: string,
    private from: Pick<Piece, "file" | "position"> | undefined
  ) {}

  /** What there is now; undefined when that is nothing. */
  async next(): Promise<Piece | undefined> {
    if (this.handle === undefined && !(await this.open())) return undefined
    const piece = await this.read()
    if (piece !== undefined) return piece
    const now = await known(this.path)
    if (now === undefined) return undefined // who renames it may go on writing to it
    if (now.file !== this.file) {
      const rest = await this.read() // written between the two looks
      if (rest !== undefined) return rest
      await this.close()
      return this.next()
    }
    if (now.size >= this.position) return undefined
    this.position = 0
    this.anew = true
    return this.read()
  }

  async close(): Promise<void> {
    await this.handle?.close()
    this.handle = undefined
  }

  private async open(): Promise<boolean> {
    const { from, path } = this
    const now = await known(path)
    let chosen = path
    if (from !== undefined && now?.file !== from.file) {
      const rotated = await known(`${path}.1`)
      if (rotated?.file === from.file) chosen = `${path}.1`
    }
    if (chosen === path && now === undefined) {
      if (this.file === "") throw Object.assign(new Error(), { code: "ENOENT" })
      return false
    }
    this.handle = await open(chosen, "r")
    const { dev, ino, size } = await this.handle.stat()
    this.file = `${dev}:${ino}`
    this.position = from !== undefined && from.file === this.file && from.position <= size ? from.position : 0
    this.from = undefined
    this.anew = true
    return true
  }

  private async read(): Promise<Piece | undefined> {
    const buffer = Buffer.allocUnsafeSlow(pieceSize)
    const { bytesRead } = await this.handle!.read(buffer, 0, pieceSize, this.position)
    if (bytesRead === 0) return undefined
    this.position += bytesRead
    const { anew, file, position } = this
    this.anew = false
    return { bytes: buffer.subarray(0, bytesRead), file, position, anew }
  }
}

/** {@link layer} with settings. */
export const layerWith = ({ interval = "100 millis" }: Options): Layer.Layer<Follow> =>
  Layer.succeed(Follow, {
    open: (path, from) =>
      Stream.unwrapScoped(
        Effect.map(
          Effect.acquireRelease(
            Effect.sync(() => new Followed(path, from)),
            (followed) => Effect.promise(() => followed.close())
          ),
          (followed) => {
            const look = Effect.tryPromise({ try: () => followed.next(), catch: inputError(path) })
            const next: Effect.Effect<Chunk.Chunk<Piece>, InputError> = Effect.flatMap(look, (piece) =>
              piece === undefined
                ? Effect.zipRight(Effect.sleep(interval), next)
                : Effect.succeed(Chunk.of(piece))
            )
            return Stream.repeatEffectChunk(next)
          }
        )
      )
  })

/** Looks at the files ten times a second, which works on network file systems too. */
export const layer: Layer.Layer<Follow> = layerWith({})

/** Gives these pieces of each file, then nothing, without end; `from` is left to the pieces. */
export const layerTest = (files: Readonly<Record<string, ReadonlyArray<Piece>>>): Layer.Layer<Follow> =>
  Layer.succeed(Follow, {
    open: (path) =>
      files[path] === undefined
        ? Stream.fail(new InputError({ path, detail: reasons["ENOENT"]! }))
        : Stream.concat(Stream.fromIterable(files[path]), Stream.never)
  })
