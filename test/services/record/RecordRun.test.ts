import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Layer, Stream } from "effect"
import { doneInOrder } from "../../../src/services/record/internal/doneInOrder.js"
import type * as MapRecords from "../../../src/services/record/MapRecords.js"
import * as RecordRun from "../../../src/services/record/RecordRun.js"
import type * as Records from "../../../src/services/record/Records.js"
import * as Splitter from "../../../src/services/record/Splitter.js"
import * as Tail from "../../../src/services/record/Tail.js"
import * as Checkpoints from "../../../src/services/stream/Checkpoints.js"

const source = (text: string): RecordRun.Source<never> => ({
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
  const run = (options: Partial<RecordRun.RunOptions>, from = numbers) =>
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
      ordered: false,
      onError: "stop"
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
      expect(yield* Effect.flip(Stream.runDrain(other))).toMatchObject({ _tag: "OtherInput" })
    }).pipe(Effect.provide(layer(files)))
  })
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
