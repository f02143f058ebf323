import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FastCheck, Fiber, Random, Ref, TestClock } from "effect"
import * as Supervisor from "../../../src/services/supervision/Supervisor.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

const say = (event: Supervisor.Event): string => {
  switch (event.event) {
    case "ready":
      return `${event.run} ready after ${event.duration}`
    case "unhealthy":
      return `${event.run} unhealthy ${event.failures}: ${event.reason}`
    case "exited":
      return `${event.run} ${Exit.isSuccess(event.exit) ? "succeeded" : "failed"} after ${event.duration}`
    case "restarting":
      return `restart ${event.run} in ${Math.round(event.delay)}`
    default:
      return `${event.run} started`
  }
}

/** Ends like this: `[after, fails]` for each run; the last run never ends. */
const runs = (...script: ReadonlyArray<readonly [after: number, result: string]>) => {
  let run = 0
  return Effect.suspend(() => {
    const [after, result] = script[Math.min(run++, script.length - 1)]!
    return Effect.delay(result.startsWith("ok") ? Effect.succeed(result) : Effect.fail(result), after)
  })
}

const steady = { jitter: 0 }

const play = <A, E>(effect: Effect.Effect<A, E>, policy: Supervisor.Policy = {}) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const onEvent = (event: Supervisor.Event) => Effect.sync(() => void lines.push(say(event)))
    const either = yield* Effect.either(Supervisor.supervise(effect, { backoff: steady, ...policy, onEvent }))
    const end =
      either._tag === "Right" ? String(either.right) : ((either.left as Error).message ?? either.left)
    return [...lines, end]
  }).pipe(VirtualClock.run())

