import { createHash } from "node:crypto"
import { readFileSync, realpathSync, statSync } from "node:fs"
import { extname, isAbsolute, join, relative, sep } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { Either } from "effect"
import * as Printable from "../../text/Printable.js"

// Which code a job may name: a file of one folder, by its path in it and the digest of its bytes.

const extensions = new Set([".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"])

const versionOf = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex").slice(0, 32)

/** How a module of the folder is named in a run; the left is why it cannot be. */
export const name = (
  folder: string,
  url: string
): Either.Either<{ readonly module: string; readonly version: string }, string> => {
  try {
    const file = realpathSync(fileURLToPath(url))
    const module = relative(realpathSync(folder), file)
    return module === "" || module.startsWith(`..${sep}`) || isAbsolute(module)
      ? Either.left(`${file} is not in the folder of the code, ${folder}`)
      : Either.right({ module: module.split(sep).join("/"), version: versionOf(file) })
  } catch (error) {
    return Either.left((error as Error).message)
  }
}

/**
 * The module of this name and version as a URL; the left is why this folder has none. Links are followed only within the
 * folder, and packages are not jobs.
 */
export const find = (folder: string, module: string, version: string): Either.Either<string, string> => {
  const shown = Printable.line(module)
  const parts = module.split("/")
  const no = (why: string) => Either.left(`it has no ${shown}: ${why}`)
  if (
    module.includes("\0") ||
    isAbsolute(module) ||
    parts.some((part) => part === ".." || part === "node_modules")
  ) {
    return no("a job names a file of its code by a path within the folder")
  }
  if (!extensions.has(extname(module))) return no("it is no JavaScript or TypeScript file")
  try {
    const root = realpathSync(folder)
    const file = realpathSync(join(root, ...parts))
    if (!file.startsWith(root.endsWith(sep) ? root : root + sep)) return no("it is a link out of the folder")
    if (!statSync(file).isFile()) return no("it is no file")
    const found = versionOf(file)
    return found === version
      ? Either.right(pathToFileURL(file).href)
      : Either.left(
          `it has version ${found.slice(0, 8)} of ${shown}, and the job asks for ${version.slice(0, 8)}`
        )
  } catch (error) {
    return no(
      (error as NodeJS.ErrnoException).code === "ENOENT"
        ? "no such file"
        : String((error as NodeJS.ErrnoException).code)
    )
  }
}
