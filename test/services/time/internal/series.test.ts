import { describe, expect, it } from "@effect/vitest"
import type { Cancellation } from "../../../../src/services/task/Cancellation.js"
import { anchored } from "../../../../src/services/time/internal/plans.js"
import { type Plan, type Run, Series, type Settings } from "../../../../src/services/time/internal/series.js"

// The state machine alone: the test is its host, its clocks and its runs. No fiber, no timer.

const minute = 60_000

class Fake implements Run {
  failed = false
  cancelled: string | undefined
  private readonly listeners: Array<() => void> = []

  constructor(readonly number: number) {}

  onEnd(listener: () => void) {
    this.listeners.push(listener)
  }
  end(failed = false) {
    this.failed = failed
    for (const listener of this.listeners.splice(0)) listener()
  }
  unsafeCancel({ origin, reason }: Cancellation) {
    this.cancelled ??= `${reason} (by ${origin})`
  }
}

// A series every minute, and all that it does, as text.
const start = (
  settings: Partial<Settings> = {},
  plan: (now: number) => Plan = (now) => anchored(minute, now)
) => {
  const log: Array<string> = []
  const runs: Array<Fake> = []
  const clock = { now: 0, wall: 1_000_000 }
  let ids = 0
  let queued: Series<Fake> | undefined
  const series = new Series<Fake>(
    {
      monotonic: () => clock.now,
      wall: () => clock.wall + clock.now,
      nextId: () => ++ids,
      add: (one) => {
        queued = one
        one.place = 0
      },
      withdraw: (one) => {
        queued = undefined
        one.place = -1
      },
      runOf: ({ run }) => new Fake(run),
      launch: (run) => {
        runs.push(run)
        log.push(`run ${run.number}`)
      },
      tell: (event) => {
        if (event._tag === "Skipped")
          log.push(
            `skipped ${event.count}: ${event.reason} (${event.at - clock.wall} to ${event.until - clock.wall})`
          )
      },
      ended: ({ failed, runs, skipped }) =>
        log.push(`ended: ${runs} runs, ${failed} failed, ${skipped} skipped`)
    },
    plan(0),
    {
      name: "beat",
      overlap: "skip",
      now: false,
      times: Number.POSITIVE_INFINITY,
      until: Number.POSITIVE_INFINITY,
      jitter: 0,
      catchUp: "none",
      window: 24 * 60 * minute,
      recheck: minute,
      random: () => 0.5,
      ...settings
    }
  )
  return {
    clock,
    log,
    runs,
    series,
    /** Moves the clock to this time, and fires what is due by then, once. */
    to: (time: number) => {
      clock.now = time
      const due = queued
      if (due === undefined || due.deadline > time) return
      queued = undefined
      due.place = -1
      due.unsafeFire()
    },
    next: () => queued?.deadline
  }
}

