import { readFile } from "node:fs/promises"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Effect, Exit, Fiber, Queue, Random, Ref, type Scope } from "effect"
import * as Gather from "../../src/services/task/Gather.js"
import * as TaskGroup from "../../src/services/task/TaskGroup.js"
import * as WaitTasks from "../../src/services/task/WaitTasks.js"
import * as Timers from "../../src/services/time/Timers.js"
import { Interleave, VirtualClock } from "../../src/testing/index.js"

const strategies = ["random", "pct"] as const

/** The failure that exploring ends with; the real time to be sure of a deadlock is kept short. */
const found = <A, E, R>(program: Effect.Effect<A, E, R>, options: Interleave.Options = {}) =>
  Effect.flip(Interleave.explore(program, { runs: 500, patience: 5, ...options }))

const passes = <A, E, R>(program: Effect.Effect<A, E, R>, options: Interleave.Options = {}) =>
  Interleave.explore(program, { runs: 200, patience: 5, ...options })

const told = (error: Interleave.InterleavingFailed) =>
  error.steps.map(({ did, fiber, stopped }) => `${fiber}: ${[...did, stopped].join(", ")}`)

// Two add one each. Broken: what was read may be old when it is written.
const deposits = (add: (total: Ref.Ref<number>) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    const total = yield* Ref.make(0)
    const one = (name: string) => Effect.withSpan(add(total), name)
    yield* Effect.all([one("Ada"), one("Ben")], { concurrency: 2 })
    const sum = yield* Ref.get(total)
    if (sum !== 2) return yield* Effect.dieMessage(`the total is ${sum}, not 2`)
    return sum
  })
const lostUpdate = deposits((total) =>
  Effect.gen(function* () {
    const was = yield* Effect.withSpan(Ref.get(total), "read")
    yield* Effect.withSpan(Ref.set(total, was + 1), "write")
  })
)
const updates = deposits(Ref.update((was) => was + 1))

// One job, two workers. Broken: the job that was seen may be gone when it is taken.
const workers = (take: (jobs: Queue.Queue<string>) => Effect.Effect<unknown>) =>
  Effect.gen(function* () {
    const jobs = yield* Queue.unbounded<string>()
    yield* Queue.offer(jobs, "job")
    yield* TaskGroup.scoped(
      Effect.gen(function* () {
        yield* TaskGroup.start("worker a", take(jobs))
        yield* TaskGroup.start("worker b", take(jobs))
      })
    )
  })
const checkThenTake = workers((jobs) =>
  Effect.gen(function* () {
    if ((yield* Queue.size(jobs)) === 0) return
    yield* Effect.log("there is a job")
    yield* Queue.take(jobs)
  })
)
const poll = workers(Queue.poll)

// Two accounts, each with a lock, and a transfer each way. Broken: each may hold what the other one needs.
const transfers = (order: (locks: ReadonlyArray<Effect.Semaphore>) => ReadonlyArray<Effect.Semaphore>) =>
  Effect.gen(function* () {
    const a = yield* Effect.makeSemaphore(1)
    const b = yield* Effect.makeSemaphore(1)
    const transfer = (name: string, from: Effect.Semaphore, to: Effect.Semaphore) => {
      const [first, second] = order([from, to]) as [Effect.Semaphore, Effect.Semaphore]
      const lock =
        (which: Effect.Semaphore) =>
        <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          Effect.withSpan(which.withPermits(1)(effect), which === a ? "lock a" : "lock b")
      return Effect.void.pipe(lock(second), lock(first), Effect.withSpan(name))
    }
    const both = [transfer("a to b", a, b), transfer("b to a", b, a)]
    yield* Effect.all(both, { concurrency: 2, discard: true })
    return { a, b }
  })
const lockOrder = transfers((locks) => locks)
// Both take the one lock first: that of the first account, whichever way the money goes.
const sameOrder = Effect.gen(function* () {
  const order: Array<Effect.Semaphore> = []
  return yield* transfers((locks) => {
    if (order.length === 0) order.push(...locks)
    return order
  })
})

