import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import * as manifest from "../../src/manifest.js"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

afterAll(Aio.removeFolders)

describe("the application, without a process of its own", () => {
  it.each([
    [],
    ["--version"],
    ["loop", "--help"],
    ["lop"],
    ["loop", "--nonsense"],
    ["schedule", "--in", "soon", "true"],
    ["run"],
    ["loop", "-q", "f.mjs#shout"],
    ["loop", "-q", "f.mjs#none"],
    ["subprocess", "--json", "-q", "exit {}", ":::"],
    ["subprocess", "-j", "1", "-q", "sh", "-c", "echo $0; echo $PWD >&2; exit 3", ":::", "a"]
  ])("does what the built command does: %s %s %s %s %s", { timeout: 60_000 }, async (...words) => {
    const cwd = Aio.folder()
    writeFileSync(join(cwd, "f.mjs"), "export const shout = (line) => line.toUpperCase()\n")
    const options = { cwd, stdin: "a\nb\n" }
    const here = await InProcess.run(words, options)
    expect(here).toEqual(await Aio.run(words, options))
    expect(here.stdout + here.stderr).not.toBe("")
  })

  const commands = manifest.concepts.map(({ name }) => name)

  it.each([...commands, "guide"])(
    "%s --help says what each argument is and names no bare type",
    async (name) => {
      const { stdout } = await InProcess.run([name, "--help"], {})
      expect(stdout).not.toMatch(/^ +-.* (TEXT|CHOICE|INTEGER|FLOAT)( |$)/m)
      const usage = /^ {2}aio .*$/m.exec(stdout)![0].replace(/^.*?(\[OPTIONS\] ?|$)/, "")
      if (usage !== "" && name !== "gather") expect(stdout).toContain("\nARGUMENTS\n")
      expect(await InProcess.run(["help", name], {})).toEqual(await InProcess.run([name, "--help"], {}))
    }
  )
})
