import { constants } from "node:fs"
import { type FileHandle, open, realpath, stat } from "node:fs/promises"
import { join, relative, sep } from "node:path"

// Which file of a folder the path of a URL names. Nothing outside the folder is opened, whatever the path says.

/** The file, open; `folder`: it is one and the path lacks the last slash. */
export type Found =
  | { readonly _tag: "File"; readonly file: FileHandle; readonly name: string }
  | { readonly _tag: "Folder" }
  | { readonly _tag: "Bad" }
  | { readonly _tag: "None" }

/** The names in the path, decoded once. Undefined: not percent-encoded UTF-8. Null: names nothing that is served. */
export const segments = (path: string): ReadonlyArray<string> | null | undefined => {
  if (!path.startsWith("/")) return null
  let names: Array<string>
  try {
    names = path.slice(1).split("/").map(decodeURIComponent)
  } catch {
    return undefined
  }
  // The last name may be empty: a folder. No dot files, and so no `.` and `..`; no separators that were encoded.
  const isServed = (name: string, at: number) =>
    name === "" ? at === names.length - 1 : !name.startsWith(".") && !/[/\\\0]/.test(name)
  return names.every(isServed) ? names : null
}

/** Whether the real path is in the real folder, and no name on the way to it begins with a dot. */
const isInside = (root: string, path: string): boolean => {
  const way = relative(root, path)
  return way === "" || way.split(sep).every((name) => !name.startsWith("."))
}

const gone = new Set(["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG", "EACCES", "EPERM", "ENXIO", "EISDIR"])

/** Opens what the path names below the real path `root`. A symbolic link may not leave it. */
export const find = async (root: string, path: string, index: string): Promise<Found> => {
  const names = segments(path)
  if (names === undefined) return { _tag: "Bad" }
  if (names === null) return { _tag: "None" }
  try {
    const isFolder = names.at(-1) === ""
    const real = await realpath(join(root, ...names, ...(isFolder ? [index] : [])))
    if (!isInside(root, real)) return { _tag: "None" }
    const found = await stat(real)
    if (found.isDirectory()) return isFolder ? { _tag: "None" } : { _tag: "Folder" }
    if (!found.isFile()) return { _tag: "None" }
    // Without following a link that has come there since, and without waiting for the writer of a FIFO.
    const file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    return { _tag: "File", file, name: isFolder ? index : names.at(-1)! }
  } catch (error) {
    if (gone.has((error as NodeJS.ErrnoException).code ?? "")) return { _tag: "None" }
    throw error
  }
}
