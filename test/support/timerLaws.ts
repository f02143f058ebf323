import { Clock, Effect, FastCheck, Fiber, TestClock, TestContext } from "effect"
import { expect } from "vitest"
import * as Timers from "../../src/services/time/Timers.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"

// Timers under three clocks, against a model: by property in the tests, as a campaign in fuzz/.

/** A call, or a series whose runs last so long. Times are even, in ms; what happens between them is at odd ones. */
type Plan =
  | { readonly kind: "soon" }
  | { readonly kind: "later" | "at"; readonly due: number; readonly cancelled: number | undefined }
  | {
      readonly kind: "every"
      readonly interval: number
      readonly lasts: number
      readonly overlap: "skip" | "parallel"
      readonly cancelled: number | undefined
    }

const even = (max: number) => FastCheck.integer({ min: 0, max }).map((n) => 2 * n)
const odd = even(20).map((n) => n + 1)
const cancelled = FastCheck.option(odd, { nil: undefined })

/** Plans of calls and series. */
export const plans: FastCheck.Arbitrary<ReadonlyArray<Plan>> = FastCheck.array(
  FastCheck.oneof(
    FastCheck.constant<Plan>({ kind: "soon" }),
    FastCheck.record({ kind: FastCheck.constantFrom("later", "at"), due: even(20), cancelled }),
    FastCheck.record({
      kind: FastCheck.constant("every"),
      interval: even(6).map((n) => n + 2),
      lasts: odd,
      overlap: FastCheck.constantFrom("skip", "parallel"),
      cancelled
    })
  ) as FastCheck.Arbitrary<Plan>,
  { maxLength: 8 }
)

/** All plans end here. */
const end = 50

type Run = readonly [name: string, at: number]

const model = (given: ReadonlyArray<Plan>): ReadonlyArray<Run> => {
  const runs: Array<{ at: number; name: string }> = []
  for (const [n, plan] of given.entries()) {
    const until = "cancelled" in plan ? (plan.cancelled ?? end) : end
    const add = (at: number) => {
      if (at < until) runs.push({ at, name: `${n}` })
    }
    if (plan.kind === "soon") add(0)
    else if (plan.kind !== "every") add(plan.due)
    else {
      let free = 0
      for (let at = plan.interval; at < until; at += plan.interval) {
        if (plan.overlap === "skip" && at < free) continue
        add(at)
        free = at + plan.lasts
      }
    }
  }
  return runs.map(({ at, name }) => [name, at] as const)
}

const program = (given: ReadonlyArray<Plan>) =>
  Effect.gen(function* () {
    const timers = yield* Timers.Timers
    const begun = yield* Clock.currentTimeMillis
    const runs: Array<Run> = []
    const ran = (n: number) =>
      Effect.map(Clock.currentTimeMillis, (now) => void runs.push([`${n}`, now - begun]))
    for (const [n, plan] of given.entries()) {
      const handle =
        "interval" in plan
          ? yield* timers.every(plan.interval, Effect.zipRight(ran(n), Effect.sleep(plan.lasts)), {
              overlap: plan.overlap
            })
          : plan.kind === "soon"
            ? yield* timers.callSoon(ran(n))
            : plan.kind === "later"
              ? yield* timers.callLater(plan.due, ran(n))
              : yield* timers.callAt(begun + plan.due, ran(n))
      if ("cancelled" in plan && plan.cancelled !== undefined)
        yield* Effect.forkScoped(Effect.zipRight(Effect.sleep(plan.cancelled), handle.cancel("the plan")))
    }
    yield* Effect.sleep(end - 1)
    return runs
  }).pipe(Effect.provide(Timers.layer), Effect.scoped)

const sorted = (runs: ReadonlyArray<Run>) => [...runs].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1))

/** VirtualClock and TestClock run a plan as the model does, and calls that are due at once in order of request. */
export const virtualIsTest = (given: ReadonlyArray<Plan>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const virtual = yield* VirtualClock.run(program(given))
    const test = yield* Effect.gen(function* () {
      const fiber = yield* Effect.fork(program(given))
      yield* TestClock.adjust(end)
      return yield* Fiber.join(fiber)
    }).pipe(Effect.provide(TestContext.TestContext))
    const expected = sorted(model(given))
    expect(sorted(virtual)).toEqual(expected)
    expect(sorted(test)).toEqual(expected)
    // Equal deadlines of calls, which no earlier run moves.
    const calls = (runs: ReadonlyArray<Run>) =>
      runs.filter(([name]) => given[Number(name)]!.kind !== "every").map(([name]) => name)
    const ordered = given
      .flatMap((plan, n) =>
        plan.kind === "every" || ("cancelled" in plan && plan.cancelled! < plan.due)
          ? []
          : [[plan.kind === "soon" ? 0 : plan.due, n] as const]
      )
      .sort((a, b) => a[0] - b[0] || a[1] - b[1])
      .map(([, n]) => `${n}`)
    expect(calls(virtual)).toEqual(ordered)
    expect(calls(test)).toEqual(ordered)
  })

/** Deadlines of calls on the live clock, in ms. */
export const deadlines = FastCheck.array(
  FastCheck.integer({ min: 0, max: 4 }).map((n) => 3 * n),
  { maxLength: 12 }
)

/** On the live clock calls run in order of their deadlines, equal ones in order of request, and none before its time. */
export const liveIsOrdered = (given: ReadonlyArray<number>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const timers = yield* Timers.Timers
    const base = Math.ceil(yield* Clock.currentTimeMillis) + 10
    const runs: Array<number> = []
    const handles = []
    for (const [n, due] of given.entries())
      handles.push(
        yield* timers.callAt(
          base + due,
          Effect.map(Clock.currentTimeMillis, (now) => {
            expect(now).toBeGreaterThanOrEqual(base + due - 1) // of the wall clock, whose fraction is cut off
            runs.push(n)
          })
        )
      )
    // A busy machine may ask for a call when its time has passed: that one is due at once, in order of request.
    const inTime = (yield* Clock.currentTimeMillis) < base
    for (const handle of handles) yield* Effect.flatten(handle.await)
    if (!inTime) return
    expect(runs).toEqual(given.map((_, n) => n).sort((a, b) => given[a]! - given[b]! || a - b))
  }).pipe(Effect.provide(Timers.layer))
