import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Context, Effect, Either, Exit, Fiber, FiberRef, Layer, Scope, Stream } from "effect"
import * as ClusterStatus from "../../../src/services/cluster/ClusterStatus.js"
import * as Runner from "../../../src/services/cluster/Runner.js"
import * as RunnerHealth from "../../../src/services/cluster/RunnerHealth.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import * as Job from "../../../src/services/thread/Job.js"
import * as MapJobs from "../../../src/services/thread/MapJobs.js"
import * as Aio from "../../support/Aio.js"
import { job, jobs, lines, place, quiet, range, runnerOf, submitter, until } from "./clusterPlace.js"

// Submitter and runners in the test's process, over an SQLite file. Real processes, PostgreSQL and what goes wrong between
// them: test/network/cluster.services.test.ts.

afterAll(Aio.removeFolders)

describe("ClusterExecutor", () => {
  it.live("runs jobs of modules on a runner: values, failures and results in order, chunks too", () => {
    const at = place()
    return Effect.gen(function* () {
      expect(yield* Executor.run(job<(a: string, b: string) => string>(at, "pair"), "a", "b")).toBe("a b")
      expect(yield* Executor.run(job<() => unknown>(at, "kept"))).toEqual({
        at: new Date(0),
        map: new Map([["a", 1n]])
      })
      const inc = job<(n: number) => number>(at, "inc")
      for (const chunk of [1, 7]) {
        const all = yield* Stream.runCollect(MapJobs.map(inc, range(100), { chunk }))
        expect([...all]).toEqual(range(100).map((n) => n + 1))
      }
      const odd = yield* Stream.runCollect(
        MapJobs.each(job<(n: number) => number>(at, "odd"), range(4), { chunk: 4 })
      )
      expect([...odd].map(({ result }) => Either.getOrElse(result, (error) => error.message))).toEqual([
        0,
        "job jobs.mjs#odd failed: RangeError: 1 is odd",
        2,
        "job jobs.mjs#odd failed: RangeError: 3 is odd"
      ])
    }).pipe(Effect.provide([submitter(at), runnerOf(at)]))
  })

  it.live("sends timeout, annotations and FiberRefs along, and a job learns its id", () => {
    const at = place()
    writeFileSync(
      join(at.code, "context.mjs"),
      `export const context = () => globalThis[Symbol.for("effect-asyncio/services/InJob/host")].context()
       export const endless = () => new Promise(() => setInterval(() => {}, 1000))`
    )
    const url = pathToFileURL(join(at.code, "context.mjs"))
    return Effect.gen(function* () {
      const tenant = FiberRef.unsafeMake("ada")
      const context = yield* Executor.run(Job.fromModule<() => any>(url, "context")).pipe(
        Executor.withRefs({ tenant }),
        Effect.annotateLogs("request", 7)
      )
      expect(context).toMatchObject({
        annotations: { request: 7 },
        refs: { tenant: "ada", "aio.job": expect.stringMatching(/^[\w-]{36}\/0$/) }
      })
      const error = yield* Effect.flip(
        Executor.run(Job.fromModule<() => void>(url, "endless")).pipe(Executor.withTimeout(50))
      )
      expect(error.message).toBe("job context.mjs#endless was not done in 50ms")
    }).pipe(Effect.provide([submitter(at), runnerOf(at)]))
  })

  it.live("retries a job that has failed on its runner, and counts the attempts", () => {
    const at = place()
    return Effect.gen(function* () {
      const flaky = job<(about: { n: number; times: number }) => number>(at, "flaky")
      const all = yield* Stream.runCollect(
        MapJobs.each(
          flaky,
          [0, 2, 9].map((times, n) => ({ n, times }))
        )
      )
      expect([...all].map(({ attempts, result }) => [Either.isRight(result), attempts])).toEqual([
        [true, 1],
        [true, 3],
        [false, 4]
      ])
    }).pipe(Effect.provide([submitter(at, { retries: 3, backoff: { first: 0 } }), runnerOf(at, {}, 1)]))
  })

  it.live("refuses what cannot cross: functions by source, arguments and results above their size", () => {
    const at = place()
    return Effect.gen(function* () {
      const shipped = yield* Effect.flip(Executor.blocking(() => 1))
      expect(shipped).toMatchObject({ _tag: "NotSerializable", part: "function" })
      const large = job<(bytes: number) => string>(at, "large")
      expect(yield* Executor.run(large, 1000)).toHaveLength(1000)
      const result = yield* Effect.flip(Executor.run(large, 200_000))
      expect(result).toMatchObject({
        _tag: "NotSerializable",
        part: "result",
        detail: expect.stringMatching(/^it takes 195 KiB, and at most 100 KiB goes through the store; /)
      })
      const some = yield* Stream.runCollect(MapJobs.each(large, [10, 200_000, 10], { chunk: 3 }))
      expect([...some].map(({ result }) => Either.isRight(result))).toEqual([true, false, true])
      const inc = job<(n: unknown) => unknown>(at, "inc")
      const sent = yield* Effect.flip(Executor.run(inc, "y".repeat(200_000)))
      expect(sent).toMatchObject({ _tag: "NotSerializable", part: "arguments" })
      expect(yield* Effect.flip(Executor.run(inc, () => 1))).toMatchObject({
        _tag: "NotSerializable",
        part: "arguments"
      })
    }).pipe(Effect.provide([submitter(at, { maxSize: 100 * 1024 }), runnerOf(at, { maxResult: 100 * 1024 })]))
  })

  it.live("a runner refuses a version, a file and an export that it does not have", () => {
    const at = place()
    const other = place()
    writeFileSync(other.file, `${readFileSync(jobs, "utf8")}\n// changed\n`)
    writeFileSync(join(other.code, "new.mjs"), "export const f = () => 1\n")
    const here = { ...at, code: other.code, url: other.url }
    return Effect.gen(function* () {
      const version = yield* Effect.flip(Executor.run(job<(n: number) => number>(here, "inc"), 1))
      expect(version.message).toMatch(
        /^job jobs\.mjs#inc is refused: no runner of group default can run it: it has version \w{8} of jobs\.mjs, and the job asks for \w{8}$/
      )
      const file = yield* Effect.flip(
        Executor.run(Job.fromModule<() => number>(pathToFileURL(join(other.code, "new.mjs")), "f"))
      )
      expect(file.message).toMatch(/: it has no new\.mjs: no such file$/)
      const outside = yield* Effect.flip(Executor.run(job<(n: number) => number>(at, "inc"), 1))
      expect(outside.message).toMatch(/ is not in the folder of the code, /)
      expect((yield* ClusterStatus.read(at.store)).runs).toHaveLength(2)
    }).pipe(Effect.provide([submitter(here), runnerOf(at)]), Effect.provide(quiet))
  })

  it.live("an export that is not there fails its job", () => {
    const at = place()
    return Effect.gen(function* () {
      for (const name of ["nothing", "constructor"]) {
        const error = yield* Effect.flip(Executor.run(job<() => void>(at, name)))
        expect(error).toMatchObject({ _tag: "JobFailed" })
        expect(error.message).toContain(name)
      }
    }).pipe(Effect.provide([submitter(at), runnerOf(at)]))
  })

  it.live("an interrupted job is cancelled on its runner, and nothing of an ended run is left", () => {
    const at = place()
    const file = join(at.folder, "ran")
    return Effect.gen(function* () {
      const runner = yield* Layer.build(runnerOf(at))
      yield* Effect.gen(function* () {
        const held = job<(about: object) => number>(at, "held")
        const fiber = yield* Effect.fork(Executor.run(held, { file, n: 1, until: join(at.folder, "never") }))
        yield* until(() => lines(file).length === 1)
        yield* Fiber.interrupt(fiber)
        const { snapshot } = Context.get(runner, Runner.Runner)
        yield* Effect.repeat(Effect.zipLeft(snapshot, Effect.sleep(5)), {
          until: ({ held }) => held === 0,
          times: 2000
        })
        expect(yield* snapshot).toMatchObject({ held: 0, recorded: 0, dropped: 1 })
      }).pipe(Effect.provide(submitter(at)))
      expect((yield* ClusterStatus.read(at.store)).runs).toEqual([])
    }).pipe(Effect.scoped)
  })

  it.live(
    "a run is continued by its id: what has a result does not run again, other inputs are refused",
    () => {
      const at = place()
      const file = join(at.folder, "ran")
      const inputs = (some: ReadonlyArray<number>) => some.map((n) => ({ file, n, ms: 0 }))
      return Effect.gen(function* () {
        yield* Layer.build(runnerOf(at))
        const noted = job<(about: object) => number>(at, "noted")
        let run = ""
        // A submitter that is killed closes nothing.
        const killed = yield* Scope.make()
        const first = yield* Layer.buildWithScope(
          submitter(at, {
            resumable: true,
            onRun: (id) =>
              Effect.sync(() => {
                run = id
              })
          }),
          killed
        )
        const some = yield* Stream.runCollect(MapJobs.map(noted, inputs(range(10)))).pipe(
          Effect.provide(first)
        )
        expect([...some]).toEqual(range(10))
        const again = yield* Stream.runCollect(MapJobs.map(noted, inputs(range(20)))).pipe(
          Effect.provide(submitter(at, { run }))
        )
        expect([...again]).toEqual(range(20))
        expect(lines(file)).toEqual(expect.arrayContaining(range(20)))
        expect(lines(file)).toHaveLength(20)
        // The one that was taken over is told, and ends nothing.
        const lost = yield* Effect.flip(Executor.run(noted, inputs([99])[0]!)).pipe(Effect.provide(first))
        expect(lost.message).toContain(`the run ${run} was ended, or is continued by another process`)
        yield* Scope.close(killed, Exit.void)
        const gone = yield* Effect.flip(Layer.build(submitter(at, { run })))
        expect(gone).toMatchObject({ _tag: "RunError", exitCode: 2 })
      }).pipe(Effect.scoped)
    }
  )

  it.live("a run that is continued refuses other inputs and another function", () => {
    const at = place()
    return Effect.gen(function* () {
      let run = ""
      const first = yield* Layer.build(
        submitter(at, {
          resumable: true,
          onRun: (id) =>
            Effect.sync(() => {
              run = id
            })
        })
      )
      const inc = job<(n: number) => number>(at, "inc")
      yield* Layer.build(runnerOf(at))
      expect(yield* Executor.run(inc, 1).pipe(Effect.provide(first))).toBe(2)
      const other = yield* Effect.flip(Executor.run(inc, 5)).pipe(Effect.provide(submitter(at, { run })))
      expect(other.message).toContain(`input 1 is not that of the run ${run}`)
      const odd = yield* Effect.flip(Executor.run(job<(n: number) => number>(at, "odd"), 1)).pipe(
        Effect.provide(submitter(at, { run }))
      )
      expect(odd.message).toContain(`the run ${run} is of jobs.mjs#inc`)
    }).pipe(Effect.scoped)
  })

  it.live("submitters take turns: a short run is not behind a long one", () => {
    const at = place()
    const file = join(at.folder, "ran")
    return Effect.gen(function* () {
      const noted = job<(about: object) => number>(at, "noted")
      const map = (some: ReadonlyArray<number>) =>
        Stream.runDrain(
          MapJobs.map(
            noted,
            some.map((n) => ({ file, n, ms: 5 }))
          )
        )
      const long = yield* Effect.fork(map(range(200)).pipe(Effect.provide(submitter(at))))
      const status = Effect.map(ClusterStatus.read(at.store), ({ runs }) => runs[0]?.ready ?? 0)
      yield* Effect.repeat(Effect.zipLeft(status, Effect.sleep(5)), {
        until: (ready) => ready === 200,
        times: 1000
      })
      const runner = yield* Layer.build(runnerOf(at, {}, 1))
      yield* map([1000, 1001]).pipe(Effect.provide(submitter(at)))
      const before = lines(file).length
      yield* Fiber.join(long)
      expect(before).toBeLessThan(200)
      expect(yield* Context.get(runner, Runner.Runner).snapshot).toMatchObject({ recorded: 202 })
    }).pipe(Effect.scoped)
  })

  it.live("a map keeps a bounded number of rows ahead, and one job too many is refused", () => {
    const at = place()
    return Effect.gen(function* () {
      let read = 0
      const endless = Stream.tap(
        Stream.iterate(0, (n) => n + 1),
        () => Effect.sync(() => void read++)
      )
      const inc = job<(n: number) => number>(at, "inc")
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(Stream.runDrain(MapJobs.map(inc, Stream.rechunk(endless, 1))))
        const status = Effect.map(ClusterStatus.read(at.store), ({ runs }) => runs[0]?.ready ?? 0)
        yield* Effect.repeat(Effect.zipLeft(status, Effect.sleep(5)), {
          until: (ready) => ready === 32,
          times: 1000
        })
        expect(read).toBeLessThan(40)
        yield* Fiber.interrupt(fiber)
        const many = yield* Effect.fork(
          Effect.all(
            range(40).map((n) => Executor.run(inc, n)),
            { concurrency: "unbounded" }
          )
        )
        const exit = yield* Fiber.await(many)
        expect(String(exit)).toContain("QueueFull")
      }).pipe(Effect.provide(submitter(at, { maxWorkers: 2, capacity: 32 })))
    }).pipe(Effect.provide(quiet))
  })
})