describe("Series", () => {
  it("is due at each time of its plan, however long a run takes and however late it begins", () => {
    const { log, next, runs, to } = start()
    expect(next()).toBe(minute)
    to(minute + 500)
    expect(next()).toBe(2 * minute)
    runs[0]!.end()
    to(2 * minute)
    runs[1]!.end(true)
    expect([log, next()]).toEqual([["run 1", "run 2"], 3 * minute])
  })

  it("ends after so many runs, when the last one has ended, and counts those that failed", () => {
    const { log, next, runs, series, to } = start({ times: 2 })
    to(minute)
    runs[0]!.end(true)
    to(2 * minute)
    expect([next(), series.when]).toEqual([undefined, Number.POSITIVE_INFINITY])
    expect(log).toEqual(["run 1", "run 2"])
    runs[1]!.end()
    expect(log.at(-1)).toBe("ended: 2 runs, 1 failed, 0 skipped")
  })

  it("ends at once if nothing is due before the end of the series", () => {
    expect(start({ until: 1_000_000 + minute - 1 }).log).toEqual(["ended: 0 runs, 0 failed, 0 skipped"])
  })

  it("falls due later by a part of the jitter, and never after the next time", () => {
    expect(start({ jitter: 1000 }).next()).toBe(minute + 500)
    expect(start({ jitter: 10 * minute, random: () => 0.999999 }).next()).toBeLessThan(2 * minute)
  })

  describe("while a run is in progress", () => {
    it("skip: a run that is due meanwhile does not take place", () => {
      const { log, to } = start({ overlap: "skip" })
      to(minute)
      to(2 * minute)
      expect(log).toEqual(["run 1", "skipped 1: the previous run is still running (120000 to 120000)"])
    })

    it("queueOne: one waits, and begins right after", () => {
      const { log, runs, to } = start({ overlap: "queueOne" })
      for (const n of [1, 2, 3]) to(n * minute)
      expect(log).toEqual(["run 1", "skipped 1: another run is waiting already (180000 to 180000)"])
      runs[0]!.end()
      expect(log.at(-1)).toBe("run 2")
    })

    it("queueAll: all wait, and begin one after the other", () => {
      const { log, runs, to } = start({ overlap: "queueAll" })
      for (const n of [1, 2, 3]) to(n * minute)
      expect(log).toEqual(["run 1"])
      runs[0]!.end()
      runs[1]!.end()
      expect(log).toEqual(["run 1", "run 2", "run 3"])
    })

    it("cancelRunning: it is cancelled, and the newest begins when it has ended", () => {
      const { log, runs, to } = start({ overlap: "cancelRunning" })
      for (const n of [1, 2, 3]) to(n * minute)
      expect(runs[0]!.cancelled).toBe("the next run is due (by beat)")
      expect(log).toEqual(["run 1", "skipped 1: the next run is due (120000 to 120000)"])
      runs[0]!.end()
      expect(log.at(-1)).toBe("run 2")
    })

    it("parallel: they run beside each other", () => {
      const { log, to } = start({ overlap: "parallel" })
      for (const n of [1, 2]) to(n * minute)
      expect(log).toEqual(["run 1", "run 2"])
    })
  })

  describe("of runs that were missed", () => {
    const late = 10 * minute + 30_000

    it("none: the last takes place if it is not late, and the others are one report", () => {
      const { log, next, to } = start({ catchUp: "none" })
      to(late)
      expect(log).toEqual(["skipped 9: its time was missed (60000 to 540000)", "run 1"])
      expect(next()).toBe(11 * minute)
    })

    it("none: nor does the last when it is later than the limit", () => {
      const { log, to } = start({ catchUp: "none", recheck: 1000 })
      to(late)
      expect(log).toEqual(["skipped 10: its time was missed (60000 to 600000)"])
    })

    it("last: the last runs however late it is, within the window", () => {
      const { log, to } = start({ catchUp: "last", recheck: 1000 })
      to(late)
      expect(log).toEqual(["skipped 9: its time was missed (60000 to 540000)", "run 1"])
    })

    it("all: all run that the window holds, one after the other", () => {
      const { log, runs, to } = start({ catchUp: "all", overlap: "queueAll", window: 3 * minute })
      to(late)
      expect(log).toEqual(["skipped 7: its time was missed (60000 to 420000)", "run 1"])
      runs[0]!.end()
      runs[1]!.end()
      expect(log.slice(2)).toEqual(["run 2", "run 3"])
    })
  })

  it("is cancelled: no further run starts, current runs are cancelled, and it ends with them", () => {
    const { log, next, runs, series, to } = start({ overlap: "queueAll" })
    for (const n of [1, 2]) to(n * minute)
    series.unsafeCancel({ reason: "enough", origin: "test" })
    expect([next(), runs[0]!.cancelled]).toEqual([undefined, "enough (by test)"])
    expect(log).toEqual(["run 1"])
    runs[0]!.end()
    expect(log.at(-1)).toBe("ended: 1 runs, 0 failed, 0 skipped")
    series.unsafeCancel({ reason: "again", origin: "test" })
    expect(log).toHaveLength(2)
  })

  it("follows a wall clock that is put back, unless it keeps to times of day", () => {
    const everyMinute = (fixed: boolean) => (): Plan => ({
      byWall: true,
      fixed,
      after: (time) => ({ at: (Math.floor(time / minute) + 1) * minute }),
      count: (time, until) => (until - time) / minute
    })
    for (const [fixed, expected] of [
      [false, 10 * minute],
      [true, 17 * minute]
    ] as const) {
      const { clock, next, series } = start({}, everyMinute(fixed))
      expect(next()).toBe(17 * minute)
      clock.wall = 9.5 * minute
      series.unsafeReplan()
      expect(next()).toBe(expected)
    }
  })
})
