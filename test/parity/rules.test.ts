import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { divergences } from "./divergences.js"
import * as Python from "./Python.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const text = readFileSync(`${root}docs/rules.md`, "utf8")

// Lines of `- FILE: title of a test`.
const tests = [...text.matchAll(/^- `([^`]+)`: (.+)$/gm)].map((match) => [match[1]!, match[2]!] as const)

describe("docs/rules.md", () => {
  it("names tests that exist", () => {
    assert.isAbove(tests.length, 70)
    const missing = tests.filter(([file, title]) =>
      file === "test/parity/parity.test.ts"
        ? !Python.programs.includes(title)
        : !existsSync(root + file) || !readFileSync(root + file, "utf8").includes(title)
    )
    assert.deepStrictEqual(missing, [])
  })

  it("gives every rule a test", () => {
    const rules = text.split(/^(?=\*\*|## )/m).filter((part) => part.startsWith("**"))
    assert.isAbove(rules.length, 25)
    assert.deepStrictEqual(
      rules.filter((rule) => !rule.includes("\n- `test/")),
      []
    )
  })

  it("marks the rules in which CPython differs, each divergence among them", () => {
    const rules = text.split(/^(?=\*\*|## )/m)
    for (const divergence of divergences) {
      const rule = rules.find((rule) => rule.includes(`: ${divergence.case}\n`))
      assert.include(rule, "⚡", divergence.case)
    }
  })
})
