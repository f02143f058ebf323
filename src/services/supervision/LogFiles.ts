import { closeSync, fstatSync, renameSync, rmSync, writeSync } from "node:fs"
import { join } from "node:path"
import { Data, Effect, type Scope } from "effect"
import { codes } from "../host/ExitCodes.js"
import { describe, makeFolder, openOwn, usableFolder } from "../host/OwnFiles.js"
import { checkOptions, countOrInfinity, countOrNone } from "../text/Numbers.js"

/**
 * A log cannot be written.
 *
 * @since 0.1.0
 * @category errors
 */
export class LogFilesError extends Data.TaggedError("LogFilesError")<{
  readonly path: string
  readonly detail: string
  /** 2 when the log cannot be opened, 1 when a later write failed. */
  readonly exitCode: number
}> {
  override get message() {
    return `cannot write ${this.path}: ${this.detail}`
  }
}

/**
 * Settings of {@link open}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The size in bytes beyond which a file is rotated; default 10 MiB. */
  readonly maxSize?: number | undefined
  /** How many rotated files are kept, `NAME.log.1` the newest; default 5. */
  readonly keep?: number | undefined
}

/**
 * A log that is appended to.
 *
 * @since 0.1.0
 * @category models
 */
export interface LogFile {
  /** Appends at once, without a buffer; the bytes of one write stay in one file. */
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, LogFilesError>
}

const attempting =
  (path: string, exitCode: number) =>
  <A>(what: () => A): Effect.Effect<A, LogFilesError> =>
    Effect.try({
      try: what,
      catch: (error) => new LogFilesError({ path, detail: describe(error), exitCode })
    })

/**
 * Creates the folder if needed; fails when no log can be created in it.
 *
 * @since 0.1.0
 * @category effects
 */
export const check = (directory: string): Effect.Effect<void, LogFilesError> =>
  attempting(directory, codes.usage)(() => usableFolder(directory))

/**
 * Appends to `DIRECTORY/NAME.log`, which becomes `NAME.log.1` when it is full; closed with the scope. An existing log must
 * be a regular file: a link is not followed, because others may write to the folder. Fails if the log cannot be opened;
 * dies of a setting out of range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (
  directory: string,
  name: string,
  { keep = 5, maxSize = 10 * 1024 * 1024 }: Options = {}
): Effect.Effect<LogFile, LogFilesError, Scope.Scope> => {
  const path = join(directory, `${name}.log`)
  const attempt = attempting(path, codes.failed)
  let file: number | undefined
  let size = 0
  const begin = () => {
    file = openOwn(path)
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
  const opened = Effect.suspend(() => {
    checkOptions({ keep, maxSize }, { keep: countOrNone, maxSize: countOrInfinity })
    return attempting(
      path,
      codes.usage
    )(() => {
      makeFolder(directory)
      begin()
    })
  })
  return Effect.acquireRelease(opened, () => Effect.sync(end)).pipe(
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
