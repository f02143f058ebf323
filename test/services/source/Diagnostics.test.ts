import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type * as Analysis from "../../../src/services/source/Analysis.js"
import * as Diagnostics from "../../../src/services/source/Diagnostics.js"

// The analysers are real processes, so these tests are live.

const root = fileURLToPath(new URL("../../..", import.meta.url))
const fixtures = join(root, "test/fixtures/await")
const fixture = (name: string) => join(fixtures, name)

const analyse = (target: Partial<Analysis.Target>) =>
  Effect.flatMap(Diagnostics.Diagnostics, (diagnostics) => diagnostics.analyse({ files: [], ...target }))

/** `line rule`, from the `//! rule` at the ends of the fixture's lines. */
const marked = (name: string) =>
  readFileSync(fixture(name), "utf8")
    .split("\n")
    .flatMap((line, i) => {
      const rule = /\/\/! (\w+)$/.exec(line)?.[1]
      return rule === undefined ? [] : [`${name}:${i + 1} ${rule}`]
    })

const lines = ({ problems }: Analysis.Analysis) =>
  problems.map(({ file, line, rule }) => `${relative(fixtures, file)}:${line} ${rule}`)

/** A folder of its own with these files, gone after the test. */
const folder = (files: Readonly<Record<string, string>>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "aio-test-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    ),
    (path) => {
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(dirname(join(path, name)), { recursive: true })
        writeFileSync(join(path, name), text)
      }
      return path
    }
  )

/** A project whose `effect-tsgo` is this script, beside the real TypeScript. */
const projectWith = (script: string, files: Readonly<Record<string, string>> = { "a.ts": "export {}" }) =>
  Effect.map(
    folder({
      "tsconfig.json": JSON.stringify({ compilerOptions: { types: [] }, include: ["*.ts"] }),
      "node_modules/@effect/tsgo/package.json": JSON.stringify({ bin: { "effect-tsgo": "tsgo.cjs" } }),
      "node_modules/@effect/tsgo/tsgo.cjs": script,
      ...files
    }),
    (path) => {
      symlinkSync(join(root, "node_modules/typescript"), join(path, "node_modules/typescript"))
      return path
    }
  )

// A temporary folder of this file's own: other tests run at the same time, and later ones in the same process.
const temporary = mkdtempSync(join(tmpdir(), "aio-test-diagnostics-"))
const before = process.env["TMPDIR"]
beforeAll(() => {
  process.env["TMPDIR"] = temporary
})
afterAll(() => {
  if (before === undefined) delete process.env["TMPDIR"]
  else process.env["TMPDIR"] = before
  rmSync(temporary, { recursive: true, force: true })
})

const leftBehind = () => readdirSync(temporary).filter((name) => name.startsWith("aio-await-"))

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    // killed, and only waiting for init to take note
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

const untilExists = (path: string): Effect.Effect<string> =>
  Effect.suspend(() =>
    existsSync(path)
      ? Effect.sync(() => readFileSync(path, "utf8"))
      : Effect.zipRight(Effect.sleep("5 millis"), untilExists(path))
  )

