import * as Command from "@effect/platform/Command"
import { assert, describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, FastCheck, Fiber, TestClock } from "effect"
import * as Tasks from "../../src/programs/Tasks.js"
import * as Output from "../../src/services/host/Output.js"
import * as Processes from "../../src/services/process/Processes.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import type * as TaskGroup from "../../src/services/task/TaskGroup.js"
import * as VirtualClock from "../../src/services/time/VirtualClock.js"

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

    it.effect("hands the reason of its interruption on to every task, and waits for them", () =>
      Effect.gen(function* () {
        const seen: Array<ReadonlyArray<Cancellation.Cancellation>> = []
        const running = yield* Deferred.make<void>()
        const task = Effect.zipRight(Deferred.succeed(running, undefined), Effect.never).pipe(
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
        yield* Deferred.await(running)
        yield* Effect.yieldNow()
        yield* Cancellation.cancel(fiber, { reason: "SIGINT", origin: "terminal" })
        expect(seen).toEqual([
          [{ reason: "SIGINT", origin: "terminal" }],
          [{ reason: "SIGINT", origin: "terminal" }]
        ])
      })
    )

    it.effect.prop(
      "gives results in input order for any delays and any capacity",
      [FastCheck.array(FastCheck.nat(5), { maxLength: 8 }), FastCheck.integer({ min: 1, max: 9 })],
      ([turns, capacity]) =>
        Effect.gen(function* () {
          const results = yield* Tasks.runAll(
            turns.map((n, i) => [`task ${i}`, Effect.as(Effect.repeatN(Effect.yieldNow(), n), i)] as const),
            { capacity }
          )
          expect(results).toEqual(turns.map((_, index) => index))
        }),
      { fastCheck: { numRuns: 30 } }
    )
  })
})

