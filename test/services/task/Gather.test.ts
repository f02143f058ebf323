import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Cause, Effect, Exit, FastCheck, Fiber, TestClock } from "effect"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as Gather from "../../../src/services/task/Gather.js"
import { until } from "../../support/Waits.js"

const later = <A>(millis: number, value: A) => Effect.as(Effect.sleep(millis), value)
const failLater = <E>(millis: number, error: E) => Effect.zipRight(Effect.sleep(millis), Effect.fail(error))

describe("Gather", () => {
  describe("gather", () => {
    it.effect("takes a record, and gives its results or outcomes under the same names", () =>
      Effect.gen(function* () {
        const given = { user: Effect.succeed("ada"), age: Effect.as(Effect.yieldNow(), 36) }
        const results = Gather.gather(given)
        expectTypeOf(results).toEqualTypeOf<Effect.Effect<{ user: string; age: number }>>()
        expect(yield* results).toEqual({ user: "ada", age: 36 })
        const outcomes = Gather.gather(
          { ...given, bad: Effect.fail("no") },
          { onFailure: "collect", concurrency: 1 }
        )
        expectTypeOf(outcomes).toEqualTypeOf<
          Effect.Effect<{ user: Exit.Exit<string>; age: Exit.Exit<number>; bad: Exit.Exit<never, string> }>
        >()
        expect(yield* outcomes).toEqual({
          user: Exit.succeed("ada"),
          age: Exit.succeed(36),
          bad: Exit.fail("no")
        })
        expect(yield* Gather.gather({})).toEqual({})
        expect(yield* Effect.flip(Gather.gather({ bad: Effect.fail("no") }))).toBe("no")
      })
    )

    it.effect("takes a mode that is known at run time only", () =>
      Effect.gen(function* () {
        const run = (onFailure: Gather.OnFailure) =>
          Gather.gather([Effect.fail("no"), Effect.succeed(1)], { onFailure })
        expectTypeOf(run).returns.toEqualTypeOf<
          Effect.Effect<[never, number] | [Exit.Exit<never, string>, Exit.Exit<number>], string>
        >()
        expect(yield* run("collect")).toEqual([Exit.fail("no"), Exit.succeed(1)])
        expect(yield* Effect.flip(run("continue"))).toBe("no")
        const options: Gather.GatherOptions = {}
        expect(yield* Gather.gather(new Set([Effect.succeed(1)]), options)).toEqual([1])
      })
    )

    it.effect("returns results in input order, whatever the order of arrival, each with its type", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(
          Gather.gather([later(30, "slow"), later(10, 2), Effect.succeed(true)])
        )
        yield* TestClock.adjust(29)
        expect(fiber.unsafePoll()).toBeNull()
        yield* TestClock.adjust(1)
        const results: [string, number, boolean] = yield* Fiber.join(fiber)
        expect(results).toEqual(["slow", 2, true])
      })
    )

    it.effect("of nothing is nothing", () =>
      Effect.gen(function* () {
        expect(yield* Gather.gather([])).toEqual([])
      })
    )

    it.effect("runs no more than concurrency at once, and starts in order", () =>
      Effect.gen(function* () {
        let out = 0
        let most = 0
        const begun: Array<number> = []
        const effects = Array.from({ length: 9 }, (_, i) =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              begun.push(i)
              most = Math.max(most, ++out)
            }),
            () => later(10 - i, i),
            () => Effect.sync(() => out--)
          )
        )
        const fiber = yield* Effect.fork(Gather.gather(effects, { concurrency: 4 }))
        yield* TestClock.adjust(100)
        expect(yield* Fiber.join(fiber)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
        expect([most, begun]).toEqual([4, [0, 1, 2, 3, 4, 5, 6, 7, 8]])
      })
    )

    describe("an iterable", () => {
      const counting = function* (log: Array<string>, effects: ReadonlyArray<Effect.Effect<number, string>>) {
        try {
          for (const [i, effect] of effects.entries()) {
            log.push(`give ${i}`)
            yield effect
          }
        } finally {
          log.push("closed")
        }
      }

      it.effect("is read only as far as places get free", () =>
        Effect.gen(function* () {
          const log: Array<string> = []
          const effects = Array.from({ length: 4 }, (_, i) => later(10, i))
          const fiber = yield* Effect.fork(Gather.gather(counting(log, effects), { concurrency: 2 }))
          yield* TestClock.adjust(9)
          expect(log).toEqual(["give 0", "give 1"])
          yield* TestClock.adjust(1)
          expect(log).toEqual(["give 0", "give 1", "give 2", "give 3"])
          yield* TestClock.adjust(10)
          expect(yield* Fiber.join(fiber)).toEqual([0, 1, 2, 3])
          expect(log.at(-1)).toBe("closed")
        })
      )

      it.effect("that is endless is left and closed at a failure", () =>
        Effect.gen(function* () {
          const log: Array<string> = []
          const endless = counting(
            log,
            Array.from({ length: 100 }, (_, i) => (i === 3 ? Effect.fail("three") : Effect.succeed(i)))
          )
          expect(yield* Effect.flip(Gather.gather(endless, { concurrency: 1 }))).toBe("three")
          expect(log).toEqual(["give 0", "give 1", "give 2", "give 3", "closed"])
        })
      )

      it.effect("that throws is a defect, not a shorter result", () =>
        Effect.gen(function* () {
          const boom = new Error("boom")
          const throws = function* () {
            yield Effect.succeed(1)
            throw boom
          }
          const exit = yield* Effect.exit(Gather.gather(throws()))
          expect(exit).toEqual(Exit.die(boom))
        })
      )
    })

    describe("when one fails", () => {
      // Two that wait and clean up slowly, and one that fails at 10 ms.
      const scene = () => {
        const log: Array<string> = []
        const exits = new Map<number, Exit.Exit<unknown, unknown>>()
        const waits = (name: string, millis: number) =>
          later(millis, name).pipe(
            Effect.onInterrupt(() =>
              Effect.zipRight(
                Effect.sleep(5),
                Effect.sync(() => log.push(`${name} cleaned up`))
              )
            ),
            Effect.tap(() => Effect.sync(() => log.push(`${name} done`)))
          )
        const effects = [waits("a", 100), failLater(10, "boom"), waits("b", 50)] as const
        return {
          log,
          exits,
          effects,
          onExit: (i: number, exit: Exit.Exit<unknown, unknown>) => exits.set(i, exit)
        }
      }

      it.effect(
        "cancel: interrupts the siblings with a reason, waits for their clean-up, fails with it",
        () =>
          Effect.gen(function* () {
            const { effects, exits, log, onExit } = scene()
            const fiber = yield* Effect.fork(Effect.flip(Gather.gather(effects, { onExit, name: "pages" })))
            yield* TestClock.adjust(14)
            expect(fiber.unsafePoll()).toBeNull()
            yield* TestClock.adjust(1)
            expect(yield* Fiber.join(fiber)).toBe("boom")
            expect(log.sort()).toEqual(["a cleaned up", "b cleaned up"])
            expect([0, 2].map((i) => Cancellation.fromExit(exits.get(i)!))).toEqual([
              [{ reason: "task 1 failed: boom", origin: "pages" }],
              [{ reason: "task 1 failed: boom", origin: "pages" }]
            ])
          })
      )

      it.effect("continue: lets the siblings finish, then fails with the first failure", () =>
        Effect.gen(function* () {
          const { effects, log } = scene()
          const fiber = yield* Effect.fork(
            Effect.flip(Gather.gather([...effects, failLater(20, "later")], { onFailure: "continue" }))
          )
          yield* TestClock.adjust(99)
          expect(fiber.unsafePoll()).toBeNull()
          yield* TestClock.adjust(1)
          expect(yield* Fiber.join(fiber)).toBe("boom")
          expect(log).toEqual(["b done", "a done"])
        })
      )

      it.effect("collect: gives every outcome as a value", () =>
        Effect.gen(function* () {
          const { effects } = scene()
          const fiber = yield* Effect.fork(Gather.gather(effects, { onFailure: "collect" }))
          yield* TestClock.adjust(100)
          const outcomes: [Exit.Exit<string>, Exit.Exit<never, string>, Exit.Exit<string>] =
            yield* Fiber.join(fiber)
          expect(outcomes).toEqual([Exit.succeed("a"), Exit.fail("boom"), Exit.succeed("b")])
        })
      )

      it.effect("a defect in a sibling's clean-up is not lost", () =>
        Effect.gen(function* () {
          const broken = Effect.onInterrupt(Effect.never, () => Effect.die("clean-up broke"))
          const exit = yield* Effect.exit(
            Gather.gather([broken, Effect.zipRight(Effect.yieldNow(), Effect.fail("boom"))])
          )
          expect(
            Exit.isFailure(exit) && [[...Cause.failures(exit.cause)], [...Cause.defects(exit.cause)]]
          ).toEqual([["boom"], ["clean-up broke"]])
        })
      )
    })

    it.effect("interrupted, interrupts and cleans up all, with the caller's reason", () =>
      Effect.gen(function* () {
        let cleaned = 0
        const exits: Array<Exit.Exit<unknown, unknown>> = []
        let begun = 0
        const waits = Effect.onInterrupt(
          Effect.zipRight(
            Effect.sync(() => begun++),
            Effect.never
          ),
          () => Effect.sync(() => cleaned++)
        )
        const fiber = yield* Effect.fork(
          Gather.gather([waits, waits, waits], {
            onExit: (i, exit) => {
              exits[i] = exit
            }
          })
        )
        yield* until(() => begun === 3)
        yield* Cancellation.cancel(fiber, { reason: "too late", origin: "user" })
        expect(cleaned).toBe(3)
        expect(exits.flatMap(Cancellation.fromExit).map(({ reason }) => reason)).toEqual([
          "too late",
          "too late",
          "too late"
        ])
      })
    )

    describe("no failure is dropped", () => {
      const causeOf = (exit: Exit.Exit<unknown, unknown>) => (Exit.isFailure(exit) ? exit.cause : Cause.empty)
      const failuresOf = (exit: Exit.Exit<unknown, unknown>) => [...Cause.failures(causeOf(exit))]
      const defectsOf = (exit: Exit.Exit<unknown, unknown>) => [...Cause.defects(causeOf(exit))]
      const run = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(effect)
          yield* TestClock.adjust(100)
          return yield* Fiber.await(fiber)
        })

      it.effect("cancel: a sibling's own failure, in an uninterruptible region", () =>
        Effect.gen(function* () {
          const both = [failLater(5, "a"), failLater(20, "b"), later(30, "c")]
          const within = yield* run(Effect.uninterruptible(Gather.gather(both)))
          expect(failuresOf(within)).toEqual(["a", "b"])
          const items = both.map((item) => Effect.uninterruptible(item))
          expect(failuresOf(yield* run(Gather.gather(items)))).toEqual(["a", "b"])
        })
      )

      it.effect.each(["cancel", "continue", "collect"] as const)(
        "%s: what breaks when it is interrupted",
        (onFailure) =>
          Effect.gen(function* () {
            const broken = (name: string) => Effect.onInterrupt(Effect.never, () => Effect.die(name))
            const late = Effect.uninterruptible(failLater(20, "late"))
            const items = [broken("a"), broken("b"), late] as Array<Effect.Effect<never, string>>
            const all =
              onFailure === "collect"
                ? Gather.gather(items, { onFailure })
                : Gather.gather(items, { onFailure })
            const fiber = yield* Effect.fork(all as Effect.Effect<unknown, string>)
            yield* TestClock.adjust(10)
            yield* Fiber.interruptFork(fiber)
            yield* TestClock.adjust(20)
            const exit = yield* Fiber.await(fiber)
            expect([Exit.isInterrupted(exit), failuresOf(exit), defectsOf(exit).sort()]).toEqual([
              true,
              ["late"],
              ["a", "b"]
            ])
          })
      )

      it.effect("of an item whose onExit throws", () =>
        Effect.gen(function* () {
          const boom = new Error("boom")
          const onExit = () => {
            throw boom
          }
          for (const concurrency of [1, 2, "unbounded"] as const) {
            const exit = yield* run(Gather.gather([Effect.fail("a"), Effect.never], { concurrency, onExit }))
            expect([failuresOf(exit), new Set(defectsOf(exit))]).toEqual([["a"], new Set([boom])])
          }
        })
      )
    })

    it.effect("concurrency is a count: any other value is refused by name, and nothing runs", () =>
      Effect.gen(function* () {
        let ran = 0
        const item = Effect.sync(() => ++ran)
        for (const concurrency of [
          Number.NaN,
          0,
          -1,
          1.5,
          Number.NEGATIVE_INFINITY,
          "2" as unknown as number
        ]) {
          const exit = yield* Effect.exit(Gather.gather([item, item], { concurrency }))
          expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain(
            `concurrency: ${concurrency} is out of range; expected a whole number`
          )
        }
        expect(ran).toBe(0)
        expect(yield* Gather.gather([item, item], { concurrency: Number.POSITIVE_INFINITY })).toEqual([1, 2])
      })
    )

    it.effect("continues when an item's fiber is interrupted from outside", () =>
      Effect.gen(function* () {
        const victim = Effect.withFiberRuntime<never>((fiber) => {
          setImmediate(() => fiber.unsafeInterruptAsFork(fiber.id()))
          return Effect.never
        })
        for (const concurrency of [1, 2, "unbounded"] as const) {
          const items = [victim, Effect.succeed("a"), victim, Effect.succeed("b")]
          const outcomes = yield* Gather.gather(items, { concurrency, onFailure: "collect" })
          expect(outcomes.map((exit) => (Exit.isInterrupted(exit) ? "interrupted" : exit))).toEqual([
            "interrupted",
            Exit.succeed("a"),
            "interrupted",
            Exit.succeed("b")
          ])
          const exit = yield* Effect.exit(Gather.gather(items, { concurrency, onFailure: "continue" }))
          expect(Exit.isInterrupted(exit)).toBe(true)
        }
      })
    )

    it.effect("a value that is not an effect is an item that dies, not the end", () =>
      Effect.gen(function* () {
        const items = [Effect.succeed(1), undefined as unknown as Effect.Effect<number>, Effect.succeed(3)]
        for (const given of [items, new Set(items)]) {
          const outcomes = yield* Gather.gather(given, { onFailure: "collect" })
          expect(outcomes.map((exit) => exit._tag)).toEqual(["Success", "Failure", "Success"])
        }
      })
    )

    it.effect.prop(
      "is the sequential map, for any delays, concurrency and point of failure",
      {
        delays: FastCheck.array(FastCheck.integer({ min: 0, max: 4 }), { maxLength: 12 }),
        concurrency: FastCheck.oneof(
          FastCheck.integer({ min: 1, max: 5 }),
          FastCheck.constant("unbounded" as const)
        ),
        fails: FastCheck.option(FastCheck.nat(12), { nil: undefined }),
        onFailure: FastCheck.constantFrom("cancel" as const, "continue" as const)
      },
      ({ concurrency, delays, fails, onFailure }) =>
        Effect.gen(function* () {
          const effects = delays.map((delay, i) => {
            const end: Effect.Effect<number, string> =
              i === fails ? Effect.fail(`no ${i}`) : Effect.succeed(i * i)
            return delay === 0 ? end : Effect.zipRight(Effect.sleep(delay), end)
          })
          const gathered = yield* Effect.fork(
            Effect.either(Gather.gather(effects, { concurrency, onFailure }))
          )
          const mapped = yield* Effect.fork(Effect.either(Effect.all(effects)))
          yield* TestClock.adjust(50)
          expect(yield* Fiber.join(gathered)).toEqual(yield* Fiber.join(mapped))
        }),
      { fastCheck: { numRuns: 40 } }
    )
  })
})
