import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as LongRunning from "../src/programs/LongRunning.js"
import * as MapRecords from "../src/services/record/MapRecords.js"
import * as ReadRecords from "../src/services/record/ReadRecords.js"
import * as MapConcurrent from "../src/services/stream/MapConcurrent.js"
import * as Pacing from "../src/services/stream/Pacing.js"
import * as Supervisor from "../src/services/supervision/Supervisor.js"

// A function of the contract whose first parameter is an effect or a stream, and which has a second one: it needs a
// data-last form for `pipe`. Its declaration is then a type with two signatures.
const dataFirst =
  /^export declare (?:const (\w+): |function (\w+))(?:<.*?>)?\(\w+: (?:Effect\.Effect|Stream\.Stream)<[^()]*>, /

describe("data-last forms", () => {
  it("exist for all that takes an effect or a stream first", () => {
    const api = readFileSync(new URL("../api.txt", import.meta.url), "utf8")
    const missing: Array<string> = []
    let module = ""
    for (const line of api.split("\n")) {
      module = /^# effect-asyncio\/(.*)$/.exec(line)?.[1] ?? module
      const [, name = line] = dataFirst.exec(line) ?? []
      if (name !== line) missing.push(`${module}.${name}`)
    }
    expect(api).toContain("mapConcurrent: {")
    expect(missing).toEqual([])
  })

  const numbers = Stream.make(1, 2, 3)
  const bytes = Stream.make(new TextEncoder().encode("1\n2\n"))
  const value = (text: string) => Number(text)

  it.live("give what the data-first forms give", () =>
    Effect.gen(function* () {
      const all = <A, E>(stream: Stream.Stream<A, E>) =>
        Effect.map(Stream.runCollect(stream), (got) => [...got])
      const mapped = numbers.pipe(
        MapConcurrent.mapConcurrent((n) => Effect.succeed(n * 2), { concurrency: 2 })
      )
      expect(yield* all(mapped)).toEqual([2, 4, 6])
      const ready = numbers.pipe(MapConcurrent.mapReady((n) => new MapConcurrent.Ready(n * 2)))
      expect(yield* all(ready)).toEqual([2, 4, 6])
      expect(yield* all(numbers.pipe(Pacing.batchWithin({ size: 2 })))).toEqual([[1, 2], [3]])
      expect(yield* all(numbers.pipe(Pacing.rateLimited({ limit: 1e6 })))).toEqual([1, 2, 3])
      const merged = Pacing.mergeFair()([numbers, numbers])
      expect(yield* all(merged)).toEqual([1, 1, 2, 2, 3, 3])
      expect(yield* all(bytes.pipe(ReadRecords.lines(), Stream.map(value)))).toEqual([1, 2])
      expect(
        yield* all(
          bytes.pipe(
            ReadRecords.ndjson(),
            Stream.map((record) => record.value)
          )
        )
      ).toEqual([1, 2])
      const doubled = bytes.pipe(
        ReadRecords.records({ format: "ndjson" }),
        MapRecords.mapRecords((n) => (n as number) * 2)
      )
      expect(
        yield* all(Stream.map(doubled, (outcome) => (outcome as MapRecords.MappedRecord).results))
      ).toEqual([["2"], ["4"]])
      expect(yield* Effect.flip(Effect.fail("no").pipe(LongRunning.forever(0)))).toBe("no")
      expect(yield* Effect.succeed(1).pipe(LongRunning.cancelAfter("1 hour"), Effect.flatten)).toBe(1)
      expect(yield* Effect.succeed(1).pipe(Supervisor.supervise({ restart: "never" }))).toBe(1)
    })
  )
})
