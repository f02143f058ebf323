import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import { FileKindError } from "../../host/OwnFiles.js"
import * as Records from "../Records.js"

// A followed file: an open descriptor, which survives the file's renaming and removal, and digests that prove at each read
// that its content is still the same.

/** The place where reading continues, and the proof that the file is the same. */
export interface Place {
  readonly device: string
  readonly inode: string
  readonly position: number
  /** Bytes after the position that were emitted as a line without an end. */
  readonly given: number
  /** The beginning of the file, and the end of the bytes so far. */
  readonly head: Digest
  readonly tail: Digest
}

/** The SHA-256 of a number of bytes. */
export interface Digest {
  readonly bytes: number
  readonly sha256: string
}

export const headBytes = 4096
const tailBytes = 256
const pieceSize = 64 * 1024
const holeSize = 1024 * 1024

const digest = (bytes: Uint8Array): Digest => ({ bytes: bytes.length, sha256: Records.digest(bytes) })

/** The place after `end` bytes, of which `last` are the last, and the last `given` have no line end. */
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
  /** Its first bytes, as far as they were read: at most 4 KiB. */
  readonly head: Uint8Array
}

/** The code of an error of the file system. */
export const code = (error: unknown) => (error as NodeJS.ErrnoException).code

/** Reads bytes from the position on; fewer at the end of the file. */
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
  /** Its first bytes at the last check: at most 4 KiB, read or not. */
  private seen: Buffer = none
  /** When another file appeared under its name; undefined while it has the name, or no file does. */
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

  /** Continues at the place, if this is its file; the inode alone does not prove that, because it may be reused. */
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

  /** Keeps its first bytes, so that a truncation is detected even before the first read. */
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
   * Up to 64 KiB after the position. The bytes before them and the beginning are read again afterwards, so that a
   * replacement is detected even if it is as long or longer.
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
   * Its content was replaced: reads it from its beginning, without leading NULs. They are the hole before the old position
   * of a writer that does not append, and may be as long as the old content was.
   */
  restart(): void {
    this.isNew = true
    this.identity = { device: this.device, inode: this.inode, head: none }
    this.tail = none
    this.seen = none
    this.position = 0
  }

  /** Skips the leading NULs of new content; returns their number, undefined while there is nothing else. */
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

  /** Checks whether its writer still writes. */
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