describe("Interleave", () => {
  for (const strategy of strategies) {
    describe(strategy, () => {
      it.effect("finds a lost update, with one switch; an atomic update has none", () =>
        Effect.gen(function* () {
          const error = yield* found(lostUpdate, { strategy })
          expect(error.switches).toHaveLength(1)
          expect(error.again).toBe(true)
          expect(told(error).slice(2)).toEqual([
            "Ada: read, is held up",
            "Ben: read, write, ends",
            "Ada: write, ends",
            "fiber 1: ends",
            "main: fails"
          ])
          expect(error.message).toContain("the total is 1, not 2")
          expect((yield* passes(updates, { strategy })).orders).toBeGreaterThan(100)
        })
      )

      it.effect("finds a check before an act on a queue; polling has none", () =>
        Effect.gen(function* () {
          const error = yield* found(checkThenTake, { strategy })
          expect(error.switches).toHaveLength(1)
          const lines = told(error).filter((line) => line.startsWith("worker"))
          expect(lines).toHaveLength(3)
          expect(lines[0]).toMatch(/^worker [ab]: .*is held up$/)
          expect(lines[2]).toContain("waits for a queue, or a Deferred of its own")
          const [defect] = Cause.defects(error.cause)
          expect(defect).toBeInstanceOf(VirtualClock.Deadlock)
          yield* passes(poll, { strategy })
        })
      )

      it.effect("finds locks that are taken in two orders, by the deadlock; one order for all has none", () =>
        Effect.gen(function* () {
          const error = yield* found(lockOrder, { strategy })
          expect(error.switches).toHaveLength(1)
          const [deadlock] = Cause.defects(error.cause)
          if (!(deadlock instanceof VirtualClock.Deadlock)) throw deadlock
          const spans = deadlock.fibers
            .map((fiber) => fiber.spans.join(" < "))
            .filter((names) => names !== "")
          expect(spans).toEqual(["lock b < lock a < a to b", "lock a < lock b < b to a"])
          expect(told(error).slice(-3)).toEqual([
            "a to b: lock a, is held up",
            "b to a: lock b, lock a, waits for a semaphore, a latch, a callback or a promise",
            "a to b: lock b, waits for a semaphore, a latch, a callback or a promise"
          ])
          yield* passes(sameOrder, { strategy })
        })
      )

      it.effect("finds the same again: by the same options, and by the seed alone", () =>
        Effect.gen(function* () {
          const [one, two] = [yield* found(lostUpdate, { strategy }), yield* found(lostUpdate, { strategy })]
          expect(two).toMatchObject({
            seed: one.seed,
            run: one.run,
            switches: one.switches,
            steps: one.steps
          })
          const again = yield* Effect.flip(Interleave.replay(lostUpdate, one.seed))
          expect(again.steps).toEqual(one.steps)
          expect(again.seed).toBe(one.seed)
          expect(yield* updates.pipe(Interleave.replay(one.seed))).toBe(2)
        })
      )

      it.effect("runs all fibers in spite of one that polls for ever", () =>
        Effect.gen(function* () {
          const polling = Effect.gen(function* () {
            const ready = yield* Ref.make(false)
            const waits = Effect.repeat(Effect.zipRight(Effect.yieldNow(), Ref.get(ready)), {
              until: (is) => is
            })
            yield* Effect.all([waits, Ref.set(ready, true)], { concurrency: 2 })
          })
          yield* passes(polling, { strategy, maxSteps: 5000 })
        })
      )
    })
  }

  it.effect("fails at once if plain order fails, without a switch", () =>
    Effect.gen(function* () {
      const error = yield* found(Effect.fail("no"))
      expect(error).toMatchObject({ seed: "plain", run: 1, switches: [], again: true })
      expect(error.message).toBe(
        [
          "fails in plain order, without any switch (run 1)",
          "  Error: no",
          "   1. main  fails",
          'again: Interleave.replay("plain")'
        ].join("\n")
      )
      expect((yield* Effect.flip(Interleave.replay(Effect.fail("no"), "plain"))).seed).toBe("plain")
    })
  )

  it.effect("runs in virtual time, and shows it", () =>
    Effect.gen(function* () {
      const late = Effect.gen(function* () {
        yield* Effect.sleep("1 hour")
        return yield* Effect.fail(yield* Clock.currentTimeMillis)
      })
      const error = yield* found(late)
      expect(error.cause).toEqual(Cause.fail(3_600_000))
      expect(error.message).toContain(
        "   1.       0 ms  main  sleeps until 3600000 ms\n   2. 3600000 ms  main  fails"
      )
    })
  )

  it.effect("wakes sleepers of one deadline in any order", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const log = yield* Ref.make("")
        const say = (word: string) =>
          Effect.delay(
            Ref.update(log, (said) => said + word),
            10
          )
        yield* Effect.all([say("a"), say("b")], { concurrency: 2 })
        expect(yield* Ref.get(log)).toBe("ab")
      })
      expect((yield* found(program)).switches).toHaveLength(1)
    })
  )

  it.effect("draws the same random numbers in the same run, and keeps logs off", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const program = Effect.gen(function* () {
        yield* Effect.log("not shown")
        seen.push(yield* Random.next)
      })
      yield* Interleave.replay(program, "random/7")
      yield* Interleave.replay(program, "random/7")
      yield* Interleave.replay(program, "random/8")
      expect(seen[0]).toBe(seen[1])
      expect(seen[0]).not.toBe(seen[2])
    })
  )

  it.effect("cancels what a run leaves behind before the next one begins", () =>
    Effect.gen(function* () {
      let living = 0
      const program = Effect.gen(function* () {
        if (living !== 0) return yield* Effect.dieMessage("one of the last run is there")
        const begun = yield* Deferred.make<void>()
        yield* Effect.sync(() => living++).pipe(
          Effect.zipRight(Deferred.succeed(begun, undefined)),
          Effect.zipRight(Effect.never),
          Effect.ensuring(
            Effect.zipRight(
              Effect.sleep(5),
              Effect.sync(() => living--)
            )
          ),
          Effect.forkDaemon
        )
        yield* Deferred.await(begun)
      })
      yield* passes(program, { runs: 20 })
      expect(living).toBe(0)
    })
  )

  it.effect("gives up a run that never ends, even one that cannot be interrupted", () =>
    Effect.gen(function* () {
      const spin = Effect.forever(Effect.void)
      const error = yield* found(spin, { maxSteps: 1000 })
      const [defect] = Cause.defects(error.cause)
      expect(defect).toBeInstanceOf(Interleave.Endless)
      expect(error.message).toContain(
        "it has not ended after 1000 steps; if it should need more, raise maxSteps"
      )
      yield* found(Effect.uninterruptible(spin), { maxSteps: 1000 })
    })
  )

  it.effect("reports that the same order does not fail again", () =>
    Effect.gen(function* () {
      let runs = 0
      const program = Effect.suspend(() => (++runs === 3 ? Effect.fail("once") : Effect.void))
      const error = yield* found(program)
      expect(error).toMatchObject({ run: 3, again: false })
      expect(error.message).toContain('the same order ("random/2") did not fail again')
    })
  )

  it.effect("waits for real work, without a deadlock", () =>
    Effect.gen(function* () {
      const timer = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))
      const file = Effect.promise(() => readFile(import.meta.filename))
      const program = Effect.all([timer, file, Effect.sleep("1 day")], { concurrency: 3 })
      expect(yield* Interleave.explore(program, { runs: 3, patience: 1000 })).toMatchObject({ runs: 3 })
    })
  )

  it.live("is cancelled as a whole, with its program's clean-up", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      let cleaned = false
      const timer = Effect.async<never>(() => {
        const real = setInterval(() => undefined, 1000)
        return Effect.sync(() => {
          clearInterval(real)
          cleaned = true
        })
      })
      const fiber = yield* Effect.fork(
        Interleave.explore(Effect.zipRight(Deferred.succeed(started, undefined), timer))
      )
      yield* Deferred.await(started)
      expect(Exit.isInterrupted(yield* Fiber.interrupt(fiber))).toBe(true)
      expect(cleaned).toBe(true)
    })
  )

  it.effect("dies of a text that is not a seed", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Interleave.replay(Effect.void, "17"))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain(
        "'17' is not a seed; expected one that was reported"
      )
    })
  )

  it.effect("has every number of steps once, whichever fiber was held up", () =>
    Effect.gen(function* () {
      const steps = new Set<number>()
      for (const seed of [1, 2, 3, 4, 5]) {
        steps.add((yield* Interleave.explore(updates, { runs: 2, seed })).steps)
      }
      expect(steps.size).toBe(1)
    })
  )
})

