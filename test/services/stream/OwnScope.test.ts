import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, type Scope, Stream } from "effect"
import * as Downloader from "../../../src/services/download/Downloader.js"
import * as Downloads from "../../../src/services/download/Downloads.js"
import * as SystemLoad from "../../../src/services/host/SystemLoad.js"
import * as Jobs from "../../../src/services/job/Jobs.js"
import * as Processes from "../../../src/services/process/Processes.js"
import * as InlineExecutor from "../../../src/services/thread/InlineExecutor.js"
import * as Job from "../../../src/services/thread/Job.js"
import * as MapJobs from "../../../src/services/thread/MapJobs.js"

describe("a stream over a caller's input", () => {
  type Input = Stream.Stream<never, never, Scope.Scope>
  const layer = Layer.mergeAll(Downloader.layer, InlineExecutor.layer, SystemLoad.layer, Processes.layer)
  type Services = Layer.Layer.Success<typeof layer>
  const streams: ReadonlyArray<
    readonly [string, (input: Input) => Stream.Stream<unknown, unknown, Services | Scope.Scope>]
  > = [
    [
      "MapJobs.each",
      (input) =>
        MapJobs.each(
          Job.fromFunction((n: number) => n),
          input
        )
    ],
    [
      "MapJobs.map",
      (input) =>
        MapJobs.map(
          Job.fromFunction((n: number) => n),
          input
        )
    ],
    ["Downloads.downloads", (input) => Downloads.downloads(input)],
    ["Jobs.stream", (input) => Jobs.stream(input)],
    ["Jobs.run", (input) => Stream.fromEffect(Jobs.run(input, { deliver: () => Effect.void }))]
  ]
  it.live.each(streams)("%s leaves open resources that the input acquired in the caller's scope", ([, run]) =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const note = (text: string) => Effect.sync(() => void log.push(text))
      const input = Stream.drain(Stream.fromEffect(Effect.acquireRelease(note("open"), () => note("close"))))
      yield* run(input).pipe(Stream.runDrain, Effect.zipRight(note("use")), Effect.scoped)
      assert.deepStrictEqual(log, ["open", "use", "close"])
    }).pipe(Effect.provide(layer))
  )
})
