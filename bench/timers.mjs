// `callLater` beside asyncio's `call_later`: asked for and fired; and the memory of what is pending.
import { join } from "node:path"
import { command, compare, pythonWith, root, selfTimed } from "./harness.mjs"

const python = pythonWith("asyncio")
const peer = (name) => join(root, "bench/peers", name)
const timers = (kind) => selfTimed([process.execPath, peer("timers.mjs"), "100000", kind])

await compare(
  "Timers: 100,000 callbacks after 1 ms, asked for and fired",
  [
    { name: "unsafeCallLater, plain calls", run: timers("plain") },
    { name: "callLater, an effect each", run: timers("fire") },
    { name: "asyncio call_later", run: python && selfTimed([python, peer("asyncio_timers.py"), "100000"]) },
    { name: "Effect.sleep, a fiber each", run: timers("fibers") }
  ],
  { targets: { "asyncio call_later": 0.2 } }
)

await compare("Timers: a virtual day of minute ticks", [{ name: "every, VirtualClock", run: timers("day") }])

const { stdout } = command([process.execPath, "--expose-gc", peer("timers.mjs"), "100000", "pending"])()
const megabytes = Number(stdout.trim())
console.log(
  `\nTimers: memory of 100,000 that are pending\n  ${megabytes.toFixed(1)} MB  (at most 30: ${megabytes <= 30 ? "yes" : "NO"})`
)
