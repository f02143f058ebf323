import { closeSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs"
import { join } from "node:path"
import { Data, Effect, type Scope } from "effect"

/** A log could not be written. */
export class LogFilesError extends Data.TaggedError("LogFilesError")<{
  readonly path: string
  readonly detail: string
}> {
  override get message() {
    return `cannot write ${this.path}: ${this.detail}`
  }
}

/** Settings of {@link open}. */
export interface Options {
  /** Bytes from which on a new file is begun; default 10 MiB. */
  readonly maxSize?: number | undefined
  /** How many old files are kept, `NAME.log.1` the youngest; default 5. */
  readonly keep?: number | undefined
}

/** A log that goes on where it ended last time. */
export interface LogFile {
  /** Appends at once; what is written together stays in one file. */
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, LogFilesError>
}

/** Appends to `DIRECTORY/NAME.log`, which becomes `NAME.log.1` when it is full; closed with the scope. */
export const open = (
  directory: string,
  name: string,
  { keep = 5, maxSize = 10 * 1024 * 1024 }: Options = {}
): Effect.Effect<LogFile, LogFilesError, Scope.Scope> => {
  const path = join(directory, `${name}.log`)
  const attempt = <A>(what: () => A) =>
    Effect.try({
      try: what,
      catch: (error) => new LogFilesError({ path, detail: (error as Error).message.replace(/^\w+: /, "") })
    })
  let file: number | undefined
  let size = 0
  const begin = () => {
    file = openSync(path, "a")
    size = fstatSync(file).size
  }
  const end = () => {
    if (file !== undefined) closeSync(file)
    file = undefined
  }
  const rotate = () => {
    end()
    rmSync(`${path}.${keep}`, { force: true })
    for (let n = keep; n > 0; n--) {
      try {
        renameSync(n === 1 ? path : `${path}.${n - 1}`, `${path}.${n}`)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
      }
    }
    if (keep === 0) rmSync(path, { force: true })
    begin()
  }
  return Effect.acquireRelease(
    attempt(() => {
      mkdirSync(directory, { recursive: true })
      begin()
    }),
    () => Effect.sync(end)
  ).pipe(
    Effect.as({
      write: (bytes) =>
        attempt(() => {
          if (size > 0 && size + bytes.length > maxSize) rotate()
          for (let at = 0; at < bytes.length; ) at += writeSync(file!, bytes, at)
          size += bytes.length
        })
    })
  )
}
