import * as fs from "node:fs"
import * as path from "node:path"
import type { Request, Target } from "../Download.js"

// A name with folders: its file is saved in the last of them, and no link may lead out of the directory.

/** The request with the folder of its file as the directory. */
export const inFolder = (request: Request): Request => {
  const { target } = request
  if (target === undefined || !target.name.includes("/")) return request
  const directory = path.join(target.directory, path.dirname(target.name))
  return { ...request, target: { ...target, directory, name: path.basename(target.name) } }
}

/** Why the folders of a name are not those of the directory; undefined if they are, or do not exist yet. */
export const whyOutside = ({ directory, name }: Pick<Target, "directory" | "name">): string | undefined => {
  for (let end = name.indexOf("/"); end >= 0; end = name.indexOf("/", end + 1)) {
    const folder = path.join(directory, name.slice(0, end))
    const there = fs.lstatSync(folder, { throwIfNoEntry: false })
    if (there === undefined) return undefined
    if (there.isSymbolicLink()) return `${folder} is a symbolic link, which may lead out of ${directory}`
    if (!there.isDirectory()) return `${folder} is not a folder`
  }
  return undefined
}