describe("Supervisor.supervise", () => {
  it.live("restarts an effect that failed, and gives its result when it succeeds", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(runs([1000, "bad"], [1000, "ok"])), [
        "1 started",
        "1 ready after 0",
        "1 failed after 1000",
        "restart 2 in 500",
        "2 started",
        "2 ready after 0",
        "2 succeeded after 1000",
        "ok"
      ])
    })
  )

  it.live("restarts always, or never", () =>
    Effect.gen(function* () {
      const always = yield* play(runs([1, "ok"]), { restart: "always", maxRestarts: 2 })
      assert.deepStrictEqual(
        always.filter((line) => line.startsWith("restart")),
        ["restart 2 in 500", "restart 3 in 1000", "restarted 2 times within 1 m 00 s, and again: it ended"]
      )
      assert.deepStrictEqual((yield* play(runs([1, "bad"]), { restart: "never" })).slice(2), [
        "1 failed after 1",
        "bad"
      ])
      const none = yield* play(runs([1, "bad"]), { maxRestarts: 0 })
      assert.strictEqual(none.at(-1), "bad; no restart is allowed")
    })
  )

  it.live("waits longer each time, up to a bound, and begins again after a healthy run", () =>
    Effect.gen(function* () {
      const lines = yield* play(
        runs(...Array(8).fill([1, "bad"] as const), [10_000, "bad"], [1, "bad"], [1, "ok"])
      )
      assert.deepStrictEqual(
        lines.filter((line) => line.startsWith("restart")).map((line) => Number(line.split(" ")[3])),
        [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 500, 1000]
      )
      const almost = yield* play(runs([1, "bad"], [9999, "bad"], [1, "ok"]))
      assert.include(almost, "restart 3 in 1000")
    })
  )

  it.live("never waits longer than the bound, for any jitter, growth and count", () =>
    Effect.gen(function* () {
      for (const jitter of [0, 0.2, 1]) {
        const policy = { maxRestarts: 1200, window: "10000 days", backoff: { max: 10, jitter } } as const
        for (const seed of [1, 2]) {
          const lines = yield* Effect.withRandom(play(runs([1, "bad"]), policy), Random.make(seed))
          const pauses = lines
            .filter((line) => line.startsWith("restart "))
            .map((line) => Number(line.split(" ")[3]))
          assert.strictEqual(pauses.length, 1200)
          for (const pause of pauses) assert.isTrue(pause >= 0 && pause <= 10, String(pause))
        }
      }
    })
  )

  it.live("counts restarts within the window only", () =>
    Effect.gen(function* () {
      const backoff = { first: "1 second", factor: 1, jitter: 0 } as const
      const within = { maxRestarts: 3, window: "10 seconds", backoff } as const
      const lines = yield* play(runs([2000, "bad"]), within)
      assert.strictEqual(lines.at(-1), "restarted 3 times within 10.0 s, and again: bad")
      // Every 4 s: of the last 10 s there are never more than 2.
      const slow = yield* play(runs(...Array(20).fill([3000, "bad"] as const), [1, "ok"]), within)
      assert.strictEqual(slow.at(-1), "ok")
    })
  )

  it.live("is ready when its readiness check succeeds, and fails when that takes too long", () =>
    Effect.gen(function* () {
      const ready = Effect.sleep("3 seconds")
      assert.include(yield* play(runs([5000, "ok"]), { ready }), "1 ready after 3000")
      const once = { restart: "never", ready: Effect.sleep("1 hour"), readyTimeout: "1 minute" } as const
      assert.deepStrictEqual(yield* play(Effect.never, once), [
        "1 started",
        "1 failed after 60000",
        "not ready: not within 1 m 00 s"
      ])
      const broken = { restart: "never", ready: Effect.delay(Effect.fail("no such port"), 10) } as const
      assert.deepStrictEqual(yield* play(Effect.never, broken), [
        "1 started",
        "1 failed after 10",
        "not ready: no such port"
      ])
    })
  )

  it.live("ends a run after the given number of failed health checks in a row", () =>
    Effect.gen(function* () {
      let asked = 0
      const answers = ["", "sick", "", "sick", "slow", "sick"]
      const check = Effect.suspend(() => {
        const answer = answers[asked++ % answers.length]!
        return answer === "" ? Effect.void : answer === "slow" ? Effect.never : Effect.fail(answer)
      })
      const health = { check, every: "10 seconds", timeout: "2 seconds" } as const
      const cleanup = yield* Ref.make(0)
      const run = Effect.onInterrupt(Effect.never, () => Ref.update(cleanup, (n) => n + 1))
      assert.deepStrictEqual(yield* play(run, { restart: "never", health }), [
        "1 started",
        "1 ready after 0",
        "1 unhealthy 1: sick",
        "1 unhealthy 1: sick",
        "1 unhealthy 2: no answer within 2.0 s",
        "1 unhealthy 3: sick",
        "1 failed after 62000",
        "unhealthy: 3 checks in a row failed, the last with: sick"
      ])
      assert.strictEqual(yield* cleanup, 1)
    })
  )

  it.live("treats a defect and an interruption of its own as a failure", () =>
    Effect.gen(function* () {
      assert.include(
        yield* play(Effect.die(new Error("oh")), { maxRestarts: 0 }),
        "oh; no restart is allowed"
      )
      const lines = yield* play(Effect.interrupt, { maxRestarts: 1 })
      assert.include(lines, "restart 2 in 500")
    })
  )

  it.effect("ends when interrupted, in a run and between runs, under TestClock too", () =>
    Effect.gen(function* () {
      for (const at of ["500 millis", "1100 millis"] as const) {
        const ended = yield* Ref.make<ReadonlyArray<string>>([])
        const run = Effect.onExit(runs([1000, "bad"]), (exit) =>
          Ref.update(ended, (all) => [...all, Exit.isInterrupted(exit) ? "interrupted" : "failed"])
        )
        const fiber = yield* Effect.fork(Supervisor.supervise(run, { backoff: steady }))
        yield* TestClock.adjust(at)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* ended, at === "500 millis" ? ["interrupted"] : ["failed"])
      }
    })
  )

  it.live("spreads its pauses by the jitter, the same for the same seed", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.integer(),
          FastCheck.double({ min: 0, max: 1, noNaN: true }),
          async (seed, jitter) => {
            const pauses = async () => {
              const found: Array<number> = []
              const onEvent = (event: Supervisor.Event) =>
                Effect.sync(() => {
                  if (event.event === "restarting") found.push(event.delay)
                })
              const policy = { maxRestarts: 6, backoff: { jitter }, onEvent }
              await Effect.runPromise(
                Effect.exit(Supervisor.supervise(Effect.fail("x"), policy)).pipe(
                  Effect.withRandom(Random.make(seed)),
                  VirtualClock.run()
                )
              )
              return found
            }
            const found = await pauses()
            assert.deepStrictEqual(await pauses(), found)
            for (const [i, pause] of found.entries()) {
              const middle = Math.min(30_000, 500 * 2 ** i)
              assert.isAtLeast(pause, middle * (1 - jitter) - 1e-6)
              assert.isAtMost(pause, Math.min(30_000, middle * (1 + jitter) + 1e-6))
            }
          }
        ),
        { numRuns: 20 }
      )
    )
  )
})
