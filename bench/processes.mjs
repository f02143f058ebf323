// A process each: through the service, by asyncio, and by xargs as the floor.
import { join } from "node:path"
import { command, compare, pythonWith, root, selfTimed, which } from "./harness.mjs"

const peer = (name) => join(root, "bench/peers", name)
const python = pythonWith("asyncio")
const xargs = which("xargs")
const service = (spawner) => selfTimed([process.execPath, peer("processes.mjs"), "400", "4", spawner])

await compare(
  "Processes.run: 400 × /bin/true, 4 at once",
  [
    { name: "Processes (fork server)", run: service("forkServer") },
    { name: "asyncio", run: python && selfTimed([python, peer("asyncio_processes.py"), "400", "4"]) },
    { name: "Processes (node:child_process)", run: service("direct") },
    {
      name: "xargs -P4 (floor)",
      run: xargs && command(["sh", "-c", `yes | head -400 | ${xargs} -P4 -n1 /bin/true`])
    }
  ],
  { rounds: 9, targets: { asyncio: 1.4 } }
)
