import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"

const root = fileURLToPath(new URL("..", import.meta.url))

// Every ```ts sample of the README and docs/, and every @example of an exported docstring, compiled as a module of
// its own, as a reader would paste it into a project that has the package installed.

const samples = (file: string, text: string): ReadonlyArray<readonly [string, string]> =>
  [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match) => [
    `${file}:${text.slice(0, match.index).split("\n").length + 1}`,
    match[1]!
  ])

const examples = (file: string, text: string): ReadonlyArray<readonly [string, string]> =>
  [...text.matchAll(/^ *\* @example\n((?: *\*(?!\/| @).*\n)*)/gm)].map((match) => [
    `${file}:${text.slice(0, match.index).split("\n").length + 1}`,
    match[1]!.replace(/^ *\* ?/gm, "").replace(/^```\w*$/gm, "")
  ])

const files = (folder: string, extension: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(extension))
    .map((file) => `${folder}/${file}`)

const read = (file: string) => readFileSync(join(root, file), "utf8")

describe("documentation", () => {
  // In the project, so that the package finds itself by its own name.
  const parent = join(root, "dist")
  let folder: string
  beforeAll(() => {
    mkdirSync(parent, { recursive: true })
    folder = mkdtempSync(join(parent, "samples-"))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it("names files of src that exist", () => {
    const named = ["README.md", "CONTRIBUTING.md", ...files("docs", ".md")].flatMap((file) =>
      [...read(file).matchAll(/`(?:src\/)?((?:services|programs|commands)\/[\w/-]+\.ts)`/g)].map(
        ([, path]) => path!
      )
    )
    expect(named.length).toBeGreaterThan(5)
    expect(named.filter((path) => !existsSync(join(root, "src", path)))).toEqual([])
  })

  it("has samples that compile and run", { timeout: 120_000 }, () => {
    const all = [
      ...["README.md", ...files("docs", ".md")].flatMap((file) => samples(file, read(file))),
      ...files("src", ".ts").flatMap((file) => examples(file, read(file)))
    ]
    expect(all.length).toBeGreaterThan(10)
    const origin = new Map<string, string>()
    for (const [index, [where, code]] of all.entries()) {
      const name = `sample${index}.ts`
      origin.set(name, where)
      writeFileSync(join(folder, name), `${code}\nexport {}\n`)
    }
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        extends: join(root, "tsconfig.json"),
        compilerOptions: {
          noUnusedLocals: false,
          noUnusedParameters: false,
          allowImportingTsExtensions: true,
          paths: {
            "effect-asyncio/testing": [join(root, "src/testing/index.ts")],
            "effect-asyncio/*": [join(root, "src/*.ts")]
          }
        },
        include: [join(folder, "*.ts"), join(root, "src/services/download/internal/undici.d.ts")]
      })
    )
    const { stdout } = spawnSync(join(root, "node_modules/.bin/tsc"), ["-p", folder], {
      encoding: "utf8",
      cwd: folder
    })
    const errors = stdout
      .split("\n")
      .filter((line) => line.includes("error"))
      .map((line) => line.replace(/^.*?(sample\d+\.ts)/, (_, name: string) => `${origin.get(name)} `))
    expect(errors).toEqual([])

    // And run: what a sample exports is a value, so loading it runs all of it but what it only describes. Those that
    // run their program at once would ask the network.
    const quiet = [...origin.keys()].filter(
      (name) => !/\brun[A-Z]\w+\(/.test(readFileSync(join(folder, name), "utf8"))
    )
    expect(quiet.length).toBeGreaterThan(10)
    writeFileSync(
      join(folder, "all.mjs"),
      `for (const name of ${JSON.stringify(quiet)}) await import("./" + name).catch((error) => console.log(name + " " + error))
process.exit()`
    )
    const loaded = spawnSync(process.execPath, ["--import", "tsx", join(folder, "all.mjs")], {
      encoding: "utf8",
      cwd: root
    })
    const broken = loaded.stdout.replace(/sample\d+\.ts/g, (name) => origin.get(name) ?? name)
    expect({ broken, status: loaded.status }, loaded.stderr).toEqual({ broken: "", status: 0 })
  })
})
