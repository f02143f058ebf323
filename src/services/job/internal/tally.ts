import * as EventLine from "../../host/EventLine.js"
import type { Status } from "../../host/Events.js"
import { ofMany } from "../../host/ExitCodes.js"
import type { JobsSummary } from "../JobEvents.js"

/** At how many successes or failures the rest is given up. */
export interface Rule {
  readonly on: "fail" | "success"
  readonly count: number
  readonly percent: boolean
}

/** A job that has ended. */
export interface Ended {
  readonly index: number
  readonly name: string
  readonly status: Status
  /** Milliseconds. */
  readonly duration: number
  /** The program's own exit code where no job fails otherwise. */
  readonly failureCode: number
}

/** The counts of jobs so far. */
export interface Tally {
  /** Counts a job; returns the reason to halt where it meets the rule. */
  readonly ended: (job: Ended) => string | undefined
  readonly summary: (
    duration: number,
    halted: string | undefined,
    /** Why the run was stopped from outside: a signal, for instance. */
    stopped: string | undefined
  ) => JobsSummary
}

/** From so many ended jobs on a share of them counts. */
const enough = 3

/** Makes an empty tally; without a rule no job is a reason to halt. */
export const make = (rule: Rule | undefined): Tally => {
  const counts = EventLine.tally([])
  const exitCodes = new Set<number>()
  let slowest: Ended | undefined
  let isDone = false
  const reached = (): string | undefined => {
    if (rule === undefined) return undefined
    const failed = counts.failed + counts.timed_out
    const hits = rule.on === "fail" ? failed : counts.succeeded
    const ended = failed + counts.succeeded
    if (rule.percent ? ended < enough || hits * 100 < rule.count * ended : hits < rule.count) return undefined
    isDone = rule.on === "success"
    return `${hits} ${hits === 1 ? "job has" : "jobs have"} ${rule.on === "fail" ? "failed" : "succeeded"}`
  }
  return {
    ended: (job) => {
      const { duration, failureCode, status } = job
      counts[status]++
      if (status === "skipped" || status === "cancelled") return undefined
      const isFailed = status !== "succeeded"
      if (isFailed) exitCodes.add(failureCode)
      if (slowest === undefined || duration > slowest.duration) slowest = job
      return (rule?.on === "fail") === isFailed ? reached() : undefined
    },
    summary: (duration, halted, stopped) => ({
      event: "summary",
      ...counts,
      duration: EventLine.ms(duration),
      exitCode: ofMany(isDone ? [] : exitCodes, stopped),
      ...(slowest && {
        slowest: { index: slowest.index, name: slowest.name, duration: EventLine.ms(slowest.duration) }
      }),
      ...(halted === undefined ? {} : { halted })
    })
  }
}
