// 400 × /bin/true, 4 at once, through the service: milliseconds for all, the first (which starts the fork server) not
// counted.
import * as Command from "@effect/platform/Command"
import { Effect } from "effect"
import * as Processes from "../../dist/services/process/Processes.js"

const [count, concurrency, backend] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]]
const run = Processes.run(Command.make("/bin/true"))
const program = Effect.gen(function* () {
  yield* run
  const begun = performance.now()
  let left = count
  const lane = Effect.whileLoop({ while: () => left-- > 0, body: () => run, step: () => undefined })
  yield* Effect.all(
    Array.from({ length: concurrency }, () => lane),
    { concurrency: "unbounded" }
  )
  console.log(performance.now() - begun)
})
Effect.runFork(Effect.provide(program, Processes.layerWith({ backend })))
