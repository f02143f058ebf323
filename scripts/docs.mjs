// npm run docs: the API reference, docs/api/index.html, from the declarations and their docstrings. It is not committed.
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { entries } from "./api.mjs"
import { build, install, root, run } from "./project.mjs"

// TypeDoc needs the compiler API of TypeScript 5, which TypeScript 7 has not: both are installed in a folder of their own.
const tools = join(root, "node_modules/.cache/typedoc")
const wanted = ["typedoc@0.28.20", "typescript@5.9.3"]

install()
build()
const typedoc = join(tools, "node_modules/.bin/typedoc")
if (!existsSync(typedoc)) {
  mkdirSync(tools, { recursive: true })
  writeFileSync(join(tools, "package.json"), '{ "private": true }\n')
  run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error", ...wanted], { cwd: tools })
}
const files = entries().map(({ types }) => join(root, types))
const tsconfig = join(tools, "tsconfig.json")
writeFileSync(
  tsconfig,
  JSON.stringify({ extends: join(root, "tsconfig.json"), compilerOptions: { types: [] }, files, include: [] })
)
run(typedoc, [
  ...["--tsconfig", tsconfig, "--name", "effect-asyncio", "--readme", "none"],
  ...["--entryPointStrategy", "resolve", "--skipErrorChecking", "--disableSources"],
  ...["--categorizeByGroup", "false", "--logLevel", "Warn", "--validation.notExported", "false"],
  ...["--out", join(root, "docs/api"), ...files]
])
