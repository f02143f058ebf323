// 400 × /bin/true, 4 at once, through the service: milliseconds for all, the first (which loads the backend) not counted.
// With `pause`: the longest time, in milliseconds, for which the main thread stood still meanwhile. With `turn`: the same
// without the time in which it waited for a processor, which the children of this bench and the machine take.
import { readFileSync } from "node:fs"
import * as Command from "@effect/platform/Command"
import { Effect } from "effect"
import * as Processes from "../../dist/services/process/Processes.js"

const [count, concurrency, backend, measure] = process.argv.slice(2)
const run = Processes.run(Command.make("/bin/true"))
const program = Effect.gen(function* () {
  yield* run
  const waited = () =>
    Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "latin1").split(" ")[1]) / 1e6
  const longest = { pause: 0, turn: 0 }
  let last = [performance.now(), waited()]
  const tick = () => {
    const now = [performance.now(), waited()]
    const pause = now[0] - last[0] - 1 // the timer's own millisecond
    longest.pause = Math.max(longest.pause, pause)
    longest.turn = Math.max(longest.turn, pause - (now[1] - last[1]))
    last = now
  }
  const timer = measure === undefined ? undefined : setInterval(tick, 1)
  const begun = performance.now()
  let left = Number(count)
  const lane = Effect.whileLoop({ while: () => left-- > 0, body: () => run, step: () => undefined })
  yield* Effect.all(
    Array.from({ length: Number(concurrency) }, () => lane),
    { concurrency: "unbounded" }
  )
  clearInterval(timer)
  console.log(measure === undefined ? performance.now() - begun : longest[measure])
})
Effect.runFork(Effect.provide(program, Processes.layerWith({ backend })))
