import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import { describe, FileKindError } from "../../host/OwnFiles.js"
import { plural } from "../../text/Plural.js"
import * as Records from "../Records.js"
import { type Entry, Folders, isOlder, isRotated, missing, older } from "./folders.js"
import { code, headBytes, type Identity, OpenFile, type Place, readAt } from "./openFile.js"

// The files that have had one name, oldest first. Two loops work on them: `next` reads the oldest file on request; `look`
// watches the name and opens each file as soon as it appears, because an open descriptor survives the file's renaming and
// removal. One invariant over `files`, `known` and `finished`, so it stays one class.

/** Most files that are open and not yet read; later ones are found in the folder when their turn comes. */
const mostOpen = 64
const mostFinished = 64

const noBytes = Buffer.alloc(0)

/** Why records may be lost, or why there is nothing to read. */
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

const notRegular = "it is not a regular file; only regular files can be followed"

export class Followed {
  private readonly files: Array<OpenFile> = []
  /** The origin of the last piece. */
  private active: Identity | undefined
  private readonly notices: Array<Notice> = []
  private started = false
  private closed = false
  /** All open handles. */
  private readonly handles = new Set<fs.FileHandle>()
  private busy = new Set<Promise<unknown>>()
  private waiting: string | undefined
  private known = new Map<string, Entry>()
  private finished = new Map<string, Place>()
  private readonly folders: Folders

  constructor(
    private readonly path: string,
    private readonly from: Place | undefined,
    private readonly rotateWait: number,
    /** A monotonic clock, in milliseconds. */
    private readonly clock: () => number
  ) {
    this.folders = new Folders(path, clock)
  }

  /** The next piece or notice; undefined when there is none now. */
  next(): Promise<Step | undefined> {
    return this.during(this.step())
  }

  /** Checks the name, and opens new files. */
  look(): Promise<void> {
    if (!this.started || this.closed) return Promise.resolve()
    const failed = (error: unknown) => {
      // A file was read to its end and closed meanwhile: the next check does the rest.
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

  // Each reason to wait is reported once, until there is a file again.
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
        return this.piece(file, noBytes, true)
      }
      const hole = await file.skipHole()
      if (hole !== undefined && hole > 0) return this.piece(file, noBytes, true)
      if (file.rotatedAt !== undefined) await file.watch(this.clock)
      const isQuiet = file.isQuiet(this.clock(), this.rotateWait)
      const bytes = hole === undefined ? "nothing" : await file.read()
      if (bytes === "changed") {
        const { position } = file
        file.restart()
        const detail = `it was truncated or rewritten after ${plural(position, "byte of it was", "bytes of it were")} read; data after them may be lost, and reading continues at the beginning of the new content`
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
    // Retried after a rotation: the listed files must be older than the current file.
    for (let tries = 0; tries < 10; tries++) {
      const current = await this.openName()
      const entries = await this.folders.settledList(this.from !== undefined)
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
    } else this.wait("it does not exist yet")
    await Promise.all(this.files.slice(0, -1).map((file) => file.rotated(this.clock)))
    this.known = new Map(entries.map((entry) => [entry.id, entry]))
    return true
  }

  /** The file of the place, and those between it and the current one. */
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
          isRotated(one, entry.name, current?.id, entries) &&
          isLater(one) &&
          isOlder(one, current)
      )
      const opened = await this.openAll(await this.withoutCopies(between, [file, current]))
      if (opened === undefined) {
        await this.release(file)
        return undefined
      }
      const absent = missing(entry, file.modified, entries)
      if (absent !== undefined) {
        this.notices.push({
          _tag: "Gap",
          detail: `${absent}; its lines are lost, and reading continues at byte ${from.position} of ${entry.name}`
        })
      }
      return [file, ...opened]
    }
    const lost = from.position + from.given
    const why =
      current?.inode === from.inode
        ? "its content is not that of the checkpoint, because it was truncated or replaced"
        : "the file of the checkpoint is no longer in the folder, because it was removed, compressed or moved"
    const where = current === undefined ? "of the file that comes" : "of the current file"
    this.notices.push({
      _tag: "Gap",
      detail: `${why}; data after its first ${plural(lost, "byte")} may be lost, and reading continues at the beginning ${where}`
    })
    return []
  }

  private async watch(): Promise<void> {
    const { clock, files } = this
    for (const [at, file] of files.entries()) {
      await file.peek()
      if (at > 0 && file.rotatedAt !== undefined) await file.watch(clock)
    }
    const room = mostOpen - files.length
    if (room <= 0) return
    const listed = (await this.folders.isChanged()) ? await this.folders.settledList(false) : undefined
    const last = files.at(-1)
    const id = await this.idOfName()
    if (id !== undefined && id === last?.id) {
      // The file took the name after the folder was listed: all listed files are older.
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

  /** The files that have had the name since the last check, and the current one. */
  private async coming(room: number): Promise<Array<OpenFile>> {
    const { files } = this
    const last = files.at(-1)
    let current: OpenFile | undefined
    // Files that lost the name again before the folder was listed.
    const held: Array<OpenFile> = []
    let coming: Array<OpenFile> = []
    try {
      for (let tries = 0; tries < 20; tries++) {
        current = await this.openName()
        const entries = await this.folders.settledList(false)
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

  /** The files that appeared since the folder was last listed; undefined when files were renamed meanwhile. */
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
        isRotated(entry, name, current?.id, entries) &&
        !isHeld(entry.id)
    )
    const wanted = (await this.withoutCopies(fresh, [...this.files, ...held, current])).slice(0, room)
    const opened = await this.openAll(wanted)
    if (opened !== undefined) for (const entry of wanted) this.known.set(entry.id, entry)
    return opened
  }

  // A renamed file keeps its time of creation, and a new file under a used inode has another. If the file system has no
  // such time, a file that was only renamed has kept its size and the time of its last change.
  private isKnown({ birth, id, modified, size }: Entry): boolean {
    const before = this.known.get(id)
    if (before === undefined) return false
    return before.birth === birth || (before.modified === modified && before.size === size)
  }

  /** Removes files that begin with the same 4 KiB as one that is read; older first. */
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

  /** Undefined when one of them no longer has its name. */
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
        const detail = `${entry.name}, which came between, cannot be read; its lines are lost, and reading continues with the next file`
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
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "the file does not exist",
  ENOTDIR: "the file does not exist",
  EACCES: "permission denied"
}

/** The reason why a file cannot be read, from an error of the file system. */
export const reason = (error: unknown): string => reasons[code(error) ?? ""] ?? describe(error)
