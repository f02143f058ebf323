// Prints the CPU time in ms of a fixed amount of work (busy), or of so many ms without any (idle), with LoopWatch or not.
import { open } from "../../dist/services/task/internal/loopWatch.js"

const [kind, amount, watched] = process.argv.slice(2)
if (watched === "on") {
  await open({ threshold: 100, onReport: console.error, onUnavailable: console.error }).ready()
}
const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const busy = async (turns) => {
  let sum = 0
  for (let turn = 0; turn < turns; turn++) {
    for (let i = 0; i < 200; i++) sum += JSON.stringify({ i, list: [i] }).length
    await new Promise(setImmediate)
  }
  return sum
}

if (kind === "busy") await busy(500)
else await rest(100)
const from = process.cpuUsage()
if (kind === "busy") await busy(Number(amount))
else await rest(Number(amount))
const { system, user } = process.cpuUsage(from)
console.log((system + user) / 1000)
process.exit()
