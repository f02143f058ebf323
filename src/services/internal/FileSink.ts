import * as fs from "node:fs"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import type { Target } from "../Downloader.js"
import type { SmallFiles } from "./SmallFiles.js"

// How a file comes to its final name. What fits in memory is written once, under a temporary name of this process;
// a larger body whose version the server names (a strong validator) goes to `.NAME.aio-part`, with the validator
// written beside it first, so that any later process can prove what the bytes are and continue. Whatever kills this
// process, the final name only ever changes by a rename of a whole file.

/** Bodies up to this size are not begun on disk before they are whole. */
const inMemory = 256 * 1024
/** Larger ones are copied into blocks of this size and written a block at a time. */
const blockSize = 1024 * 1024
/** Full blocks that may wait for the disk before the connection has to. */
const mostBlocks = 4

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
  /** Names whose partial file can perhaps be continued. */
  readonly partials = new Set<string>()

  private constructor(readonly writer: SmallFiles) {}

  static async open(directory: string, writer: SmallFiles): Promise<Folder> {
    await fsp.mkdir(directory, { recursive: true })
    const folder = new Folder(writer)
    for await (const entry of await fsp.opendir(directory)) {
      const leftover = temporary.exec(entry.name)
      if (leftover !== null && !isLive(leftover[2]!))
        await fsp.rm(path.join(directory, entry.name), { force: true })
      else if (entry.name.endsWith(".aio-part.json"))
        folder.partials.add(entry.name.slice(1, -".aio-part.json".length))
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
const temporaryName = (target: Target) =>
  path.join(target.directory, `.${target.name}.${self}-${serial++}.aio-tmp`)

/** Takes a body's bytes and gives it its name at the end. */
export class FileSink {
  #chunks: Array<Buffer> | undefined = []
  #size = 0
  #block: Buffer | undefined
  #filled = 0
  #full: Array<Buffer> = []
  #free: Array<Buffer> = []
  #file: fsp.FileHandle | undefined
  #pump: Promise<void> | undefined
  #paused = false
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
    this.#size += chunk.length
    if (this.#chunks === undefined) this.#copy(chunk)
    else {
      this.#chunks.push(chunk)
      if (this.#size > inMemory || this.resumed !== undefined) this.#spill()
    }
    this.#paused = this.#full.length >= mostBlocks
    return this.#paused
  }

  #spill() {
    const chunks = this.#chunks ?? []
    this.#chunks = undefined
    for (const chunk of chunks) this.#copy(chunk)
  }

  // Into blocks, so that the socket's own buffers die young: kept until the disk has them, they cost a third of the
  // whole time in garbage collection.
  #copy(chunk: Buffer) {
    let from = 0
    while (from < chunk.length) {
      this.#block ??= this.#free.pop() ?? Buffer.allocUnsafeSlow(blockSize)
      const copied = chunk.copy(this.#block, this.#filled, from)
      from += copied
      this.#filled += copied
      if (this.#filled === blockSize) this.#seal()
    }
  }

  /** The block under way is full, or the last one: it goes to the disk. */
  #seal() {
    if (this.#block === undefined) return
    this.#full.push(this.#block.subarray(0, this.#filled))
    this.#block = undefined
    this.#filled = 0
    if (this.#pump === undefined && this.#error === undefined) {
      this.#pump = this.#drain().then(
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
  }

  async #drain(): Promise<void> {
    this.#file ??= await this.#open()
    for (let block = this.#full.shift(); block !== undefined; block = this.#full.shift()) {
      // A short write is how a nearly full disk begins to say so; asking again gets the error itself.
      for (let rest = block; rest.length > 0; )
        rest = rest.subarray((await this.#file.write(rest)).bytesWritten)
      if (block.length === blockSize) this.#free.push(block)
      if (this.#paused && this.#full.length < mostBlocks / 2) {
        this.#paused = false
        this.onDrain()
      }
    }
  }

  async #open(): Promise<fsp.FileHandle> {
    const { target, version, resumed } = this
    this.#resumable = version !== undefined
    if (version === undefined) {
      this.#path = temporaryName(target)
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

  /** Everything has arrived and been verified: writes what is left and renames. Gives the final path. */
  async finish(): Promise<string> {
    const { target } = this
    const final = path.join(target.directory, target.name)
    if (this.#chunks !== undefined) {
      const chunks = this.#chunks
      this.#chunks = []
      const temporary = temporaryName(target)
      const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
      if (target.fsync !== true) await this.folder.writer.save(temporary, final, body)
      else {
        this.#path = temporary
        await fsp.writeFile(temporary, body, { flag: "wx", flush: true })
        await fsp.rename(temporary, final)
      }
    } else {
      this.#seal()
      await this.#pump
      if (this.#error !== undefined) throw this.#error
      if (target.fsync === true) await this.#file!.sync()
      await this.#file!.close()
      this.#file = undefined
      await fsp.rename(this.#path!, final)
    }
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
    // What has arrived is kept too, when it can be continued.
    if (!forget && this.version !== undefined && this.#error === undefined && this.#size > 0) {
      this.#spill()
      this.#seal()
    } else this.#full = []
    await this.#pump
    await this.#file?.close().catch(() => undefined)
    this.#file = undefined
    if (this.#resumable) {
      if (forget) await discardPartial(this.folder, this.target)
    } else if (this.#path !== undefined) await fsp.rm(this.#path, { force: true })
  }
}
