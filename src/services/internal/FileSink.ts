import * as fs from "node:fs"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import type { Target } from "../Downloader.js"

// How a file comes to its final name. What fits in memory is written once, under a temporary name of this process;
// a larger body whose version the server names (a strong validator) goes to `.NAME.aio-part`, with the validator
// written beside it first, so that any later process can prove what the bytes are and continue. Whatever kills this
// process, the final name only ever changes by a rename of a whole file.

/** Bodies up to this size are not begun on disk before they are whole. */
const inMemory = 256 * 1024
const highWater = 4 * 1024 * 1024
const lowWater = 1024 * 1024

/** What stands beside a partial file. */
export interface Sidecar {
  readonly version: 1
  readonly url: string
  /** The strong validator to send as `If-Range`: an entity tag, or a date (RFC 9110, 8.8.2.2). */
  readonly validator: string
  readonly total: number | undefined
  /** The process that writes it, `pid:start time`. */
  readonly owner: string
}

const startTime = (pid: number): string => {
  try {
    // field 22 of /proc/PID/stat; the command name before it may hold blanks and brackets
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? ""
  } catch {
    return ""
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

const isMine = (owner: string): boolean => owner === self
const isLive = (owner: string): boolean => {
  const [pid, started] = owner.split(":")
  return isAlive(Number(pid)) && (startTime(Number(pid)) === started || started === "")
}
const self = `${process.pid}:${startTime(process.pid)}`

const partOf = (target: Target) => path.join(target.directory, `.${target.name}.aio-part`)
const sidecarOf = (target: Target) => path.join(target.directory, `.${target.name}.aio-part.json`)
const temporary = /^\.(.+)\.(\d+:\d*)-\d+\.aio-tmp$/

/** What earlier processes left in a folder; read once, so that a fresh download costs no look at the disk. */
export class Folder {
  readonly partials = new Set<string>()
  readonly names = new Set<string>()

  static async open(directory: string, keepNames: boolean): Promise<Folder> {
    await fsp.mkdir(directory, { recursive: true })
    const folder = new Folder()
    for await (const entry of await fsp.opendir(directory)) {
      const leftover = temporary.exec(entry.name)
      if (leftover !== null && !isLive(leftover[2]!))
        await fsp.rm(path.join(directory, entry.name), { force: true })
      else if (entry.name.endsWith(".aio-part.json"))
        folder.partials.add(entry.name.slice(1, -".aio-part.json".length))
      else if (keepNames) folder.names.add(entry.name)
    }
    return folder
  }
}

/** A partial file that can be continued at `offset`. */
export interface Partial {
  readonly offset: number
  readonly sidecar: Sidecar
}

/** Another process is writing this file. */
export class BusyError extends Error {
  readonly code = "EBUSY"
}

/** Reads what is left of an earlier attempt at this URL; undefined (and nothing left) when it can't be continued. */
export const findPartial = async (
  folder: Folder,
  target: Target,
  url: string
): Promise<Partial | undefined> => {
  if (!folder.partials.has(target.name)) return undefined
  let sidecar: Sidecar | undefined
  try {
    sidecar = JSON.parse(await fsp.readFile(sidecarOf(target), "utf8")) as Sidecar
  } catch {
    // torn or gone: the bytes beside it prove nothing
  }
  if (sidecar !== undefined && !isMine(sidecar.owner) && isLive(sidecar.owner)) {
    throw new BusyError(`is being downloaded by process ${sidecar.owner.split(":")[0]}`)
  }
  const stat = await fsp.lstat(partOf(target)).catch(() => undefined)
  if (sidecar?.version === 1 && sidecar.url === url && stat?.isFile() === true && stat.size > 0) {
    // A whole file is asked for its last byte again, so that the server still has to name its version.
    const offset = stat.size === sidecar.total ? stat.size - 1 : stat.size
    if (offset > 0 && (sidecar.total === undefined || offset < sidecar.total)) return { offset, sidecar }
  }
  await discardPartial(folder, target)
  return undefined
}

/** Forgets a partial file. */
export const discardPartial = async (folder: Folder, target: Target): Promise<void> => {
  await fsp.rm(partOf(target), { force: true })
  await fsp.rm(sidecarOf(target), { force: true })
  folder.partials.delete(target.name)
}

/** The bytes of a partial file, for a checksum that has to see them all. */
export const readPartial = (target: Target, partial: Partial) =>
  fs.createReadStream(partOf(target), { end: partial.offset - 1 })

const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants
let serial = 0

/** Takes a body's bytes and gives it its name at the end. */
export class FileSink {
  #chunks: Array<Buffer> = []
  #queued = 0
  #file: fsp.FileHandle | undefined
  #pump: Promise<void> | undefined
  #error: unknown
  #path: string | undefined
  #resumable = false

  constructor(
    readonly folder: Folder,
    readonly target: Target,
    /** How to name the version of these bytes; without one they can't be continued later. */
    readonly version: Omit<Sidecar, "owner" | "version"> | undefined,
    readonly resumed: Partial | undefined,
    /** Called when more bytes are welcome again after `write` has said to pause. */
    readonly onDrain: () => void,
    readonly onError: (error: unknown) => void
  ) {}

  /** Takes a chunk; true asks for a pause. */
  write(chunk: Buffer): boolean {
    this.#chunks.push(chunk)
    this.#queued += chunk.length
    if (this.#queued > inMemory || this.resumed !== undefined || this.#file !== undefined) this.#start()
    return this.#queued > highWater
  }

  #start() {
    if (this.#pump !== undefined || this.#error !== undefined) return
    this.#pump = this.#flush().then(
      () => {
        this.#pump = undefined
      },
      (error) => {
        this.#pump = undefined
        this.#error = error
        this.onError(error)
      }
    )
  }

  async #open(): Promise<fsp.FileHandle> {
    const { target, version, resumed } = this
    this.#resumable = version !== undefined
    if (version === undefined) {
      this.#path = path.join(target.directory, `.${target.name}.${self}-${serial++}.aio-tmp`)
      return fsp.open(this.#path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)
    }
    this.#path = partOf(target)
    const sidecar: Sidecar = { version: 1, ...version, owner: self }
    if (resumed === undefined) await fsp.rm(this.#path, { force: true })
    // The validator is on disk before the first byte that it vouches for.
    await fsp.writeFile(sidecarOf(target), JSON.stringify(sidecar), { flush: target.fsync === true })
    this.folder.partials.add(target.name)
    if (resumed === undefined) return fsp.open(this.#path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)
    const file = await fsp.open(this.#path, O_WRONLY | O_APPEND | O_NOFOLLOW)
    await file.truncate(resumed.offset)
    return file
  }

  async #flush(): Promise<void> {
    this.#file ??= await this.#open()
    while (this.#chunks.length > 0) {
      const chunks = this.#chunks
      const wasHigh = this.#queued > lowWater
      this.#chunks = []
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      await writeAll(this.#file, chunks, bytes)
      this.#queued -= bytes
      if (wasHigh && this.#queued <= lowWater) this.onDrain()
    }
  }

  /** Everything has arrived and been verified: writes what is left and renames. Gives the final path. */
  async finish(): Promise<string> {
    const { target } = this
    const final = path.join(target.directory, target.name)
    await this.#pump
    if (this.#error !== undefined) throw this.#error
    if (this.#file === undefined && this.#chunks.length <= 1) {
      // The common small file, with as few trips to the thread pool as there can be.
      this.#path = path.join(target.directory, `.${target.name}.${self}-${serial++}.aio-tmp`)
      await fsp.writeFile(this.#path, this.#chunks[0] ?? "", { flag: "wx", flush: target.fsync === true })
    } else {
      await this.#flush()
      if (target.fsync === true) await this.#file!.sync()
      await this.#file!.close()
      this.#file = undefined
    }
    await fsp.rename(this.#path!, final)
    this.#path = undefined
    if (this.#resumable) {
      await fsp.rm(sidecarOf(target), { force: true })
      this.folder.partials.delete(target.name)
    }
    if (target.fsync === true) {
      const directory = await fsp.open(target.directory)
      await directory.sync().finally(() => directory.close())
    }
    return final
  }

  /** The download ended early: keeps what can be continued (unless `forget`), removes the rest. */
  async abandon(forget: boolean): Promise<void> {
    // What has arrived is kept too, when it is part of a file that can be continued.
    if (!forget && this.#resumable && this.#error === undefined)
      await (this.#pump ?? this.#flush().catch(() => undefined))
    else this.#chunks = []
    await this.#pump
    await this.#file?.close().catch(() => undefined)
    this.#file = undefined
    if (this.#resumable) {
      if (forget) await discardPartial(this.folder, this.target)
    } else if (this.#path !== undefined) await fsp.rm(this.#path, { force: true })
  }
}

const writeAll = async (file: fsp.FileHandle, chunks: Array<Buffer>, bytes: number): Promise<void> => {
  const { bytesWritten } = await file.writev(chunks)
  if (bytesWritten === bytes) return
  // A short write is how a nearly full disk begins to say so; asking again gets the error itself.
  let rest = Buffer.concat(chunks).subarray(bytesWritten)
  while (rest.length > 0) rest = rest.subarray((await file.write(rest)).bytesWritten)
}