describe("Tasks.commands", () => {
  const scripts: ReadonlyArray<Processes.Script> = [
    { match: "ok", after: "1 second", stdout: "fine" },
    { match: "bad", after: "2 seconds", exitCode: 3, stderr: "oh\n" },
    { match: "hit", after: "2 seconds", signal: "SIGSEGV" },
    { match: "long", after: "1 hour", output: [{ after: "1 second", stdout: "a\nb" }], ignoresTerm: true },
    { match: "none", fails: "notFound" },
    { match: "locked", fails: "notExecutable" }
  ]
  const told = (events: ReadonlyArray<Tasks.CommandEvent>) =>
    events.map((event) => {
      switch (event.event) {
        case "started":
          return `${event.name} started ${event.command}`
        case "output":
          return `${event.name} ${event.stream} ${JSON.stringify(new TextDecoder().decode(event.bytes))}`
        case "finished":
          return `${event.name} ${event.status}${event.detail === undefined ? "" : `: ${event.detail}`}${event.runtime === undefined ? "" : ` after ${event.runtime}`}`
        case "lingering":
          return `${event.name} lingers, ${event.left} left`
        default:
          return `${event.tasks.map(({ name, status }) => `${name} ${status}`).join(", ")} in ${event.elapsed}, ${event.exitCode}`
      }
    })
  const request = (word: string): Tasks.CommandRequest => {
    const [name = "", command = "", after] = word.split(" ")
    return { name, command: Command.make(command), after: after?.split(",") }
  }
  const record = (words: ReadonlyArray<string>, options: Tasks.CommandsOptions = {}) => {
    const events: Array<Tasks.CommandEvent> = []
    const onEvent = (event: Tasks.CommandEvent) => Effect.sync(() => void events.push(event))
    return { events, run: Tasks.commands(words.map(request), { ...options, onEvent }) }
  }
  const play = (words: ReadonlyArray<string>, options: Tasks.CommandsOptions = {}) => {
    const { events, run } = record(words, options)
    return run.pipe(
      Effect.map(() => told(events)),
      Effect.provide(Processes.layerTest(scripts)),
      VirtualClock.run()
    )
  }

  it.live("runs all, and tells of each", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["a ok", "b ok"]), [
        "a started ok",
        "b started ok",
        'a stdout "fine"',
        "a succeeded after 1000",
        'b stdout "fine"',
        "b succeeded after 1000",
        "a succeeded, b succeeded in 1000, 0"
      ])
    })
  )

  it.live("cancels the others when one fails, and waits until they are gone", () =>
    Effect.gen(function* () {
      const events = yield* play(["a bad", "b long", "c ok b"], { grace: "3 seconds" })
      assert.deepStrictEqual(events.slice(2), [
        'b stdout "a\\n"',
        'a stderr "oh\\n"',
        "a failed: exit code 3 after 2000",
        "c cancelled: sibling a failed",
        "b lingers, 2000 left",
        'b stdout "b"',
        "b cancelled: sibling a failed after 5000",
        "a failed, b cancelled, c cancelled in 5000, 1"
      ])
    })
  )

  it.live("lets the others go on under continue, but for those who wait for the failed one", () =>
    Effect.gen(function* () {
      const events = yield* play(["a hit", "b ok c", "c ok", "d ok a", "e ok d"], { onFailure: "continue" })
      assert.deepStrictEqual(
        events.filter((line) => !/stdout/.test(line)),
        [
          "a started hit",
          "c started ok",
          "c succeeded after 1000",
          "b started ok",
          "a failed: ended by SIGSEGV after 2000",
          "d cancelled: a did not succeed",
          "e cancelled: d did not succeed",
          "b succeeded after 1000",
          "a failed, b succeeded, c succeeded, d cancelled, e cancelled in 2000, 1"
        ]
      )
    })
  )

  it.live("says what could not be started", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["a none", "b long"]), [
        "a failed: cannot run none: command not found after 0",
        "b cancelled: sibling a failed",
        "a failed, b cancelled in 0, 127"
      ])
      const last = (yield* play(["a locked", "b none"], { onFailure: "continue" })).at(-1)
      assert.strictEqual(last, "a failed, b failed in 0, 126")
    })
  )

  it.effect("tells of all when it is interrupted, and why", () =>
    Effect.gen(function* () {
      const { events, run } = record(["a long", "b ok"], { grace: "1 second" })
      const fiber = yield* Effect.fork(run)
      yield* TestClock.adjust("10 seconds")
      yield* Effect.fork(Cancellation.cancel(fiber, { reason: "SIGINT", origin: "test" }))
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
      assert.deepStrictEqual(told(events).slice(-2), [
        "a cancelled: SIGINT after 11000",
        "a cancelled, b succeeded in 11000, 130"
      ])
    }).pipe(Effect.provide(Processes.layerTest(scripts)))
  )

  describe("commands", () => {
    const boom = new Error("boom")
    const layer = Processes.layerTest([
      { match: "a", after: "1 second", output: [{ after: 1, stdout: "out\n" }] },
      { match: "b", after: "2 seconds", exitCode: 1 },
      { match: "c", after: "1 second" }
    ])
    const cases = (["started", "output", "finished", "summary"] as const).flatMap((event) =>
      (["cancel", "continue"] as const).map((onFailure) => [event, onFailure] as const)
    )
    it.live.each(cases)(
      "an onEvent that throws at %s is a defect, and nothing hangs (%s)",
      ([event, onFailure]) =>
        Effect.gen(function* () {
          const requests = [
            { name: "a", command: Command.make("a") },
            { name: "b", command: Command.make("b") },
            { name: "c", command: Command.make("c"), after: ["a"] }
          ]
          const exit = yield* Effect.exit(
            Tasks.commands(requests, {
              onFailure,
              onEvent: (told) => {
                if (told.event === event) throw boom
                return Effect.void
              }
            })
          )
          expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("boom")
        }).pipe(Effect.provide(layer), VirtualClock.run())
    )
  })
})
