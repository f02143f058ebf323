// Work through the executor, or through piscina itself: milliseconds, threads already there.
//   executor.mjs tiny|chunk|piscina|run COUNT          COUNT jobs n => n + 1 on 2 threads
//   executor.mjs cpu|piscina-cpu WORKERS               8 jobs of some 150 ms
//   executor.mjs move|copy BYTES                       a buffer there and back, mean of 20
//   executor.mjs late                                  median lateness of a 10 ms timer while 2 threads compute
import { Chunk, Effect, Stream } from "effect"
import { Piscina } from "piscina"
import * as Gather from "../../dist/services/task/Gather.js"
import * as Executor from "../../dist/services/thread/Executor.js"
import * as InJob from "../../dist/services/thread/InJob.js"
import * as Job from "../../dist/services/thread/Job.js"
import * as MapJobs from "../../dist/services/thread/MapJobs.js"

const [what, given] = [process.argv[2], Number(process.argv[3])]
const next = (n) => n + 1
const burn = (n) => {
  let x = n
  for (let i = 0; i < 100_000_000; i++) x = (x * 31 + i) | 0
  return x
}

const timed = (effect) =>
  Effect.gen(function* () {
    const begun = performance.now()
    const result = yield* effect
    return [performance.now() - begun, result]
  })
const warm = (workers) =>
  Effect.all(
    Array.from({ length: workers }, () =>
      Executor.blocking(() => new Promise((resolve) => setTimeout(resolve, 100)))
    ),
    { concurrency: workers }
  )
const on = (workers) => Effect.provide(Executor.layerThreads({ maxWorkers: workers }))
const say = (ms) => Effect.sync(() => console.log(ms))

const jobs = (options) =>
  Effect.gen(function* () {
    yield* warm(2)
    const inputs = Array.from({ length: given }, (_, i) => i)
    const [ms, results] = yield* timed(
      Stream.runCollect(MapJobs.map(Job.fromFunction(next), inputs, options))
    )
    if (!Chunk.toReadonlyArray(results).every((n, i) => n === i + 1)) throw new Error("wrong results")
    yield* say(ms)
  }).pipe(on(2))

const mean = (make) =>
  Effect.gen(function* () {
    yield* warm(1)
    let total = 0
    for (let i = 0; i < 20; i++) {
      const bytes = make()
      const [ms, back] = yield* timed(what === "move" ? moved(bytes) : copied(bytes))
      if (back.length !== given) throw new Error("wrong size")
      total += ms
    }
    yield* say(total / 20)
  }).pipe(on(1))
const moved = (bytes) => Executor.blocking((bytes) => InJob.move(bytes), InJob.move(bytes))
const copied = (bytes) => Executor.blocking((bytes) => bytes, bytes)

const piscina = async (workers, name, inputs) => {
  const pool = new Piscina({
    filename: new URL("./executor-jobs.mjs", import.meta.url).href,
    minThreads: workers,
    maxThreads: workers,
    recordTiming: false
  })
  await Promise.all(Array.from({ length: workers }, () => pool.run(100, { name: "nap" })))
  const begun = performance.now()
  await Promise.all(inputs.map((input) => pool.run(input, { name })))
  console.log(performance.now() - begun)
  await pool.destroy()
}

const programs = {
  tiny: () => jobs({}),
  chunk: () => jobs({ chunk: 512 }),
  run: () =>
    Effect.gen(function* () {
      yield* warm(2)
      const job = Job.fromFunction(next)
      const all = Gather.gather(Array.from({ length: given }, (_, i) => Executor.run(job, i)))
      const [ms] = yield* timed(all)
      yield* say(ms)
    }).pipe(on(2)),
  cpu: () =>
    Effect.gen(function* () {
      yield* warm(given)
      const [ms] = yield* timed(
        Stream.runDrain(MapJobs.map(Job.fromFunction(burn), [1, 2, 3, 4, 5, 6, 7, 8]))
      )
      yield* say(ms)
    }).pipe(on(given)),
  move: () => mean(() => new Uint8Array(given)),
  copy: () => mean(() => new Uint8Array(given)),
  late: () =>
    Effect.gen(function* () {
      yield* warm(2)
      const job = Job.fromFunction((until) => {
        while (Date.now() < until);
      })
      const busy = Stream.runDrain(
        MapJobs.map(
          job,
          Array.from({ length: 64 }, () => Date.now() + 3000)
        )
      )
      const fiber = yield* Effect.fork(busy)
      const late = []
      for (let i = 0; i < 200; i++) {
        const begun = performance.now()
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 10)))
        late.push(performance.now() - begun - 10)
      }
      yield* say(late.sort((a, b) => a - b)[100])
      yield* Effect.asVoid(fiber)
    }).pipe(on(2)),
  piscina: () =>
    Effect.promise(() =>
      piscina(
        2,
        "next",
        Array.from({ length: given }, (_, i) => i)
      )
    ),
  "piscina-cpu": () => Effect.promise(() => piscina(given, "burn", [1, 2, 3, 4, 5, 6, 7, 8]))
}
Effect.runFork(programs[what]())
