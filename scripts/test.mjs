// npm test: installs what is missing, builds, checks, and runs all tests. Words after -- go to vitest.
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { bin, build, install, root, run } from "./project.mjs"

install()
build()
run(process.execPath, [join(root, "scripts/check.mjs")])
const { status } = spawnSync(bin("vitest"), ["run", ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit"
})
process.exitCode = status ?? 1
