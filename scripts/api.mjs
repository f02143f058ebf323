// npm run api: writes api.txt, the package's contract: every public name with its type, by entry point. A test compares
// it with what the sources say, so that no change of the contract happens unasked.
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { build, install, root } from "./project.mjs"

/** The entry points of package.json that have types: their names, and the files of their declarations. */
export const entries = () =>
  Object.entries(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).exports).flatMap(
    ([name, target]) =>
      typeof target === "object" && target !== null
        ? [{ name: `effect-asyncio${name.slice(1)}`, types: target.types }]
        : []
  )

// The declarations as tsc emits them, without comments and imports.
const declarations = (file) =>
  readFileSync(join(root, file), "utf8")
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/^import [^;]*?;$/gm, "")
    .replace(/^export \{\};$/gm, "")
    .replace(/^\s*\/\/.*$/gm, "")
    .replace(/[ \t]+$/gm, "")
    .replace(/\n{2,}/g, "\n")
    .trim()

/** The text of api.txt; the library has to be built. */
export const api = () =>
  `${entries()
    .map(({ name, types }) => `# ${name}\n\n${declarations(types)}`)
    .join("\n\n")}\n`

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  install()
  build()
  writeFileSync(join(root, "api.txt"), api())
}
