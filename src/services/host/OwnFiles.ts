import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { plural } from "../text/Plural.js"

// How this package opens its own files: a file that it reads back (sidecar, log, checkpoint) is input like any other, and a
// file that it writes next to another must not follow a link that another user has put there.

const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_TRUNC, O_WRONLY } = fs.constants

/**
 * The path names another kind of file than may be opened there; `code` is like those of Node's own errors.
 *
 * @since 0.1.0
 * @category errors
 */
export class FileKindError extends Error {
  readonly code = "EFTYPE"
  constructor(
    readonly path: string,
    readonly kind: string
  ) {
    super(`it is ${kind}, not a regular file`)
  }
}

const kindOf = (stat: fs.Stats): string | undefined =>
  stat.isFile()
    ? undefined
    : stat.isDirectory()
      ? "a folder"
      : stat.isSymbolicLink()
        ? "a symbolic link"
        : stat.isFIFO()
          ? "a named pipe"
          : stat.isSocket()
            ? "a socket"
            : "a device"

const regular = (file: string, fd: number): number => {
  const kind = kindOf(fs.fstatSync(fd))
  if (kind === undefined) return fd
  fs.closeSync(fd)
  throw new FileKindError(file, kind)
}

// A named pipe opened without O_NONBLOCK holds the thread until another process opens its other end.
const open = (file: string, flags: number, mode?: number): number => {
  try {
    return regular(file, fs.openSync(file, flags | O_NONBLOCK, mode))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "ELOOP") throw new FileKindError(file, "a symbolic link")
    if (code === "ENXIO") throw new FileKindError(file, "a named pipe or a device")
    throw error
  }
}

/**
 * Reads a file of this package: a regular file, not a link to one, of at most `limit` bytes. Throws
 * {@link FileKindError}, a `RangeError` if it is larger, or Node's own errors.
 *
 * @since 0.1.0
 * @category functions
 */
export const readOwn = (file: string, limit: number): Buffer =>
  readAll(open(file, O_RDONLY | O_NOFOLLOW), limit)

/**
 * {@link readOwn} of a file that the user named, which may be a link to a regular file.
 *
 * @since 0.1.0
 * @category functions
 */
export const readNamed = (file: string, limit: number): Buffer => readAll(open(file, O_RDONLY), limit)

const readAll = (fd: number, limit: number): Buffer => {
  try {
    const { size } = fs.fstatSync(fd)
    if (size > limit) throw new RangeError(`it has ${plural(size, "byte")}; at most ${limit} are read`)
    const bytes = Buffer.alloc(size)
    let filled = 0
    while (filled < size) {
      const read = fs.readSync(fd, bytes, filled, size - filled, filled)
      if (read === 0) break
      filled += read
    }
    return bytes.subarray(0, filled)
  } finally {
    fs.closeSync(fd)
  }
}

/**
 * Opens a file that the user named, to read it from its beginning without blocking: links are followed, devices are
 * opened, and pipes, sockets and folders are refused.
 *
 * @since 0.1.0
 * @category functions
 */
export const openReadable = (file: string): number => {
  const fd = fs.openSync(file, O_RDONLY | O_NONBLOCK)
  const stat = fs.fstatSync(fd)
  if (stat.isFile() || stat.isCharacterDevice()) return fd
  fs.closeSync(fd)
  throw new FileKindError(file, kindOf(stat)!)
}

/**
 * Reads to the end in blocks; a block is valid only while `take` runs.
 *
 * @since 0.1.0
 * @category functions
 */
export const readBlocks = (fd: number, take: (bytes: Buffer) => void): void => {
  const block = Buffer.allocUnsafe(64 * 1024)
  for (let read = fs.readSync(fd, block); read > 0; read = fs.readSync(fd, block))
    take(block.subarray(0, read))
}

/**
 * Opens a file that the user named, to write: `"new"` empties it, `"append"` adds to it. Links are followed, devices and
 * pipes with a reader (`>(gzip > log.gz)`) are opened; a named pipe without a reader is refused, because opening it would
 * block the thread.
 *
 * @since 0.1.0
 * @category functions
 */
