import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { importsOf, problems } from "../scripts/imports.mjs"

// A house of these files, and what the rule reports.
const house = (files: Readonly<Record<string, string>>) => {
  const folder = mkdtempSync(join(tmpdir(), "aio-house-"))
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), text)
    }
    return problems(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const there = {
  "services/text/Units.ts": "export const a = 1",
  "services/task/internal/fiberRuntime.ts": "export const a = 1",
  "services/time/Timers.ts": "export const a = 1",
  "services/record/Records.ts": "export const a = 1",
  "services/process/internal/direct.ts": "export const a = 1",
  "programs/Loops.ts": "export const a = 1",
  "commands/loop.ts": "export const a = 1"
}

describe("the rule of imports", () => {
  it("holds for the sources, whose imports it reads", () => {
    const src = fileURLToPath(new URL("../src", import.meta.url))
    expect(problems(src)).toEqual([])
    expect(importsOf(src).length).toBeGreaterThan(300)
  })

  it.each([
    ["commands/a.ts", 'import { a } from "../programs/Loops.js"'],
    ["programs/A.ts", 'import { a } from "../services/time/Timers.js"'],
    ["services/time/A.ts", 'import { a } from "../text/Units.js"'],
    ["services/time/B.ts", 'import { a } from "./Timers.js"'],
    ["services/time/internal/a.ts", 'import type { a } from "../Timers.js"'],
    ["testing/a.ts", 'import { a } from "../services/task/internal/fiberRuntime.js"']
  ])("allows %s: %s", (file, text) => {
    expect(house({ ...there, [file]: text })).toEqual([])
  })

  it.each([
    ["a floor upwards", "services/task/A.ts", 'import { a } from "../time/Timers.js"'],
    ["its own floor", "services/process/A.ts", 'import { a } from "../record/Records.js"'],
    ["types", "services/task/A.ts", 'import type { a } from "../time/Timers.js"'],
    ["types within an import", "services/task/A.ts", 'import { type a } from "../time/Timers.js"'],
    ["what is exported again", "services/task/A.ts", 'export * from "../time/Timers.js"'],
    ["import()", "services/task/A.ts", 'const a = () => import("../time/Timers.js")'],
    ["import() on lines of its own", "services/task/A.ts", 'const a = import(\n  "../time/Timers.js"\n)'],
    ["import() in a type", "services/task/A.ts", 'type A = import("../time/Timers.js").a'],
    ["an import without names", "services/task/A.ts", 'import "../time/Timers.js"'],
    ["from internal/", "services/task/internal/a.ts", 'import { a } from "../../time/Timers.js"'],
    ["a program", "services/task/A.ts", 'import { a } from "../../programs/Loops.js"'],
    ["a command", "programs/A.ts", 'import { a } from "../commands/loop.js"'],
    ["another room's internal/", "services/job/A.ts", 'import { a } from "../process/internal/direct.js"'],
    [
      "internal/ from a program",
      "programs/A.ts",
      'import { a } from "../services/process/internal/direct.js"'
    ],
    ["what is no room", "services/other/A.ts", 'import { a } from "../text/Units.js"'],
    ["what is outside src", "services/text/A.ts", 'import { a } from "../../../test/a.js"']
  ])("refuses %s", (_, file, text) => {
    expect(house({ ...there, [file]: text })).toEqual([expect.stringContaining(`src/${file}`)])
  })

  it("refuses a circle, of types too", () => {
    expect(
      house({
        "services/time/A.ts": 'import { b } from "./B.js"\nexport const a = b',
        "services/time/B.ts": 'import type { C } from "./C.js"\nexport const b: C = 1',
        "services/time/C.ts": 'export type C = typeof import("./A.js").a'
      })
    ).toEqual([expect.stringContaining("services/time/A.ts → services/time/B.ts → services/time/C.ts")])
  })
})
