import * as fs from "node:fs/promises"
import * as path from "node:path"
import * as rotations from "./rotations.js"

// The other files in the folder of the followed name, some of which had that name before.

/** Milliseconds within which two changes of a folder may have the same time. */
const settling = 100

/** A file in the folder. */
export interface Entry {
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

/** Whether the file was created before the current one: a newer file, such as a copy, never had the name. */
export const isOlder = ({ birth }: Times, current: Times | undefined): boolean =>
  current === undefined || current.birth <= 0n || birth <= current.birth

/**
 * Orders files by their creation. Files of the same tick of the clock are ordered by name, because a late writer may
 * change the older one last; without times of creation the number decides, else the last change.
 */
export const older = (a: Times, b: Times, one: Entry | undefined, other: Entry | undefined): number => {
  const isKnown = a.birth > 0n && b.birth > 0n
  if (isKnown && a.birth !== b.birth) return a.birth < b.birth ? -1 : 1
  const changed = Number((one ?? a).modified - (other ?? b).modified)
  if (one === undefined || other === undefined) return changed
  const byName = rotations.compare(one.name, other.name, one.place.base)
  const isNumbered = rotations.numberOf(one.name, one.place.base) !== undefined
  return isKnown || isNumbered ? byName || changed : changed || byName
}

/** A folder in which rotated files are searched, and their original names. */
interface Folder {
  readonly path: string
  readonly base: string
  /** Whether these names were targets of the link; then names that differ only in numbers belong to it. */
  readonly linked: boolean
}

/** Whether the file had the followed name; `last` is the current name of the previous one. */
export const isRotated = (
  { name, place }: Entry,
  last: string | undefined,
  current: string | undefined,
  entries: ReadonlyArray<Entry>
): boolean => {
  if (rotations.uncompressed(name) !== undefined) return false
  if (place.linked) {
    const now = entries.find(({ id }) => id === current)?.name
    return last !== undefined && now !== undefined && rotations.isBetween(name, last, now)
  }
  return (
    rotations.isRotated(name, place.base) || (last !== undefined && rotations.isAlike(name, last, place.base))
  )
}

/** The file after this one, which was last changed at `readUntil`, if it can no longer be read. */
export const missing = (
  found: Entry,
  readUntil: bigint,
  entries: ReadonlyArray<Entry>
): string | undefined => {
  const { base } = found.place
  const names = new Set(entries.map(({ name }) => name))
  for (const { modified, name } of entries) {
    const plain = rotations.uncompressed(name)
    if (plain === undefined || names.has(plain) || modified <= readUntil) continue
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

/** The folder of a name, and that of the file to which the name is a link. */
export class Folders {
  private folders: ReadonlyArray<Folder> = []
  private changes = ""
  private changedAt = Number.NEGATIVE_INFINITY

  constructor(
    private readonly path: string,
    private readonly clock: () => number
  ) {}

  /** Whether files may have been added, renamed or removed since the last call. */
  async isChanged(): Promise<boolean> {
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

  /** {@link list}, repeated until no file was renamed meanwhile: a listing during a rotation lacks files. */
  async settledList(all: boolean): Promise<ReadonlyArray<Entry>> {
    let before = await this.list(all)
    for (let tries = 0; tries < 20; tries++) {
      const after = await this.list(all)
      const names = new Map(before.map(({ id, path }) => [path, id]))
      if (names.size === after.length && after.every(({ id, path }) => names.get(path) === id)) return after
      before = after
    }
    throw new Error("the files of its folder are renamed without end")
  }

  /** Regular files of the folder except the current one: all of them, or those that may have had the name. */
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
