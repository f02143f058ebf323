import * as fs from "node:fs"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import type { Target } from "../Downloader.js"
import { makeFolder } from "./files.js"
import { isLive, self } from "./owner.js"
import type { SmallFiles } from "./SmallFiles.js"

// How a file comes to its final name. What fits in memory is written once, under a temporary name of this process;
// a larger body whose version the server names (a strong validator) goes to `.NAME.OWNER.aio-part`, with the validator
// written beside it first, so that any later process can prove what the bytes are and continue. Nobody writes to a
// file that has another's name: who continues one renames it to be its own, and a rename has one winner. Whatever
// kills this process, the final name only ever changes by a rename of a whole file.

/** Bodies up to this size are not begun on disk before they are whole. */
const inMemory = 256 * 1024
/** Larger ones are copied into blocks of this size and written a block at a time. */
const blockSize = 256 * 1024
/** Full blocks that may wait for the disk before the connection has to. */
const mostBlocks = 16
/** A write that takes longer is no longer made in place; ms. */
const slowWrite = 20

/** What stands beside a partial file. */
export interface Sidecar {
  readonly version: 1
  readonly url: string
  /** The strong validator to send as `If-Range`: an entity tag, or a date (RFC 9110, 8.8.2.2). */
  readonly validator: string
  readonly total: number | undefined
  /** The name that the file is to have; it may have come with the first response only. */
  readonly name: string
}

const leftover = /^\.(.+)\.(\d+:\d*)-\d+\.(aio-tmp|aio-part|aio-part\.json)$/
let serial = 0
const ownName = (target: Target, kind: "aio-tmp" | "aio-part") =>
  path.join(target.directory, `.${target.name}.${self}-${serial++}.${kind}`)
const sidecarOf = (part: string) => `${part}.json`

/** Partial files that this process is writing to. */
const active = new Set<string>()

/** What earlier processes left in a folder; read once, so that a fresh download costs no look at the disk. */
export class Folder {
  /** Partial files that can perhaps be continued, by the name of the request's target. */
  readonly partials = new Map<string, Set<string>>()

  private constructor(readonly writer: SmallFiles) {}

  add(name: string, part: string) {
    const parts = this.partials.get(name)
    if (parts === undefined) this.partials.set(name, new Set([part]))
    else parts.add(part)
  }

  remove(name: string, part: string) {
    const parts = this.partials.get(name)
    if (parts?.delete(part) === true && parts.size === 0) this.partials.delete(name)
  }

  static async open(directory: string, writer: SmallFiles): Promise<Folder> {
    makeFolder(directory)
    const folder = new Folder(writer)
    const parts = new Map<string, string>()
    const useless = new Set<string>()
    for await (const entry of await fsp.opendir(directory)) {
      const [, name, owner, kind] = leftover.exec(entry.name) ?? []
      if (name === undefined || (owner !== self && isLive(owner!))) continue
      const file = path.join(directory, entry.name)
      if (kind === "aio-part") parts.set(file, name)
      else if (owner !== self) useless.add(file)
    }
    for (const [part, name] of parts) {
      // Without its sidecar it proves nothing; the sidecar of a part that is there is not useless.
      if (useless.delete(sidecarOf(part)) || part.includes(self)) folder.add(name, part)
      else useless.add(part)
    }
    for (const file of useless) await fsp.rm(file, { force: true })
    return folder
  }
}

/** A partial file that can be continued at `offset`. */
export interface Partial {
  readonly offset: number
  readonly sidecar: Sidecar
  readonly file: string
}

/** Another process has begun to continue this partial file. */
export class TakenError extends Error {
  readonly code = "EBUSY"
}

const inspect = async (file: string, url: string): Promise<Partial | undefined> => {
  let sidecar: Sidecar
  try {
    sidecar = JSON.parse(await fsp.readFile(sidecarOf(file), "utf8")) as Sidecar
  } catch {
    return undefined // torn or gone: the bytes beside it prove nothing
  }
  const stat = await fsp.lstat(file).catch(() => undefined)
  if (sidecar.version !== 1 || sidecar.url !== url || stat?.isFile() !== true) return undefined
  // A whole file is asked for its last byte again, so that the server still has to name its version.
  const offset = stat.size === sidecar.total ? stat.size - 1 : stat.size
  return offset > 0 && (sidecar.total === undefined || offset < sidecar.total)
    ? { offset, sidecar, file }
    : undefined
}

