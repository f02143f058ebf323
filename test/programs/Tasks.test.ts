import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, FastCheck, Fiber, TestClock } from "effect"
import * as Tasks from "../../src/programs/Tasks.js"
import * as Output from "../../src/services/host/Output.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import type * as TaskGroup from "../../src/services/task/TaskGroup.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"
import { until } from "../support/Waits.js"

describe("Tasks", () => {
  describe("example", () => {
    it.effect("prints hi 2 at once and hi 1 half a second later", () =>
      Effect.gen(function* () {
        const { stdout } = yield* Output.Captured
        const fiber = yield* Effect.fork(Tasks.example)
        yield* TestClock.adjust("499 millis")
        expect(stdout).toEqual(["hi 2"])
        yield* TestClock.adjust("1 millis")
        yield* Fiber.join(fiber)
        expect(stdout).toEqual(["hi 2", "hi 1"])
      }).pipe(Effect.provide(Output.layerTest))
    )
  })

  describe("runAll", () => {
    const later = <A>(millis: number, value: A) => Effect.as(Effect.sleep(millis), value)

    it.effect("gives the results in input order, each with its own type", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(
          Tasks.runAll([
            ["slow", later(20, "a")],
            ["quick", later(10, 2)]
          ])
        )
        yield* TestClock.adjust(20)
        const results: [string, number] = yield* Fiber.join(fiber)
        expect(results).toEqual(["a", 2])
      })
    )

    it.effect("fails with the task's own error once the siblings have cleaned up", () =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const waits = yield* Deferred.make<void>()
        const sibling = Effect.onInterrupt(
          Effect.zipRight(Deferred.succeed(waits, undefined), Effect.never),
          () =>
            Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => log.push("cleaned up"))
            )
        )
        const error: "boom" | TaskGroup.TaskCancelled = yield* Effect.flip(
          Tasks.runAll([
            ["waits", sibling],
            ["fails", Effect.zipRight(Deferred.await(waits), Effect.fail("boom" as const))]
          ])
        )
        log.push(String(error))
        expect(log).toEqual(["cleaned up", "boom"])
      })
    )

    it.effect("lets the siblings run on under continue, and fails with the first failure in time", () =>
      Effect.gen(function* () {
        const reported: Array<string> = []
        let finished = false
        const fiber = yield* Effect.fork(
          Effect.exit(
            Tasks.runAll(
              [
                ["second", Effect.zipRight(Effect.sleep(20), Effect.fail("second" as const))],
                ["first", Effect.zipRight(Effect.sleep(10), Effect.fail("first" as const))],
                [
                  "last",
                  Effect.zipRight(
                    Effect.sleep(30),
                    Effect.sync(() => (finished = true))
                  )
                ]
              ],
              {
                onFailure: "continue",
                report: (failure) => Effect.sync(() => void reported.push(failure.message))
              }
            )
          )
        )
        yield* TestClock.adjust(30)
        expect(yield* Fiber.join(fiber)).toEqual(Exit.fail("first"))
        expect(finished).toBe(true)
        expect(reported).toEqual(["task second failed: second"])
      })
    )

    it.effect("makes every outcome a value under collect", () =>
      Effect.gen(function* () {
        const outcomes = yield* Tasks.runAll(
          [
            ["good", Effect.succeed(1)],
            ["bad", Effect.fail("no")],
            ["worse", Effect.die("bug")]
          ],
          { onFailure: "collect", report: () => Effect.die("all was looked at") }
        )
        expect(outcomes).toEqual([Exit.succeed(1), Exit.fail("no"), Exit.die("bug")])
      })
    )

    it.effect("fails in the caller when a task interrupts itself", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Tasks.runAll([["quits", Effect.interrupt]]))
        expect(error.message).toBe("task quits was cancelled by quits: it interrupted itself")
      })
    )

    it.effect("passes the reason of its interruption to every task, and waits for them", () =>
      Effect.gen(function* () {
        const seen: Array<ReadonlyArray<Cancellation.Cancellation>> = []
        let running = 0
        const task = Effect.zipRight(
          Effect.sync(() => running++),
          Effect.never
        ).pipe(
          Effect.onExit((exit) =>
            Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => seen.push(Cancellation.fromExit(exit)))
            )
          )
        )
        const fiber = yield* Effect.fork(
          Tasks.runAll([
            ["one", task],
            ["two", task]
          ])
        )
        yield* until(() => running === 2)
        yield* Cancellation.cancel(fiber, { reason: "SIGINT", origin: "terminal" })
        expect(seen).toEqual([
          [{ reason: "SIGINT", origin: "terminal" }],
          [{ reason: "SIGINT", origin: "terminal" }]
        ])
      })
    )

    it.effect.prop(
      "gives results in input order for any delays and any concurrency",
      [FastCheck.array(FastCheck.nat(5), { maxLength: 8 }), FastCheck.integer({ min: 1, max: 9 })],
      ([delays, concurrency]) =>
        Effect.gen(function* () {
          const results = yield* Tasks.runAll(
            delays.map((delay, i) => [`task ${i}`, later(delay, i)] as const),
            { concurrency }
          )
          expect(results).toEqual(delays.map((_, index) => index))
        }).pipe(VirtualClock.run()),
      { fastCheck: { numRuns: 30 } }
    )
  })
})
