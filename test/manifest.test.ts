import { readdirSync, readFileSync } from "node:fs"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { type Concept, concepts } from "../src/manifest.js"
import { run as aio } from "./support/Aio.js"
import * as InProcess from "./support/InProcess.js"

const root = fileURLToPath(new URL("..", import.meta.url))

const all: ReadonlyArray<Concept> = concepts
const names = (folder: string, extension: string) =>
  readdirSync(join(root, folder))
    .filter((file) => file.endsWith(extension))
    .map((file) => basename(file, extension))
const read = (file: string) => readFileSync(join(root, file), "utf8")

describe("manifest", () => {
  it("has a program, a command, a page and a row in the README for each concept, and no program or command besides", () => {
    // ServerCompare and NetworkLoad are the second programs of server and network.
    expect(
      names("src/programs", ".ts")
        .filter((name) => name !== "ServerCompare" && name !== "NetworkLoad")
        .sort()
    ).toEqual(all.map(({ program }) => program).sort())
    // App.ts in src/commands puts the subcommands together; three are about the others, and a runner is the other half of executor.
    expect(
      names("src/commands", ".ts")
        .filter((name) => /^[a-z]/.test(name) && !["guide", "schema", "completions", "runner"].includes(name))
        .sort()
    ).toEqual(all.map(({ name }) => name).sort())
    expect(names("docs", ".md")).toEqual(expect.arrayContaining(all.map(({ name }) => name)))
    const readme = read("README.md")
    for (const { asyncio, name, program } of all) {
      const row = readme
        .split("\n")
        .find((line) => line.startsWith("|") && line.includes(`\`aio ${name}\``))
        ?.replaceAll("`", "")
      expect(row, `a row for ${name}`).toBeDefined()
      expect(row).toContain(asyncio)
      expect(row).toContain(program)
      expect(row).toContain(`docs/${name}.md`)
    }
  })

  it("matches the list of aio --help", async () => {
    const { code, stdout } = await aio(["--help"])
    expect(code).toBe(0)
    for (const { name } of all) expect(stdout).toMatch(new RegExp(`^  ${name} `, "m"))
  })

  it("shows each concept of the guide with the code that runs", async () => {
    for (const { name } of all) {
      const shown = await InProcess.run(["guide", name, "--no-run"])
      expect(shown.code).toBe(0)
      expect(shown.stdout).not.toContain("\x1b")
      const [, effect = ""] = /^Effect\n([\s\S]*?)\n\nDifferences that matter$/m.exec(shown.stdout) ?? []
      const program = read(`src/programs/${all.find((concept) => concept.name === name)!.program}.ts`)
      for (const line of effect.split("\n")) expect(program).toContain(line.trim())
      expect(effect).toContain("example")
    }
    expect((await InProcess.run(["guide"])).stdout.split("\n").length).toBeGreaterThan(all.length)
    expect(await InProcess.run(["guide", "lop"])).toMatchObject({ code: 2, stdout: "" })
    expect((await InProcess.run(["guide", "--run", "loop"])).code).toBe(2)
  })

  // The built command against the text that the guide's Python prints.
  it.each(all.map((concept) => [concept.name, concept] as const))(
    "aio %s prints the guide's lines",
    async (name, { example, exampleArgs = [] }) => {
      const { code, stderr, stdout } = await aio([name, ...exampleArgs])
      const measured = stdout
        .replace(/(after|another|within|before) \d[\d.]* m?s(?=\b)/g, "$1 TIME")
        .replace(/^(\w+ +?) {0,5}\d[\d.]* m?s {2}/gm, (_, name) => `${name.trimEnd().padEnd(8)}  TIME  `)
      expect({ code, stdout: measured }, stderr).toEqual({
        code: 0,
        stdout: example.map((line) => `${line}\n`).join("")
      })
    }
  )

  it.each(all.map(({ name }) => name))(
    "aio %s --help describes it, and nonsense exits 2 with one line",
    async (name) => {
      const help = await InProcess.run([name, "--help"])
      expect(help.code).toBe(0)
      expect(help.stdout).toContain(`aio ${name}`)
      const wrong = await InProcess.run([name, "--no-such-option"])
      expect(wrong.code).toBe(2)
      expect(wrong.stdout).toBe("")
      expect(wrong.stderr).toMatch(new RegExp(`^aio ${name}: unknown option --no-such-option.*\n$`))
    }
  )
})
