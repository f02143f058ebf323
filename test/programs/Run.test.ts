import { describe, it } from "@effect/vitest"
import { Cause, Data, Deferred, Effect, Exit, Fiber, Layer, Ref } from "effect"
import { assert } from "vitest"
import * as Run from "../../src/programs/Run.js"
import { ExitError, UsageError } from "../../src/services/host/ExitCodes.js"
import * as Output from "../../src/services/host/Output.js"
import * as Signals from "../../src/services/host/Signals.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import * as EventLoop from "../../src/services/task/EventLoop.js"
import * as FiberRuntime from "../../src/services/task/internal/fiberRuntime.js"
import { until } from "../support/Waits.js"

class Boom extends Data.TaggedError("Boom")<{ readonly n: number }> {}

const layer = Layer.merge(Output.layerTest, Signals.layerTest)

/** The exit code and what was written on stderr, stack lines left out. */
const outcome = <A, E>(program: Effect.Effect<A, E, Output.Output | Signals.Signals | Signals.Source>) =>
  Effect.gen(function* () {
    const code = yield* Run.supervise(program)
    const { stderr } = yield* Output.Captured
    return { code, stderr: stderr.filter((line) => !line.includes("    at ")) }
  }).pipe(Effect.provide(layer))

const send = (event: Signals.Event) => Effect.flatMap(Signals.Source, (source) => source.send(event))

/** Never ends, and signals its start. */
const waiting = (started: Deferred.Deferred<void>) =>
  Effect.zipRight(Deferred.succeed(started, undefined), Effect.never)

describe("Run", () => {
  it.effect("prints the guide's line", () =>
    Effect.gen(function* () {
      yield* Run.example
      assert.deepStrictEqual((yield* Output.Captured).stdout, ["hi"])
    }).pipe(Effect.provide(Output.layerTest))
  )
})