describe("Interleave.extend", () => {
  // What the test function was given.
  const recorder = () => {
    const tests: Array<{
      name: string
      body: (context: unknown) => Promise<void>
      timeout: number | undefined
    }> = []
    const test = Object.assign(
      (name: string, body: (context: unknown) => Promise<void>, timeout?: number) => {
        tests.push({ name, body, timeout })
      },
      { each: "as it was" }
    )
    return { test, tests }
  }

  it("adds it.interleave, and leaves the rest as it is", () => {
    const { test, tests } = recorder()
    const extended = Interleave.extend(test)
    expect(extended.each).toBe("as it was")
    expect("interleave" in test).toBe(false)
    extended("plain", async () => undefined)
    extended.interleave("explored", updates, { runs: 3, timeout: 5000 })
    expect(tests.map(({ name, timeout }) => [name, timeout])).toEqual([
      ["plain", undefined],
      ["explored", 5000]
    ])
  })

  it("fails the test with the steps, passes it, and cancels it with the runner's signal", async () => {
    const { test, tests } = recorder()
    const { interleave } = Interleave.extend(test)
    interleave(
      "passes",
      Effect.acquireRelease(updates, () => Effect.void),
      { runs: 3 }
    )
    interleave("fails", lostUpdate, { runs: 500 })
    interleave(
      "hangs",
      Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 2 ** 30)))
    )
    const [passing, failing, hanging] = tests
    await passing!.body({})
    await expect(failing!.body({})).rejects.toThrow(/with 1 switch of fibers[\s\S]*Ada {6}read, is held up/)
    const cancelled = hanging!.body({ signal: AbortSignal.abort() })
    await expect(cancelled).rejects.toThrow(/interrupt/i)
  })

  Interleave.extend(it).interleave("works with the real one", updates, { runs: 10 })
})

