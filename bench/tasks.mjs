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

for (const [how, target] of [
  ["cold", 0.15],
  ["warm", 0.03]
]) {
  await compare(
    `gather: 100,000 ready effects, ${how === "cold" ? "the first time in a process" : "once warm"}`,
    [
      { name: "Gather.gather", run: selfTimed([process.execPath, peer("ready.mjs"), count, how]) },
      { name: "asyncio.gather", run: python && selfTimed([python, peer("asyncio_ready.py"), count, how]) },
      ...(how === "cold"
        ? [{ name: "p-map", run: selfTimed([process.execPath, peer("ready.mjs"), count, "p-map"]) }]
        : [])
    ],
    { targets: { "asyncio.gather": target } }
  )
}

await compare("TaskGroup: 100,000 tasks that wait, and are cancelled: their memory", [
  { name: "TaskGroup", run: selfTimed([process.execPath, peer("ready.mjs"), count, "waiting"]) },
  { name: "asyncio tasks", run: python && selfTimed([python, peer("asyncio_ready.py"), count, "waiting"]) }
])
