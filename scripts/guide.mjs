// What `aio guide` shows, read at build time from where it is written: docs/ for the words and asyncio's way, and
// src/programs for the code that runs.
import { readFileSync } from "node:fs"
import { join } from "node:path"

const must = (value, what) => {
  if (value === undefined || value === "") throw new Error(`aio guide: ${what} is missing`)
  return value
}

/** The page of one concept: `docs` is its page's text, `source` its program's. */
export const page = (name, docs, source) => ({
  intro: must(
    /^# .*\n+(?:`aio[\s\S]*?\n\n)?([\s\S]*?)\n\n(?=\S)/.exec(docs)?.[1],
    `the first paragraph of docs/${name}.md`
  ),
  python: must(/^```python\n([\s\S]*?)^```/m.exec(docs)?.[1], `a python block in docs/${name}.md`).trimEnd(),
  effect: must(
    [...source.matchAll(/^\/\/ #region example\n([\s\S]*?)^\/\/ #endregion/gm)]
      .map(([, code]) => code.replace(/^\/\*\*[\s\S]*?\*\/\n|^ *\/\/ @effect-.*\n/gm, "").trim())
      .join("\n\n"),
    `the region 'example' of ${name}'s program`
  ),
  // The lines of statements that are calls, by the name of the function: `aio await` names two of them.
  calls: Object.fromEntries(
    source.split("\n").flatMap((line, i) => {
      const name = /^ {2}(\w+)\(\)/.exec(line)?.[1]
      return name === undefined ? [] : [[name, i + 1]]
    })
  ),
  differences: must(
    /^## Differences that matter\n+([\s\S]*?)(?=\n+## |\s*$(?![\s\S]))/m.exec(docs)?.[1],
    `the section 'Differences that matter' of docs/${name}.md`
  )
    .split(/\n(?=[-*] )/)
    .map((item) =>
      item
        .replace(/^[-*] /, "")
        .replace(/\s+/g, " ")
        .trim()
    )
})

/** A module that exports every page by the concept's name. */
export const plugin = (root) => ({
  name: "guide",
  resolveId: (id) => (id === "virtual:guide" ? id : undefined),
  load: (id) => {
    if (id !== "virtual:guide") return undefined
    const manifest = readFileSync(join(root, "src/manifest.ts"), "utf8")
    const concepts = [...manifest.matchAll(/^ {4}name: "(.*)",\n {4}program: "(.*)"/gm)]
    const pages = concepts.map(([, name, program]) => [
      name,
      page(
        name,
        readFileSync(join(root, "docs", `${name}.md`), "utf8"),
        readFileSync(join(root, "src/programs", `${program}.ts`), "utf8")
      )
    ])
    return `export const pages = ${JSON.stringify(Object.fromEntries(pages))}`
  }
})