// This project's own, in 200 orders of each strategy.
describe("in every order", () => {
  for (const strategy of strategies) {
    const explored = Interleave.extend(it)
    const interleave = (name: string, program: Effect.Effect<unknown, unknown>) =>
      explored.interleave(`${name} (${strategy})`, program, { runs: 200, strategy })

    interleave(
      "TaskGroup: siblings of a failure are cleaned up before their group fails",
      Effect.gen(function* () {
        const log: Array<string> = []
        const sibling = (name: string) =>
          Effect.ensuring(
            Effect.never,
            Effect.zipRight(
              Effect.sleep(1),
              Effect.sync(() => log.push(name))
            )
          )
        const started: Array<string> = []
        const start = (name: string) =>
          TaskGroup.start(
            name,
            Effect.zipRight(
              Effect.sync(() => started.push(name)),
              sibling(name)
            )
          )
        const exit = yield* Effect.exit(
          TaskGroup.scoped(
            Effect.gen(function* () {
              yield* start("a")
              yield* TaskGroup.start("bad", Effect.fail("no"))
              yield* start("b")
              return yield* Effect.never
            })
          )
        )
        expect(Exit.isFailure(exit) && [...Cause.failures(exit.cause)]).toEqual(["no"])
        // One that was cancelled before its first step has nothing to clean up.
        expect(log.sort()).toEqual(started.filter((name) => log.includes(name)).sort())
        expect(log.length).toBeLessThanOrEqual(started.length)
      })
    )

    interleave(
      "TaskGroup: a task that is cancelled as it ends has ended when cancel returns, one way or the other",
      TaskGroup.scoped(
        Effect.gen(function* () {
          const task = yield* TaskGroup.start("quick", Effect.yieldNow())
          yield* task.cancel("enough")
          expect(["succeeded", "cancelled"]).toContain(yield* task.status)
        })
      )
    )

    interleave(
      "TaskGroup: never more than its concurrency live at once",
      Effect.gen(function* () {
        let living = 0
        const work = Effect.acquireUseRelease(
          Effect.sync(() => expect(++living).toBeLessThanOrEqual(2)),
          () => Effect.sleep(1),
          () => Effect.sync(() => living--)
        )
        const all = Effect.forEach(["a", "b", "c", "d"], (name) => TaskGroup.start(name, work))
        const results = Effect.flatMap(all, WaitTasks.results)
        yield* TaskGroup.scoped(results, { concurrency: 2 })
      })
    )

    interleave(
      "Timers: each runs once and not before its time, and what was cancelled in time never",
      Effect.gen(function* () {
        const timers = yield* Timers.Timers
        const ran: Array<string> = []
        const call = (name: string, delay: number) =>
          timers.callLater(
            delay,
            Effect.map(Clock.currentTimeMillis, (now) => {
              expect(now).toBeGreaterThanOrEqual(delay)
              ran.push(name)
            })
          )
        const [a, b, c] = [yield* call("a", 10), yield* call("b", 10), yield* call("c", 5)]
        const quick = yield* Effect.fork(b.cancel("changed my mind"))
        yield* timers.callSoon(c.cancel("too late or not"))
        yield* Effect.all([a.await, b.await, c.await], { concurrency: 3 })
        yield* Fiber.join(quick)
        expect(ran.filter((name) => name === "a")).toHaveLength(1)
        for (const [name, handle] of [
          ["b", b],
          ["c", c]
        ] as const) {
          expect(ran.filter((one) => one === name).length).toBeLessThanOrEqual(1)
          const exit = yield* handle.await
          if (Exit.isSuccess(exit)) expect(ran).toContain(name)
        }
      }).pipe(Effect.provide(Timers.layer))
    )

    interleave(
      "Timers: nothing runs after they have been closed",
      Effect.gen(function* () {
        let closed = false
        const late = Effect.sync(() => expect(closed).toBe(false))
        yield* Effect.gen(function* () {
          const timers = yield* Timers.Timers
          yield* timers.callSoon(Effect.ensuring(Effect.sleep(1), late))
          yield* timers.callLater(1, late)
          yield* Effect.sleep(1)
        }).pipe(Effect.provide(Timers.layer))
        closed = true
        yield* Effect.sleep(10)
      })
    )

    interleave(
      "Gather: results in input order, never more than so many at once",
      Effect.gen(function* () {
        let living = 0
        const work = (i: number) =>
          Effect.acquireUseRelease(
            Effect.sync(() => expect(++living).toBeLessThanOrEqual(3)),
            () => Effect.as(i % 2 === 0 ? Effect.sleep(5 - i) : Effect.yieldNow(), i),
            () => Effect.sync(() => living--)
          )
        const items = [0, 1, 2, 3, 4, 5]
        expect(yield* Gather.gather(items.map(work), { concurrency: 3 })).toEqual(items)
      })
    )

    interleave(
      "Gather: what a failure cancels is cleaned up before it is told",
      Effect.gen(function* () {
        let living = 0
        const work = Effect.acquireUseRelease(
          Effect.sync(() => living++),
          () => Effect.sleep(10),
          () =>
            Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => living--)
            )
        )
        const failing = Effect.zipRight(Effect.sleep(1), Effect.fail("no"))
        expect(yield* Effect.flip(Gather.gather([work, failing, work]))).toBe("no")
        expect(living).toBe(0)
      })
    )
  }
})

describe("the scope of a program", () => {
  it.live.each([
    [
      "explore",
      (program: Effect.Effect<void, never, Scope.Scope>) => Interleave.explore(program, { runs: 1 })
    ],
    ["replay", Interleave.replay("plain")]
  ] as const)("is its caller's: %s", ([, run]) =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const say = (word: string) => Effect.sync(() => void log.push(word))
      const program = Effect.acquireRelease(say("open"), () => say("close"))
      yield* Effect.scoped(Effect.zipRight(run(program), say("use")))
      expect(log).toEqual(["open", "use", "close"])
    })
  )
})
