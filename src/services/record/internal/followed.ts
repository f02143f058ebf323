import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { describe, FileKindError } from "../../host/OwnFiles.js"
import { plural } from "../../text/Units.js"
import * as Records from "../Records.js"
import * as rotations from "./rotations.js"

// What Follow reads: the files that have had one name, oldest first. Two loops work on them. `next` reads the oldest one
// and is called when more is wanted; `look` watches the name and opens each file as soon as it is seen, wanted or not,
// because an open descriptor survives the file's renaming and removal.

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

/** Files that are open and not yet read; those that come later are looked for in the folder in their turn. */
const mostOpen = 64
const mostFinished = 64

/** How long after a change of the folder the next one may have the same time. */
const settling = 100

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

const code = (error: unknown) => (error as NodeJS.ErrnoException).code

const readAt = async (handle: fs.FileHandle, position: number, length: number): Promise<Buffer> => {
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

class OpenFile {
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

  /** Fails with {@link FileKindError} at what is no regular file. */
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

/** A file in the folder. */
interface Entry {
  readonly name: string
  readonly path: string
  readonly device: string
  readonly inode: string
  readonly id: string
  readonly size: bigint
  readonly birth: bigint
  readonly modified: bigint
  readonly place: Folder
}

interface Times {
  readonly birth: bigint
  readonly modified: bigint
}

/** What was born after the file that has the name has not had it before: a copy, say. */
const isOlder = ({ birth }: Times, current: Times | undefined): boolean =>
  current === undefined || current.birth <= 0n || birth <= current.birth

/**
 * By birth. Of the same tick of the clock by name, because a late writer changes the older one last; where the file
 * system has no time of birth, by number, else by the last change.
 */
const older = (a: Times, b: Times, one: Entry | undefined, other: Entry | undefined): number => {
  const isKnown = a.birth > 0n && b.birth > 0n
  if (isKnown && a.birth !== b.birth) return a.birth < b.birth ? -1 : 1
  const changed = Number((one ?? a).modified - (other ?? b).modified)
  if (one === undefined || other === undefined) return changed
  const byName = rotations.compare(one.name, other.name, one.place.base)
  const isNumbered = rotations.numberOf(one.name, one.place.base) !== undefined
  return isKnown || isNumbered ? byName || changed : changed || byName
}

/** Where rotated files are looked for, and what they were called. */
interface Folder {
  readonly path: string
  readonly base: string
  /** What the name was a link to, last; then names that differ in numbers belong to it. */
  readonly linked: boolean
}

/** Records may be lost, or there is nothing to read: why. */
export interface Notice {
  readonly _tag: "Gap" | "Waiting"
  readonly detail: string
}

export type Step =
  | Notice
  | {
      readonly _tag: "Piece"
      readonly bytes: Uint8Array
      readonly file: Identity
      readonly position: number
      readonly anew: boolean
    }

const notRegular = "it is no file; only files can be followed"

export class Followed {
  private readonly files: Array<OpenFile> = []
  /** What the last piece was of. */
  private active: Identity | undefined
  private readonly notices: Array<Notice> = []
  private started = false
  private closed = false
  /** All that is open. */
  private readonly handles = new Set<fs.FileHandle>()
  private busy = new Set<Promise<unknown>>()
  private waiting: string | undefined
  private known = new Map<string, Entry>()
  private finished = new Map<string, Place>()
  private folders: ReadonlyArray<Folder> = []
  private changes = ""
  private changedAt = Number.NEGATIVE_INFINITY

  constructor(
    private readonly path: string,
    private readonly from: Place | undefined,
    private readonly rotateWait: number,
    /** Milliseconds that go on evenly. */
    private readonly clock: () => number
  ) {}

  /** What there is now; undefined when that is nothing. */
  next(): Promise<Step | undefined> {
    return this.during(this.step())
  }

  /** Looks at the name, and opens what has come. */
  look(): Promise<void> {
    if (!this.started || this.closed) return Promise.resolve()
    const failed = (error: unknown) => {
      // A file was read to its end and closed meanwhile: the next look does the rest.
      if (code(error) !== "EBADF") this.wait(reason(error))
    }
    return this.during(this.watch().catch(failed))
  }

  async close(): Promise<void> {
    this.closed = true
    await Promise.allSettled(this.busy)
    this.files.length = 0
    await Promise.allSettled([...this.handles].map((handle) => handle.close()))
  }

  private async acquire(file: string, flags = 0): Promise<OpenFile> {
    const opened = await OpenFile.open(file, flags)
    this.handles.add(opened.handle)
    return opened
  }

  private async release(...opened: ReadonlyArray<OpenFile | undefined>): Promise<void> {
    for (const file of opened) {
      if (file !== undefined && this.handles.delete(file.handle)) await file.handle.close()
    }
  }

  private async during<A>(work: Promise<A>): Promise<A> {
    this.busy.add(work)
    try {
      return await work
    } finally {
      this.busy.delete(work)
    }
  }

  // Each reason to wait is given once, until there is a file again.
  private wait(detail: string): void {
    if (this.waiting === detail) return
    this.waiting = detail
    this.notices.push({ _tag: "Waiting", detail })
  }

  private async step(): Promise<Step | undefined> {
    if (!this.started) {
      await this.start()
      this.started = true
    }
    const notice = this.notices.shift()
    if (notice !== undefined) return notice
    for (;;) {
      const file = this.files[0]
      if (file === undefined || this.closed) return undefined
      if (this.active !== file.identity) {
        this.active = file.identity
        return this.piece(file, none, true)
      }
      const hole = await file.skipHole()
      if (hole !== undefined && hole > 0) return this.piece(file, none, true)
      if (file.rotatedAt !== undefined) await file.watch(this.clock)
      const isQuiet = file.isQuiet(this.clock(), this.rotateWait)
      const bytes = hole === undefined ? "nothing" : await file.read()
      if (bytes === "changed") {
        const { position } = file
        file.restart()
        const detail = `it was truncated or written anew after ${plural(position, "byte of it was", "bytes of it were")} read; what was written behind them may be lost, and reading begins at the beginning of the new content`
        return { _tag: "Gap", detail }
      }
      if (bytes !== "nothing") return this.piece(file, bytes, false)
      if (!isQuiet) return undefined
      this.files.shift()
      this.finished.set(file.id, file.place)
      const [oldest] = this.finished.keys()
      if (this.finished.size > mostFinished) this.finished.delete(oldest!)
      await this.release(file)
    }
  }

  private piece({ identity, position }: OpenFile, bytes: Uint8Array, anew: boolean): Step {
    return { _tag: "Piece", bytes, file: identity, position, anew }
  }

  private async start(): Promise<void> {
    // Again, when a rotation has come between: what is in the folder must have been there before the name's file.
    for (let tries = 0; tries < 10; tries++) {
      const current = await this.openName()
      const entries = await this.settledList(this.from !== undefined)
      if ((await this.idOfName()) === current?.id) {
        if (await this.begin(current, entries)) return
      }
      await this.release(current, ...this.files.splice(0))
    }
    throw new Error("its name is given to other files without end")
  }

  /** False when files were renamed meanwhile. */
  private async begin(current: OpenFile | undefined, entries: ReadonlyArray<Entry>): Promise<boolean> {
    const { from } = this
    const before =
      from === undefined || (await current?.resume(from)) === true
        ? []
        : await this.behind(from, current, entries)
    if (before === undefined) return false
    this.files.push(...before)
    if (current !== undefined) {
      if (this.notices.length > 0) current.restart()
      this.files.push(current)
    } else this.wait("there is no such file yet")
    await Promise.all(this.files.slice(0, -1).map((file) => file.rotated(this.clock)))
    this.known = new Map(entries.map((entry) => [entry.id, entry]))
    return true
  }

  /** The file in which the place is, and those between it and the current one. */
  private async behind(
    from: Place,
    current: OpenFile | undefined,
    entries: ReadonlyArray<Entry>
  ): Promise<ReadonlyArray<OpenFile> | undefined> {
    const candidates = entries.filter(({ inode }) => inode === from.inode)
    candidates.sort((a, b) => Number(b.device === from.device) - Number(a.device === from.device))
    for (const entry of candidates) {
      const file = await this.open(entry)
      if (file === "moved") return undefined
      if (file === "unreadable") continue
      if (!(await file.resume(from))) {
        await this.release(file)
        continue
      }
      const isLater = (one: Entry) =>
        file.birth > 0n && one.birth > 0n ? one.birth >= file.birth : one.modified >= file.modified
      const between = entries.filter(
        (one) =>
          one.id !== file.id &&
          one.id !== current?.id &&
          this.isRotated(one, entry.name, current, entries) &&
          isLater(one) &&
          isOlder(one, current)
      )
      const opened = await this.openAll(await this.withoutCopies(between, [file, current]))
      if (opened === undefined) {
        await this.release(file)
        return undefined
      }
      const missing = this.missing(entry, file, entries)
      if (missing !== undefined) {
        this.notices.push({
          _tag: "Gap",
          detail: `${missing}; its lines are lost, and reading goes on at byte ${from.position} of ${entry.name}`
        })
      }
      return [file, ...opened]
    }
    const lost = from.position + from.given
    const why =
      current?.inode === from.inode
        ? "its content is not that of the checkpoint, because it was truncated or made anew"
        : "the file of the checkpoint is not in the folder any more, because it was removed, compressed or moved"
    const where = current === undefined ? "of the file that comes" : "of the current file"
    this.notices.push({
      _tag: "Gap",
      detail: `${why}; what was written behind its first ${plural(lost, "byte")} may be lost, and reading begins at the beginning ${where}`
    })
    return []
  }

  /** What came behind the file and cannot be read any more. */
  private missing(found: Entry, file: OpenFile, entries: ReadonlyArray<Entry>): string | undefined {
    const { base } = found.place
    const names = new Set(entries.map(({ name }) => name))
    for (const { modified, name } of entries) {
      const plain = rotations.uncompressed(name)
      if (plain === undefined || names.has(plain) || modified <= file.modified) continue
      if (rotations.isRotated(plain, base) || rotations.isAlike(plain, found.name, base)) {
        return `${name}, which came after ${found.name}, is compressed`
      }
    }
    const number = rotations.numberOf(found.name, base) ?? 0
    for (let between = number - 1; between > 0; between--) {
      const name = found.name.replace(`.${number}`, `.${between}`)
      const isThere = names.has(name) || entries.some((one) => rotations.uncompressed(one.name) === name)
      if (!isThere) return `${name}, which came after ${found.name}, is not there any more`
    }
    return undefined
  }

  private async watch(): Promise<void> {
    const { clock, files } = this
    for (const [at, file] of files.entries()) {
      await file.peek()
      if (at > 0 && file.rotatedAt !== undefined) await file.watch(clock)
    }
    const room = mostOpen - files.length
    if (room <= 0) return
    const listed = (await this.isChanged()) ? await this.settledList(false) : undefined
    const last = files.at(-1)
    const id = await this.idOfName()
    if (id !== undefined && id === last?.id) {
      // The name had this file after the folder was listed: all that is in the list is older.
      if (listed !== undefined) this.known = new Map(listed.map((entry) => [entry.id, entry]))
      return
    }
    if (id === undefined && listed === undefined) return
    const coming = await this.coming(room)
    if (coming.length === 0) return
    const back = coming.findIndex((file) => files.some((one) => one.id === file.id))
    if (back >= 0) {
      // A file that waits to be read has its name again: it is read last.
      const [again] = coming.splice(back, 1)
      await this.release(again)
      const at = files.findIndex((one) => one.id === again!.id)
      const [file] = files.splice(at, 1)
      file!.rotatedAt = undefined
      coming.push(file!)
    }
    await Promise.all([...files.slice(-1), ...coming.slice(0, -1)].map((file) => file.rotated(clock)))
    files.push(...coming)
  }

  /** The files that have had the name since the last look, and the one that has it. */
  private async coming(room: number): Promise<Array<OpenFile>> {
    const { files } = this
    const last = files.at(-1)
    let current: OpenFile | undefined
    // Those that have lost the name again before the folder was listed.
    const held: Array<OpenFile> = []
    let coming: Array<OpenFile> = []
    try {
      for (let tries = 0; tries < 20; tries++) {
        current = await this.openName()
        const entries = await this.settledList(false)
        const isHeld = (id: string | undefined) => [...files, ...held].some((file) => file.id === id)
        const opened =
          (await this.idOfName()) === current?.id
            ? await this.openBetween(entries, current, isHeld, held, room)
            : undefined
        if (opened !== undefined) {
          const names = new Map(entries.map((entry) => [entry.id, entry]))
          coming = [...held.splice(0), ...opened].sort((a, b) =>
            older(a, b, names.get(a.id), names.get(b.id))
          )
          break
        }
        if (current !== undefined && isHeld(current.id)) await this.release(current)
        else if (current !== undefined) held.push(current)
        current = undefined
      }
      coming.push(...held.splice(0))
      if (current !== undefined && (current.id === last?.id || coming.length >= room)) {
        await this.release(current)
        current = undefined
      }
      if (current !== undefined) {
        this.waiting = undefined
        coming.push(current)
      }
      const unread: Array<OpenFile> = []
      for (const file of coming) {
        const place = this.finished.get(file.id)
        const isRead = place !== undefined && (await file.resume(place))
        if (isRead && file !== current && !(await file.hasMore())) await this.release(file)
        else unread.push(file)
      }
      return unread
    } catch (error) {
      await this.release(current, ...coming, ...held)
      throw error
    }
  }

  /** The files that came since the folder was last listed; undefined when files were renamed meanwhile. */
  private async openBetween(
    entries: ReadonlyArray<Entry>,
    current: OpenFile | undefined,
    isHeld: (id: string) => boolean,
    held: ReadonlyArray<OpenFile>,
    room: number
  ): Promise<Array<OpenFile> | undefined> {
    const last = this.files.at(-1)
    const name = entries.find((entry) => entry.id === last?.id)?.name
    const fresh = entries.filter(
      (entry) =>
        !this.isKnown(entry) &&
        entry.id !== current?.id &&
        isOlder(entry, current) &&
        this.isRotated(entry, name, current, entries) &&
        !isHeld(entry.id)
    )
    const wanted = (await this.withoutCopies(fresh, [...this.files, ...held, current])).slice(0, room)
    const opened = await this.openAll(wanted)
    if (opened !== undefined) for (const entry of wanted) this.known.set(entry.id, entry)
    return opened
  }

  // A file keeps its time of birth when it is renamed, and a new file under a used inode has another. Where the file
  // system has no such time, one that was only renamed has kept its size and the time of its last change.
  private isKnown({ birth, id, modified, size }: Entry): boolean {
    const before = this.known.get(id)
    if (before === undefined) return false
    return before.birth === birth || (before.modified === modified && before.size === size)
  }

  private isRotated(
    { name, place }: Entry,
    last: string | undefined,
    current: OpenFile | undefined,
    entries: ReadonlyArray<Entry>
  ): boolean {
    if (rotations.uncompressed(name) !== undefined) return false
    if (place.linked) {
      const now = entries.find(({ id }) => id === current?.id)?.name
      return last !== undefined && now !== undefined && rotations.isBetween(name, last, now)
    }
    return (
      rotations.isRotated(name, place.base) ||
      (last !== undefined && rotations.isAlike(name, last, place.base))
    )
  }

  /** Without files that begin with the same 4 KiB as one that is read, older first. */
  private async withoutCopies(
    entries: ReadonlyArray<Entry>,
    read: ReadonlyArray<OpenFile | undefined>
  ): Promise<ReadonlyArray<Entry>> {
    const sorted = entries.toSorted((a, b) => older(a, b, a, b))
    if (!sorted.some(({ size }) => size >= headBytes)) return sorted
    const heads = new Set<string>()
    const add = (bytes: Buffer) => (bytes.length === headBytes ? heads.add(Records.digest(bytes)) : heads)
    for (const file of read) if (file !== undefined) add(await readAt(file.handle, 0, headBytes))
    for (const { head } of this.finished.values()) if (head.bytes === headBytes) heads.add(head.sha256)
    const kept: Array<Entry> = []
    for (const entry of sorted) {
      const file = entry.size < headBytes ? "moved" : await this.open(entry)
      if (typeof file === "string") {
        kept.push(entry)
        continue
      }
      const head = await readAt(file.handle, 0, headBytes)
      await this.release(file)
      const had = heads.size
      add(head)
      if (heads.size > had || head.length < headBytes) kept.push(entry)
    }
    return kept
  }

  private async open(entry: Entry): Promise<OpenFile | "moved" | "unreadable"> {
    try {
      const file = await this.acquire(entry.path, constants.O_NOFOLLOW)
      if (file.id === entry.id) return file
      await this.release(file)
      return "moved"
    } catch (error) {
      if (["ENOENT", "ELOOP", "EFTYPE"].includes(code(error) ?? "")) return "moved"
      if (code(error) === "EMFILE" || code(error) === "ENFILE") throw error
      return "unreadable"
    }
  }

  /** Undefined when one of them is not there under its name any more. */
  private async openAll(entries: ReadonlyArray<Entry>): Promise<Array<OpenFile> | undefined> {
    const opened: Array<OpenFile> = []
    for (const entry of entries) {
      const file = await this.open(entry)
      if (file === "moved") {
        await this.release(...opened)
        return undefined
      }
      if (file !== "unreadable") opened.push(file)
      else {
        const detail = `${entry.name}, which came between, may not be read; its lines are lost, and reading goes on with the file behind it`
        this.notices.push({ _tag: "Gap", detail })
      }
    }
    return opened
  }

  private async openName(): Promise<OpenFile | undefined> {
    if ((await this.idOfName()) === undefined) return undefined
    try {
      return await this.acquire(this.path)
    } catch (error) {
      if (code(error) === "ENOENT") return undefined
      if (error instanceof FileKindError) throw new Error(notRegular)
      throw error
    }
  }

  private async idOfName(): Promise<string | undefined> {
    try {
      const stat = await fs.stat(this.path, { bigint: true })
      if (!stat.isFile()) throw new Error(notRegular)
      return `${stat.dev}:${stat.ino}`
    } catch (error) {
      if (code(error) === "ENOENT") return undefined
      throw error
    }
  }

  private async isChanged(): Promise<boolean> {
    const times: Array<string> = []
    for (const folder of this.folders) {
      const stat = await fs.stat(folder.path, { bigint: true }).catch(() => undefined)
      times.push(`${stat?.mtimeNs}`)
    }
    const changes = times.join()
    const now = this.clock()
    if (changes !== this.changes) this.changedAt = now
    this.changes = changes
    return now - this.changedAt <= settling
  }

  /** {@link list} when no file was renamed meanwhile: a list that is made during a rotation lacks files. */
  private async settledList(all: boolean): Promise<ReadonlyArray<Entry>> {
    let before = await this.list(all)
    for (let tries = 0; tries < 20; tries++) {
      const after = await this.list(all)
      const names = new Map(before.map(({ id, path }) => [path, id]))
      if (names.size === after.length && after.every(({ id, path }) => names.get(path) === id)) return after
      before = after
    }
    throw new Error("the files of its folder are renamed without end")
  }

  /** Regular files of the folder but the one that has the name: all of them, or those that may have had it. */
  private async list(all: boolean): Promise<ReadonlyArray<Entry>> {
    const folder = path.dirname(this.path)
    const base = path.basename(this.path)
    const folders: Array<Folder> = [{ path: folder, base, linked: false }]
    const real = await fs.realpath(this.path).catch(() => undefined)
    if (real !== undefined && (await fs.lstat(this.path).catch(() => undefined))?.isSymbolicLink() === true) {
      folders.push({ path: path.dirname(real), base: path.basename(real), linked: true })
    } else folders.push(...this.folders.filter(({ linked }) => linked))
    this.folders = folders
    const entries = new Map<string, Entry>()
    for (const place of folders) {
      const start = place.linked ? place.base.replace(/\d.*$/s, "") : rotations.prefix(base)
      const found = await fs.readdir(place.path).catch(() => [])
      const names = found.filter((name) => all || name.startsWith(start))
      for (let at = 0; at < names.length; at += 64) {
        const stats = names.slice(at, at + 64).map(async (name) => {
          const file = path.join(place.path, name)
          const stat = await fs.lstat(file, { bigint: true }).catch(() => undefined)
          if (stat?.isFile() !== true || (!place.linked && name === base)) return
          const id = `${stat.dev}:${stat.ino}`
          entries.set(id, {
            name,
            path: file,
            device: `${stat.dev}`,
            inode: `${stat.ino}`,
            id,
            size: stat.size,
            birth: stat.birthtimeNs,
            modified: stat.mtimeNs,
            place
          })
        })
        await Promise.all(stats)
      }
    }
    return [...entries.values()]
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file",
  EACCES: "it may not be read"
}

/** What an error of the file system means for a file that is to be read. */
export const reason = (error: unknown): string => reasons[code(error) ?? ""] ?? describe(error)
