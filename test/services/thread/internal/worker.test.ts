import { readFileSync } from "node:fs"
import { isBuiltin } from "node:module"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

const src = new URL("../../../../src/", import.meta.url)

/** What a module loads when it is loaded: its static imports and those of the modules that they name. */
const loads = (file: URL, seen: Map<string, string>): Map<string, string> => {
  const text = readFileSync(fileURLToPath(file), "utf8")
  for (const [, specifier] of text.matchAll(/^(?:import|export) (?!type )[^;]*?from "([^"]+)"/gm)) {
    const imported = specifier!.startsWith(".")
      ? new URL(specifier!.replace(/\.js$/, ".ts"), file).href
      : specifier!
    if (seen.has(imported)) continue
    seen.set(imported, file.href.slice(src.href.length))
    if (specifier!.startsWith(".")) loads(new URL(imported), seen)
  }
  return seen
}

describe("worker", () => {
  it("loads Node's own modules and files of the house only, so that a thread starts fast", () => {
    const loaded = loads(new URL("services/thread/internal/worker.ts", src), new Map())
    assert.isAbove(loaded.size, 10)
    const packages = [...loaded].filter(([name]) => !name.startsWith("file:") && !isBuiltin(name))
    assert.deepStrictEqual(packages, [])
  })
})
