import { describe, expect, it } from "@effect/vitest"
import { Cause, Chunk, Deferred, Effect, Exit, Fiber, Layer, Stream } from "effect"
import * as Signals from "../../../src/services/host/Signals.js"
import { doneInOrder } from "../../../src/services/record/internal/doneInOrder.js"
import type * as MapRecords from "../../../src/services/record/MapRecords.js"
import * as RecordRun from "../../../src/services/record/RecordRun.js"
import type * as Records from "../../../src/services/record/Records.js"
import * as Splitter from "../../../src/services/record/Splitter.js"
import * as Tail from "../../../src/services/record/Tail.js"
import * as Checkpoints from "../../../src/services/stream/Checkpoints.js"

const source = (text: string): RecordRun.InputSource<never> => ({
  _tag: "Input",
  name: "numbers",
  bytes: Stream.make(new TextEncoder().encode(text))
})
const numbers = source("1\n2\n3\n4\n5\n")

const texts = (outcomes: Chunk.Chunk<MapRecords.RecordOutcome>) =>
  Chunk.toReadonlyArray(outcomes)
    .flatMap(RecordRun.recordsOf)
    .map(({ text }) => text)

const layer = (files?: Map<string, Checkpoints.Checkpoint | "broken">) =>
  Layer.merge(Checkpoints.layerTest(files), Tail.layerTest({}))

describe("RecordRun.run", () => {
  const run = (options: Partial<RecordRun.RunOptions>, from: RecordRun.Source<never> = numbers) =>
    Effect.map(
      Stream.runCollect(RecordRun.run(from, (value) => value, { format: "ndjson", ...options })),
      texts
    )

  it.effect("skips, takes, and reads nothing if nothing is to be taken", () =>
    Effect.gen(function* () {
      expect(yield* run({})).toEqual(["1", "2", "3", "4", "5"])
      expect(yield* run({ skip: 1, take: 2 })).toEqual(["2", "3"])
      const unread = { ...numbers, bytes: Stream.die("read") } as RecordRun.Source<never>
      expect(yield* run({ take: 0 }, unread)).toEqual([])
    }).pipe(Effect.provide(layer()))
  )

  it.live("resumes after the last record up to which all are done, whatever completes first", () => {
    const files = new Map<string, Checkpoints.Checkpoint | "broken">()
    const options = {
      format: "ndjson",
      checkpoint: "kept",
      concurrency: 2,
      unordered: true,
      onFailure: "cancel"
    } as const
    return Effect.gen(function* () {
      // The first record never completes, so what overtakes it is not a place to resume at.
      const stuck = (value: unknown) => (value === 1 ? Effect.never : Effect.succeed(value))
      const seen = yield* RecordRun.run(numbers, stuck, options).pipe(Stream.take(3), Stream.runCollect)
      expect(texts(seen)).toEqual(["2", "3", "4"])
      expect(files.get("kept")).toBeUndefined()
      const first = yield* RecordRun.run(numbers, (value) => value, { ...options, take: 3 }).pipe(
        Stream.runCollect
      )
      expect(texts(first).sort()).toEqual(["1", "2", "3"])
      const rest = yield* RecordRun.run(numbers, (value) => value, options).pipe(Stream.runCollect)
      expect(texts(rest).sort()).toEqual(["4", "5"])
      const other = RecordRun.run(source("7\n8\n9\n10\n11\n12\n"), (value) => value, options)
      expect(yield* Effect.flip(Stream.runDrain(other))).toMatchObject({
        _tag: "CheckpointError",
        detail: "it is of another input: this one begins with something else"
      })
    }).pipe(Effect.provide(layer(files)))
  })
})

