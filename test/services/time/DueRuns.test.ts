import { describe, expect, it } from "@effect/vitest"
import { Either } from "effect"
import * as CivilTime from "../../../src/services/time/CivilTime.js"
import * as Cron from "../../../src/services/time/Cron.js"
import * as DueRuns from "../../../src/services/time/DueRuns.js"

const minute = 60_000
const hour = 60 * minute
const times = DueRuns.every(minute, 0)
const numbers = (ticks: ReadonlyArray<{ readonly run: number; readonly at: number }>) =>
  ticks.map(({ at, run }) => [run, at / minute])

describe("DueRuns", () => {
  it("starts the run that is due and plans the next one", () => {
    const state = DueRuns.begin(times, {}, 0)
    expect(state).toEqual({
      next: { at: minute, skipped: undefined, deadline: minute },
      accepted: 0,
      waiting: [],
      running: 0
    })
    expect(DueRuns.fire(times, {}, state, minute - 1)).toMatchObject({ starts: [], state })
    const fired = DueRuns.fire(times, {}, state, minute + 20)
    expect(numbers(fired.starts)).toEqual([[1, 1]])
    expect(fired.state).toMatchObject({ next: { at: 2 * minute }, accepted: 1, running: 1 })
  })

  it.each([
    ["none", [], 3],
    ["last", [[1, 180]], 2],
    [
      "all",
      [
        [1, 60],
        [2, 120],
        [3, 180]
      ],
      0
    ]
  ] as const)("catches up by the policy %s", (catchUp, started, missed) => {
    const hourly = DueRuns.every(hour, 0)
    const rules = { catchUp, overlap: "parallel" } as const
    const fired = DueRuns.fire(hourly, rules, DueRuns.begin(hourly, rules, 0), 3.5 * hour)
    expect(numbers(fired.starts)).toEqual(started)
    expect(fired.skips.reduce((sum, { count }) => sum + count, 0)).toBe(missed)
    expect(fired.state.next?.at).toBe(4 * hour)
  })

  it.each([
    ["skip", [], [], 1, false],
    ["queueOne", [], [[2, 2]], 0, false],
    ["queueAll", [], [[2, 2]], 0, false],
    ["cancelRunning", [], [[2, 2]], 0, true],
    ["parallel", [[2, 2]], [], 0, false]
  ] as const)(
    "meets a run that still runs by the policy %s",
    (overlap, starts, waiting, skipped, cancels) => {
      const state = { ...DueRuns.begin(times, {}, minute), accepted: 1, running: 1 }
      const fired = DueRuns.fire(times, { overlap }, state, 2 * minute)
      expect(numbers(fired.starts)).toEqual(starts)
      expect(numbers(fired.state.waiting)).toEqual(waiting)
      expect([fired.skips.length, fired.cancels]).toEqual([skipped, cancels])
    }
  )

  it("ends after its last run", () => {
    const rules = { times: 1 }
    expect(DueRuns.fire(times, rules, DueRuns.begin(times, rules, 0), minute).state.next).toBeUndefined()
    expect(DueRuns.begin(times, { until: minute - 1 }, 0).next).toBeUndefined()
  })

  it("runs what is due once, however late", () => {
    const once = DueRuns.once({ at: minute, skipped: undefined })
    const rules = { catchUp: "last", window: Number.POSITIVE_INFINITY } as const
    const fired = DueRuns.fire(once, rules, DueRuns.begin(once, rules, 0), 1000 * hour)
    expect(numbers(fired.starts)).toEqual([[1, 1]])
    expect(fired.state.next).toBeUndefined()
  })

  it("gives the same jitter for the same seed", () => {
    const rules = { jitter: minute, seed: 7 }
    const [one, other] = [DueRuns.begin(times, rules, 0), DueRuns.begin(times, rules, 0)]
    expect(one).toEqual(other)
    expect(one.next!.deadline).toBeGreaterThan(minute)
    expect(one.next!.deadline).toBeLessThan(2 * minute)
  })

  it("continues by the new time when the clock is set back, unless its times are fixed", () => {
    const zone = Either.getOrThrow(CivilTime.zone("UTC"))
    const cron = (text: string) => DueRuns.byCron(Either.getOrThrow(Cron.parse(text)), zone)
    const [hourly, daily] = [cron("@hourly"), cron("30 2 * * *")]
    const replanned = (one: DueRuns.Times) =>
      DueRuns.replan(one, {}, DueRuns.begin(one, {}, 100 * hour), 50 * hour).next!.at / hour
    expect([replanned(hourly), replanned(daily)]).toEqual([51, 122.5])
  })

  it("does not run what was due during a pause", () => {
    const state = DueRuns.begin(times, {}, 0)
    expect(DueRuns.resume(times, {}, state, 10 * minute + 1).next?.at).toBe(11 * minute)
    expect(DueRuns.resume(times, {}, state, 30_000)).toEqual(state)
  })
})
