import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Context, Effect, Either, Exit, Fiber, Layer, Scope, Stream } from "effect"
import * as Queue from "../../../src/services/cluster/internal/queue.js"
import * as Runner from "../../../src/services/cluster/Runner.js"
import * as Store from "../../../src/services/cluster/Store.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import * as MapJobs from "../../../src/services/thread/MapJobs.js"
import * as Aio from "../../support/Aio.js"
import { job, lines, place, quiet, runnerOf, submitter, until } from "./clusterPlace.js"

// Results and arguments that are too large for a row, in a folder as storage.

afterAll(Aio.removeFolders)

const kibibyte = 1024
const setup = () => {
  const at = place()
  const storage = join(at.folder, "objects")
  const folder = join(storage, "aio-jobs")
  return {
    at,
    storage,
    objects: () => (existsSync(folder) ? readdirSync(folder) : []),
    fileOf: (name: string) => join(folder, name),
    runner: (options: Partial<Runner.Options> = {}) =>
      runnerOf(at, { storage, maxResult: kibibyte, ...options }),
    large: job<(bytes: number) => string>(at, "large"),
    sizeOf: job<(text: string) => number>(at, "sizeOf")
  }
}
/** The settings of a submitter that another one continues, and the id of its run. */
const resumable = () => {
  let run = ""
  const onRun = (id: string) =>
    Effect.sync(() => {
      run = id
    })
  return { options: { resumable: true, onRun }, run: () => run }
}

