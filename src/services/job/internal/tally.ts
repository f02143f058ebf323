import { ofMany } from "../../host/ExitCodes.js"
import type { JobsSummary } from "../JobEvents.js"

/** At how many successes or failures the rest is given up. */
export interface Rule {
  readonly on: "fail" | "success"
  readonly count: number
  readonly percent: boolean
}

/** The counts of jobs so far. */
export interface Tally {
  readonly skipped: () => void
  readonly cancelled: () => void
  /**
   * Counts a job that has ended; `failureCode` is the program's own exit code if no job fails otherwise. Returns the
   * reason to halt if the job meets the rule.
   */
  readonly ended: (job: {
    readonly seq: number
    readonly command: string
    readonly runtime: number
    readonly ok: boolean
    readonly failureCode: number
  }) => string | undefined
  readonly summary: (
    elapsed: number,
    halted: string | undefined,
    /** Why the run was stopped from outside: a signal, for instance. */
    stopped: string | undefined
  ) => JobsSummary
}

/** From so many ended jobs on a share of them counts. */
const enough = 3

/** Makes an empty tally; without a rule no job is a reason to halt. */
export const make = (rule: Rule | undefined): Tally => {
  const counts = { ok: 0, failed: 0, skipped: 0, cancelled: 0 }
  const exitCodes = new Set<number>()
  let slowest: JobsSummary["slowest"]
  const reached = (): string | undefined => {
    if (rule === undefined) return undefined
    const hits = rule.on === "fail" ? counts.failed : counts.ok
    const ended = counts.failed + counts.ok
    if (rule.percent ? ended < enough || hits * 100 < rule.count * ended : hits < rule.count) return undefined
    return `${hits} ${hits === 1 ? "job has" : "jobs have"} ${rule.on === "fail" ? "failed" : "succeeded"}`
  }
  return {
    skipped: () => void counts.skipped++,
    cancelled: () => void counts.cancelled++,
    ended: ({ command, failureCode, ok, runtime, seq }) => {
      counts[ok ? "ok" : "failed"]++
      if (!ok) exitCodes.add(failureCode)
      if (slowest === undefined || runtime > slowest.runtime) slowest = { seq, command, runtime }
      return (rule?.on === "success") === ok ? reached() : undefined
    },
    summary: (elapsed, halted, stopped) => ({
      event: "summary",
      ...counts,
      elapsed,
      ...(slowest === undefined ? {} : { slowest }),
      ...(halted === undefined ? {} : { halted }),
      exitCode: ofMany(exitCodes, stopped)
    })
  }
}
