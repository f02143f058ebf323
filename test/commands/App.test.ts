import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import * as manifest from "../../src/manifest.js"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"

afterAll(Aio.removeFolders)

describe("a command with options and without work", () => {
  it.each([
    ["tasks", "--json"],
    ["long-running", "-q"],
    ["await", "--json"],
    ["gather", "-d", "out"],
    ["loop", "-j", "2"],
    ["loop", "--unordered"],
    ["loop", "--format", "ndjson"],
    ["executor", "-j", "2"],
    ["executor", "--processes"],
    ["subprocess", "-j", "2"]
  ])("says so and exits with 2, and runs no example in its place: aio %s %s", async (...words) => {
    const { code, stderr, stdout } = await InProcess.run(words.filter((word) => word !== undefined))
    expect([code, stdout]).toEqual([2, ""])
    expect(stderr).toMatch(new RegExp(`^aio ${words[0]}: [^\\n]*(?:;|needs) [^\\n]+\\n$`))
  })
})

describe("a word after --", () => {
  it.each([
    [
      ["subprocess", "--dry-run", "--", "echo", "{}", ":::", "-n", "--help", "--"],
      "echo -n\necho --help\necho --\n"
    ],
    [["loop", "-q", "--", "echo", "-n", "{}", "--help"], "a --helpb --help"],
    [["executor", "-q", "f.mjs#shout", "-j", "--help", "--"], "-J\n--HELP\n--\n"]
  ])("is no option, whatever it begins with: %j", async (words, stdout) => {
    const cwd = Aio.folder()
    writeFileSync(join(cwd, "f.mjs"), "export const shout = (line) => line.toUpperCase()\n")
    expect(await InProcess.run(words, { cwd, stdin: "a\nb\n" })).toMatchObject({ code: 0, stdout })
  })
})

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
  ])("behaves as the built command: %s %s %s %s %s", { timeout: 60_000 }, async (...words) => {
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
      if (usage !== "") expect(stdout).toContain("\nARGUMENTS\n")
      expect(await InProcess.run(["help", name], {})).toEqual(await InProcess.run([name, "--help"], {}))
    }
  )
})
