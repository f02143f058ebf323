import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import { plural } from "../../text/Plural.js"
import type { Checksum, Target } from "../Download.js"
import {
  active,
  bytesOf,
  discardPartial,
  encodeSidecar,
  type Folder,
  ownName,
  type Partial,
  type Sidecar,
  sidecarOf,
  takePartial
} from "./partials.js"

// How a file gets its final name. A body that fits in memory is written once, under a temporary name of this process; a
// larger body whose version the server names (a strong validator) goes to `.NAME.OWNER.aio-part`, with the validator
// written to a sidecar first, so that any later process can prove what the bytes are and continue. A process writes only
// to files under its own names: to continue one it renames it, and a rename has one winner. Whatever kills this process,
// the final name changes only by a rename of a complete file.

/** Bodies up to this size are written to disk only when they are complete. */
const inMemory = 256 * 1024
/** Larger ones are copied into blocks of this size and written a block at a time. */
const blockSize = 256 * 1024
/** Full blocks that may wait for the disk before the connection has to. */
const mostBlocks = 16
/** After a write that takes longer, in ms, the thread pool writes. */
const slowWrite = 20

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants
const fresh = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW

/** An existing entry under the file's name. */
export interface Existing {
  readonly size: number
  /** Whether it has the checksum; true without one. */
  readonly right: boolean
}

/**
 * Checks the entry under the file's name, links followed: undefined if there is none, or if `stop` returns true while its
 * bytes are read for the checksum. An entry that is not a regular file is never right.
 */
export const existing = async (
  file: string,
  checksum: Checksum | undefined,
  stop: () => boolean
): Promise<Existing | undefined> => {
  const there = await fsp.lstat(file).catch(() => undefined)
  if (there === undefined || checksum === undefined) return there && { size: there.size, right: true }
  let handle: fsp.FileHandle | undefined
  try {
    handle = await fsp.open(file, O_RDONLY | O_NONBLOCK)
    const stat = await handle.stat()
    if (!stat.isFile()) return { size: there.size, right: false }
    const hash = createHash(checksum.algorithm)
    for await (const chunk of handle.createReadStream({ autoClose: false, highWaterMark: blockSize })) {
      if (stop()) return undefined
      hash.update(chunk as Buffer)
    }
    return { size: stat.size, right: hash.digest("hex") === checksum.hex }
  } catch {
    return { size: there.size, right: false } // it cannot be read, like a dangling link
  } finally {
    await handle?.close()
  }
}

/** Takes the bytes of a body and renames the file at the end. */
export class FileSink {
  #chunks: Array<Buffer> | undefined = []
  #size = 0
  #block: Buffer | undefined
  #filled = 0
  #next: number // where the current block begins in the file
  #full: Array<{ readonly bytes: Buffer; readonly at: number }> = []
  #free: Array<Buffer> = []
  #file: fsp.FileHandle | undefined
  #pump: Promise<void> | undefined
  #paused = false
  #slow = false
  #error: unknown
  #path: string | undefined
  #kept = 0 // bytes of the file when it has been closed
  #resumable = false
  #opening: Promise<void> | undefined
  #missing: ((next: number) => ReadonlyArray<readonly [from: number, end: number]>) | undefined

  constructor(
    readonly folder: Folder,
    readonly target: Target,
    /** The final name: the target's, or the server's. */
    readonly name: string,
    /** Identifies the version of these bytes; without it they cannot be continued later. */
    readonly version: { readonly [K in "url" | "validator" | "total"]: Sidecar[K] | undefined } | undefined,
    readonly resumed: Partial | undefined,
    /** The time that the file gets. */
    readonly modified: Date | undefined,
    /** Called when more bytes are accepted again after `write` has requested a pause. */
    readonly onDrain: () => void,
    readonly onError: (error: unknown) => void
  ) {
    this.#next = resumed?.offset ?? 0
  }

