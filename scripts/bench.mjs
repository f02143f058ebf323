// npm run bench [-- NAME …]: runs bench/NAME.mjs, or all of them.
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { build, install, root } from "./project.mjs"

install()
build()
const all = readdirSync(join(root, "bench"))
  .filter((file) => file.endsWith(".mjs") && file !== "harness.mjs")
  .map((file) => file.slice(0, -4))
const names = process.argv.slice(2)
const unknown = names.find((name) => !all.includes(name))
if (unknown !== undefined) {
  console.error(`bench: '${unknown}' is none of ${all.join(", ")}`)
  process.exit(2)
}
for (const name of names.length > 0 ? names : all) await import(join(root, "bench", `${name}.mjs`))
