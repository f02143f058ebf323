// What LoopWatch costs: CPU time of all threads, so that a busy machine changes little. Paired, in turn.
import { join } from "node:path"
import { compare, root, selfTimed } from "./harness.mjs"

const run = (...args) => selfTimed([process.execPath, join(root, "bench/peers/loopwatch.mjs"), ...args])

await compare(
  "LoopWatch: 30,000 turns of the loop, CPU time",
  [
    { name: "watched", run: run("busy", "30000", "on") },
    { name: "not watched", run: run("busy", "30000", "off") }
  ],
  { rounds: 7 }
)

await compare("LoopWatch: two idle seconds, CPU time (1 % of a processor is 20 ms)", [
  { name: "watched", run: run("idle", "2000", "on") },
  { name: "not watched", run: run("idle", "2000", "off") }
])