  /** Copies a chunk, which the caller may reuse afterwards; true requests a pause. */
  write(chunk: Buffer): boolean {
    this.#size += chunk.length
    if (this.#error !== undefined) return false
    if (this.#chunks === undefined) {
      if (chunk.length >= blockSize / 4 && this.#prompt) {
        this.#seal() // the bytes in the block come first
        this.#now(chunk, this.#next)
        this.#next += chunk.length
      } else this.#copy(chunk)
    } else {
      this.#chunks.push(Buffer.from(chunk))
      if (this.#size > inMemory || this.resumed !== undefined) this.#spill()
    }
    return this.#pause()
  }

  /** Whether to pause: every writer that was told to is resumed by `onDrain`, so what one of them adds takes nothing back. */
  #pause(): boolean {
    this.#paused ||= this.#full.length >= mostBlocks
    return this.#paused
  }

  // Fast writes are synchronous: passing a gigabyte to another thread and core costs twice the processor time of writing
  // it. A slow write (a full page cache, a slow network disk) would block everything else, so after one the thread pool
  // writes, until it is fast again.
  #now(bytes: Buffer, from: number) {
    if (this.#error !== undefined) return
    const begun = performance.now()
    try {
      for (let at = 0; at < bytes.length; )
        at += fs.writeSync(this.#file!.fd, bytes, at, bytes.length - at, from + at)
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

  // Copies into blocks, so that the socket's own buffers die young: kept until they are written, they cost a third of the
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

  /** Queues the current block for the disk: it is full, or the last one. */
  #seal() {
    if (this.#block === undefined || this.#filled === 0) return
    const bytes = this.#block.subarray(0, this.#filled)
    const at = this.#next
    this.#next += this.#filled
    this.#filled = 0
    if (this.#prompt) return this.#now(bytes, at)
    this.#full.push({ bytes, at })
    this.#block = undefined
    this.#pumpOut()
  }

  // A block may come after the loop below has ended and before `#pump` is cleared: onDrain can bring the end of the
  // body. So `#pumped` waits until no pump is left.
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
    await this.#opened()
    for (let block = this.#full.shift(); block !== undefined; block = this.#full.shift()) {
      const { bytes, at } = block
      if (!this.#slow) this.#now(bytes, at)
      else {
        const begun = performance.now()
        // A nearly full disk first makes a short write; a second attempt returns the error itself.
        for (let done = 0; done < bytes.length; )
          done += (await this.#file!.write(bytes, done, bytes.length - done, at + done)).bytesWritten
        this.#slow = performance.now() - begun > slowWrite
      }
      if (this.#error !== undefined) return
      if (bytes.length === blockSize) this.#free.push(bytes)
      if (this.#paused && this.#full.length < mostBlocks / 2) {
        this.#paused = false
        this.onDrain()
      }
    }
  }

  /** The sidecar of these bytes; undefined when they cannot be continued later. */
  get sidecar(): string | undefined {
    const { name, resumed, version } = this
    if (version === undefined) return undefined
    const missing = this.#missing?.(this.#next)
    return (
      encodeSidecar({ version: 1, ...version, name, missing }) ??
      (resumed === undefined ? undefined : encodeSidecar({ ...resumed.sidecar, name, missing }))
    )
  }

  /**
   * Takes segments beside what `write` writes, from when this has resolved: `missing` has the ranges that are not written yet,
   * given where `write` has got to.
   */
  async inSegments(missing: (next: number) => ReadonlyArray<readonly [number, number]>): Promise<void> {
    this.#missing = missing
    this.#spill()
    await this.#opened()
  }

  /** {@link write} of a segment, at its place. */
  writeAt(chunk: Buffer, at: number): boolean {
    if (this.#error !== undefined) return false
    if (this.#prompt) this.#now(chunk, at)
    else {
      this.#full.push({ bytes: Buffer.from(chunk), at })
      this.#pumpOut()
    }
    return this.#pause()
  }

  /** Writes the bytes in the current block too. */
  flush(): void {
    this.#seal()
  }

  /** Records which ranges are written, if no write is under way. The record on the disk is never ahead of the file. */
  save(): void {
    if (this.#path === undefined || !this.#resumable || this.#pump !== undefined || this.#full.length > 0)
      return
    const { sidecar } = this
    if (sidecar === undefined) return
    const temporary = ownName(this.target, "aio-tmp")
    try {
      fs.writeFileSync(temporary, sidecar, { flag: "wx" })
      fs.renameSync(temporary, sidecarOf(this.#path))
    } catch {
      fs.rmSync(temporary, { force: true }) // the earlier record stays
    }
  }

  /** The checksum of a file in segments, which arrive in no order. */
  async digest(algorithm: string): Promise<string> {
    await this.#pumped()
    if (this.#error !== undefined) throw this.#error
    const hash = createHash(algorithm)
    for await (const chunk of fs.createReadStream(this.#path!, { highWaterMark: blockSize }))
      hash.update(chunk as Buffer)
    return hash.digest("hex")
  }

  #opened(): Promise<void> {
    this.#opening ??= this.#open().then((file) => {
      this.#file = file
    })
    return this.#opening
  }

  async #open(): Promise<fsp.FileHandle> {
    const { folder, resumed, sidecar, target } = this
    if (sidecar === undefined) {
      this.#path = ownName(target, "aio-tmp")
      return fsp.open(this.#path, fresh)
    }
    const file = ownName(target, "aio-part")
    active.add(file)
    try {
      // The validator is on disk before the first byte that it identifies.
      await fsp.writeFile(sidecarOf(file), sidecar, { flag: "wx", flush: target.fsync === true })
      const handle = await (resumed === undefined
        ? fsp.open(file, fresh)
        : takePartial(folder, target, resumed, file))
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

  /** The body has arrived and been verified: writes the remaining bytes and renames. Returns the final path. */
  async finish(): Promise<string> {
    const { modified, name, target } = this
    const final = path.join(target.directory, name)
    if (this.#chunks !== undefined) {
      const chunks = this.#chunks
      this.#chunks = []
      const temporary = ownName(target, "aio-tmp")
      const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
      if (target.fsync !== true) await this.folder.writer.save(temporary, final, body, modified)
      else {
        this.#path = temporary
        await fsp.writeFile(temporary, body, { flag: "wx", flush: true })
        if (modified !== undefined) await fsp.utimes(temporary, new Date(), modified).catch(() => undefined)
        await fsp.rename(temporary, final)
      }
    } else {
      this.#seal()
      await this.#pumped()
      if (this.#error !== undefined) throw this.#error
      const expected =
        this.#missing === undefined ? (this.resumed?.offset ?? 0) + this.#size : this.version!.total!
      const { size } = await this.#file!.stat()
      if (size !== expected) {
        await this.abandon(true)
        throw Object.assign(new Error(`${name} has ${plural(size, "byte")} where ${expected} were written`), {
          code: "EIO",
          syscall: "write"
        })
      }
      // A file system without times is no failure.
      if (modified !== undefined) await this.#file!.utimes(new Date(), modified).catch(() => undefined)
      if (target.fsync === true) await this.#file!.sync()
      await this.#file!.close()
      this.#file = undefined
      this.#kept = size
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

  /** The download ended early: keeps a continuable part (unless `forget`), removes the rest; returns the kept bytes. */
  async abandon(forget: boolean): Promise<number> {
    // Received bytes in memory are kept too, if they can be continued.
    const keeps = !forget && this.#error === undefined
    if (keeps && (this.#size > 0 || this.#missing !== undefined) && this.sidecar !== undefined) {
      this.#spill()
      this.#seal()
    } else this.#full = []
    await this.#opening?.catch(() => undefined)
    await this.#pumped()
    if (keeps && this.#missing !== undefined) this.save()
    const missing = this.#missing?.(this.#next).reduce((sum, [from, end]) => sum + (end - from), 0)
    const size = (await this.#file?.stat().catch(() => undefined))?.size ?? this.#kept
    await this.#file?.close().catch(() => undefined)
    this.#file = undefined
    // The continued file may not have been opened yet.
    if (this.#path === undefined) {
      if (this.resumed === undefined) return 0
      if (!forget) return bytesOf(this.resumed)
      await discardPartial(this.folder, this.target, this.resumed.file)
      return 0
    }
    const kept = missing === undefined ? size : this.version!.total! - missing
    if (!this.#resumable) await fsp.rm(this.#path, { force: true })
    else if (forget || kept === 0) await discardPartial(this.folder, this.target, this.#path)
    active.delete(this.#path)
    return this.#resumable && !forget ? kept : 0
  }
}
