import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { guarded } from "../../text/Foreign.js"

// Packages as Node finds them from a folder.

/** The file of a module specifier, as seen from the folder; undefined if it is not installed. */
export const resolveFrom = (directory: string, id: string): string | undefined =>
  guarded(() => createRequire(join(directory, "noop.js")).resolve(id), undefined)

export const readJson = (path: string) => JSON.parse(readFileSync(path, "utf8"))

/** The folder and the folders around it, the innermost first. */
export const ancestors = (directory: string): ReadonlyArray<string> => {
  const parent = dirname(directory)
  return parent === directory ? [directory] : [directory, ...ancestors(parent)]
}
