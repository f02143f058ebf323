import type { DateTime } from "effect"
import * as Cron from "../Cron.js"
import type { Plan } from "./series.js"

// The two kinds of plans: by a rule of the wall clock, and by an interval of the monotonic one.

/** The times of a cron rule, by the clock of a zone. */
export const byRule = (rule: Cron.Rule, zone: DateTime.TimeZone): Plan => ({
  byWall: true,
  fixed: rule.fixed,
  after: (after) => Cron.next(rule, { after, zone }),
  count: (after, until) => Cron.count(rule, { after, until, zone })
})

/** Every interval from the anchor on, in milliseconds of the monotonic clock. */
export const anchored = (interval: number, anchor: number): Plan => ({
  byWall: false,
  fixed: true,
  after: (time) => {
    // A little more, because rounding to the nanosecond may put a time before its place.
    const passed = Math.floor((time - anchor) / interval + 1e-9)
    return { at: Math.round((anchor + (passed + 1) * interval) * 1e6) / 1e6 }
  },
  count: (time, until) => Math.round((until - time) / interval)
})
