import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as deliveredLog from "../../../../src/services/job/internal/deliveredLog.js"
import type * as JobLog from "../../../../src/services/job/JobLog.js"

describe("deliveredLog", () => {
  const make = () => {
    const lines: Array<number> = []
    const log = deliveredLog.make({
      wasDone: () => false,
      append: ({ seq }) => Effect.sync(() => void lines.push(seq))
    })
    return { lines, log }
  }
  const entry = (seq: number): JobLog.Entry => ({
    seq,
    started: 0,
    runtime: 0,
    received: 0,
    exitCode: 0,
    signal: undefined,
    command: ""
  })

  it.effect("logs a job when all events up to its last output are delivered, in order", () =>
    Effect.gen(function* () {
      const { lines, log } = make()
      log.ended(entry(1), 3)
      log.ended(entry(2), 5)
      yield* log.delivered(2)
      assert.deepStrictEqual(lines, [])
      yield* log.delivered(1)
      assert.deepStrictEqual(lines, [1])
      yield* log.delivered(9)
      assert.deepStrictEqual(lines, [1, 2])
      log.ended(entry(3), 4) // without output of its own
      yield* log.delivered(0)
      assert.deepStrictEqual(lines, [1, 2, 3])
    })
  )

  it.effect("logs the remaining jobs when no event follows", () =>
    Effect.gen(function* () {
      const { lines, log } = make()
      log.ended(entry(1), 1)
      log.ended(entry(2), 2)
      yield* log.rest
      yield* log.rest
      assert.deepStrictEqual(lines, [1, 2])
    })
  )
})
