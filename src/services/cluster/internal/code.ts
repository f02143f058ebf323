import { realpathSync, statSync } from "node:fs"
import { extname, isAbsolute, join, relative, sep } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { Either } from "effect"
import * as Printable from "../../text/Printable.js"
import * as LocalModules from "./localModules.js"

// Which code a job may name: a file of one folder, by its path in it and a digest of this file and those that it imports there.

const extensions = new Set([".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"])

/** How a module of the folder is named in a run; the left is why it cannot be. */
export const name = (
  folder: string,
  url: string
): Either.Either<{ readonly module: string; readonly version: string }, string> => {
  try {
    const root = realpathSync(folder)
    const file = realpathSync(fileURLToPath(url))
    const module = relative(root, file)
    if (module === "" || module.startsWith(`..${sep}`) || isAbsolute(module)) {
      return Either.left(`${file} is not in the folder of the code, ${folder}`)
    }
    const version = LocalModules.versionOf(LocalModules.filesOf(root, file))
    return Either.right({ module: module.split(sep).join("/"), version })
  } catch (error) {
    return Either.left((error as Error).message)
  }
}

export interface Found {
  readonly url: string
  /** The files of the module, with their digests. */
  readonly files: ReadonlyMap<string, string>
}

/**
 * The module of this name and version; the left is why this folder has none. Links are followed only within the folder, and
 * packages are not jobs.
 */
export const find = (folder: string, module: string, version: string): Either.Either<Found, string> => {
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
    const files = LocalModules.filesOf(root, file)
    const found = LocalModules.versionOf(files)
    return found === version
      ? Either.right({ url: pathToFileURL(file).href, files })
      : Either.left(
          `it has version ${found.slice(0, 8)} of ${shown}, and the job asks for ${version.slice(0, 8)}`
        )
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return no(code === "ENOENT" ? "no such file" : (code ?? message))
  }
}
