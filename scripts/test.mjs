// npm test: installs what is missing, builds, and then checks and runs the tests, at the same time because the tests
// mostly wait. The output of the check is printed after that of the tests. npm run test:slow: the slow tests, without
// the check. Words after -- go to vitest.
import { spawn } from "node:child_process"
import { join } from "node:path"
import { bin, build, install, root } from "./project.mjs"

install()
build()

/** The exit code of a command, and its output unless that is inherited. */
const start = (command, args, stdio) => {
  const child = spawn(command, args, { cwd: root, stdio })
  const said = []
  child.stdout?.on("data", (bytes) => said.push(bytes))
  child.stderr?.on("data", (bytes) => said.push(bytes))
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ code: 1, said: `${command}: ${error.message}\n` }))
    child.once("close", (code) => resolve({ code: code ?? 1, said: Buffer.concat(said) }))
  })
}

const [first, ...rest] = process.argv.slice(2)
if (first === "slow") {
  const projects = rest.some((word) => word.startsWith("--project")) ? [] : ["--project=slow*"]
  process.exitCode = (await start(bin("vitest"), ["run", ...projects, ...rest], "inherit")).code
} else {
  const words = process.argv.slice(2)
  // A file that is named runs, whatever its project.
  const projects = words.some((word) => word.startsWith("test/")) ? [] : ["--project=!slow*"]
  const checking = start(process.execPath, [join(root, "scripts/check.mjs")], ["ignore", "pipe", "pipe"])
  const tests = await start(bin("vitest"), ["run", ...projects, ...words], "inherit")
  const check = await checking
  process.stderr.write(check.said)
  if (check.code !== 0) console.error("npm run check has failed: see above")
  process.exitCode = tests.code || check.code
}
