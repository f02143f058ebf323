import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Fiber, Runtime, Supervisor } from "effect"
import { assert } from "vitest"
import * as Unobserved from "../../../src/services/task/Unobserved.js"
import * as WorkerFibers from "../../../src/services/task/WorkerFibers.js"

// More is in test/programs/Run.test.ts, through what Run makes of it.
describe("Unobserved", () => {
  /** Forks a failing effect and waits for its end: it ends before another fiber runs. */
  const losing = (
    error: string,
    fork: <E>(effect: Effect.Effect<never, E>) => Effect.Effect<Fiber.RuntimeFiber<never, E>> = Effect.fork
  ) =>
    Effect.flatMap(Deferred.make<void>(), (failed) => {
      const fails = Effect.ensuring(Effect.fail(error), Deferred.succeed(failed, undefined))
      return Effect.zipLeft(fork(fails), Deferred.await(failed))
    })

  it.live("reports a failure before the end when its fiber was collected, and not again at the end", () =>
    Effect.gen(function* () {
      setFlagsFromString("--expose-gc")
      const collect: () => void = runInNewContext("gc")
      const unobserved = yield* Unobserved.make
      yield* unobserved.watch(losing("gone"))
      const collecting = Effect.forever(Effect.zipRight(Effect.sync(collect), Effect.sleep(1)))
      const lost = yield* Effect.raceFirst(unobserved.next, collecting)
      assert.deepStrictEqual(Cause.squash(lost.cause), "gone")
      assert.deepStrictEqual(yield* unobserved.take, [])
    })
  )

  it.effect("keeps two watches apart, one within the other", () =>
    Effect.gen(function* () {
      const outer = yield* Unobserved.make
      const inner = yield* Unobserved.make
      yield* outer.watch(Effect.zipRight(losing("outer"), inner.watch(losing("inner"))))
      const texts = Effect.map(Effect.all([outer.take, inner.take]), (both) =>
        both.map((lost) => lost.map(({ cause }) => Cause.squash(cause)))
      )
      assert.deepStrictEqual(yield* texts, [["outer"], ["inner"]])
      assert.deepStrictEqual(yield* texts, [[], []])
    })
  )

  it.effect("changes nothing that other programs in the process share", () =>
    Effect.gen(function* () {
      const before = { ...Supervisor.none }
      const unobserved = yield* Unobserved.make
      yield* unobserved.watch(losing("gone"))
      assert.lengthOf(yield* unobserved.take, 1)
      assert.deepStrictEqual({ ...Supervisor.none }, before)
    })
  )

  it.effect("leaves a fiber from runFork to its caller, which may observe it after its end", () =>
    Effect.gen(function* () {
      const unobserved = yield* Unobserved.make
      const program = Effect.flatMap(Effect.runtime<never>(), (runtime) =>
        losing("held", (effect) => Effect.sync(() => Runtime.runFork(runtime)(effect)))
      )
      yield* unobserved.watch(program)
      assert.deepStrictEqual(yield* unobserved.take, [])
    })
  )

  it.effect("does not watch items on worker fibers, but the fibers that they fork", () =>
    Effect.gen(function* () {
      const unobserved = yield* Unobserved.make
      const items = [
        Effect.fail("item"),
        Effect.zipRight(Effect.yieldNow(), Effect.fail("late item")),
        losing("forked")
      ]
      let pulled = 0
      const run = WorkerFibers.run<unknown, string, never>({
        concurrency: 2,
        pull: () => items[pulled++],
        settle: () => undefined
      })
      yield* unobserved.watch(run)
      assert.deepStrictEqual(
        (yield* unobserved.take).map(({ cause }) => Cause.squash(cause)),
        ["forked"]
      )
    })
  )

  it.effect("returns an ended fiber's outcome unchanged when it is read", () =>
    Effect.gen(function* () {
      const unobserved = yield* Unobserved.make
      const fiber = yield* unobserved.watch(losing("kept"))
      assert.strictEqual(yield* Effect.flip(Fiber.join(fiber)), "kept")
      assert.deepStrictEqual(yield* unobserved.take, [])
    })
  )
})
