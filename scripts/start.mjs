// npm start [-- SUBCOMMAND …]: installs what is missing, builds what is stale, and runs `aio`; alone, the whole guide.
import { spawn } from "node:child_process"
import { aio, build, install } from "./project.mjs"

install()
build()
const words = process.argv.slice(2)
const child = spawn(process.execPath, [aio, ...(words.length > 0 ? words : ["guide", "--run"])], {
  stdio: "inherit"
})
// A Ctrl-C reaches the child too, and this process waits for it; a signal to this process alone is passed on.
process.on("SIGINT", () => undefined)
process.on("SIGTERM", () => child.kill("SIGTERM"))
child.on("exit", (code, signal) => {
  process.exitCode = code ?? (signal === "SIGINT" ? 130 : 143)
})
