import { createHash } from "node:crypto"
import { readFileSync, realpathSync, statSync } from "node:fs"
import { dirname, extname, join, relative, resolve, sep } from "node:path"

// The files of a module: itself, and what it imports from the same folder of code, and so on. Imports are found in the text,
// those in comments too: a file too many only makes versions differ more often. Not found are names that are computed, and those
// of `imports` in package.json.

const specifiers = /\b(?:from|import|require)\s*\(?\s*(["'`])(\.{1,2}(?:\/[^"'`\n?#]*)?)(?:[?#][^"'`\n]*)?\1/g
const typescript = [".ts", ".tsx", ".mts", ".cts"]
const extensions = [...typescript, ".js", ".mjs", ".cjs", ".json"]
const most = 10_000

interface Read {
  readonly stamp: string
  readonly digest: string
  readonly imports: ReadonlyArray<string>
}

const known = new Map<string, Read>()

/** The digest of the file and what it imports; read again only when the file has changed. */
const read = (file: string): Read => {
  const { ctimeMs, ino, mtimeMs, size } = statSync(file)
  const stamp = [ctimeMs, ino, mtimeMs, size].join()
  const before = known.get(file)
  if (before?.stamp === stamp) return before
  const bytes = readFileSync(file)
  const imports =
    extname(file) === ".json"
      ? []
      : [...bytes.toString("utf8").matchAll(specifiers)].map(([, , path]) => path!)
  const now = {
    stamp,
    digest: createHash("sha256").update(bytes).digest("hex"),
    imports: [...new Set(imports)]
  }
  if (known.size >= most) known.clear()
  known.set(file, now)
  return now
}

const isFile = (file: string) => statSync(file, { throwIfNoEntry: false })?.isFile() === true

/** The file that an import means: in TypeScript `./x.js` is `./x.ts`, if that is there. */
const resolved = (from: string, specifier: string): string | undefined => {
  const base = resolve(dirname(from), specifier)
  const asTypeScript = [base.replace(/\.([mc]?)jsx?$/, ".$1ts"), base.replace(/\.jsx?$/, ".tsx")]
  const named = typescript.includes(extname(from)) ? [...asTypeScript, base] : [base, ...asTypeScript]
  return [
    ...named,
    ...extensions.map((extension) => base + extension),
    ...extensions.map((extension) => join(base, `index${extension}`))
  ].find(isFile)
}

/** The files of a module below the root, by their paths in it, with their digests. Both are real paths. Throws as `fs` does. */
export const filesOf = (root: string, entry: string): ReadonlyMap<string, string> => {
  const found = new Map<string, string>()
  const open = [entry]
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    const name = relative(root, file).split(sep).join("/")
    if (found.has(name)) continue
    if (found.size === most) throw new RangeError(`it imports more than ${most} files`)
    const { digest, imports } = read(file)
    found.set(name, digest)
    for (const specifier of imports) {
      const imported = resolved(file, specifier)
      if (imported === undefined) continue
      const real = realpathSync(imported)
      const parts = relative(root, real).split(sep)
      if (parts[0] !== ".." && !parts.includes("node_modules")) open.push(real)
    }
  }
  return found
}

/** One digest of them all. */
export const versionOf = (files: ReadonlyMap<string, string>): string => {
  const hash = createHash("sha256")
  for (const [name, digest] of [...files].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${name}\0${digest}\n`)
  return hash.digest("hex").slice(0, 32)
}
