import * as Command from "@effect/platform/Command"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Layer } from "effect"
import * as ProcessesTest from "../../../src/services/process/ProcessesTest.js"
import * as ScheduledRuns from "../../../src/services/supervision/ScheduledRuns.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as Cron from "../../../src/services/time/Cron.js"
import * as Timers from "../../../src/services/time/Timers.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

describe("ScheduledRuns", () => {
  const seen = (when: ScheduledRuns.When, options: Omit<ScheduledRuns.RunsOptions, "handle"> = {}) => {
    const events: Array<ScheduledRuns.RunEvent> = []
    const handle = (event: ScheduledRuns.RunEvent) => Effect.sync(() => void events.push(event))
    return {
      events,
      program: ScheduledRuns.run(Command.make("job"), when, { ...options, handle })
    }
  }
  const provided = (script: ProcessesTest.Script) =>
    Layer.provideMerge(Layer.merge(ProcessesTest.layerTest([script]), Timers.layer), VirtualClock.layer)
  const minutes: ScheduledRuns.When = { _tag: "Every", interval: "1 minute", align: false }

  it.live("reports each run, its output and its end, and a summary", () => {
    const script: ProcessesTest.Script = { match: "job", stdout: "done\n", after: "5 seconds" }
    const { events, program } = seen(minutes, { times: 2 })
    return Effect.gen(function* () {
      const summary = yield* program
      expect(events.map((event) => (event.event === "scheduled" ? `due ${event.at}` : event.event))).toEqual([
        "due 60000",
        "due 120000",
        "started",
        "output",
        "finished",
        "started",
        "output",
        "finished",
        "summary"
      ])
      expect(events[2]).toEqual({ event: "started", index: 1, name: "job", at: 60_000, skipped: undefined })
      expect(events[4]).toEqual({
        event: "finished",
        index: 1,
        name: "job",
        duration: 5000,
        status: "succeeded",
        exitCode: 0
      })
      expect(summary).toEqual({
        event: "summary",
        succeeded: 2,
        failed: 0,
        cancelled: 0,
        skipped: 0,
        timed_out: 0,
        exitCode: 0,
        duration: 125_000
      })
    }).pipe(Effect.provide(provided(script)))
  })

  it.live.each<[ProcessesTest.Script, Partial<ScheduledRuns.RunsSummary>, string]>([
    [{ match: "job", exitCode: 3 }, { failed: 2, exitCode: 1 }, "exit code 3"],
    [{ match: "job", signal: "SIGSEGV" }, { failed: 2, exitCode: 1 }, "ended by SIGSEGV"],
    [{ match: "job", fails: "notFound" }, { failed: 2, exitCode: 127 }, "cannot run job: command not found"],
    [{ match: "job", after: "1 hour" }, { timed_out: 2, exitCode: 124 }, "not done in 2s"]
  ])("continues when a run fails: %j", ([script, expected, reason]) => {
    const { events, program } = seen(minutes, { times: 2, timeout: "2 seconds" })
    return Effect.gen(function* () {
      expect(yield* program).toMatchObject({ succeeded: 0, ...expected })
      const ends = events.filter((event) => event.event === "finished")
      expect(ends.map((event) => event.reason)).toEqual([reason, reason])
    }).pipe(Effect.provide(provided(script)))
  })

  it.live("runs once after a delay, at a time, and at a time that a clock change has moved", () => {
    const script: ProcessesTest.Script = { match: "job" }
    const once = (when: ScheduledRuns.When) => {
      const { events, program } = seen(when)
      return Effect.map(program, () => events.find((event) => event.event === "started"))
    }
    return Effect.gen(function* () {
      expect(yield* once({ _tag: "Later", delay: 500 })).toMatchObject({ index: 1, at: 500 })
      expect(yield* once({ _tag: "At", time: { at: 2000, skipped: "02:30" } })).toMatchObject({
        index: 1,
        at: 2000,
        skipped: "02:30"
      })
      const cron = Either.getOrThrow(Cron.parse("* * * * * *"))
      const { events, program } = seen({ _tag: "Cron", cron }, { times: 2 })
      yield* program
      expect(events.filter(({ event }) => event === "started")).toMatchObject([{ at: 3000 }, { at: 4000 }])
    }).pipe(Effect.provide(provided(script)))
  })

  it.live("stops the current run when it is cancelled, and still reports its end", () => {
    const script: ProcessesTest.Script = { match: "job", after: "1 hour" }
    const { events, program } = seen(minutes)
    return Effect.gen(function* () {
      const fiber = yield* Effect.fork(program)
      yield* Effect.sleep("3 minutes")
      yield* Cancellation.cancel(fiber, { reason: "SIGTERM", origin: "process" })
      expect(events.slice(-2)).toMatchObject([
        { event: "finished", status: "cancelled", reason: "SIGTERM" },
        { event: "summary", cancelled: 1, skipped: 1 }
      ])
      const { events: recorded } = yield* ProcessesTest.Recorded
      expect(recorded.map(({ event }) => event)).toEqual(["started", "SIGTERM"])
    }).pipe(Effect.provide(provided(script)))
  })
})
