import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { parseAst } from "rolldown/parseAst"
import { divergences } from "./divergences.js"
import * as Python from "./Python.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const text = readFileSync(`${root}docs/rules.md`, "utf8")

// Lines of `- FILE: title of a test`.
const tests = [...text.matchAll(/^- `([^`]+)`: (.+)$/gm)].map((match) => [match[1]!, match[2]!] as const)

// A node of a syntax tree, whatever its kind.
type Node = { readonly type: string; readonly [field: string]: unknown }
const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value

// `it` in `it("…")`, `it.live.each(rows)("…")` and the like.
const nameOf = (callee: Node): unknown =>
  callee.type === "Identifier"
    ? callee["name"]
    : nameOf((callee["object"] ?? callee["callee"] ?? callee["tag"] ?? { type: "Identifier" }) as Node)

const isLeftOut = (callee: Node): boolean => {
  const { name } = (callee["property"] ?? {}) as { name?: string }
  const rest = callee["object"] ?? callee["callee"] ?? callee["tag"]
  return name === "skip" || name === "todo" || (isNode(rest) && isLeftOut(rest))
}

// The titles of the tests in a file, as they are written there, and of the groups that hold tests. A law of groupLaws
// is a test of two files. A comment has no title, and neither has a test that is skipped.
const titlesOf = (source: string): ReadonlyArray<string> => {
  const titles: Array<string> = []
  let tests = 0
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) for (const one of value) visit(one)
    if (!isNode(value)) return
    const callee = value.type === "CallExpression" ? (value["callee"] as Node) : undefined
    const name = callee && nameOf(callee)
    const isTest = name === "it" || name === "test" || name === "law"
    if (callee !== undefined && (isTest || name === "describe") && isLeftOut(callee)) return
    const before = tests
    if (isTest) tests++
    for (const child of Object.values(value)) visit(child)
    const [title] = (value["arguments"] ?? []) as ReadonlyArray<Node>
    if (title === undefined || !(isTest || (name === "describe" && tests > before))) return
    if (title.type === "Literal") titles.push(String(title["value"]))
    if (title.type === "TemplateLiteral")
      titles.push(source.slice(Number(title["start"]) + 1, Number(title["end"]) - 1))
  }
  visit(parseAst(source, { lang: "ts" }))
  return titles
}

const titlesIn = new Map<string, ReadonlyArray<string>>()
const has = (file: string, title: string) => {
  if (!existsSync(root + file)) return false
  const titles = titlesIn.get(file) ?? titlesOf(readFileSync(root + file, "utf8"))
  titlesIn.set(file, titles)
  return titles.includes(title)
}

describe("docs/rules.md", () => {
  it("names tests that exist", () => {
    assert.isAbove(tests.length, 70)
    const missing = tests.filter(([file, title]) =>
      file === "test/parity/parity.test.ts" ? !Python.programs.includes(title) : !has(file, title)
    )
    assert.deepStrictEqual(missing, [])
  })

  it("reads the titles of tests that run, and nothing else", () => {
    assert.deepStrictEqual(
      titlesOf(`
        // it("in a comment", () => {})
        const text = 'it("in a text", () => {})'
        describe("of tests", () => {
          it("plain", () => { run("not a title") })
          it.live.each([["a row"]])("each %s", () => {})
          it.effect(\`of \${name}\`, () => {})
          it.skip("left out", () => {})
          it.live.skip.each([1])("left out too", () => {})
        })
        describe("of nothing", () => {})
        describe.skip("of what is left out", () => { it("within it", () => {}) })
        export const one = law("a law", cases, () => {})
      `),
      ["plain", "each %s", `of \${name}`, "of tests", "a law"]
    )
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
