// Tasks of one TaskGroup beside asyncio's TaskGroup, and beside fibers without a group.
import { join } from "node:path"
import { compare, pythonWith, root, selfTimed } from "./harness.mjs"

const python = pythonWith("asyncio.taskgroups")
const peer = (name) => join(root, "bench/peers", name)
const count = "100000"

await compare(
  "TaskGroup: 100,000 tasks in one group, started and read",
  [
    { name: "TaskGroup", run: selfTimed([process.execPath, peer("tasks.mjs"), count]) },
    { name: "asyncio.TaskGroup", run: python && selfTimed([python, peer("asyncio_tasks.py"), count]) },
    {
      name: "Effect.fork and Fiber.join",
      run: selfTimed([process.execPath, peer("tasks.mjs"), count, "fork"])
    }
  ],
  { targets: { "asyncio.TaskGroup": 1.2 } }
)