describe("RecordRun.reported", () => {
  const lines = (event: RecordRun.RunEvent): ReadonlyArray<string> => {
    if (event.event === "results") {
      const written = event.outcomes.map((outcome) => RecordRun.recordsOf(outcome).map(({ text }) => text))
      return [`${event.records} results: ${written.join(" ")}`]
    }
    if (event.event === "summary") {
      const { cancelled, exitCode, failed, results, succeeded, timed_out } = event
      const counts = [succeeded, failed, cancelled, timed_out].join(" ")
      return [`summary: ${counts}, ${results} results, exit code ${exitCode}`]
    }
    if (event.event === "finished") return [`${event.status} ${event.index}: ${event.reason}`]
    if (event.event === "refused") return [`refused ${event.index}: ${event.reason}`]
    return [event.event]
  }
  const reported = (
    f: (value: unknown) => unknown,
    options: Partial<RecordRun.ReportedOptions> = {},
    from = numbers
  ) => {
    const log: Array<string> = []
    const report = (events: ReadonlyArray<RecordRun.RunEvent>) => {
      log.push(...events.flatMap(lines))
      return Effect.void
    }
    return { log, run: RecordRun.reported(from, f, { format: "ndjson", ...options, report }) }
  }
  const noThree = (value: unknown) => {
    if (value === 3) throw new Error("no three")
    return value === 4 ? undefined : value
  }
  const services = (files?: Map<string, Checkpoints.Checkpoint | "broken">) =>
    Layer.mergeAll(layer(files), Signals.layerTest)

  it.effect("reports results by chunk, failures at their place, and a summary with the exit code", () =>
    Effect.gen(function* () {
      const { log, run } = reported(noThree, { onFailure: "continue" })
      expect(yield* run).toBe(1)
      expect(log).toEqual([
        "2 results: 1 2",
        "failed 3: no three",
        "2 results: 4 5",
        "summary: 4 1 0 0, 3 results, exit code 1"
      ])
      const batches = reported((all) => all, { batch: { size: 2 } })
      expect(yield* batches.run).toBe(0)
      expect(batches.log.at(-1)).toBe("summary: 5 0 0 0, 5 results, exit code 0")
    }).pipe(Effect.provide(services()))
  )

  it.live("ends at a failure, and at a record that is not one of its format, with the summary last", () =>
    Effect.gen(function* () {
      const failing = reported(noThree)
      expect(yield* Effect.flip(failing.run)).toMatchObject({ _tag: "RecordFailed", exitCode: 1 })
      expect(failing.log).toEqual([
        "2 results: 1 2",
        "failed 3: no three",
        "summary: 2 1 0 0, 2 results, exit code 1"
      ])
      const late = reported(() => Effect.never, { timeout: 1 }, source("1\n"))
      expect(yield* Effect.flip(late.run)).toMatchObject({ exitCode: 124 })
      expect(late.log.at(-1)).toBe("summary: 0 0 0 1, 0 results, exit code 124")
      const bad = reported((value) => value, {}, source("1\n{\n"))
      expect(yield* Effect.flip(bad.run)).toMatchObject({ _tag: "RecordFailed" })
      expect(bad.log).toEqual([
        "1 results: 1",
        expect.stringMatching(/^refused 2: not JSON/),
        "summary: 1 1 0 0, 1 results, exit code 2"
      ])
      const header = reported((value) => value, { format: "csv" }, source("a,a\n"))
      expect(yield* Effect.flip(header.run)).toMatchObject({ _tag: "RecordFailed" })
      expect(header.log).toEqual([])
    }).pipe(Effect.provide(services()))
  )

  const stoppedBy = (signal: Signals.Name, options: Partial<RecordRun.ReportedOptions>) =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const { log, run } = reported(
        (value) =>
          Effect.as(Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(gate)), value),
        options
      )
      const fiber = yield* Effect.fork(run)
      yield* Deferred.await(begun)
      const { send } = yield* Signals.Source
      yield* send(Signals.signal(signal))
      yield* Fiber.interruptFork(fiber)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      yield* Deferred.succeed(gate, undefined)
      return { exit: yield* Fiber.await(fiber), log }
    })

  it.effect(
    "finishes records in progress after SIGINT, begins no other one, and keeps its checkpoint",
    () => {
      const files = new Map<string, Checkpoints.Checkpoint | "broken">()
      return Effect.gen(function* () {
        const { exit, log } = yield* stoppedBy("SIGINT", { checkpoint: "kept" })
        expect(Exit.isInterrupted(exit)).toBe(true)
        expect(log).toEqual(["1 results: 1", "summary: 1 0 0 0, 1 results, exit code 130"])
        expect(files.get("kept")).toMatchObject({ position: { index: 1 } })
      }).pipe(Effect.provide(services(files)))
    }
  )

  it.effect("fails when the checkpoint cannot be written after SIGINT", () =>
    Effect.gen(function* () {
      const { exit } = yield* stoppedBy("SIGINT", { checkpoint: "kept" })
      const failures = Exit.isFailure(exit) ? Chunk.toReadonlyArray(Cause.failures(exit.cause)) : []
      expect(failures).toMatchObject([{ _tag: "CheckpointError", detail: "no space" }])
    }).pipe(
      Effect.provideService(Checkpoints.Checkpoints, {
        read: () => Effect.succeedNone,
        write: (path) => Effect.fail(new Checkpoints.CheckpointError({ path, detail: "no space" }))
      }),
      Effect.provide(services())
    )
  )

  it.effect("cancels records in progress at another signal, and says why", () =>
    Effect.gen(function* () {
      const { exit, log } = yield* stoppedBy("SIGTERM", { concurrency: 2 })
      expect(Exit.isInterrupted(exit)).toBe(true)
      expect(log).toEqual([
        "cancelled 1: SIGTERM",
        "cancelled 2: SIGTERM",
        "summary: 0 0 2 0, 0 results, exit code 143"
      ])
    }).pipe(Effect.provide(services()))
  )

  it.effect("has no summary where the reader of stdout has left", () =>
    Effect.gen(function* () {
      expect((yield* stoppedBy("SIGPIPE", {})).log).toEqual(["cancelled 1: SIGPIPE"])
    }).pipe(Effect.provide(services()))
  )
})

describe("doneInOrder", () => {
  it("returns the last record up to which all are done", () => {
    const splitter = Splitter.make({ format: "lines" })
    const all = splitter.push(new TextEncoder().encode("a\nb\nc\nd\n"))
    const finish = doneInOrder(1)
    const done = (...at: ReadonlyArray<number>): Records.Record | undefined => finish(at.map((i) => all[i]!))
    expect(done(1)).toBeUndefined()
    expect(done(0)).toBe(all[1])
    expect(done(3)).toBe(all[1])
    expect(done(2)).toBe(all[3])
  })
})
