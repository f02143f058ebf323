import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Stream, TestClock } from "effect"
import * as lanes from "../../../../src/services/job/internal/lanes.js"
import * as Cancellation from "../../../../src/services/task/Cancellation.js"

describe("lanes", () => {
  const all = <E>(effects: ReadonlyArray<Effect.Effect<void, E>>) =>
    Effect.all(effects, { concurrency: "unbounded", discard: true })
  const record = (log: Array<string>) => (ms: number, seq: number, lane: lanes.Lane) =>
    Effect.zipRight(
      Effect.sync(() => log.push(`${seq} on ${lane.slot}`)),
      Effect.sleep(ms)
    )

  it.effect("take from an iterable only as they get free", () =>
    Effect.gen(function* () {
      let taken = 0
      const endless = (function* () {
        for (;;) yield ++taken === 1 ? 10 : 100
      })()
      const log: Array<string> = []
      const running = yield* Effect.fork(all(yield* lanes.over(endless, 2, record(log), () => "cancelled")))
      yield* TestClock.adjust(15)
      assert.deepStrictEqual([taken, log], [3, ["1 on 1", "2 on 2", "3 on 1"]])
      yield* Fiber.interrupt(running)
    })
  )

  it.effect("end with a stream, fail with it, and have at most one request each waiting", () =>
    Effect.gen(function* () {
      let taken = 0
      const log: Array<string> = []
      const stream = Stream.fromIterable(Array.from({ length: 9 }, () => 10)).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sync(() => taken++))
      )
      const running = yield* Effect.fork(all(yield* lanes.over(stream, 2, record(log), () => "")))
      yield* TestClock.adjust(5)
      assert.strictEqual(log.length, 2)
      assert.isAtMost(taken, 5)
      yield* TestClock.adjust(50)
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(running)))
      assert.strictEqual(log.length, 9)
      const failed = yield* lanes.over(Stream.fail("no more"), 2, record(log), () => "")
      assert.deepStrictEqual(yield* Effect.exit(failed[0]!), Exit.fail("no more"))
    })
  )

  it.effect("report the attempt that an interruption cancels, with its reason", () =>
    Effect.gen(function* () {
      const reasons: Array<string> = []
      const run = (_: number, seq: number, lane: lanes.Lane) => {
        if (seq < 3) lane.cancelled = (reason) => void reasons.push(`${seq} ${reason}`)
        return Effect.never
      }
      const effects = yield* lanes.over([1, 2, 3], 3, run, () => "halted")
      const fibers = yield* Effect.forEach(effects, (effect) => Effect.fork(effect))
      yield* TestClock.adjust(1)
      yield* Cancellation.cancel(fibers[0]!, { reason: "enough", origin: "test" })
      yield* Fiber.interrupt(fibers[1]!)
      yield* Fiber.interrupt(fibers[2]!)
      assert.deepStrictEqual(reasons, ["1 enough", "2 halted"])
    })
  )
})