/** Finds what is left of an earlier attempt at this URL, and forgets what can't be continued. */
export const findPartial = async (
  folder: Folder,
  target: Target,
  url: string
): Promise<Partial | undefined> => {
  let best: Partial | undefined
  for (const file of folder.partials.get(target.name) ?? []) {
    if (active.has(file)) continue
    const found = await inspect(file, url)
    const worse = found !== undefined && found.offset > (best?.offset ?? 0) ? best?.file : file
    if (worse !== undefined) await discardPartial(folder, target, worse)
    if (worse !== file) best = found
  }
  return best
}

/** Forgets a partial file. */
export const discardPartial = async (folder: Folder, target: Target, file: string): Promise<void> => {
  await fsp.rm(file, { force: true })
  await fsp.rm(sidecarOf(file), { force: true })
  folder.remove(target.name, file)
}

/** The bytes of a partial file, for a checksum that has to see them all. */
export const readPartial = ({ file, offset }: Partial) => fs.createReadStream(file, { end: offset - 1 })

const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants
const fresh = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW

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
  #slow = false
  #error: unknown
  #path: string | undefined
  #resumable = false

  constructor(
    readonly folder: Folder,
    readonly target: Target,
    /** The final name: the target's, or what the server made of it. */
    readonly name: string,
    /** How to name the version of these bytes; without one they can't be continued later. */
    readonly version: Omit<Sidecar, "name" | "version"> | undefined,
    readonly resumed: Partial | undefined,
    /** Called when more bytes are welcome again after `write` has said to pause. */
    readonly onDrain: () => void,
    readonly onError: (error: unknown) => void
  ) {}

  /** Copies a chunk, which is the caller's again afterwards; true asks for a pause. */
  write(chunk: Buffer): boolean {
    this.#size += chunk.length
    if (this.#error !== undefined) return false
    if (this.#chunks === undefined) {
      if (chunk.length >= blockSize / 4 && this.#prompt) {
        this.#seal() // what is in the block comes before it
        this.#now(chunk)
      } else this.#copy(chunk)
    } else {
      this.#chunks.push(Buffer.from(chunk))
      if (this.#size > inMemory || this.resumed !== undefined) this.#spill()
    }
    this.#paused = this.#full.length >= mostBlocks
    return this.#paused
  }

  // While the disk takes writes at once they are made in place: handing a gigabyte to another thread and core costs
  // twice the processor time of writing it. A write that takes long (a full page cache, a slow network disk) would
  // hold up everything else, so after one the thread pool writes, until it is fast again.
  #now(bytes: Buffer) {
    if (this.#error !== undefined) return
    const begun = performance.now()
    try {
      for (let rest = bytes; rest.length > 0; ) rest = rest.subarray(fs.writeSync(this.#file!.fd, rest))
    } catch (error) {
      this.#error = error
      this.onError(error)
    }
    this.#slow = performance.now() - begun > slowWrite
  }

  get #prompt(): boolean {
    return this.#file !== undefined && this.#pump === undefined && this.#full.length === 0 && !this.#slow
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
    if (this.#block === undefined || this.#filled === 0) return
    if (this.#prompt) {
      this.#now(this.#block.subarray(0, this.#filled))
      this.#filled = 0
      return
    }
    this.#full.push(this.#block.subarray(0, this.#filled))
    this.#block = undefined
    this.#filled = 0
    this.#pumpOut()
  }

  // A block may come when the loop below has ended and nobody has heard of it yet: onDrain can bring the end of the
  // body. So whoever waits for the pump waits until there is none.
  #pumpOut() {
    if (this.#pump !== undefined || this.#full.length === 0 || this.#error !== undefined) return
    this.#pump = this.#drain()
      .catch((error) => {
        this.#error = error
        this.onError(error)
      })
      .then(() => {
        this.#pump = undefined
        this.#pumpOut()
      })
  }

  async #pumped(): Promise<void> {
    while (this.#pump !== undefined) await this.#pump
  }

  async #drain(): Promise<void> {
    this.#file ??= await this.#open()
    for (let block = this.#full.shift(); block !== undefined; block = this.#full.shift()) {
      if (!this.#slow) this.#now(block)
      else {
        const begun = performance.now()
        // A short write is how a nearly full disk begins to say so; asking again gets the error itself.
        for (let rest = block; rest.length > 0; ) {
          rest = rest.subarray((await this.#file.write(rest)).bytesWritten)
        }
        this.#slow = performance.now() - begun > slowWrite
      }
      if (this.#error !== undefined) return
      if (block.length === blockSize) this.#free.push(block)
      if (this.#paused && this.#full.length < mostBlocks / 2) {
        this.#paused = false
        this.onDrain()
      }
    }
  }

  async #open(): Promise<fsp.FileHandle> {
    const { folder, name, resumed, target, version } = this
    if (version === undefined) {
      this.#path = ownName(target, "aio-tmp")
      return fsp.open(this.#path, fresh)
    }
    const file = ownName(target, "aio-part")
    active.add(file)
    try {
      // The validator is on disk before the first byte that it vouches for.
      const sidecar: Sidecar = { version: 1, ...version, name }
      await fsp.writeFile(sidecarOf(file), JSON.stringify(sidecar), {
        flag: "wx",
        flush: target.fsync === true
      })
      if (resumed !== undefined) {
        await fsp.rename(resumed.file, file).catch((error) => {
          throw error.code === "ENOENT" ? new TakenError("another process continues this file") : error
        })
        await discardPartial(folder, target, resumed.file)
      }
      const handle = await fsp.open(file, resumed === undefined ? fresh : O_WRONLY | O_APPEND | O_NOFOLLOW)
      if (resumed !== undefined) await handle.truncate(resumed.offset)
      folder.add(target.name, file)
      this.#path = file
      this.#resumable = true
      return handle
    } catch (error) {
      active.delete(file)
      await discardPartial(folder, target, file)
      throw error
    }
  }

  /** Everything has arrived and been verified: writes what is left and renames. Gives the final path. */
  async finish(): Promise<string> {
    const { name, target } = this
    const final = path.join(target.directory, name)
    if (this.#chunks !== undefined) {
      const chunks = this.#chunks
      this.#chunks = []
      const temporary = ownName(target, "aio-tmp")
      const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
      if (target.fsync !== true) await this.folder.writer.save(temporary, final, body)
      else {
        this.#path = temporary
        await fsp.writeFile(temporary, body, { flag: "wx", flush: true })
        await fsp.rename(temporary, final)
      }
    } else {
      this.#seal()
      await this.#pumped()
      if (this.#error !== undefined) throw this.#error
      const expected = (this.resumed?.offset ?? 0) + this.#size
      const { size } = await this.#file!.stat()
      if (size !== expected) {
        await this.abandon(true)
        throw Object.assign(new Error(`${name} has ${size} bytes where ${expected} were written`), {
          code: "EIO",
          syscall: "write"
        })
      }
      if (target.fsync === true) await this.#file!.sync()
      await this.#file!.close()
      this.#file = undefined
      await fsp.rename(this.#path!, final)
      if (this.#resumable) {
        await discardPartial(this.folder, target, this.#path!)
        active.delete(this.#path!)
      }
    }
    this.#path = undefined
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
    await this.#pumped()
    await this.#file?.close().catch(() => undefined)
    this.#file = undefined
    // Nothing may have been written yet of what was to be continued.
    if (forget && this.resumed !== undefined)
      await discardPartial(this.folder, this.target, this.resumed.file)
    if (this.#path === undefined) return
    if (!this.#resumable) await fsp.rm(this.#path, { force: true })
    else if (forget) await discardPartial(this.folder, this.target, this.#path)
    active.delete(this.#path)
  }
}
