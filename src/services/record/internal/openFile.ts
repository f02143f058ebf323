import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import { FileKindError } from "../../host/OwnFiles.js"
import * as Records from "../Records.js"

// A file that is followed: an open descriptor, which survives the file's renaming and removal, and what proves at each
// read that its content is still the one that was read before.

/** Where reading goes on, and the proof that the file is the one that was read. */
export interface Place {
  readonly device: string
  readonly inode: string
  readonly position: number
  /** Bytes behind the position that were given as a line without an end. */
  readonly given: number
  /** What the file begins with, and what the bytes so far end with. */
  readonly head: Digest
  readonly tail: Digest
}

/** So many bytes have this SHA-256. */
export interface Digest {
  readonly bytes: number
  readonly sha256: string
}

export const headBytes = 4096
const tailBytes = 256
const pieceSize = 64 * 1024
const holeSize = 1024 * 1024

const digest = (bytes: Uint8Array): Digest => ({ bytes: bytes.length, sha256: Records.digest(bytes) })

/** The place behind `end` bytes, of which `last` are the last, and the last `given` have no line end. */
export const placeOf = (
  { device, head, inode }: Identity,
  end: number,
  last: Uint8Array,
  given: number
): Place => ({
  device,
  inode,
  position: end - given,
  given,
  head: digest(head.subarray(0, Math.min(end, headBytes))),
  tail: digest(last.subarray(-headBytes))
})

/** A file, or its content since it was truncated. */
export interface Identity {
  readonly device: string
  readonly inode: string
  /** What it begins with, as far as it was read: at most 4 KiB. */
  readonly head: Uint8Array
}

/** The code of an error of the file system. */
export const code = (error: unknown) => (error as NodeJS.ErrnoException).code

/** So many bytes from the position on, fewer where the file ends. */
export const readAt = async (handle: fs.FileHandle, position: number, length: number): Promise<Buffer> => {
  const bytes = Buffer.allocUnsafe(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, position + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return bytes.subarray(0, filled)
}

const none = Buffer.alloc(0)

/** A file that is open, and how far it was read. */
export class OpenFile {
  identity: Identity & { head: Buffer }
  position = 0
  private tail: Buffer = none
  /** What it began with when it was last looked at: at most 4 KiB, read or not. */
  private seen: Buffer = none
  /** When another file was seen under its name; undefined while it has the name, or nothing else does. */
  rotatedAt: number | undefined
  private grewAt = Number.NEGATIVE_INFINITY
  private isNew = false
  private size = 0

  private constructor(
    readonly handle: fs.FileHandle,
    readonly device: string,
    readonly inode: string,
    readonly birth: bigint,
    readonly modified: bigint
  ) {
    this.identity = { device, inode, head: none }
  }

  /** Fails with {@link FileKindError} when it is not a regular file. */
  static async open(file: string, flags: number): Promise<OpenFile> {
    const handle = await fs.open(file, constants.O_RDONLY | constants.O_NONBLOCK | flags)
    try {
      const stat = await handle.stat({ bigint: true })
      if (!stat.isFile()) throw new FileKindError(file, "something else")
      return new OpenFile(handle, `${stat.dev}`, `${stat.ino}`, stat.birthtimeNs, stat.mtimeNs)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  get id() {
    return `${this.device}:${this.inode}`
  }

  /** Goes on at the place, if this is the file in which it is; the inode alone proves nothing, it may be used again. */
  async resume({ given, head, inode, position, tail }: Place): Promise<boolean> {
    const end = position + given
    if (inode !== this.inode || (await this.handle.stat()).size < end) return false
    if (digest(await readAt(this.handle, 0, head.bytes)).sha256 !== head.sha256) return false
    const from = Math.max(0, end - tail.bytes)
    if (digest(await readAt(this.handle, from, end - from)).sha256 !== tail.sha256) return false
    this.identity.head = await readAt(this.handle, 0, Math.min(position, headBytes))
    this.tail = await readAt(this.handle, Math.max(0, position - tailBytes), Math.min(position, tailBytes))
    this.seen = this.identity.head
    this.position = position
    return true
  }

  /** Keeps what it begins with, so that its truncation is seen before anything of it was read. */
  async peek(): Promise<void> {
    if (this.seen.length > 0) return
    const { identity } = this
    const head = await readAt(this.handle, 0, headBytes)
    // Meanwhile it may have been read, or found to be truncated.
    if (this.seen.length === 0 && this.identity === identity) this.seen = head
  }

  async hasMore(): Promise<boolean> {
    return (await this.handle.stat()).size > this.position
  }

  get place(): Place {
    return placeOf(this.identity, this.position, this.tail, 0)
  }

  /**
   * Up to 64 KiB behind the position. The bytes before them and the beginning are read again, after them: what has
   * replaced them meanwhile is seen, also where it is as long or longer.
   */
  async read(): Promise<Buffer | "nothing" | "changed"> {
    const { handle, identity, position, seen, tail } = this
    const before = tail.length
    const buffer = Buffer.allocUnsafeSlow(before + pieceSize)
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position - before)
    if (bytesRead < before || !buffer.subarray(0, before).equals(tail)) return "changed"
    if (!(await readAt(handle, 0, seen.length)).equals(seen)) return "changed"
    if (bytesRead === before) return "nothing"
    const bytes = buffer.subarray(before, bytesRead)
    const { head } = identity
    if (head.length < headBytes) {
      identity.head = Buffer.concat([head, bytes.subarray(0, headBytes - head.length)])
      if (identity.head.length > this.seen.length) this.seen = identity.head
    }
    this.tail = Buffer.from(buffer.subarray(Math.max(0, bytesRead - tailBytes), bytesRead))
    this.position += bytes.length
    return bytes
  }

  /**
   * Its content is another one: it is read from its beginning, but for NULs there. They are the hole before the old
   * position of a writer that does not write to the end, and may be as long as the old content was.
   */
  restart(): void {
    this.isNew = true
    this.identity = { device: this.device, inode: this.inode, head: none }
    this.tail = none
    this.seen = none
    this.position = 0
  }

  /** Goes behind the NULs that new content begins with; how many those are, undefined while nothing else has come. */
  async skipHole(): Promise<number | undefined> {
    if (!this.isNew) return 0
    if ((await this.handle.stat()).size < this.position) this.restart()
    for (;;) {
      const bytes = await readAt(this.handle, this.position, holeSize)
      const at = bytes.findIndex((byte) => byte !== 0)
      const hole = bytes.subarray(0, at < 0 ? bytes.length : at)
      if (hole.length > 0) {
        const { head } = this.identity
        this.identity.head = Buffer.concat([head, hole.subarray(0, headBytes - head.length)])
        this.seen = this.identity.head
        this.tail = Buffer.from(hole.subarray(-tailBytes))
        this.position += hole.length
      }
      if (at >= 0) {
        this.isNew = false
        return this.position
      }
      if (bytes.length < holeSize) return undefined
    }
  }

  /** Another file has its name. */
  async rotated(clock: () => number): Promise<void> {
    this.size = (await this.handle.stat()).size
    this.rotatedAt ??= clock()
  }

  /** Looks whether its writer goes on. */
  async watch(clock: () => number): Promise<void> {
    const { size } = await this.handle.stat()
    if (size === this.size) return
    this.size = size
    this.grewAt = clock()
  }

  isQuiet(now: number, wait: number): boolean {
    return this.rotatedAt !== undefined && now - Math.max(this.rotatedAt, this.grewAt) >= wait
  }
}
