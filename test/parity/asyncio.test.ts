import { existsSync, readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Python from "./Python.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const read = (file: string) => readFileSync(root + file, "utf8")

// docs/asyncio.md: rows of `asyncio | here or in Effect | what differs`.
const rows = read("docs/asyncio.md")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !/^\| (asyncio|Python) \|/.test(line))
  .map((line) => line.split("|").slice(1, -1))
const code = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!)

// The values that the page calls by a lower-case name, and where their members are declared.
const values: Readonly<Record<string, string>> = {
  task: "src/services/task/internal/task.ts",
  group: "src/services/task/TaskGroup.ts",
  handle: "src/services/time/Timers.ts",
  mailbox: "node_modules/effect/src/Mailbox.ts",
  latch: "node_modules/effect/src/Effect.ts",
  fiber: "node_modules/effect/src/Fiber.ts"
}

const homes = [
  "src/programs/",
  ...readdirSync(`${root}src/services`).map((room) => `src/services/${room}/`),
  "node_modules/effect/src/",
  "node_modules/@effect/platform/src/"
]

const isExported = (module: string, name: string) =>
  homes
    .map((home) => `${home}${module}.ts`)
    .filter((file) => existsSync(root + file))
    .some((file) => {
      const declared = `export (declare )?(const|class|interface|type|function|namespace|import) ${name}\\b`
      const passedOn = `export (type )?\\{[^}]*\\b${name}\\b[^}]*\\} from`
      return new RegExp(`${declared}|${passedOn}|^  (\\w+ as )?${name},?$`, "m").test(read(file))
    })

describe("docs/asyncio.md", () => {
  it("has three columns in every row, with text in the first two", () => {
    assert.isAbove(rows.length, 100)
    for (const row of rows) {
      assert.strictEqual(row.length, 3, row.join("|"))
      assert.isNotEmpty(row[0]!.trim())
      assert.isNotEmpty(row[1]!.trim())
    }
  })

  it("names counterparts that exist", () => {
    const named = rows.flatMap(([, here = "", differs = ""]) => [...code(here), ...code(differs)])
    const missing = named.filter((name) => {
      const [, receiver = "", member = ""] = /^(\w+)\.(\w+)$/.exec(name) ?? []
      if (receiver === "") return false
      if (/^[A-Z]/.test(receiver)) return !isExported(receiver, member)
      const file = values[receiver]
      return file === undefined || !new RegExp(`^ +(readonly )?${member}\\b`, "m").test(read(file))
    })
    assert.deepStrictEqual(missing, [])
    assert.isAbove(named.filter((name) => /^[A-Z]\w*\.\w+$/.test(name)).length, 80)
  })

  it.skipIf(Python.missing !== undefined)("has every public name of asyncio", async () => {
    const names = await Python.run(["-c", "import asyncio; print(*asyncio.__all__, sep='\\n')"])
    assert.isAbove(names.length, 80)
    const told = new Set(rows.flatMap(([asyncio = ""]) => code(asyncio)))
    assert.deepStrictEqual(
      names.filter((name) => !told.has(name)),
      []
    )
    // Methods of the loop, public ones.
    const methods = await Python.run([
      "-c",
      "import asyncio; print(*[n for n in dir(asyncio.AbstractEventLoop) if n[0] != '_'], sep='\\n')"
    ])
    assert.isAbove(methods.length, 50)
    assert.deepStrictEqual(
      methods.filter((name) => !told.has(`loop.${name}`)),
      []
    )
  })
})
