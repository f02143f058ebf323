import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Reporter from "../../../src/commands/kernel/Reporter.js"
import * as View from "../../../src/commands/loop/view.js"
import * as Output from "../../../src/services/host/Output.js"
import * as MapRecords from "../../../src/services/record/MapRecords.js"
import type * as RecordRun from "../../../src/services/record/RecordRun.js"
import type * as RecordWriter from "../../../src/services/record/RecordWriter.js"
import * as Splitter from "../../../src/services/record/Splitter.js"

const records = Splitter.make({ format: "lines" }).push(Buffer.from("a\nb\nc\n"))
const results = (outcomes: ReadonlyArray<RecordWriter.Written>): RecordRun.RunEvent => ({
  event: "results",
  records: outcomes.length,
  outcomes
})
const summary = (exitCode: number): RecordRun.RunEvent => ({
  ...{ event: "summary", succeeded: 1, failed: 1, cancelled: 0, skipped: 0, timed_out: 0 },
  ...{ results: 1, duration: 20, exitCode }
})
const make = (onGap: "warn" | "fail" = "warn", now = () => 0) =>
  View.make({ place: (line) => `line ${line} of in`, end: "\n", onGap, now })

describe("the view of aio loop", () => {
  it.each<[RecordRun.RunEvent, Reporter.Shown | undefined]>([
    [
      { event: "finished", index: 1, line: 2, status: "failed", reason: "no" },
      { failure: "Failed line 2 of in: no" }
    ],
    [
      { event: "finished", index: 1, line: 2, status: "timed_out", reason: "late" },
      { failure: "Timed out line 2 of in: late" }
    ],
    [
      { event: "finished", index: 1, line: 2, status: "cancelled", reason: "SIGTERM" },
      { note: "Cancelled line 2 of in: SIGTERM" }
    ],
    [
      { event: "retrying", index: 1, line: 2, attempt: 2, delay: 500, reason: "no" },
      { note: "line 2 of in: no; attempt 2 in 500 ms" }
    ],
    [{ event: "gap", path: "log", reason: "it was truncated" }, { failure: "log: it was truncated" }],
    [
      { event: "waiting", path: "log", reason: "it does not exist yet" },
      { note: "waiting for log: it does not exist yet" }
    ],
    [{ event: "refused", index: 1, line: 2, reason: "not JSON" }, undefined],
    [summary(1), { summary: "records  1 succeeded, 1 failed\nresults  1\ntime     20 ms" }],
    [summary(2), undefined],
    [summary(3), undefined]
  ])("shows %j", (event, shown) => {
    expect(make().show(event)).toEqual(shown)
  })

  it("leaves a gap that ends the run to the error", () => {
    expect(make("fail").show({ event: "gap", path: "log", reason: "it was truncated" })).toBeUndefined()
  })

  it("counts records for the live line", () => {
    let now = 0
    const view = make("warn", () => now)
    view.show(results(records))
    view.show({ event: "finished", index: 4, line: 4, status: "failed", reason: "no" })
    now = 2000
    expect(view.live!(80)).toEqual(["4 records, 1 failed, 2/s"])
  })

  it.effect("writes a chunk of results at once, as bytes or as events, and large ones one by one", () =>
    Effect.gen(function* () {
      const { stdout } = yield* Output.Captured
      const large = "x".repeat(1 << 24)
      const some = [records[0]!, new MapRecords.MappedRecord([records[1]!], ['"y"'])]
      const plain = yield* Reporter.make(make(), { json: false, quiet: 0 })
      yield* plain.report([results(some)])
      yield* plain.report([results([new MapRecords.MappedRecord([records[2]!], [large])])])
      expect(stdout).toEqual(['a\n"y"\n', large, "\n"])
      stdout.length = 0
      const events = yield* Reporter.make(make(), { json: true, quiet: 0 })
      yield* events.report([
        results([some[1]!]),
        { event: "refused", index: 3, line: 3, reason: "not JSON" },
        { event: "output", index: 4, line: 4, stream: "stderr", bytes: Buffer.from("é") }
      ])
      expect(stdout.join("").split("\n")).toEqual([
        '{"schema":2,"event":"result","index":2,"line":2,"value":"y"}',
        '{"schema":2,"event":"finished","index":3,"line":3,"status":"failed","reason":"not JSON"}',
        '{"schema":2,"event":"output","index":4,"line":4,"stream":"stderr","text":"é"}',
        ""
      ])
    }).pipe(Effect.scoped, Effect.provide(Output.layerTest))
  )
})
