// Starts n tasks in one group, each of which yields once, and reads their results: the time in ms.
// tasks.mjs N [fork]: a TaskGroup, or bare fibers that are forked and joined.
import { Effect, Fiber } from "effect"
import * as TaskGroup from "../../dist/services/task/TaskGroup.js"

const [count, bare] = [Number(process.argv[2]), process.argv[3] === "fork"]
const body = Effect.as(Effect.yieldNow(), 1)
const grouped = Effect.gen(function* () {
  const tasks = []
  for (let i = 0; i < count; i++) tasks.push(yield* TaskGroup.start("task", body))
  let sum = 0
  for (const task of tasks) sum += yield* task.result
  return sum
}).pipe(TaskGroup.scoped())
const forked = Effect.gen(function* () {
  const fibers = []
  for (let i = 0; i < count; i++) fibers.push(yield* Effect.fork(body))
  let sum = 0
  for (const fiber of fibers) sum += yield* Fiber.join(fiber)
  return sum
})

const started = performance.now()
const sum = await Effect.runPromise(bare ? forked : grouped)
if (sum !== count) throw new Error(`${sum} of ${count}`)
console.log(performance.now() - started)
