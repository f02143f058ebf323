import * as Command from "@effect/platform/Command"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, TestClock } from "effect"
import * as Processes from "../../../src/services/process/Processes.js"
import * as ProcessesTest from "../../../src/services/process/ProcessesTest.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"

const cancel = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Cancellation.cancel(fiber, { reason: "not needed", origin: "test" })

describe("ProcessesTest.layerTest", () => {
  it.effect("plays scripts in virtual time and records them", () =>
    Effect.gen(function* () {
      const run = yield* Effect.fork(Processes.run(Command.make("build", "--all")))
      yield* TestClock.adjust("1999 millis")
      assert.isNull(run.unsafePoll())
      yield* TestClock.adjust("1 millis")
      const result = yield* Fiber.join(run)
      assert.deepInclude(result, { exitCode: 2, stdout: new TextEncoder().encode("half\n") })
      assert.strictEqual(Duration.toMillis(result.duration), 2000)
      assert.deepInclude(yield* Processes.run(Command.make("crash")), { exitCode: 139, signal: "SIGSEGV" })
      const failed = yield* Effect.flip(Processes.run(Command.make("crash"), { check: true }))
      assert.strictEqual(failed._tag, "CommandFailed")
      const large = yield* Effect.flip(Processes.run(Command.make("flood"), { maxOutput: 3 }))
      assert.deepInclude(large, { _tag: "OutputTooLarge", stream: "stderr", limit: 3 })
      assert.deepInclude(yield* Effect.flip(Processes.run(Command.make("nothing"))), {
        _tag: "CommandNotFound"
      })
      assert.deepInclude(yield* Effect.flip(Processes.run(Command.make("plain"))), { exitCode: 126 })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Processes.run(Command.make("unscripted")))))
      const { events } = yield* ProcessesTest.Recorded
      assert.deepStrictEqual(events.slice(0, 2), [
        { event: "started", command: "build --all", at: 0 },
        { event: "exited", command: "build --all", at: 2000 }
      ])
    }).pipe(
      Effect.provide(
        ProcessesTest.layerTest([
          { match: /^build/, after: "2 seconds", stdout: "half\n", exitCode: 2 },
          { match: "crash", signal: "SIGSEGV" },
          { match: (line) => line === "flood", stderr: "four" },
          { match: "nothing", fails: "notFound" },
          { match: "plain", fails: "notExecutable" }
        ])
      )
    )
  )

  it.effect("signals as the real one does", () =>
    Effect.gen(function* () {
      const { events } = yield* ProcessesTest.Recorded
      const cancelled = yield* Deferred.make<void>()
      const runs = yield* Effect.forEach(["polite", "stubborn", "slow", "own"], (name) =>
        Effect.fork(
          Processes.run(Command.make(name), {
            grace: "3 seconds",
            stopSignal: name === "own" ? "SIGQUIT" : undefined
          })
        )
      )
      yield* TestClock.adjust("1 seconds")
      yield* Effect.fork(
        Effect.zipRight(
          Effect.forEach(runs, cancel, { concurrency: 4 }),
          Deferred.succeed(cancelled, undefined)
        )
      )
      yield* TestClock.adjust("2999 millis")
      assert.isFalse(yield* Deferred.isDone(cancelled))
      yield* TestClock.adjust("1 millis")
      yield* Deferred.await(cancelled)
      assert.deepStrictEqual(
        events
          .filter(({ event }) => event !== "started")
          .map(({ at, command, event }) => `${at} ${command} ${event}`),
        [
          "1000 polite SIGTERM",
          "1000 stubborn SIGTERM",
          "1000 slow SIGTERM",
          "1000 own SIGQUIT",
          "2000 slow exited",
          "4000 stubborn SIGKILL"
        ]
      )
    }).pipe(
      Effect.provide(
        ProcessesTest.layerTest([
          { match: /^(polite|own)$/, after: "1 hour" },
          { match: "stubborn", after: "1 hour", ignoresTerm: true },
          { match: "slow", after: "2 seconds", ignoresTerm: true }
        ])
      )
    )
  )
})
