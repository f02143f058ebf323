import { describe, expect, it } from "@effect/vitest"
import {
  Clock,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  FastCheck as fc,
  Option,
  Random,
  Ref,
  type Scope,
  TestClock
} from "effect"
import * as LongRunning from "../../src/programs/LongRunning.js"
import * as Output from "../../src/services/host/Output.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"

const start = "task running now..."
const end = ["we waited 10 seconds", "task cancelled"]

// The example in virtual time, each line with its second.
const timed = (options?: LongRunning.ExampleOptions) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const print = (line: string) =>
      Effect.map(Clock.currentTimeMillis, (now) => void lines.push(`${now / 1000} ${line}`))
    const output = yield* Output.Output
    yield* Effect.provideService(LongRunning.example(options), Output.Output, { ...output, print })
    return lines
  }).pipe(VirtualClock.run(), Effect.provide(Output.layerTest))

describe("LongRunning", () => {
  describe("example", () => {
    it.effect("prints each line at its second and not before", () =>
      Effect.gen(function* () {
        const { stdout } = yield* Output.Captured
        const pauses = Random.fixed([2, 0, 3, 1, 3, 2])
        const fiber = yield* Effect.fork(Effect.withRandom(LongRunning.example(), pauses))
        yield* TestClock.adjust(1999)
        const lines = [start]
        expect(stdout).toEqual(lines)
        for (const [seconds, ...more] of [
          [2, "Hello 2", "Hello 0"],
          [5, "Hello 3"],
          [6, "Hello 1"],
          [9, "Hello 3"],
          [10, ...end]
        ] as const) {
          yield* TestClock.setTime(seconds * 1000 - 1)
          expect(stdout).toEqual(lines)
          yield* TestClock.setTime(seconds * 1000)
          lines.push(...more)
          expect(stdout).toEqual(lines)
        }
        yield* Fiber.join(fiber)
        yield* TestClock.adjust("1 minute")
        expect(stdout).toEqual(lines)
      }).pipe(Effect.provide(Output.layerTest))
    )

    it.effect("runs in virtual time, with the same lines at the same seconds", () =>
      Effect.gen(function* () {
        expect(yield* Effect.withRandom(timed(), Random.fixed([2, 0, 3, 1, 3, 2]))).toEqual([
          `0 ${start}`,
          ...["2 Hello 2", "2 Hello 0", "5 Hello 3", "6 Hello 1", "9 Hello 3"],
          ...end.map((line) => `10 ${line}`)
        ])
      })
    )

    it.effect("stops before a Hello that is due exactly at the deadline", () =>
      Effect.gen(function* () {
        const lines = yield* Effect.withRandom(timed(), Random.fixed([2]))
        expect(lines.slice(-3)).toEqual(["8 Hello 2", ...end.map((line) => `10 ${line}`)])
      })
    )

    it.effect("ends though every pause is zero", () =>
      Effect.gen(function* () {
        const lines = yield* Effect.withRandom(timed(), Random.fixed([0]))
        expect(lines.slice(-2)).toEqual(end.map((line) => `10 ${line}`))
      })
    )

    it.effect("prints the same lines for the same seed, and others for another", () =>
      Effect.gen(function* () {
        const runs = yield* Effect.forEach([7, 7, 8], (seed) => timed({ seed }))
        expect(runs[0]).toEqual(runs[1])
        expect(runs[0]).not.toEqual(runs[2])
      })
    )
  })

  describe("forever", () => {
    it.effect("pauses before each round for the drawn time", () =>
      Effect.gen(function* () {
        const rounds: Array<string> = []
        const draws = yield* Ref.make(1)
        const pause = Effect.map(
          Ref.getAndUpdate(draws, (n) => n + 1),
          Duration.seconds
        )
        const note = (pause: Duration.Duration) => Effect.sync(() => void rounds.push(Duration.format(pause)))
        yield* Effect.fork(LongRunning.forever(note, pause))
        yield* TestClock.adjust(999)
        expect(rounds).toEqual([])
        yield* TestClock.adjust(1)
        expect(rounds).toEqual(["1s"])
        yield* TestClock.adjust(4999)
        expect(rounds).toEqual(["1s", "2s"])
        yield* TestClock.adjust(1)
        expect(rounds).toEqual(["1s", "2s", "3s"])
      })
    )

    it.effect("ends with the failure of a round, or of the pause", () =>
      Effect.gen(function* () {
        expect(yield* Effect.exit(LongRunning.forever(Effect.fail("round"), 0))).toEqual(Exit.fail("round"))
        const exit = yield* Effect.exit(LongRunning.forever(Effect.void, Effect.fail("pause")))
        expect(exit).toEqual(Exit.fail("pause"))
      })
    )

    it.effect("starves no other fiber with pauses of zero", () =>
      Effect.gen(function* () {
        const other = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(LongRunning.forever(Effect.void, 0))
        yield* Effect.fork(Deferred.succeed(other, undefined))
        yield* Deferred.await(other)
        yield* Fiber.interrupt(fiber)
      })
    )

    it.effect("keeps pauses beyond 2^31-1 ms", () =>
      Effect.gen(function* () {
        let rounds = 0
        const round = Effect.sync(() => {
          rounds++
        })
        yield* Effect.fork(LongRunning.forever(round, "60 days"))
        yield* TestClock.adjust(Duration.toMillis("60 days") - 1)
        expect(rounds).toBe(0)
        yield* TestClock.adjust(1)
        expect(rounds).toBe(1)
      })
    )
  })

  describe("cancelAfter", () => {
    it.effect("cancels the task when the time is up, with a reason, and waits for its clean-up", () =>
      Effect.gen(function* () {
        const log: Array<unknown> = []
        const say = (word: string) => Effect.sync(() => void log.push(word))
        const task = Effect.zipRight(say("runs"), Effect.never).pipe(
          Effect.onExit((exit) =>
            Effect.zipRight(
              Effect.sleep("1 second"),
              Effect.sync(() => log.push(...Cancellation.fromExit(exit)))
            )
          )
        )
        const fiber = yield* Effect.fork(
          LongRunning.cancelAfter(task, "10 seconds", { onStart: say("started"), onDue: say("due") })
        )
        yield* TestClock.adjust(9999)
        expect(log).toEqual(["started", "runs"])
        yield* TestClock.adjust(1)
        expect(log).toEqual(["started", "runs", "due"])
        yield* TestClock.adjust(999)
        expect(yield* Fiber.poll(fiber)).toEqual(Option.none())
        yield* TestClock.adjust(1)
        expect(log.slice(3)).toEqual([{ reason: "its run time of 10.0 s is over", origin: "cancelAfter" }])
        expect(yield* Fiber.join(fiber)).toEqual(Option.none())
      })
    )

    it.effect("gives the result of a task that ends in time, at once", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(
          LongRunning.cancelAfter(Effect.delay(Effect.succeed("done"), "1 second"), "10 seconds", {
            onDue: Effect.dieMessage("not due")
          })
        )
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(fiber)).toEqual(Option.some("done"))
      })
    )

    it.effect("fails as the task fails, in its clean-up too", () =>
      Effect.gen(function* () {
        const failed = yield* Effect.exit(LongRunning.cancelAfter(Effect.fail("no"), "10 seconds"))
        expect(failed).toEqual(Exit.fail("no"))
        const broken = Effect.ensuring(Effect.never, Effect.dieMessage("broken"))
        const fiber = yield* Effect.fork(LongRunning.cancelAfter(broken, "10 seconds"))
        yield* TestClock.adjust("10 seconds")
        const exit = yield* Fiber.await(fiber)
        expect(Exit.isFailure(exit) && !Exit.isInterrupted(exit)).toBe(false)
        expect(String(exit)).toContain("broken")
      })
    )

    it.effect("cancels the task when it is itself interrupted", () =>
      Effect.gen(function* () {
        const running = yield* Deferred.make<void>()
        const seen = yield* Deferred.make<ReadonlyArray<Cancellation.Cancellation>>()
        const task = Deferred.succeed(running, undefined).pipe(
          Effect.zipRight(Effect.never),
          Effect.onExit((exit) => Deferred.succeed(seen, Cancellation.fromExit(exit)))
        )
        const fiber = yield* Effect.fork(LongRunning.cancelAfter(task, "10 seconds"))
        yield* Deferred.await(running)
        yield* Cancellation.cancel(fiber, { reason: "SIGINT", origin: "process" })
        expect(yield* Deferred.await(seen)).toEqual([{ reason: "SIGINT", origin: "process" }])
      })
    )

    it.effect("leaves open what the task acquires in the scope of the caller", () =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const say = (word: string) => Effect.sync(() => log.push(word))
        const connection = Effect.acquireRelease(say("open"), () => say("close"))
        const limited: Effect.Effect<Option.Option<number>, never, Scope.Scope> = LongRunning.cancelAfter(
          connection,
          "1 second"
        )
        yield* Effect.scoped(Effect.zipRight(limited, say("use")))
        expect(log).toEqual(["open", "use", "close"])
        const never: Effect.Effect<Option.Option<never>> = LongRunning.cancelAfter(Effect.never, 0)
        const fiber = yield* Effect.fork(never)
        yield* TestClock.adjust(0)
        expect(yield* Fiber.join(fiber)).toEqual(Option.none())
      })
    )

    const millis = fc.integer({ min: 1, max: 50 })

    it.effect.prop(
      "runs as many rounds as fit before the deadline",
      [millis, millis],
      ([pause, limit]) =>
        Effect.gen(function* () {
          let rounds = 0
          const round = Effect.sync(() => {
            rounds++
          })
          yield* LongRunning.cancelAfter(LongRunning.forever(round, pause), limit)
          // One that is due with the deadline has made it only if it was asked for first: the very first.
          expect(rounds).toBe(pause === limit ? 1 : Math.ceil(limit / pause) - 1)
        }).pipe(VirtualClock.run({ patience: 0 })),
      { fastCheck: { numRuns: 50 } }
    )
  })
})
