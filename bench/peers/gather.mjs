import { Effect } from "effect"
import * as Gather from "../../dist/services/task/Gather.js"

const [count, concurrency] = process.argv.slice(2).map(Number)
const program = Effect.gen(function* () {
  const begun = performance.now()
  const effects = Array.from({ length: count }, (_, i) => Effect.sync(() => i))
  const results =
    process.argv[4] === "effect"
      ? yield* Effect.all(effects, { concurrency })
      : yield* Gather.gather(effects, { concurrency })
  const took = performance.now() - begun
  if (!results.every((value, i) => value === i)) throw new Error("wrong results")
  console.log(took)
})
Effect.runFork(program)