export const openNamed = (file: string, how: "append" | "new"): number => {
  const flags = O_WRONLY | O_CREAT | (how === "append" ? O_APPEND : O_TRUNC)
  let fd: number
  try {
    fd = fs.openSync(file, flags | O_NONBLOCK, 0o666)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENXIO") throw error
    throw new FileKindError(file, "a named pipe that nothing reads")
  }
  if (fs.fstatSync(fd).isFile()) return fd
  try {
    return fs.openSync(file, flags) // without O_NONBLOCK: a write waits for room
  } finally {
    fs.closeSync(fd)
  }
}

/**
 * Opens a file of this package to append, in a folder that other users may write to: a link is refused.
 *
 * @since 0.1.0
 * @category functions
 */
export const openOwn = (file: string): number => open(file, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0o666)

/**
 * A hidden, unpredictable name next to `file`: no other user can create it first.
 *
 * @since 0.1.0
 * @category functions
 */
export const temporaryName = (file: string): string =>
  path.join(path.dirname(file), `.${path.basename(file)}.${randomBytes(8).toString("hex")}.aio-tmp`)

/**
 * Creates a file; throws if the name exists, a dangling link included.
 *
 * @since 0.1.0
 * @category functions
 */
export const createExclusive = (file: string, mode = 0o666): number =>
  fs.openSync(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)

/**
 * Replaces `file` by `bytes` in one step: a reader finds either the whole old content or the whole new one.
 *
 * @since 0.1.0
 * @category functions
 */
export const replaceFile = (file: string, bytes: Uint8Array): void => {
  const temporary = temporaryName(file)
  const fd = createExclusive(temporary)
  try {
    try {
      for (let at = 0; at < bytes.length; ) at += fs.writeSync(fd, bytes, at)
    } finally {
      fs.closeSync(fd)
    }
    fs.renameSync(temporary, file)
  } catch (error) {
    fs.rmSync(temporary, { force: true })
    throw error
  }
}

/**
 * Makes a folder and the missing folders above it. Not `mkdir` with `recursive`: under /proc, where no folder can be
 * made, that of Node 20 loops for ever.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeFolder = (directory: string): void => {
  const missing: Array<string> = []
  const statOf = (at: string) => {
    try {
      return fs.statSync(at, { throwIfNoEntry: false })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return undefined // the folder above it is reported instead
      throw error
    }
  }
  for (let at = path.resolve(directory); ; at = path.dirname(at)) {
    const stat = statOf(at)
    if (stat?.isDirectory() === true) break
    if (stat !== undefined) throw Object.assign(new Error(`${at} is not a folder`), { code: "ENOTDIR" })
    missing.push(at)
  }
  for (const folder of missing.reverse()) {
    try {
      fs.mkdirSync(folder)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST" || !fs.statSync(folder).isDirectory())
        throw error
    }
  }
}

/**
 * Makes the folder if it is missing; throws if no file can be created in it.
 *
 * @since 0.1.0
 * @category functions
 */
export const usableFolder = (directory: string): void => {
  makeFolder(directory)
  fs.accessSync(directory, fs.constants.W_OK | fs.constants.X_OK)
}

/**
 * {@link usableFolder} by trial: some folders that may be written to accept no file, for instance those of /proc.
 *
 * @since 0.1.0
 * @category functions
 */
export const tryFolder = (directory: string): void => {
  usableFolder(directory)
  const trial = temporaryName(path.join(directory, "trial"))
  try {
    fs.closeSync(createExclusive(trial))
    fs.unlinkSync(trial)
  } catch (error) {
    // A full disk is not a fault of the folder.
    const { code } = error as NodeJS.ErrnoException
    if (code !== "ENOSPC" && code !== "EDQUOT") throw error
  }
}

const words: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EDQUOT: "no space left on the disk",
  EEXIST: "it already exists",
  EFBIG: "the file is too large",
  EISDIR: "it is a folder",
  ELOOP: "too many symbolic links",
  EMFILE: "too many open files",
  ENAMETOOLONG: "the name is too long",
  ENFILE: "too many open files",
  ENOENT: "no such file or folder",
  ENOSPC: "no space left on the disk",
  ENOTDIR: "a part of the path is not a folder",
  EPERM: "operation not permitted",
  EROFS: "the file system is read-only"
}

/**
 * The words for an error of the file system, for a message that names the path itself.
 *
 * @since 0.1.0
 * @category functions
 */
export const describe = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException
  return words[code ?? ""] ?? (message || String(error))
}
