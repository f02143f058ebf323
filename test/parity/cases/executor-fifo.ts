import { Effect } from "effect"
import * as Gather from "../../../src/services/task/Gather.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import { say } from "../Case.js"

export const clock = "live"

const job = (name: string) => {
  if (name === "b") throw new Error("no b")
  return name
}

const run = (name: string) =>
  Executor.blocking(job, name).pipe(
    Effect.flatMap((result) => say(result)),
    Effect.catchTag("JobFailed", ({ thrown }) => say("failed:", thrown.message))
  )

export default Gather.gather(Array.from("abcd", run)).pipe(
  Effect.provide(Executor.layerThreads({ maxWorkers: 1 }))
)
