// Virtual time: a day of minute ticks (1,440 jumps) is to take less than 50 ms. TestClock is moved by hand for it.
import { join } from "node:path"
import { compare, pythonWith, root, selfTimed } from "./harness.mjs"

const peer = (name) => join(root, "bench/peers", name)
const node = (mode) => selfTimed([process.execPath, peer("clock.mjs"), mode])
const python = pythonWith("asyncio")
const trio = pythonWith("trio")

await compare("VirtualClock: a day of minute ticks, the first thing in its process", [
  { name: "VirtualClock", run: node("virtual") },
  { name: "asyncio, time patched", run: python && selfTimed([python, peer("asyncio_clock.py")]) },
  { name: "trio, autojump", run: trio && selfTimed([trio, peer("trio_clock.py")]) }
])

await compare(
  "VirtualClock: the same once it is warm, as in a test suite",
  [
    { name: "VirtualClock", run: node("warm") },
    { name: "TestClock, adjusted by hand", run: node("test") }
  ],
  { rounds: 3 }
)

await compare("Interleave: 500 orders of three fibers", [{ name: "Interleave", run: node("interleave") }])
