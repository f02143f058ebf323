// 400 × /bin/true, 4 at once, through the service: milliseconds for all, the first (which loads the backend) not counted.
// With `pause`: the longest time, in milliseconds, for which the main thread stood still meanwhile.
import { monitorEventLoopDelay } from "node:perf_hooks"
import * as Command from "@effect/platform/Command"
import { Effect } from "effect"
import * as Processes from "../../dist/services/process/Processes.js"

const [count, concurrency, backend, measure] = process.argv.slice(2)
const run = Processes.run(Command.make("/bin/true"))
const program = Effect.gen(function* () {
  yield* run
  const delays = monitorEventLoopDelay({ resolution: 1 })
  delays.enable()
  const begun = performance.now()
  let left = Number(count)
  const lane = Effect.whileLoop({ while: () => left-- > 0, body: () => run, step: () => undefined })
  yield* Effect.all(
    Array.from({ length: Number(concurrency) }, () => lane),
    { concurrency: "unbounded" }
  )
  console.log(measure === "pause" ? delays.max / 1e6 : performance.now() - begun)
})
Effect.runFork(Effect.provide(program, Processes.layerWith({ backend })))
