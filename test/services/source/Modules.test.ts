import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it } from "@effect/vitest"
import { Effect, FastCheck } from "effect"
import { afterAll, assert } from "vitest"
import * as Modules from "../../../src/services/source/Modules.js"
import { didYouMean } from "../../../src/services/text/Spelling.js"

const folder = mkdtempSync(join(tmpdir(), "aio-modules-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const write = (name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}
const load = (file: string, ...names: ReadonlyArray<string>) =>
  Effect.flatMap(Modules.Modules, (modules) =>
    modules.load(file, names.length === 0 ? undefined : names)
  ).pipe(Effect.provide(Modules.layer))
const failing = (file: string, ...names: ReadonlyArray<string>) =>
  Effect.map(Effect.flip(load(file, ...names)), (error) =>
    error._tag === "ModuleError"
      ? { reason: error.reason, exitCode: error.exitCode, lines: error.message.split("\n").length }
      : error
  )
const oneLine = (reason: Modules.ModuleError["reason"]) => ({ reason, exitCode: 2 as const, lines: 1 })

describe("Modules", () => {
  it.live("returns the first of the names that the file exports", () =>
    Effect.gen(function* () {
      const path = write(
        "names.mjs",
        "export const main = 1; export const other = 2; export const empty = undefined"
      )
      assert.deepStrictEqual(yield* load(path), { file: path, path, name: "main", value: 1 })
      assert.strictEqual((yield* load(path, "nothing", "other", "main")).value, 2)
      assert.deepStrictEqual(yield* load(path, "empty"), {
        file: path,
        path,
        name: "empty",
        value: undefined
      })
    })
  )

  it.live("loads TypeScript of every kind as it is", () =>
    Effect.gen(function* () {
      const text = "interface A { a: number }\nconst a: A = { a: 1 }\nexport default (a satisfies A).a"
      for (const extension of ["ts", "mts", "cts", "tsx"]) {
        assert.strictEqual((yield* load(write(`typed.${extension}`, text))).value, 1, extension)
      }
    })
  )

  it.live("loads CommonJS, its exports made in any way", () =>
    Effect.gen(function* () {
      const path = write("common.cjs", 'module.exports = { ["ma" + "in"]: 1, default: 2 }')
      assert.strictEqual((yield* load(path)).value, 2)
      assert.strictEqual((yield* load(path, "main")).value, 1)
      assert.strictEqual(
        (yield* load(write("whole.cjs", "module.exports = () => 3"), "default")).name,
        "default"
      )
    })
  )

  it.live("loads a file once", () =>
    Effect.gen(function* () {
      const path = write("once.mjs", "export default {}")
      assert.strictEqual((yield* load(path)).value, (yield* load(path)).value)
    })
  )

  it.live("distinguishes a wrong file from an error that the file's own code throws", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* failing(join(folder, "missing.ts")), oneLine("NotFound"))
      assert.deepStrictEqual(yield* failing(join(folder, "no/such/folder.ts")), oneLine("NotFound"))
      assert.deepStrictEqual(yield* failing(folder), oneLine("Unsupported"))
      assert.deepStrictEqual(yield* failing(write("job.py", "print()")), oneLine("Unsupported"))
      assert.deepStrictEqual(yield* failing(write("bad.ts", "const = 1")), oneLine("Syntax"))
      assert.deepStrictEqual(yield* failing(write("bad.mjs", "const = 1")), oneLine("Syntax"))
      assert.deepStrictEqual(yield* failing(write("bad.cjs", "const = 1")), oneLine("Syntax"))
      assert.deepStrictEqual(
        yield* failing(write("far.mjs", 'import "not-there"')),
        oneLine("ImportNotFound")
      )
      assert.deepStrictEqual(
        yield* failing(write("near.cjs", 'require("./not-there")')),
        oneLine("ImportNotFound")
      )
      const empty = write("empty.mjs", "")
      assert.deepStrictEqual(yield* failing(empty), oneLine("ExportMissing"))
      assert.deepStrictEqual(yield* failing(empty, "toString"), oneLine("ExportMissing"))

      const thrown = yield* failing(write("throws.mjs", 'throw new SyntaxError("its own")'))
      assert.instanceOf(thrown, Modules.ModuleThrew)
      assert.strictEqual(((thrown as Modules.ModuleThrew).cause as Error).message, "its own")
    })
  )

  it.effect("serves the given exports", () =>
    Effect.gen(function* () {
      const modules = yield* Modules.Modules
      assert.strictEqual((yield* modules.load("a.ts")).value, 1)
      assert.strictEqual((yield* Effect.flip(modules.load("b.ts")))._tag, "ModuleError")
      assert.strictEqual((yield* Effect.flip(modules.load("a.ts", ["main"])))._tag, "ModuleError")
    }).pipe(Effect.provide(Modules.layerTest({ "a.ts": { default: 1 } })))
  )
})

describe("Spelling.didYouMean", () => {
  it.prop(
    "finds a word among others again, one letter changed",
    [FastCheck.stringMatching(/^[a-z]{4,12}$/)],
    ([word]) => {
      assert.strictEqual(
        didYouMean(`${word.slice(0, -1)}_`, ["0000000000000000", word]),
        `; did you mean ${word}?`
      )
    }
  )
})
