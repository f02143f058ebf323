import { assert, describe, it } from "@effect/vitest"
import * as tally from "../../../../src/services/job/internal/tally.js"

describe("tally", () => {
  const play = (rule: tally.Rule | undefined, exits: ReadonlyArray<number>) => {
    const made = tally.make(rule)
    const reasons = exits.map((failureCode, i) =>
      made.ended({ seq: i + 1, command: `job ${i + 1}`, runtime: i, ok: failureCode === 0, failureCode })
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

  it("sums up counts, the slowest job and the exit code", () => {
    const { summary } = play(undefined, [0, 124, 0])
    assert.deepStrictEqual(summary, {
      event: "summary",
      ok: 2,
      failed: 1,
      skipped: 0,
      cancelled: 0,
      elapsed: 9,
      slowest: { seq: 3, command: "job 3", runtime: 2 },
      exitCode: 124
    })
    assert.strictEqual(play(undefined, [127, 127]).summary.exitCode, 127)
    assert.strictEqual(play(undefined, [127, 126]).summary.exitCode, 1)
    const { made } = play(undefined, [])
    made.skipped()
    made.cancelled()
    assert.deepInclude(made.summary(1, "SIGINT", "SIGINT"), {
      skipped: 1,
      cancelled: 1,
      halted: "SIGINT",
      exitCode: 130
    })
    assert.strictEqual(play(undefined, [1]).made.summary(1, "SIGINT", "SIGINT").exitCode, 130)
  })
})
