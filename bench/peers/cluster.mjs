// A submitter: `map STORE N CHUNK` prints the milliseconds of N tiny jobs, there and back; `latency STORE N` the p50 and p99 of
// the start of one job after the other, and of its result.
import { Effect, Stream } from "effect"
import * as ClusterExecutor from "../../dist/services/cluster/ClusterExecutor.js"
import * as Executor from "../../dist/services/thread/Executor.js"
import * as Job from "../../dist/services/thread/Job.js"
import * as MapJobs from "../../dist/services/thread/MapJobs.js"

const [mode, store, n, chunk = "1"] = process.argv.slice(2)
const code = import.meta.dirname
const job = (name) => Job.fromModule(new URL("cluster-jobs.mjs", import.meta.url), name)

const map = Effect.gen(function* () {
  yield* Executor.run(job("inc"), 0)
  const begun = performance.now()
  yield* Stream.runDrain(MapJobs.map(job("inc"), Stream.range(1, Number(n)), { chunk: Number(chunk) }))
  return [performance.now() - begun]
})
const latency = Effect.gen(function* () {
  for (let i = 0; i < 20; i++) yield* Executor.run(job("now"))
  const starts = []
  const results = []
  for (let i = 0; i < Number(n); i++) {
    yield* Effect.sleep(5)
    const asked = Date.now()
    starts.push((yield* Executor.run(job("now"))) - asked)
    results.push(Date.now() - asked)
  }
  const at = (values, share) => values.toSorted((a, b) => a - b)[Math.floor(values.length * share)]
  return [at(starts, 0.5), at(starts, 0.99), at(results, 0.5), at(results, 0.99)]
})
const numbers = await Effect.runPromise(
  Effect.provide(mode === "map" ? map : latency, ClusterExecutor.layer({ store, code }))
)
console.log(numbers.join(" "))
