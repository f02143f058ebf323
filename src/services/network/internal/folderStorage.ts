import { randomUUID } from "node:crypto"
import { constants, type Dirent, lstatSync, readdirSync, statSync } from "node:fs"
import * as fs from "node:fs/promises"
import { dirname, join, sep } from "node:path"

// Objects as files of one folder. A key is a path below it; every folder on the way is checked to be none that a link leads
// out of it.

const mark = ".aio-" // of files that are not whole yet

/** What is wrong with a key; undefined if it names a file below the folder. */
export const problem = (key: string): string | undefined => {
  const segments = key.split("/")
  if (Buffer.byteLength(key) > 1024) return "is longer than 1024 bytes"
  if (key.includes("\0") || key.includes("\\")) return "contains a NUL or a backslash"
  if (segments.some((one) => one === "" || one === "." || one === ".."))
    return "has an empty part, '.' or '..'"
  if (segments.some((one) => Buffer.byteLength(one) > 255)) return "has a part of more than 255 bytes"
  if (segments.some((one) => one.startsWith(mark))) return `has a part that starts with '${mark}'`
  return undefined
}

const isInside = async (root: string, folder: string): Promise<void> => {
  const [real, home] = [await fs.realpath(folder), await fs.realpath(root)]
  if (real !== home && !real.startsWith(home + sep)) throw new Error("a link leads out of the folder")
}

/** Opens a temporary file for the key; `commit` gives it its name, `abort` removes it. */
export const create = async (root: string, key: string) => {
  const path = join(root, key)
  const folder = dirname(path)
  await fs.mkdir(folder, { recursive: true })
  await isInside(root, folder)
  const temporary = join(folder, mark + randomUUID())
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants
  const file = await fs.open(temporary, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600)
  return {
    write: (bytes: Uint8Array) => file.writeFile(bytes),
    commit: async () => {
      await file.close()
      await fs.rename(temporary, path)
    },
    abort: async () => {
      await file.close().catch(() => undefined)
      await fs.rm(temporary, { force: true })
    }
  }
}

/** Opens the file of the key; undefined if the key has no file. */
export const open = async (root: string, key: string): Promise<fs.FileHandle | undefined> => {
  const path = join(root, key)
  try {
    await isInside(root, dirname(path))
    const file = await fs.open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    if ((await file.stat()).isFile()) return file
    await file.close()
    return undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOENT" || code === "ENOTDIR") return undefined
    throw code === "ELOOP" ? new Error("the file is a link") : error
  }
}

export const remove = async (root: string, key: string): Promise<void> => {
  const file = await open(root, key)
  await file?.close()
  if (file !== undefined) await fs.rm(join(root, key), { force: true })
}

interface Found {
  readonly key: string
  readonly size: number
}

const sorted = (found: Array<Found>): ReadonlyArray<Found> =>
  found.length < 2 ? found : found.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)))

/** The folders on the way to the keys with the prefix; undefined if none can have it. */
const foldersOf = (prefix: string): ReadonlyArray<string> | undefined => {
  const parts = prefix.split("/").slice(0, -1)
  return parts.length > 0 && problem(parts.join("/")) !== undefined ? undefined : parts
}

const isFound = (entry: Dirent, key: string, prefix: string) =>
  entry.isFile() && !entry.name.startsWith(mark) && key.startsWith(prefix)

/** The keys with the prefix and their sizes, in the order of their bytes. Reads only folders that can hold one. */
export const list = async (root: string, prefix: string): Promise<ReadonlyArray<Found>> => {
  const found: Array<Found> = []
  const walk = async (folder: string): Promise<void> => {
    const entries = await fs.readdir(join(root, folder), { withFileTypes: true }).catch((error) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return []
      throw error
    })
    await Promise.all(
      entries.map(async (entry) => {
        const key = folder + entry.name
        if (entry.isDirectory() && `${key}/`.startsWith(prefix)) await walk(`${key}/`)
        if (!isFound(entry, key, prefix)) return
        const stat = await fs.stat(join(root, key)).catch(() => undefined) // removed meanwhile
        if (stat !== undefined) found.push({ key, size: stat.size })
      })
    )
  }
  const parts = foldersOf(prefix)
  if (parts === undefined) return []
  for (let n = 1; n <= parts.length; n++) {
    const stat = await fs.lstat(join(root, ...parts.slice(0, n))).catch(() => undefined)
    if (stat?.isDirectory() !== true) return [] // a link is not followed
  }
  await walk(parts.map((part) => `${part}/`).join(""))
  return sorted(found)
}

/**
 * {@link list} at once, for a folder on a disk of this machine: a round through Node's threads takes ten times as long as to
 * read a small folder. Undefined beyond `most` entries.
 */
export const listNow = (root: string, prefix: string, most: number): ReadonlyArray<Found> | undefined => {
  const found: Array<Found> = []
  let left = most
  const walk = (folder: string): void => {
    for (const entry of readdirSync(`${root}/${folder}`, { withFileTypes: true })) {
      if (left-- <= 0) return
      const key = folder + entry.name
      if (entry.isDirectory() && `${key}/`.startsWith(prefix)) walk(`${key}/`)
      if (!isFound(entry, key, prefix)) continue
      const stat = statSync(`${root}/${key}`, { throwIfNoEntry: false })
      if (stat !== undefined) found.push({ key, size: stat.size })
    }
  }
  const parts = foldersOf(prefix)
  if (parts === undefined) return []
  let folder = ""
  for (const part of parts) {
    const stat = lstatSync(`${root}/${folder}${part}`, { throwIfNoEntry: false })
    if (stat?.isDirectory() !== true) return []
    folder += `${part}/`
  }
  walk(folder)
  return left < 0 ? undefined : sorted(found)
}
