import { Effect } from "effect"
import * as Gather from "../../../src/services/task/Gather.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import { say } from "../Case.js"

export const clock = "live"

const download = (name: string, millis: number) => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)
  return name
}

export default Gather.gather([
  Executor.blocking(download, "a", 50),
  Executor.blocking(download, "b", 10),
  say("foobar")
]).pipe(
  Effect.flatMap(([a, b]) => say(a, b)),
  Effect.provide(Executor.layerThreads({ maxWorkers: 2 }))
)