describe("values beyond their size", () => {
  it.live("results go through the storage, and none is left", () => {
    const { at, large, objects, runner, storage } = setup()
    return Effect.gen(function* () {
      const sizes = [10, 5_000_000, 2000, 20]
      for (const chunk of [1, 4]) {
        const all = yield* Stream.runCollect(MapJobs.map(large, sizes, { chunk }))
        expect([...all].map(({ length }) => length)).toEqual(sizes)
      }
      // Before the run has ended.
      yield* until(() => objects().length === 0)
      expect(existsSync(storage)).toBe(true)
    }).pipe(Effect.provide([submitter(at, { storage }), runner()]))
  })

  it.live("arguments go through the storage, and none is left", () => {
    const { at, objects, runner, sizeOf, storage } = setup()
    return Effect.gen(function* () {
      const sizes = [10, 2_000_000, 2000]
      for (const chunk of [1, 3]) {
        const inputs = sizes.map((size) => "x".repeat(size))
        expect([...(yield* Stream.runCollect(MapJobs.map(sizeOf, inputs, { chunk })))]).toEqual(sizes)
      }
      yield* until(() => objects().length === 0)
      expect(existsSync(storage)).toBe(true)
    }).pipe(Effect.provide([submitter(at, { storage, maxSize: kibibyte }), runner()]))
  })

  it.live("of a run that is continued are there for the next submitter, and go with its end", () => {
    const { at, objects, runner, sizeOf, storage } = setup()
    const { options, run } = resumable()
    const inputs = [3000, 10, 4000].map((size) => "x".repeat(size))
    const all = (continued: object) =>
      Stream.runCollect(MapJobs.map(sizeOf, inputs)).pipe(
        Effect.provide(submitter(at, { storage, maxSize: kibibyte, ...continued }))
      )
    return Effect.gen(function* () {
      const killed = yield* Scope.make()
      const first = yield* Layer.buildWithScope(
        submitter(at, { storage, maxSize: kibibyte, ...options }),
        killed
      )
      yield* Layer.build(runner())
      expect(yield* Executor.run(sizeOf, inputs[0]!).pipe(Effect.provide(first))).toBe(3000)
      expect(objects()).toHaveLength(1)
      const other = yield* Effect.flip(
        Executor.run(sizeOf, "y".repeat(3000)).pipe(
          Effect.provide(submitter(at, { storage, maxSize: kibibyte, run: run() }))
        )
      )
      expect(other.message).toContain(`input 1 is not that of the run ${run()}`)
      expect([...(yield* all({ run: run() }))]).toEqual([3000, 10, 4000])
      expect(objects()).toEqual([])
      yield* Scope.close(killed, Exit.void)
    }).pipe(Effect.scoped)
  })

  it.live("an object that is gone, or is another one, fails its job and no other", () => {
    const { at, fileOf, large, objects, runner, storage } = setup()
    const { options, run } = resumable()
    const sizes = [3000, 4000, 10]
    const results = (by: Layer.Layer<Executor.Executor, unknown>) =>
      Effect.map(Stream.runCollect(MapJobs.each(large, sizes)).pipe(Effect.provide(by)), (all) =>
        [...all].map(({ result }) =>
          Either.match(result, { onLeft: (error) => error.message, onRight: ({ length }) => length })
        )
      )
    return Effect.gen(function* () {
      yield* Layer.build(runner())
      const first = yield* Layer.build(submitter(at, { storage, ...options }))
      expect(yield* results(Layer.succeedContext(first))).toEqual(sizes)
      const [gone, other] = objects().sort()
      rmSync(fileOf(gone!))
      writeFileSync(fileOf(other!), "y".repeat(5000))
      // Continued by one that is killed, too, and by one without the storage.
      const second = yield* Layer.build(submitter(at, { storage, run: run() }))
      expect(yield* results(Layer.succeedContext(second))).toEqual([
        expect.stringMatching(
          /^the result of job jobs\.mjs#large cannot cross .*: storage: there is no 'aio-jobs\//
        ),
        expect.stringMatching(/: the object 'aio-jobs\/.*' is not the one that was stored, of 4\.0 KiB /),
        10
      ])
      const third = yield* Layer.build(submitter(at, { run: run() }))
      expect(yield* results(Layer.succeedContext(third))).toEqual([
        expect.stringContaining("it is in a storage, and none is given here; expected --storage"),
        expect.stringContaining("it is in a storage"),
        10
      ])
    }).pipe(Effect.scoped)
  })

  it.live("a runner without the storage fails a job whose arguments are there", () => {
    const { at, sizeOf, storage } = setup()
    return Effect.gen(function* () {
      const error = yield* Effect.flip(Executor.run(sizeOf, "x".repeat(3000)))
      expect(error.message).toContain("its inputs cannot be read: it is in a storage, and none is given here")
    }).pipe(Effect.provide([submitter(at, { storage, maxSize: kibibyte }), runnerOf(at)]))
  })

  it.live("a storage that refuses fails the job, with its reason", () => {
    const { at, large, runner, sizeOf } = setup()
    const file = join(at.folder, "file")
    writeFileSync(file, "")
    return Effect.gen(function* () {
      const result = yield* Effect.flip(Executor.run(large, 3000))
      expect(result).toMatchObject({ _tag: "NotSerializable", part: "result" })
      expect(result.message).toMatch(/: storage: .*(EEXIST|ENOTDIR)/)
      const sent = yield* Effect.flip(Executor.run(sizeOf, "x".repeat(3000)))
      expect(sent).toMatchObject({ _tag: "NotSerializable", part: "arguments" })
      expect(yield* Executor.run(large, 10)).toHaveLength(10)
    }).pipe(
      Effect.provide([
        submitter(at, { storage: file, maxSize: kibibyte, patience: 100 }),
        runner({ storage: file, patience: "2 seconds" })
      ])
    )
  })

  it.live("refuses a storage that is none", () => {
    const { at } = setup()
    return Effect.gen(function* () {
      for (const [storage, message] of [
        ["gs://bucket", "storage: 'gs:…' is no storage; expected a folder or s3://BUCKET"],
        ["s3://key:secret@bucket", "storage: 's3:…' is no storage; expected a folder or s3://BUCKET"],
        ["s3://bucket", "S3_ENDPOINT: is not set; s3://BUCKET needs it"]
      ] as const) {
        const builds = [
          Effect.asVoid(Layer.build(submitter(at, { storage }))),
          Effect.asVoid(Layer.build(runnerOf(at, { storage })))
        ]
        for (const build of builds)
          expect(yield* Effect.flip(build)).toMatchObject({
            _tag: "RunError",
            message,
            exitCode: 2
          })
      }
    }).pipe(Effect.scoped)
  })

  it.live("of a job that is cancelled, and of a run that ends, are removed by the submitter", () => {
    const { at, objects, runner, sizeOf, storage } = setup()
    return Effect.gen(function* () {
      const settings = { storage, maxSize: kibibyte }
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(Executor.run(sizeOf, "x".repeat(3000)))
        yield* until(() => objects().length === 1)
        yield* Effect.sleep(50)
        yield* Fiber.interrupt(fiber)
        yield* until(() => objects().length === 0)
      }).pipe(Effect.provide(submitter(at, settings)))
      const { options } = resumable()
      yield* Effect.gen(function* () {
        yield* Layer.build(runner())
        expect(yield* Executor.run(sizeOf, "x".repeat(3000))).toBe(3000)
        expect(objects()).toHaveLength(1)
      }).pipe(Effect.provide(submitter(at, { ...settings, ...options })))
      expect(objects()).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(quiet))
  })

  it.live("of a run whose submitter is gone are removed by a runner", () => {
    const { at, large, objects, runner, storage } = setup()
    const { options, run } = resumable()
    return Effect.gen(function* () {
      const killed = yield* Layer.build(submitter(at, { storage, ...options }))
      yield* Layer.build(runner({ heartbeat: 20 }))
      expect(yield* Executor.run(large, 3000).pipe(Effect.provide(killed))).toHaveLength(3000)
      expect(objects()).toHaveLength(1)
      const store = yield* Store.open({ _tag: "Sqlite", file: at.store }, [Queue.tables])
      // As a runner does that has not heard of the submitter for a minute.
      yield* Queue.make(store).abandon(run(), 0)
      yield* until(() => objects().length === 0)
      const left = store.use((sql) => sql`SELECT run FROM aio_stored`)
      yield* Effect.repeat(Effect.zipLeft(left, Effect.sleep(5)), {
        until: ({ length }) => length === 0,
        times: 1000
      })
      expect(yield* left).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(quiet))
  })

  it.live("the late result of a runner that was declared dead is removed by this runner", () => {
    const { at, objects, runner, storage } = setup()
    const file = join(at.folder, "ran")
    const go = join(at.folder, "go")
    return Effect.gen(function* () {
      const slow = yield* Layer.build(runner({ heartbeat: "2 seconds" }))
      const held = job<(about: object) => string>(at, "heldLarge")
      const { options } = resumable()
      const by = yield* Layer.build(submitter(at, { storage, ...options }))
      const result = yield* Effect.fork(
        Executor.run(held, { file, n: 1, until: go, bytes: 3000 }).pipe(Effect.provide(by))
      )
      yield* until(() => lines(file).length === 1)
      yield* Layer.build(runner({ heartbeat: 50 }))
      yield* until(() => lines(file).length === 2)
      writeFileSync(go, "")
      expect(yield* Fiber.join(result)).toHaveLength(3000)
      const { snapshot } = Context.get(slow, Runner.Runner)
      yield* Effect.repeat(Effect.zipLeft(snapshot, Effect.sleep(5)), {
        until: ({ dropped, held }) => dropped === 1 && held === 0,
        times: 2000
      })
      yield* until(() => objects().length === 1)
    }).pipe(Effect.scoped, Effect.provide(quiet))
  })
})
