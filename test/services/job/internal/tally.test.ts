import { assert, describe, it } from "@effect/vitest"
import * as tally from "../../../../src/services/job/internal/tally.js"

describe("tally", () => {
  const play = (rule: tally.Rule | undefined, exits: ReadonlyArray<number>) => {
    const made = tally.make(rule)
    const reasons = exits.map((failureCode, i) =>
      made.ended({
        index: i + 1,
        name: `job ${i + 1}`,
        duration: i,
        status: failureCode === 0 ? "succeeded" : failureCode === 124 ? "timed_out" : "failed",
        failureCode
      })
    )
    return { reasons, summary: made.summary(9, undefined, undefined), made }
  }

  it("halts at a number of failures or successes, on such a job only", () => {
    const once = { on: "fail", count: 1, percent: false } as const
    assert.deepStrictEqual(play(once, [0, 1, 0]).reasons, [undefined, "1 job has failed", undefined])
    const twice = { on: "success", count: 2, percent: false } as const
    assert.deepStrictEqual(play(twice, [0, 1, 0]).reasons, [undefined, undefined, "2 jobs have succeeded"])
    assert.deepStrictEqual(play(undefined, [1, 1]).reasons, [undefined, undefined])
  })

  it("halts at a share of the ended jobs, from the third on", () => {
    const half = { on: "fail", count: 50, percent: true } as const
    assert.deepStrictEqual(play(half, [1, 1, 1]).reasons, [undefined, undefined, "3 jobs have failed"])
    assert.deepStrictEqual(play(half, [0, 0, 1, 1]).reasons.slice(2), [undefined, "2 jobs have failed"])
  })

  it("counts jobs that timed out as failures", () => {
    const once = { on: "fail", count: 1, percent: false } as const
    assert.deepStrictEqual(play(once, [0, 124]).reasons, [undefined, "1 job has failed"])
  })

  it("sums up counts, the slowest job and the exit code", () => {
    const { summary } = play(undefined, [0, 124, 0])
    assert.deepStrictEqual(summary, {
      event: "summary",
      succeeded: 2,
      failed: 0,
      cancelled: 0,
      skipped: 0,
      timed_out: 1,
      duration: 9,
      exitCode: 124,
      slowest: { index: 3, name: "job 3", duration: 2 }
    })
    assert.strictEqual(play(undefined, [127, 127]).summary.exitCode, 127)
    assert.strictEqual(play(undefined, [127, 126]).summary.exitCode, 1)
    const { made } = play(undefined, [])
    const job = { index: 1, name: "job 1", duration: 9, failureCode: 1 }
    made.ended({ ...job, status: "skipped" })
    made.ended({ ...job, status: "cancelled" })
    assert.deepStrictEqual(made.summary(1, "SIGINT", "SIGINT"), {
      event: "summary",
      succeeded: 0,
      failed: 0,
      cancelled: 1,
      skipped: 1,
      timed_out: 0,
      duration: 1,
      exitCode: 130,
      halted: "SIGINT"
    })
    assert.strictEqual(play(undefined, [1]).made.summary(1, "SIGINT", "SIGINT").exitCode, 130)
  })

  it("ends with 0 once enough jobs have succeeded, whatever failed before", () => {
    const twice = { on: "success", count: 2, percent: false } as const
    assert.strictEqual(play(twice, [0, 1, 0]).summary.exitCode, 0)
    assert.strictEqual(play(twice, [0, 1]).summary.exitCode, 1)
  })
})
