import { existsSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/**
 * The path of a module as built JavaScript, which threads and processes of their own load: in the library, beside the
 * command's chunks, or in `dist` when the sources themselves run (tsx, Vitest).
 *
 * @since 0.1.0
 * @category functions
 */
export const builtFile = (module: string): string => {
  const places = ["../../", "../../../dist/"].map((place) =>
    join(fileURLToPath(new URL(place, import.meta.url)), module)
  )
  const found = places.find((file) => existsSync(file))
  if (found === undefined) throw new Error(`none of ${places.join(", ")} is there`)
  return found
}
