import { mkdirSync, realpathSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as LocalModules from "../../../src/services/cluster/internal/localModules.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import * as Job from "../../../src/services/thread/Job.js"
import * as Aio from "../../support/Aio.js"
import { place, quiet, runnerOf, submitter } from "./clusterPlace.js"

// Which files are a module's, and that each of them makes another version.

afterAll(Aio.removeFolders)

const write = (folder: string, files: Readonly<Record<string, string>>) => {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
}

describe("the version of a module", () => {
  const folder = realpathSync(Aio.folder())
  const code = join(folder, "code")
  write(code, {
    "main.ts": `import { a } from "./lib/a.js"
import type { T } from './types'
export * from "./again.mjs?x"
const lazy = () => import("./lazy.js")
const old = require("./old.cjs")
import "./effects"
import data from "./data.json" with { type: "json" }
import package from "package"
import { outside } from "../outside.js"
import { linked } from "./link.js"
const text = "./untouched.js"`,
    "lib/a.ts": `import { main } from "../main.js" // in a circle
import { b } from ".."`,
    "lib/a.js": "",
    "types.ts": "",
    "again.mjs": "",
    "lazy.js": "",
    "old.cjs": "",
    "effects/index.ts": "",
    "index.js": "",
    "data.json": "{}",
    "untouched.js": ""
  })
  write(folder, { "outside.js": "" })
  symlinkSync(join(folder, "outside.js"), join(code, "link.js"))
  const main = join(code, "main.ts")
  const files = [
    "again.mjs",
    "data.json",
    "effects/index.ts",
    "index.js",
    "lazy.js",
    "lib/a.ts",
    "main.ts",
    "old.cjs"
  ]

  it("has the files that it imports in the folder, in all forms, and no others", () => {
    expect([...LocalModules.filesOf(code, main).keys()].sort()).toEqual([...files, "types.ts"].sort())
  })

  it("the version covers what the module imports, and what that imports", () => {
    const version = () => LocalModules.versionOf(LocalModules.filesOf(code, main))
    const seen = new Set([version()])
    // Those that import others are last: they import nothing afterwards.
    for (const name of [...files.filter((name) => !/main|lib/.test(name)), "lib/a.ts", "main.ts"]) {
      write(code, { [name]: "// changed" })
      seen.add(version())
    }
    expect(seen.size).toBe(1 + files.length)
    expect(version()).toBe(version())
    write(code, { "untouched.js": "// changed" })
    expect(seen).toContain(version())
    // A time of change alone is no change.
    utimesSync(main, new Date(), new Date())
    expect(seen).toContain(version())
  })
})

describe("Runner", () => {
  it.live("a runner refuses a job whose helper has changed, here or since it was loaded", () => {
    const at = place()
    const other = place()
    const main = 'import { n } from "./helper.mjs"\nexport const f = () => n\n'
    for (const { code } of [at, other])
      write(code, { "main.mjs": main, "helper.mjs": "export const n = 1\n" })
    write(at.code, { "second.mjs": main })
    const run = (folder: string, name = "main.mjs") =>
      Executor.run(Job.fromModule<() => number>(pathToFileURL(join(folder, name)), "f")).pipe(
        Effect.provide(submitter({ ...at, code: folder }))
      )
    return Effect.gen(function* () {
      yield* Layer.build(runnerOf(at))
      expect(yield* run(other.code)).toBe(1)
      write(other.code, { "helper.mjs": "export const n = 2\n" })
      const { message } = yield* Effect.flip(run(other.code))
      expect(message).toMatch(/it has version \w{8} of main\.mjs, and the job asks for \w{8}$/)
      // The runner has the new one too, but its threads have loaded the old one; so has a module that was not loaded.
      write(at.code, { "helper.mjs": "export const n = 2\n" })
      for (const name of ["main.mjs", "second.mjs"]) {
        const { message } = yield* Effect.flip(run(at.code, name))
        expect(message).toContain("it has loaded helper.mjs, which has changed since; start it again")
      }
    }).pipe(Effect.scoped, Effect.provide(quiet))
  })
})
