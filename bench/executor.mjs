// Jobs on threads: through the service, through piscina itself, and by asyncio's run_in_executor.
import { join } from "node:path"
import { compare, pythonWith, root, selfTimed } from "./harness.mjs"

const peer = (name) => join(root, "bench/peers", name)
const python = pythonWith("asyncio")
const ours = (...words) => selfTimed([process.execPath, peer("executor.mjs"), ...words])
const asyncio = (...words) => python && selfTimed([python, peer("asyncio_executor.py"), ...words])

await compare(
  "MapJobs.map: 20,000 × n + 1 on 2 threads",
  [
    { name: "MapJobs.map", run: ours("tiny", "20000") },
    { name: "piscina", run: ours("piscina", "20000") },
    { name: "run_in_executor", run: asyncio("tiny", "20000") },
    { name: "20,000 × Executor.run", run: ours("run", "20000") }
  ],
  { targets: { piscina: 1.15, run_in_executor: 0.6 } }
)
await compare(
  // So many that it is not the first compilation of our own code that is measured.
  "MapJobs.map, chunk 512: 200,000 × n + 1 on 2 threads",
  [
    { name: "MapJobs.map, chunk 512", run: ours("chunk", "200000") },
    { name: "MapJobs.map", run: ours("tiny", "200000") }
  ],
  {}
)
await compare(
  "8 jobs that compute, on 2 threads beside 1",
  [
    { name: "2 threads", run: ours("cpu", "2") },
    { name: "1 thread", run: ours("cpu", "1") },
    { name: "piscina, 2 threads", run: ours("piscina-cpu", "2") }
  ],
  { rounds: 5, targets: { "1 thread": 0.54 } } // 1 / 1.85
)
await compare(
  "the same in Python, less of it: its threads take turns",
  [
    { name: "asyncio, 2 threads", run: asyncio("cpu", "2") },
    { name: "asyncio, 1 thread", run: asyncio("cpu", "1") }
  ],
  { rounds: 5 }
)
await compare(
  "a buffer of 64 MiB there and back",
  [
    { name: "moved", run: ours("move", `${64 * 2 ** 20}`) },
    { name: "copied", run: ours("copy", `${64 * 2 ** 20}`) }
  ],
  { rounds: 5, targets: { copied: 0.1 } }
)
await compare(
  "how late a 10 ms timer is while 2 threads compute, median (below 5 ms)",
  [{ name: "timer", run: ours("late", "0") }],
  { rounds: 5 }
)
