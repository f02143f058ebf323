import Module from "node:module"
import { fileURLToPath } from "node:url"

let native: ((specifier: string) => Promise<any>) | undefined

/**
 * Node's own `import()`, which bundlers and test runners do not rewrite. Code from V8's cache has none on Node 20 ("A
 * dynamic import callback was not specified"), and the built command is such code; so this one is compiled.
 *
 * @since 0.1.0
 * @category functions
 */
export const nativeImport = (specifier: string): Promise<any> => {
  if (native === undefined) {
    const path = fileURLToPath(import.meta.url)
    const module = new Module(path) as Module & { _compile: (source: string, path: string) => void }
    module._compile("module.exports = (specifier) => import(specifier)", path)
    native = module.exports as NonNullable<typeof native>
  }
  return native(specifier)
}
