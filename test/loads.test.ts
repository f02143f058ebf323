import { readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"

const root = fileURLToPath(new URL("..", import.meta.url))

// The packages that the static imports of a file of src load, its own modules' included. `import()` loads on use.
const loaded = (file: string, seen = new Set<string>()): Set<string> => {
  const packages = new Set<string>()
  if (seen.has(file)) return packages
  seen.add(file)
  const source = readFileSync(join(root, file), "utf8")
  for (const [, what, from] of source.matchAll(
    /^(?:import|export) (?!type )((?:[^"';]*? from )?)"([^"]+)"/gm
  )) {
    const names = /\{([^}]*)\}/.exec(what!)?.[1]
    const onlyTypes = names?.split(",").every((name) => /^\s*(type\s.*)?$/.test(name))
    if (onlyTypes || from!.startsWith("node:")) continue
    if (from!.startsWith(".")) {
      for (const each of loaded(join(dirname(file), from!.replace(/\.js$/, ".ts")), seen)) packages.add(each)
    } else
      packages.add(
        from!
          .split("/")
          .slice(0, from!.startsWith("@") ? 2 : 1)
          .join("/")
      )
  }
  return packages
}

const entries = Object.entries(
  JSON.parse(readFileSync(join(root, "package.json"), "utf8")).exports as Record<string, any>
).flatMap(([name, target]) =>
  typeof target === "object" && target !== null && "types" in target
    ? [[name.slice(2), target.types.replace(/^\.\/dist/, "src").replace(/\.d\.ts$/, ".ts")] as const]
    : []
)

describe("what an entry point loads", () => {
  // Each package beyond effect, and the entry points that load it when they are imported.
  it("is effect and @effect/platform, and another package only where it is needed", () => {
    const others = entries.flatMap(([name, file]) =>
      [...loaded(file)]
        .filter((one) => !/^(effect|effect-asyncio|@effect\/platform)$/.test(one))
        .map((one) => `${name}: ${one}`)
    )
    expect(entries.length).toBeGreaterThan(50)
    expect(others).toEqual(
      ["Chart", "Table", "Width"].map((name) => `services/${name}: get-east-asian-width`)
    )
  })

  it("is nothing but effect for the rooms of tasks, time and streams", () => {
    for (const [name, file] of entries.filter(([, file]) =>
      /^src\/services\/(task|time|stream)\//.test(file)
    ))
      expect([name, [...loaded(file)].filter((one) => one !== "effect")]).toEqual([name, []])
  })
})
