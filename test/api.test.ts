import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import * as contract from "../scripts/api.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))

describe("the package's contract", () => {
  it("is that of api.txt; after an intended change, run `npm run api` and review its diff", () => {
    expect(contract.api()).toBe(readFileSync(join(root, "api.txt"), "utf8"))
  })

  it("names files that are there", () => {
    const missing = contract.entries().filter(({ types }) => !existsSync(join(root, types)))
    expect(missing).toEqual([])
    expect(contract.entries().length).toBeGreaterThan(40)
  })

  it("has a line in docs/library.md for each entry point, and none for others", () => {
    const lines = readFileSync(join(root, "docs/library.md"), "utf8").matchAll(
      /^\| `(effect-asyncio\/[^`]*)` *\| (.*?) *\| \[/gm
    )
    const described = [...lines].map(([, name, purpose]) => ({ name: name!, purpose: purpose! }))
    expect(described.map(({ name }) => name).sort()).toEqual(
      contract
        .entries()
        .map(({ name }) => name)
        .sort()
    )
    expect(described.filter(({ purpose }) => purpose.length < 12)).toEqual([])
  })

  it("names no type that cannot be imported", () => {
    const entries = contract.entries()
    const modules = entries.flatMap((entry) => [entry, ...contract.namespaces(entry, entries)])
    const text = (types: string) => readFileSync(join(root, types), "utf8")
    // What an entry point exports from a file that is closed: `FILE NAME`.
    const given = new Set<string>()
    const links = modules.flatMap(({ name, types }) =>
      [...text(types).matchAll(/^(import|export) (.*) from "(\.[^"]*)\.js";$/gm)].map(
        ([, kind, what, from]) => {
          const file = `./${join(dirname(types), `${from}.d.ts`)}`
          const names = [...(/\{(.*)\}/.exec(what!)?.[1] ?? "").matchAll(/(\w+)(?: as \w+)?(?=\s*(?:,|$))/g)]
          if (kind === "export") for (const [, one] of names) given.add(`${file} ${one}`)
          return { name, file, what: what!, names: names.map(([, one]) => one!) }
        }
      )
    )
    expect(links.length).toBeGreaterThan(100)
    const closed = links
      .filter(({ file }) => !modules.some(({ types }) => types === file))
      .filter(({ file, names }) => names.length === 0 || names.some((one) => !given.has(`${file} ${one}`)))
    expect(closed.map(({ file, name, what }) => `${name}: ${what} of ${file}`)).toEqual([])
    expect(modules.filter(({ types }) => /import\("\./.test(text(types))).map(({ name }) => name)).toEqual([])
  })

  it("describes each name, with its version and its category", () => {
    const entries = contract.entries()
    const sources = entries
      .flatMap((entry) => [entry, ...contract.namespaces(entry, entries)])
      .map(({ types }) => join(root, types.replace(/^\.\/dist/, "src").replace(/\.d\.ts$/, ".ts")))
    const untold = (file: string, only?: ReadonlyArray<string>) => {
      const source = readFileSync(file, "utf8")
      const exported =
        /(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?^export (?:async )?(?:class|interface|type|const|function\*?) (\w+)/gm
      return [...source.matchAll(exported)]
        .filter(([, , name]) => only === undefined || only.includes(name!))
        .filter(([, doc = ""]) => !doc.includes("@internal"))
        .filter(
          ([, doc = ""]) =>
            !/^ \* @since \d+\.\d+\.\d+$/m.test(doc) ||
            !/^ \* @category [a-z]+$/m.test(doc) ||
            !/^\/\*\*\n \* [^@\s]/.test(doc)
        )
        .map(([, , name]) => `${file.slice(root.length)}: ${name}`)
    }
    const given = (file: string) =>
      [
        ...readFileSync(file, "utf8").matchAll(/^export (?:type )?\{([^}]*)\} from "(\.[^"]*)\.js"/gm)
      ].flatMap(([, names, from]) =>
        untold(
          join(dirname(file), `${from}.ts`),
          names!.split(",").map((name) => name.trim())
        )
      )
    expect(sources.flatMap((file) => [...untold(file), ...given(file)])).toEqual([])
  })

  it.each([
    "effect-asyncio/services/internal/forkServer",
    "effect-asyncio/services/process/internal/forkServer",
    "effect-asyncio/services/process/Processes",
    "effect-asyncio/services/Numbers",
    "effect-asyncio/dist/main.js",
    "effect-asyncio"
  ])("keeps %s closed", async (specifier) => {
    await expect(import(/* @vite-ignore */ specifier)).rejects.toThrow(/./)
  })
})