describe("Run.supervise", () => {
  it.effect("ends with 0 for a success", () =>
    Effect.map(outcome(Effect.succeed(3)), (it) => assert.deepStrictEqual(it, { code: 0, stderr: [] }))
  )

  it.effect("prints each error once, and ends with 1", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [Effect.Effect<unknown, unknown>, ReadonlyArray<string>]> = [
        [Effect.fail("a text"), ["error: a text"]],
        [Effect.fail(new Boom({ n: 1 })), ["error: Boom: { n: 1 }"]],
        [Effect.fail({ _tag: "Plain" }), ["error: Plain"]],
        [Effect.fail(42), ["error: 42"]],
        [Effect.die(new TypeError("a bug")), ["error: TypeError: a bug"]],
        [Effect.failCause(Cause.parallel(Cause.fail("a"), Cause.die("b"))), ["error: a", "error: b"]],
        [Effect.die(new Error("two\nlines")), ["error: two", "  lines"]],
        [
          Effect.die(new Error("outer", { cause: new Boom({ n: 2 }) })),
          ["error: outer", "  caused by: Boom: { n: 2 }"]
        ]
      ]
      for (const [program, stderr] of cases) {
        assert.deepStrictEqual(yield* outcome(program), { code: 1, stderr })
      }
    })
  )

  it.effect("takes the exit code that an error carries, and prints only its message", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [Effect.Effect<unknown, unknown>, number, ReadonlyArray<string>]> =
        [
          [Effect.fail(new UsageError({ message: "say what" })), 2, ["say what"]],
          [Effect.fail(new ExitError({ exitCode: 126, message: "" })), 126, []],
          [Effect.die(new ExitError({ exitCode: 3, message: "three" })), 3, ["three"]],
          [
            Effect.fail(new Cause.TimeoutException("late")).pipe(Effect.zipRight(Effect.void)),
            124,
            ["error: TimeoutException: late"]
          ]
        ]
      for (const [program, code, stderr] of cases) {
        assert.deepStrictEqual(yield* outcome(program), { code, stderr })
      }
    })
  )

  for (const [name, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
    ["SIGPIPE", 141]
  ] as const) {
    it.effect(
      `cancels the program on ${name}, with the reason, waits for its clean-up and ends with ${code}`,
      () =>
        Effect.gen(function* () {
          const started = yield* Deferred.make<void>()
          const reasons = yield* Ref.make<ReadonlyArray<Cancellation.Cancellation>>([])
          const program = Effect.onExit(waiting(started), (exit) =>
            Effect.zipRight(Effect.yieldNow(), Ref.set(reasons, Cancellation.fromExit(exit)))
          )
          const signalled = Effect.zipRight(
            Effect.fork(Effect.zipRight(Deferred.await(started), send(Signals.signal(name)))),
            program
          )
          assert.deepStrictEqual(yield* outcome(signalled), { code, stderr: [] })
          assert.deepStrictEqual(yield* Ref.get(reasons), [{ reason: name, origin: "process" }])
        })
    )
  }

  it.effect("keeps the signal's code when the program ends well, or fails, after it", () =>
    Effect.gen(function* () {
      const interrupted = Effect.withFiberRuntime<void>((fiber) =>
        until(() => FiberRuntime.isInterrupted(fiber))
      )
      const ending = (last: Effect.Effect<unknown, unknown>) =>
        Effect.uninterruptible(
          Effect.zipRight(send(Signals.signal("SIGTERM")), Effect.zipRight(interrupted, last))
        )
      assert.deepStrictEqual(yield* outcome(ending(Effect.void)), { code: 143, stderr: [] })
      assert.deepStrictEqual(yield* outcome(ending(Effect.fail("late"))), {
        code: 143,
        stderr: ["error: late"]
      })
    })
  )

  it.effect("reports the origin of a cancellation without a signal", () =>
    Effect.gen(function* () {
      const id = Cancellation.toFiberId({ reason: "quota used up", origin: "billing" })
      assert.deepStrictEqual(yield* outcome(Effect.interruptWith(id)), {
        code: 1,
        stderr: ["error: cancelled: quota used up (by billing)"]
      })
    })
  )

  it.effect("cancels the program when an error is caught by nothing", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const program = Effect.zipRight(
        Effect.fork(
          Effect.zipRight(Deferred.await(started), send({ _tag: "Uncaught", error: new Error("stray") }))
        ),
        waiting(started)
      )
      assert.deepStrictEqual(yield* outcome(program), {
        code: 1,
        stderr: ["uncaught error: stray"]
      })
    })
  )

  it.effect("cancels daemons when the program has ended, those that they start in turn too", () =>
    Effect.gen(function* () {
      const closed = yield* Ref.make<ReadonlyArray<string>>([])
      const started = yield* Deferred.make<void>()
      const note = (name: string) => Ref.update(closed, (names) => [...names, name])
      const second = Effect.never.pipe(
        Effect.onExit(() => note("second")),
        Effect.interruptible,
        Effect.forkDaemon
      )
      const first = Effect.onExit(waiting(started), (exit) =>
        Effect.zipRight(second, note(Cancellation.fromExit(exit)[0]?.reason ?? "no reason"))
      )
      const program = Effect.zipRight(Effect.forkDaemon(first), Deferred.await(started))
      assert.deepStrictEqual(yield* outcome(program), { code: 0, stderr: [] })
      const [one, ...others] = yield* Ref.get(closed)
      assert.deepStrictEqual([one, others.length <= 1], ["the program has ended", true])
    })
  )

  it.effect("leaves the fibers of others alone", () =>
    Effect.gen(function* () {
      const other = yield* Effect.forkDaemon(Effect.never)
      yield* outcome(Effect.forkDaemon(Effect.never))
      assert.isTrue((yield* Fiber.poll(other))._tag === "None")
      yield* Fiber.interrupt(other)
    })
  )

  it.effect("cancels the program when it is itself interrupted", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const closed = yield* Deferred.make<void>()
      const program = Effect.ensuring(waiting(started), Deferred.succeed(closed, undefined))
      const fiber = yield* Effect.fork(outcome(program))
      yield* Deferred.await(started)
      const exit = yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isInterrupted(exit))
      assert.isTrue(yield* Deferred.isDone(closed))
    })
  )

  describe("unobserved fibers", () => {
    // How many have begun and not ended: a fiber that has begun to fail ends before another fiber runs.
    let [begun, failing] = [0, 0]
    const fails = (error: Boom) =>
      Effect.suspend(() => {
        begun++
        failing++
        return Effect.fail(error)
      }).pipe(Effect.ensuring(Effect.sync(() => failing--)))
    const boom = fails(new Boom({ n: 1 }))
    /** Waits, without asking any fiber, until so many have begun and all of those have failed. */
    const settled = (count = 1) =>
      Effect.repeat(EventLoop.nextTurn, { until: () => begun >= count && failing === 0 })
    const report = /^error in fiber #\d+( \(\w+\))? that was never joined: Boom: \{ n: 1 \}$/
    const counted = (program: Effect.Effect<unknown, unknown>) =>
      Effect.suspend(() => {
        begun = 0
        return program
      })
    const lost = (program: Effect.Effect<unknown, unknown>, times = 1) =>
      Effect.map(outcome(counted(program)), ({ code, stderr }) => {
        assert.strictEqual(stderr.length, times, stderr.join("\n"))
        for (const line of stderr) assert.match(line, report)
        assert.strictEqual(code, times === 0 ? 0 : 1)
      })

    it.effect("are reported however they were forked", () =>
      Effect.gen(function* () {
        yield* lost(Effect.zipRight(Effect.fork(boom), settled()))
        yield* lost(Effect.zipRight(Effect.forkDaemon(boom), settled()))
        yield* lost(Effect.scoped(Effect.zipRight(Effect.forkScoped(boom), settled())))
        yield* lost(Effect.zipRight(Effect.fork(Effect.zipRight(Effect.fork(boom), settled())), settled()))
        yield* lost(
          Effect.forEach([1, 2], () => Effect.fork(fails(new Boom({ n: 1 })))).pipe(
            Effect.zipRight(settled(2))
          ),
          2
        )
      })
    )

    it.effect("are reported with the span they were forked in", () =>
      Effect.map(
        outcome(counted(Effect.zipRight(Effect.fork(boom), settled())).pipe(Effect.withSpan("outer"))),
        ({ stderr }) => assert.match(stderr[0]!, /^error in fiber #\d+ \(outer\) that was never joined/)
      )
    )

    it.effect("are reported when their clean-up fails while their parent ends", () =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const child = Effect.ensuring(waiting(started), Effect.die(new Boom({ n: 1 })))
        yield* lost(Effect.zipRight(Effect.fork(child), Deferred.await(started)))
      })
    )

    it.effect("are not those that are awaited, or observed later", () =>
      Effect.gen(function* () {
        const join = (fiber: Fiber.RuntimeFiber<never, Boom>) => Effect.ignore(Fiber.join(fiber))
        yield* lost(Effect.flatMap(Effect.fork(boom), join), 0)
        for (const ask of [join, Fiber.await, Fiber.poll, Fiber.interrupt]) {
          yield* lost(
            Effect.flatMap(Effect.fork(boom), (fiber) => Effect.zipRight(settled(), ask(fiber))),
            0
          )
        }
        for (const fork of [Effect.forkDaemon, Effect.forkScoped] as const) {
          yield* lost(Effect.scoped(Effect.flatMap(fork(boom), join)), 0)
        }
      })
    )

    it.effect("are not those of Effect's own operators", () =>
      Effect.gen(function* () {
        const all = { concurrency: "unbounded" } as const
        const programs: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          Effect.all([boom, boom, Effect.never], all),
          Effect.forEach([1, 2, 3], () => boom, all),
          Effect.validateAll([1, 2], () => boom, all),
          Effect.race(boom, boom),
          Effect.raceFirst(boom, Effect.never),
          Effect.raceAll([boom, boom]),
          Effect.zip(boom, Effect.never, { concurrent: true }),
          Effect.timeout(boom, "1 second"),
          Effect.disconnect(boom)
        ]
        for (const program of programs) {
          yield* lost(Effect.zipRight(Effect.exit(program), settled()), 0)
        }
      })
    )

    it.effect("are not those that were merely cancelled", () =>
      lost(Effect.zipRight(Effect.forkDaemon(Effect.never), Effect.fork(Effect.never)), 0)
    )

    it.effect("are reported once if the program fails with the same error", () =>
      Effect.gen(function* () {
        const program = counted(Effect.fork(boom).pipe(Effect.zipRight(settled()), Effect.zipRight(boom)))
        assert.deepStrictEqual(yield* outcome(program), { code: 1, stderr: ["error: Boom: { n: 1 }"] })
      })
    )

    it.effect("can be left out", () =>
      Effect.gen(function* () {
        const program = counted(Effect.zipRight(Effect.fork(boom), settled()))
        assert.strictEqual(yield* Run.supervise(program, { unobserved: false }), 0)
      }).pipe(Effect.provide(layer))
    )
  })
})
