// npm start [-- SUBCOMMAND …]: installs what is missing, builds what is stale, and runs `aio`.
import { spawn } from "node:child_process"
import { aio, build, install } from "./project.mjs"

install()
build()
const words = process.argv.slice(2)
const demo = ["run", "tasks", "gather"]
for (const args of words.length > 0 ? [words] : demo.map((name) => [name])) {
  if (words.length === 0) console.log(`\n$ aio ${args.join(" ")}`)
  const child = spawn(process.execPath, [aio, ...args], { stdio: "inherit" })
  // A Ctrl-C reaches the child by itself; this process only waits for it.
  for (const signal of ["SIGINT", "SIGTERM"])
    process.on(signal, () => signal === "SIGTERM" && child.kill(signal))
  process.exitCode = await new Promise((resolve) => child.on("exit", (code) => resolve(code ?? 1)))
  if (process.exitCode !== 0) break
}
