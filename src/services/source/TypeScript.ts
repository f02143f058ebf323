import { readFile } from "node:fs/promises"
import Module, { createRequire, register } from "node:module"
import { dirname, extname, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { withPackage } from "../host/OptionalPackage.js"
import { nativeImport } from "./NativeImport.js"

// Loads TypeScript as it is, types unchecked, on this thread. Threads of an executor load this file: Node's modules only.

/**
 * Extensions of files that {@link enable} is for.
 *
 * @since 0.1.0
 * @category constants
 */
export const typescript: ReadonlySet<string> = new Set([".ts", ".mts", ".cts", ".tsx"])
const esm = /^[ \t]*(?:import|export)\b/m

// tsx treats a .ts file as CommonJS unless the nearest package.json says "module", and then top-level await fails. Here a
// file with import or export is a module, as in newer Nodes, except if package.json says "commonjs".
const hooks = `
import { readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
const declared = (folder) => {
  try {
    return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).type
  } catch {
    return dirname(folder) === folder ? undefined : declared(dirname(folder))
  }
}
export const asModule = (found) => {
  if (found.format !== "commonjs") return found
  const url = found.url.replace(/(%3F|[?]).*$/, "")
  if (!/[.]tsx?$/.test(url)) return found
  const path = fileURLToPath(url)
  const module = declared(dirname(path)) !== "commonjs" && ${esm}.test(readFileSync(path, "utf8"))
  return module ? { ...found, url, format: "module" } : found
}
export const resolve = async (specifier, context, next) => asModule(await next(specifier, context))`

interface Found {
  readonly url: string
  readonly format?: string | null
}

/** Hooks that run on this thread, since Node 22.15; tsx uses them if they exist. */
type RegisterHooks = (hooks: {
  readonly resolve: (
    specifier: string,
    context: unknown,
    next: (...args: ReadonlyArray<unknown>) => Found
  ) => Found
}) => void
const { registerHooks } = Module as { readonly registerHooks?: RegisterHooks }

let ready: Promise<void> | undefined

// With loader hooks, Node asks another thread about every file: the 400 files of `effect` then take 1.3 s instead of 0.6.
// So `effect` is loaded before the hooks are registered.
const preload = async (path: string): Promise<void> => {
  if (ready !== undefined || !/["']effect["']/.test(await readFile(path, "utf8"))) return
  try {
    const file = createRequire(path).resolve("effect/package.json")
    const { exports } = JSON.parse(await readFile(file, "utf8"))
    await nativeImport(pathToFileURL(resolve(dirname(file), exports["."].import)).href)
  } catch {
    // not installed there, or laid out otherwise: the import itself reports it
  }
}

const enableTypeScript = (): Promise<void> => {
  ready ??= (async () => {
    const esm: typeof import("tsx/esm/api") = await withPackage("TypeScript", "tsx", () =>
      nativeImport("tsx/esm/api")
    )
    const cjs: typeof import("tsx/cjs/api") = await nativeImport("tsx/cjs/api")
    cjs.register()
    esm.register()
    const source = `data:text/javascript,${encodeURIComponent(hooks)}`
    if (registerHooks === undefined) return register(source)
    const { asModule } = await nativeImport(source)
    registerHooks({ resolve: (specifier, context, next) => asModule(next(specifier, context)) })
  })()
  return ready
}

/**
 * Prepares `import()` of this file: a TypeScript file goes through tsx, which is loaded for the first one.
 *
 * @since 0.1.0
 * @category functions
 */
export const enable = async (path: string): Promise<void> => {
  if (!typescript.has(extname(path))) return
  await preload(path)
  await enableTypeScript()
}
