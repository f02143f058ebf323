// Gathers n ready effects: the time in ms, of the first time in the process or, with `warm`, of the median of ten more.
// ready.mjs N [warm|p-map]; ready.mjs N waiting: starts n tasks that wait, and prints the time until all do.
import { Effect } from "effect"
import * as Gather from "../../dist/services/task/Gather.js"
import * as TaskGroup from "../../dist/services/task/TaskGroup.js"

const [count, mode] = [Number(process.argv[2]), process.argv[3]]
const timed = async (run) => {
  const started = performance.now()
  await run()
  return performance.now() - started
}
const waiting = Effect.gen(function* () {
  for (let i = 0; i < count; i++)
    yield* TaskGroup.start(
      "task",
      Effect.async(() => undefined)
    )
  yield* Effect.sleep(0)
  yield* Effect.sleep(0)
}).pipe(Effect.zipRight(Effect.interrupt), TaskGroup.scoped(), Effect.exit)
const run =
  mode === "waiting"
    ? () => Effect.runPromise(waiting)
    : mode === "p-map"
      ? async () =>
          (await import("p-map")).default(
            Array.from({ length: count }, (_, n) => n),
            async (n) => n
          )
      : () => Effect.runPromise(Gather.gather(Array.from({ length: count }, (_, n) => Effect.succeed(n))))
const cold = await timed(run)
if (mode !== "warm") console.log(cold)
else {
  const times = []
  for (let i = 0; i < 10; i++) times.push(await timed(run))
  console.log(times.sort((a, b) => a - b)[5])
}
