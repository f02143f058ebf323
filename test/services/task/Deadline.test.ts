import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, FiberRef, Option, TestClock } from "effect"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as Deadline from "../../../src/services/task/Deadline.js"
import * as Sleep from "../../../src/services/task/Sleep.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

const late = { reason: "no answer within 1 s", origin: "test" }
const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  limit: Parameters<typeof Sleep.sleep>[0] = "1 second"
) => Deadline.timeout(effect, { limit, late, onTimeout: () => "late" })

const reasonsOf = (seen: Array<string>) => (ids: Parameters<typeof Cancellation.fromInterruptors>[0]) =>
  Effect.sync(() => seen.push(...Cancellation.fromInterruptors(ids).map(({ reason }) => reason)))

const days = 24 * 3_600_000

describe("Deadline", () => {
  it.effect("gives what the effect gives in time, and its FiberRefs", () =>
    Effect.gen(function* () {
      const ref = FiberRef.unsafeMake(0)
      assert.strictEqual(yield* within(Effect.as(FiberRef.set(ref, 1), 1)), 1)
      assert.strictEqual(yield* FiberRef.get(ref), 1)
      assert.deepStrictEqual(yield* Effect.exit(within(Effect.fail("no"))), Exit.fail("no"))
      assert.strictEqual(yield* within(Effect.succeed(2), Number.POSITIVE_INFINITY), 2)
    })
  )

  it.effect("cancels at the limit, with the reason, and awaits the clean-up", () =>
    Effect.gen(function* () {
      const cleaned: Array<string> = []
      const slow = Effect.never.pipe(
        Effect.onInterrupt((ids) => Effect.delay(reasonsOf(cleaned)(ids), "1 second"))
      )
      const fiber = yield* Effect.fork(within(slow))
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(cleaned, [])
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(cleaned, [late.reason])
      assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.fail("late"))
    })
  )

  it.effect(
    "passes on the reason for which it is interrupted itself, and what the clean-up raises then",
    () =>
      Effect.gen(function* () {
        const seen: Array<string> = []
        const effect = Effect.never.pipe(
          Effect.onInterrupt((ids) => Effect.zipRight(reasonsOf(seen)(ids), Effect.die("broken")))
        )
        const fiber = yield* Effect.fork(within(effect))
        yield* TestClock.adjust("1 millis")
        const exit = yield* Cancellation.cancel(fiber, { reason: "enough", origin: "test" })
        assert.deepStrictEqual(seen, ["enough"])
        assert.isTrue(Exit.isFailure(exit) && Option.isSome(Cause.dieOption(exit.cause)))
      })
  )

  it.effect("keeps the defects of a late clean-up beside the error", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(within(Effect.onInterrupt(Effect.never, () => Effect.die("broken"))))
      yield* TestClock.adjust("1 second")
      const exit = yield* Fiber.await(fiber)
      assert.deepStrictEqual(exit, Exit.failCause(Cause.sequential(Cause.fail("late"), Cause.die("broken"))))
    })
  )

  it.effect("awaits work that cannot be interrupted, and keeps an interruption that is not its own", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(within(Effect.uninterruptible(Sleep.sleep(2000))))
      yield* TestClock.adjust(1999)
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.fail("late"))
      const interrupted = yield* Effect.exit(within(Effect.interrupt))
      assert.isTrue(Exit.isInterrupted(interrupted))
    })
  )

  it.effect("of two limits with one reason only the shorter one's error is seen", () =>
    Effect.gen(function* () {
      const inner = Deadline.timeout(Effect.never, { limit: "1 second", late, onTimeout: () => "inner" })
      const fiber = yield* Effect.fork(
        Deadline.timeout(inner, { limit: "2 seconds", late, onTimeout: () => "outer" })
      )
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.fail("inner"))
    })
  )

  const exactly = [
    ["in one step", 1000, Sleep.sleep(1000)],
    ["in two steps", 1000, Effect.zipRight(Sleep.sleep(300), Sleep.sleep(700))],
    ["after 30 days", 30 * days, Sleep.sleep(30 * days)],
    ["after 60 days", 60 * days, Sleep.sleep(60 * days)]
  ] as const
  for (const [how, limit, body] of exactly) {
    it.effect(`an effect that ends exactly at the limit ${how} has made it on the TestClock`, () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(within(Effect.as(body, "made it"), limit))
        yield* TestClock.adjust(limit)
        assert.strictEqual(yield* Fiber.join(fiber), "made it")
      })
    )
    it.live(`an effect that ends exactly at the limit ${how} has made it on the virtual clock`, () =>
      VirtualClock.run(
        Effect.gen(function* () {
          assert.strictEqual(yield* within(Effect.as(body, "made it"), limit), "made it")
          const over = yield* Effect.exit(within(Effect.zipRight(body, Sleep.sleep(1)), limit))
          assert.deepStrictEqual(over, Exit.fail("late"))
        })
      )
    )
  }

  it.effect("holds a limit of 30 days to the millisecond", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        within(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never), "30 days")
      )
      yield* Deferred.await(begun)
      yield* TestClock.adjust(30 * days - 1)
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.fail("late"))
    })
  )

  it.live("cancels on the live clock at the limit, and awaits the clean-up", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const slow = Effect.onInterrupt(Effect.never, reasonsOf(seen))
      assert.deepStrictEqual(yield* Effect.exit(within(slow, 5)), Exit.fail("late"))
      assert.deepStrictEqual(seen, [late.reason])
      assert.strictEqual(yield* within(Effect.as(Effect.sleep(5), "in time"), "60 days"), "in time")
    })
  )

  it.live("leaves no timer on the live clock behind, however the effect ends", () =>
    Effect.gen(function* () {
      const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
      const before = timers()
      yield* within(Effect.void)
      yield* Effect.exit(within(Effect.fail("no")))
      const fiber = yield* Effect.fork(within(Deferred.await(yield* Deferred.make<void>())))
      yield* Effect.yieldNow()
      assert.strictEqual(timers(), before + 1)
      yield* Cancellation.cancel(fiber, { reason: "enough", origin: "test" })
      assert.strictEqual(timers(), before)
    })
  )

  it.live("leaves the other children of its caller alone", () =>
    Effect.gen(function* () {
      const child = yield* Effect.fork(Effect.never)
      assert.deepStrictEqual(yield* Effect.exit(within(Effect.never, 1)), Exit.fail("late"))
      assert.isTrue(Option.isNone(yield* Fiber.poll(child)))
    })
  )

  // The body runs in the fiber of the caller unless that has children.
  const callers = [
    ["without children", Effect.void],
    ["with a child", Effect.fork(Effect.never)]
  ] as const
  for (const [which, child] of callers) {
    it.live(`a caller ${which} goes on after the limit, within another limit too`, () =>
      Effect.gen(function* () {
        yield* child
        const inner = Effect.gen(function* () {
          assert.deepStrictEqual(yield* Effect.exit(within(Effect.never, 1)), Exit.fail("late"))
          yield* Effect.sleep(1)
          return yield* Effect.exit(Effect.interruptible(Effect.sleep(1)))
        })
        assert.deepStrictEqual(yield* within(inner), Exit.void)
        assert.deepStrictEqual(
          yield* Effect.exit(within(Effect.zipRight(inner, Effect.never), 50)),
          Exit.fail("late")
        )
        assert.deepStrictEqual(yield* Effect.exit(Effect.sleep(1)), Exit.void)
      })
    )

    it.live(
      `of a caller ${which} that cannot be interrupted a body that is too late gives what it gives`,
      () =>
        Effect.gen(function* () {
          yield* child
          const exit = yield* Effect.exit(
            Effect.uninterruptible(within(Effect.as(Effect.sleep(10), "done"), 1))
          )
          assert.deepStrictEqual(exit, Exit.succeed("done"))
          assert.deepStrictEqual(yield* Effect.exit(Effect.sleep(1)), Exit.void)
        })
    )

    it.live(`of a caller ${which} the children of the body end before it`, () =>
      Effect.gen(function* () {
        yield* child
        for (const body of [Effect.void, Effect.never]) {
          const ended: Array<string> = []
          const cleaned = Effect.onInterrupt(Effect.never, () =>
            Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => ended.push("child"))
            )
          )
          const begun = Effect.zipRight(Effect.fork(cleaned), Effect.sleep(1))
          yield* Effect.exit(within(Effect.zipRight(begun, body), 20))
          assert.deepStrictEqual(ended, ["child"])
        }
      })
    )

    it.live(`a caller ${which} that is cancelled during a late clean-up has the reason of that`, () =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const slow = Effect.onInterrupt(Effect.never, () =>
          Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(go))
        )
        const fiber = yield* Effect.fork(Effect.zipRight(child, within(slow, 1)))
        yield* Deferred.await(begun)
        const cancelling = yield* Effect.fork(
          Cancellation.cancel(fiber, { reason: "enough", origin: "test" })
        )
        yield* Effect.yieldNow()
        yield* Deferred.succeed(go, undefined)
        const exit = yield* Fiber.join(cancelling)
        assert.isTrue(Exit.isInterrupted(exit))
        assert.deepStrictEqual(
          Cancellation.fromExit(exit).map(({ reason }) => reason),
          ["enough"]
        )
      })
    )
  }
})
