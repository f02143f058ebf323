import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
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
  ])("behaves as the built command: %s %s %s %s %s", { timeout: 60_000 }, async (...words) => {
    const cwd = Aio.folder()
    writeFileSync(join(cwd, "f.mjs"), "export const shout = (line) => line.toUpperCase()\n")
    const options = { cwd, stdin: "a\nb\n" }
    const here = await InProcess.run(words, options)
    expect(here).toEqual(await Aio.run(words, options))
    expect(here.stdout + here.stderr).not.toBe("")
  })
})
