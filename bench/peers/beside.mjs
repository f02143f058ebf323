// The longest time, in milliseconds, for which the main thread stood still while another program ran 400 × /bin/true, 8 at
// once: what a timer has to wait for a processor on this machine.
import { spawn } from "node:child_process"

const [xargs] = process.argv.slice(2)
const other = spawn("sh", ["-c", `yes | head -400 | ${xargs} -P8 -n1 /bin/true`])
let longest = 0
let last = performance.now()
const timer = setInterval(() => {
  const now = performance.now()
  longest = Math.max(longest, now - last - 1) // the timer's own millisecond
  last = now
}, 1)
other.once("exit", () => {
  clearInterval(timer)
  console.log(longest)
})
