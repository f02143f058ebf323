// A process each: through the service with both backends, by asyncio, and by xargs.
import { join } from "node:path"
import { command, compare, pythonWith, root, selfTimed, which } from "./harness.mjs"

const peer = (name) => join(root, "bench/peers", name)
const python = pythonWith("asyncio")
const xargs = which("xargs")
const service = (backend, lanes, ...measure) =>
  selfTimed([process.execPath, peer("processes.mjs"), "400", lanes, backend, ...measure])

await compare(
  "Processes.run: 400 × /bin/true, 4 at once",
  [
    { name: "Processes (posix_spawn)", run: service("posix_spawn", "4") },
    { name: "asyncio", run: python && selfTimed([python, peer("asyncio_processes.py"), "400", "4"]) },
    { name: "Processes (node:child_process)", run: service("node", "4") },
    {
      name: "xargs -P4",
      run: xargs && command(["sh", "-c", `yes | head -400 | ${xargs} -P4 -n1 /bin/true`])
    }
  ],
  { rounds: 9, targets: { asyncio: 1.1, "Processes (node:child_process)": 0.35, "xargs -P4": 0.75 } }
)
await compare(
  "Processes.run: the main thread's longest pause while 8 lanes spawn; at most 5 ms",
  [
    { name: "Processes (posix_spawn)", run: service("posix_spawn", "8", "pause") },
    { name: "Processes (node:child_process)", run: service("node", "8", "pause") },
    { name: "posix_spawn, without waits", run: service("posix_spawn", "8", "turn") },
    { name: "node, without waits", run: service("node", "8", "turn") },
    // The machine's own share: the pause of a process that spawns nothing.
    {
      name: "a timer beside xargs -P8",
      run: xargs && selfTimed([process.execPath, peer("beside.mjs"), xargs])
    }
  ],
  { rounds: 9 }
)
