// npm run api: writes api.txt, the package's contract: every public name with its type, by entry point. A test compares
// it with what the sources say, so that the contract changes only on purpose.
import { readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
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

// The top-level statements of declarations.
const statements = (text) => text.split(/\n(?=(?:export|declare|type|interface) )/)
const declares = (statement, name) =>
  new RegExp(`^(?:export )?(?:declare )?(?:const|class|type|interface|function) ${name}(?:_base)?\\b`).test(
    statement
  )

// What a module exports from a file of its own room's internal/ stands there as if it were its own.
const contract = (file) =>
  statements(declarations(file))
    .flatMap((statement) => {
      const [, names, from] =
        /^export (?:type )?\{([^}]*)\} from "(\.[^"]*)\.js";$/.exec(statement.trim()) ?? []
      if (names === undefined) return [statement]
      const there = statements(declarations(join(dirname(file), `${from}.d.ts`)))
      return names.split(",").flatMap((name) => there.filter((one) => declares(one, name.trim())))
    })
    .join("\n")

/** The modules that an entry point exports as namespaces and that are no entry points themselves. */
export const namespaces = ({ name, types }, all = entries()) =>
  [...declarations(types).matchAll(/^export \* as (\w+) from "(\.[^"]*)\.js";$/gm)]
    .map(([, as, from]) => ({ name: `${name} ${as}`, types: `./${join(dirname(types), `${from}.d.ts`)}` }))
    .filter(({ types }) => !all.some((one) => one.types === types))

/** The text of api.txt; the library has to be built. */
export const api = () =>
  `${entries()
    .flatMap((entry, _, all) => [entry, ...namespaces(entry, all)])
    .map(({ name, types }) => `# ${name}\n\n${contract(types)}`)
    .join("\n\n")}\n`

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  install()
  build()
  writeFileSync(join(root, "api.txt"), api())
}