describe("Runner", () => {
  it.live(
    "gives running jobs the grace period, and returns the others to the queue without counting them",
    () => {
      const at = place()
      const file = join(at.folder, "ran")
      const go = join(at.folder, "go")
      return Effect.gen(function* () {
        const held = job<(about: object) => number>(at, "held")
        const scope = yield* Scope.make()
        const first = yield* Layer.buildWithScope(runnerOf(at, { grace: "20 seconds" }, 1), scope)
        const all = yield* Effect.fork(
          Stream.runCollect(
            MapJobs.map(
              held,
              range(4).map((n) => ({ file, n, until: go }))
            )
          ).pipe(Effect.provide(submitter(at)))
        )
        yield* until(() => lines(file).length === 1)
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        const { isHealthy: _, snapshot } = Context.get(first, Runner.Runner)
        yield* Effect.repeat(Effect.zipLeft(snapshot, Effect.sleep(5)), {
          until: ({ held, isDraining }) => isDraining && held === 1,
          times: 1000
        })
        writeFileSync(go, "")
        yield* Fiber.join(closing)
        expect((yield* snapshot).recorded).toBe(1)
        yield* Layer.build(runnerOf(at))
        expect([...(yield* Fiber.join(all))]).toEqual(range(4))
        // The one that ran was not run again.
        expect(lines(file).sort()).toEqual(range(4))
        expect((yield* ClusterStatus.read(at.store)).poison).toEqual([])
      }).pipe(Effect.scoped)
    }
  )

  it.live("a job whose runner has stood still runs elsewhere, and the late result is dropped", () => {
    const at = place()
    const file = join(at.folder, "ran")
    const go = join(at.folder, "go")
    return Effect.gen(function* () {
      // Its heartbeat is so slow that the others take it for dead.
      const slow = yield* Layer.build(runnerOf(at, { heartbeat: "2 seconds" }, 1))
      const held = job<(about: object) => number>(at, "held")
      const result = yield* Effect.fork(
        Executor.run(held, { file, n: 1, until: go }).pipe(Effect.provide(submitter(at)))
      )
      yield* until(() => lines(file).length === 1)
      const quick = yield* Layer.build(runnerOf(at, { heartbeat: 50 }, 1))
      yield* until(() => lines(file).length === 2)
      writeFileSync(go, "")
      expect(yield* Fiber.join(result)).toBe(1)
      expect(yield* Context.get(quick, Runner.Runner).snapshot).toMatchObject({ buried: 1, recorded: 1 })
      const { snapshot } = Context.get(slow, Runner.Runner)
      yield* Effect.repeat(Effect.zipLeft(snapshot, Effect.sleep(5)), {
        until: ({ evicted }) => evicted === 1,
        times: 2000
      })
      expect(yield* snapshot).toMatchObject({ recorded: 0, dropped: 1, held: 0 })
    }).pipe(Effect.scoped, Effect.provide(quiet))
  })

  it.live("shows its health and metrics without the store's address", () => {
    const at = place()
    return Effect.gen(function* () {
      const port = yield* RunnerHealth.serve({})
      const get = (path: string) =>
        Effect.promise(async () => {
          const response = await fetch(`http://127.0.0.1:${port}${path}`)
          return [response.status, await response.text()] as const
        })
      const [status, health] = yield* get("/health")
      expect(status).toBe(200)
      expect(JSON.parse(health)).toMatchObject({ status: "ok", group: "default", held: 0 })
      const [, metrics] = yield* get("/metrics")
      expect(metrics).toContain("\naio_runner_workers 2\n")
      expect(health + metrics).not.toContain(at.folder)
    }).pipe(Effect.scoped, Effect.provide(runnerOf(at)))
  })

  it.live(
    "does not leave the folder of its code: links, packages and other kinds of file are no jobs",
    () => {
      const at = place()
      const other = place()
      // The submitter's folder has real files where the runner's has a link, a package and a text.
      mkdirSync(join(other.code, "node_modules"))
      mkdirSync(join(at.code, "node_modules"))
      const source = "export const f = () => 1\n"
      const outside = join(at.folder, "outside.mjs")
      writeFileSync(outside, source)
      symlinkSync(outside, join(at.code, "link.mjs"))
      for (const name of ["link.mjs", "node_modules/p.mjs", "data.txt"])
        writeFileSync(join(other.code, name), source)
      for (const name of ["node_modules/p.mjs", "data.txt"]) writeFileSync(join(at.code, name), source)
      return Effect.gen(function* () {
        for (const [name, why] of [
          ["link.mjs", "it is a link out of the folder"],
          ["node_modules/p.mjs", "a job names a file of its code by a path within the folder"],
          ["data.txt", "it is no JavaScript or TypeScript file"]
        ] as const) {
          const error = yield* Effect.flip(
            Executor.run(Job.fromModule<() => number>(pathToFileURL(join(other.code, name)), "f"))
          )
          expect(error.message).toContain(`it has no ${name}: ${why}`)
        }
      }).pipe(Effect.provide([submitter({ ...at, code: other.code }), runnerOf(at)]), Effect.provide(quiet))
    }
  )

  it.live("refuses a store that is none, and a group without a name", () => {
    const at = place()
    return Effect.gen(function* () {
      const wrong = yield* Effect.flip(Layer.build(runnerOf({ ...at, store: "redis://localhost" })))
      expect(wrong).toMatchObject({
        exitCode: 2,
        message: expect.stringContaining("is no store; expected FILE")
      })
      const group = yield* Effect.flip(Layer.build(runnerOf(at, { group: 'a"; DROP' })))
      expect(group.message).toMatch(/^'a"; DROP' is no group; expected letters/)
    }).pipe(Effect.scoped)
  })
})