describe("Diagnostics", { timeout: 90_000 }, () => {
  describe("layer", () => {
    it.live("finds every kind of defect in a project, and nothing else", () =>
      Effect.gen(function* () {
        const analysis = yield* analyse({ project: fixture("tsconfig.json") })
        const names = [
          "callbacks.ts",
          "clean.ts",
          "effects.ts",
          "generators.ts",
          "promises.ts",
          "variants.ts"
        ]
        expect(analysis.files.map((file) => basename(file)).sort()).toEqual(names)
        const expected = names.flatMap(marked)
        expect(expected.length).toBe(88)
        expect(lines(analysis)).toEqual(expected)
        expect(analysis.problems.find(({ file }) => file === fixture("effects.ts"))).toEqual({
          file: fixture("effects.ts"),
          line: 8,
          column: 3,
          rule: "floatingEffect",
          code: 'say("dropped")'
        })
        expect(analysis.problems.find(({ rule }) => rule === "missingStarInYieldEffectGen")?.code).toBe(
          'yield say("no star") //! missingStarInYieldEffectGen'
        )
        expect(leftBehind()).toEqual([])
      }).pipe(Effect.provide(Diagnostics.layer))
    )

    it.live("analyses only the files that are named, under the nearest tsconfig or none", () =>
      Effect.gen(function* () {
        const path = yield* folder({ "alone.ts": "const f = async () => 1\nf()\nsetTimeout(f, 1)\n" })
        const analysis = yield* analyse({ files: [fixture("promises.ts"), join(path, "alone.ts")] })
        expect(analysis.files).toEqual([fixture("promises.ts"), join(path, "alone.ts")])
        expect(lines(analysis).filter((line) => !line.startsWith(".."))).toEqual(marked("promises.ts"))
        expect(analysis.problems.filter(({ file }) => basename(file) === "alone.ts")).toMatchObject([
          { line: 2, column: 1, rule: "floatingPromise", code: "f()" }
        ])
        const clean = yield* analyse({ files: [fixture("clean.ts")], project: fixtures })
        expect(clean).toEqual({ files: [fixture("clean.ts")], problems: [], unresolved: [], unjudged: [] })
      }).pipe(Effect.scoped, Effect.provide(Diagnostics.layer))
    )

    it.live("counts the expressions over which TypeScript fails, and judges the others", () =>
      Effect.gen(function* () {
        const path = yield* folder({
          "b.ts":
            "const one = (x: boolean): [string?, string?] => x ? [] : ['a']\none(true)\nconst f = async () => 1\nf()\n"
        })
        const { problems, unjudged } = yield* analyse({ files: [join(path, "b.ts")] })
        expect(unjudged).toEqual([{ file: join(path, "b.ts"), line: 1 }])
        expect(problems).toMatchObject([{ line: 4, rule: "floatingPromise" }])
      }).pipe(Effect.scoped, Effect.provide(Diagnostics.layer))
    )

    it.live("looks also at files that a project only imports", () =>
      Effect.gen(function* () {
        const path = yield* folder({
          "tsconfig.json": '{ "compilerOptions": { "types": [] }, "files": ["main.ts"] }',
          "main.ts": 'import "./inner.js"\n',
          "inner.ts": "export const f = async () => 1\nf()\n"
        })
        const { files, problems } = yield* analyse({ project: join(path, "tsconfig.json") })
        expect(files.map((file) => basename(file)).sort()).toEqual(["inner.ts", "main.ts"])
        expect(problems).toMatchObject([{ file: join(path, "inner.ts"), line: 2 }])
      }).pipe(Effect.scoped, Effect.provide(Diagnostics.layer))
    )

    it.live("refuses bad input in one line that names it", () =>
      Effect.gen(function* () {
        const path = yield* folder({
          "broken.ts": "export const a = 1\nexport const = 2\n",
          "tsconfig.json": '{ "include": ["*.ts"], "compilerOptions": { "strict": tru } }',
          "none.json": '{ "include": ["none"] }',
          "names.json": '{ "files": ["gone.ts"] }',
          "own/tsconfig.json": "{}",
          "own/broken.ts": "export const a = 1\nexport const = 2\n"
        })
        const say = (target: Partial<Analysis.Target>) =>
          Effect.map(Effect.flip(analyse(target)), (error) => {
            expect(error._tag).toBe("InvalidTarget")
            expect(error.message).not.toContain("\n")
            return error.message.replaceAll(path, "DIR")
          })
        expect(yield* say({ files: [join(path, "gone.ts")] })).toBe("DIR/gone.ts: the file does not exist")
        expect(yield* say({ files: [path] })).toMatch(/^DIR: this is not a file; name TypeScript files, or/)
        expect(yield* say({ files: [join(path, "none.json")] })).toMatch(
          /^DIR\/none.json: \.json is not analysed; /
        )
        expect(yield* say({ files: [join(path, "own/broken.ts")] })).toBe(
          "DIR/own/broken.ts:2:14: this does not parse: Variable declaration expected."
        )
        expect(yield* say({ project: join(path, "gone.json") })).toMatch(
          /^DIR\/gone.json: the project does not exist/
        )
        expect(yield* say({ project: path })).toMatch(
          /^DIR\/tsconfig.json: this is not a usable tsconfig: Property value/
        )
        expect(yield* say({ project: join(path, "none.json") })).toMatch(
          /not a usable tsconfig: No inputs were found/
        )
        expect(yield* say({ project: join(path, "names.json") })).toBe(
          "DIR/names.json: it names DIR/gone.ts, which does not exist"
        )
        expect(leftBehind()).toEqual([])
      }).pipe(Effect.scoped, Effect.provide(Diagnostics.layer))
    )

    const imports = 'import { Effect } from "effect"\nexport const main = () => { Effect.log("dropped") }\n'
    const types = 'export * as Effect from "./Effect.js"\n'
    const dropped =
      "export interface Effect<A> { readonly a: A }\nexport declare const log: (text: string) => Effect<void>\n"
    const effect = (version: string, more: Readonly<Record<string, string>> = {}) => ({
      "a.ts": imports,
      "node_modules/effect/package.json": JSON.stringify({ name: "effect", version, types: "index.d.ts" }),
      ...Object.fromEntries(Object.entries(more).map(([name, text]) => [`node_modules/effect/${name}`, text]))
    })
    const config = {
      "tsconfig.json": '{ "compilerOptions": { "strict": true, "module": "nodenext", "types": [] } }'
    }
    const unjudged: ReadonlyArray<readonly [string, Readonly<Record<string, string>>, string]> = [
      [
        "effect is not installed",
        { "a.ts": imports },
        "effect, which DIR/a.ts imports, is not installed in DIR"
      ],
      [
        "the same in a project",
        { "a.ts": imports, ...config },
        "effect, which DIR/a.ts imports, is not installed in DIR"
      ],
      [
        "only its types are wanted",
        { "a.ts": 'import type { Effect } from "effect"\nexport type A = Effect.Effect<1>\n' },
        "effect, which DIR/a.ts imports, is not installed in DIR"
      ],
      [
        "by import()",
        { "a.ts": 'export const f = () => import("effect/Effect")\n' },
        "effect, which DIR/a.ts imports, is not installed in DIR"
      ],
      [
        "it comes through another file",
        { "a.ts": 'export { b } from "./b.js"\n', "b.ts": `${imports}export const b = Effect\n`, ...config },
        "effect, which DIR/b.ts imports, is not installed in DIR"
      ],
      [
        "a package of it",
        { "a.ts": 'export { FileSystem } from "@effect/platform"\n' },
        "@effect/platform, which DIR/a.ts imports, is not installed in DIR"
      ],
      [
        "a package on it",
        { "a.ts": 'export { get } from "effect-http/Client"\n' },
        "effect-http, which DIR/a.ts imports, is not installed in DIR"
      ],
      [
        "no types at all",
        effect("3.22.4", { "index.js": "export const Effect = {}" }),
        "effect, which DIR/a.ts imports, is installed without types for that in DIR"
      ],
      [
        "some of its types",
        effect("3.22.4", { "index.d.ts": types }),
        "effect, which DIR/a.ts imports, is installed without its types: they lack Effect.d.ts"
      ],
      [
        "another version",
        effect("4.1.0", { "index.d.ts": types, "Effect.d.ts": dropped }),
        "effect, which DIR/a.ts imports, is installed as 4.1.0 in DIR/node_modules/effect, and effect 3 is expected"
      ]
    ]
    it.live.each(unjudged)("reports that effects cannot be checked: %s", ([, files, message]) =>
      Effect.gen(function* () {
        const path = yield* folder(files)
        const target = "tsconfig.json" in files ? { project: path } : { files: [join(path, "a.ts")] }
        const error = yield* Effect.flip(analyse(target))
        expect([error._tag, error.message.replaceAll(path, "DIR")]).toEqual([
          "EffectMissing",
          `${message}; effects cannot be checked`
        ])
      }).pipe(Effect.scoped, Effect.provide(Diagnostics.layer))
    )

    it.live("names the imports that it does not find, and judges the rest", () =>
      Effect.gen(function* () {
        const text =
          'import "./style.css"\nimport { x } from "lodash"\nexport { x }\nconst f = async () => 1\nf()\n'
        const path = yield* folder({ "a.ts": text })
        const { problems, unresolved } = yield* analyse({ files: [join(path, "a.ts")] })
        expect(problems).toMatchObject([{ line: 5, rule: "floatingPromise" }])
        expect(unresolved).toEqual([{ file: join(path, "a.ts"), specifier: "lodash" }])
      }).pipe(Effect.scoped, Effect.provide(Diagnostics.layer))
    )

    it.live("names the packages that are not installed", () =>
      Effect.gen(function* () {
        const older = { "node_modules/typescript/package.json": '{ "version": "5.9.3" }' }
        for (const [files, words] of [
          [{}, "@effect/tsgo typescript@7"],
          [older, "@effect/tsgo @typescript/native@npm:typescript@7"]
        ] as const) {
          const path = yield* folder({ "a.ts": "export {}", ...files })
          const error = yield* Effect.flip(
            Effect.provide(analyse({ files: [join(path, "a.ts")] }), Diagnostics.layerAt(path))
          )
          expect(error._tag).toBe("AnalyserMissing")
          expect(error.message).toBe(
            `the Effect diagnostics are not installed: npm install --save-dev ${words}`
          )
        }
      }).pipe(Effect.scoped)
    )

    it.live("prefers the project's own analyser to this package's, and fails if it leaves files out", () =>
      Effect.gen(function* () {
        const report = (files: ReadonlyArray<string>) =>
          `console.log(JSON.stringify({ diagnostics: [], files: ${JSON.stringify(files.map((file) => ({ file })))} }))`
        const path = yield* projectWith(report([]))
        const error = yield* Effect.flip(analyse({ project: path }))
        expect(error.message).toBe(
          `effect-tsgo diagnostics failed: it left out 1 of 1 files, ${join(path, "a.ts")} first`
        )
        writeFileSync(join(path, "node_modules/@effect/tsgo/tsgo.cjs"), report([join(path, "a.ts")]))
        expect((yield* analyse({ project: path })).problems).toEqual([])
      }).pipe(Effect.scoped, Effect.provide(Diagnostics.layer))
    )

    it.live("reports the output of an analyser that breaks", () =>
      Effect.gen(function* () {
        const path = yield* projectWith('console.error("\\nno such thing\\nat all"); process.exit(3)')
        const error = yield* Effect.flip(analyse({ project: path }))
        expect(error._tag).toBe("AnalyserFailed")
        expect(error.message).toBe("effect-tsgo diagnostics failed: no such thing")
      }).pipe(Effect.scoped, Effect.provide(Diagnostics.layer))
    )

    it.live("kills the analyser and the processes that it started when interrupted", () =>
      Effect.gen(function* () {
        const path = yield* projectWith(`
          const { spawn } = require("node:child_process")
          const { renameSync, writeFileSync } = require("node:fs")
          const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit" })
          writeFileSync(__dirname + "/part", process.pid + " " + child.pid)
          renameSync(__dirname + "/part", __dirname + "/pids")
          process.on("SIGTERM", () => {})
          setInterval(() => {}, 1000)
        `)
        const fiber = yield* Effect.fork(analyse({ files: [join(path, "a.ts")] }))
        const pids = (yield* untilExists(join(path, "node_modules/@effect/tsgo/pids"))).split(" ").map(Number)
        expect(pids.map(isAlive)).toEqual([true, true])
        expect(leftBehind().length).toBe(1)
        yield* Fiber.interrupt(fiber)
        expect(pids.map(isAlive)).toEqual([false, false])
        expect(leftBehind()).toEqual([])
      }).pipe(Effect.scoped, Effect.provide(Diagnostics.layer))
    )
  })

  describe("layerTest", () => {
    const problem = { line: 1, column: 1, rule: "floatingEffect", code: "x" } as const
    const test = Effect.provide(
      Diagnostics.layerTest({ "b.ts": [problem], "a.ts": [{ ...problem, line: 2 }, problem], "c.ts": [] })
    )

    it.effect("has its files, in order, and no other", () =>
      Effect.gen(function* () {
        const all = yield* analyse({ project: "tsconfig.json" })
        expect(lines(all).length).toBe(3)
        expect(all.problems.map(({ file, line }) => `${file}:${line}`)).toEqual([
          "a.ts:1",
          "a.ts:2",
          "b.ts:1"
        ])
        expect((yield* analyse({ files: ["c.ts"] })).problems).toEqual([])
        expect((yield* Effect.flip(analyse({ files: ["d.ts"] }))).message).toBe(
          "d.ts: the file does not exist"
        )
      }).pipe(test)
    )
  })
})
