import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Await from "../../src/programs/Await.js"
import * as Output from "../../src/services/host/Output.js"
import * as Analysis from "../../src/services/source/Analysis.js"
import * as Diagnostics from "../../src/services/source/Diagnostics.js"
import { InvalidTarget } from "../../src/services/source/DiagnosticsError.js"

const program = fileURLToPath(new URL("../../src/programs/Await.ts", import.meta.url))

describe("Await.example", () => {
  it.effect("prints foobar1, and reports effects that never ran, with file and line", () =>
    Effect.gen(function* () {
      yield* Await.example
      const { stderr, stdout } = yield* Output.Captured
      expect(stdout).toEqual(["foobar1"])
      const lines = readFileSync(program, "utf8").split("\n")
      const line = (call: string) => lines.findIndex((line) => line.startsWith(`  ${call}()`)) + 1
      expect(stderr).toEqual([
        `NeverRunWarning: effect 'print_foobar2' was made at ${program}:${line("printFoobar2")} and never run`,
        `NeverRunWarning: effect 'print_foobar1' was made at ${program}:${line("printFoobar1")} and never run`
      ])
      expect(stderr.join()).not.toContain(":0 ")
    }).pipe(Effect.provide(Output.layerTest))
  )

  it.effect("names the places that the caller provides", () =>
    Effect.gen(function* () {
      yield* Await.exampleAt((name) => ({ file: name, line: 7, column: 1 }))
      const { stderr } = yield* Output.Captured
      expect(stderr[0]).toBe(
        "NeverRunWarning: effect 'print_foobar2' was made at print_foobar2:7 and never run"
      )
    }).pipe(Effect.provide(Output.layerTest))
  )
})

describe("Await.find", () => {
  it.effect("describes the problem and its fix, for every rule", () =>
    Effect.gen(function* () {
      const { files, findings } = yield* Await.find({ files: [], project: "tsconfig.json" })
      expect(files).toEqual(["b.ts", "a.ts"])
      expect(findings.length).toBe(Analysis.rules.length)
      for (const { mend, what } of findings) {
        expect(what).toContain("$& x()") // as it stands, `$&` included
        expect(`${what}; ${mend}`).not.toMatch(/CODE|undefined|\.$/)
      }
      expect(findings[0]).toMatchObject({
        file: "a.ts",
        line: 1,
        what: "effect dropped: $& x() is built and never runs",
        mend: "put yield* before it, return it, or compose it into an effect that runs"
      })
    }).pipe(
      Effect.provide(
        Diagnostics.layerTest({
          "b.ts": [],
          "a.ts": Analysis.rules.map((rule, i) => ({ rule, line: i + 1, column: 1, code: "$& x()" }))
        })
      )
    )
  )

  it.effect("fails as the analysis does", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Await.find({ files: ["nope.ts"] }))
      expect(error).toBeInstanceOf(InvalidTarget)
    }).pipe(Effect.provide(Diagnostics.layerTest({})))
  )
})
