import * as Command from "@effect/platform/Command"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, TestClock } from "effect"
import * as Subprocess from "../../src/programs/Subprocess.js"
import * as Output from "../../src/services/host/Output.js"
import * as ProcessError from "../../src/services/process/ProcessError.js"
import * as Processes from "../../src/services/process/Processes.js"
import * as ProcessesTest from "../../src/services/process/ProcessesTest.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"

const scripted = (...scripts: ReadonlyArray<ProcessesTest.Script>) =>
  Effect.provide(Layer.merge(ProcessesTest.layerTest(scripts), Output.layerTest))

const guide: ReadonlyArray<ProcessesTest.Script> = [
  { match: "sleep 1", after: "1 second" },
  { match: "echo hello", stdout: "hello\n" }
]

const printed = Effect.map(Output.Captured, ({ stdout }) => stdout.map((line) => `${line}\n`).join(""))
const recorded = Effect.map(ProcessesTest.Recorded, ({ events }) =>
  events.map(({ at, command, event }) => `${at} ${command} ${event}`)
)

const early = "Executing: sleep 1\nExecuting: echo hello\nhello\n\n"

describe("Subprocess", () => {
  it.effect("example prints echo's output at once and sleep's, which is empty, after a second", () =>
    Effect.gen(function* () {
      const example = yield* Effect.fork(Subprocess.example)
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* printed, early)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* printed, `${early}\n`)
      yield* Fiber.join(example)
    }).pipe(scripted(...guide))
  )

  it.live("example runs real processes", () =>
    Effect.gen(function* () {
      yield* Subprocess.example
      assert.strictEqual(yield* printed, `${early}\n`)
    }).pipe(Effect.provide(Layer.merge(Processes.layer, Output.layerTest)))
  )

  it.effect("example ends its processes when it is cancelled", () =>
    Effect.gen(function* () {
      const example = yield* Effect.fork(Subprocess.example)
      yield* TestClock.adjust("400 millis")
      const reason = { reason: "enough", origin: "test" }
      const exit = yield* Cancellation.cancel(example, reason)
      assert.deepStrictEqual(Cancellation.fromExit(exit)[0], reason)
      assert.deepStrictEqual((yield* recorded).slice(-1), ["400 sleep 1 SIGTERM"])
      assert.strictEqual(yield* printed, early)
    }).pipe(scripted(...guide))
  )

  it.effect("runAll gives results in input order and runs as many at once as it may", () =>
    Effect.gen(function* () {
      const commands = ["a", "b", "c"].map((name) => Command.make(name))
      const all = yield* Effect.fork(Subprocess.runAll(commands, { concurrency: 2 }))
      yield* TestClock.adjust("3 seconds")
      const results = yield* Fiber.join(all)
      assert.deepStrictEqual(
        results.map(({ exitCode }) => exitCode),
        [3, 1, 2]
      )
      assert.deepStrictEqual(yield* recorded, [
        "0 a started",
        "0 b started",
        "1000 b exited",
        "1000 c started",
        "2500 c exited",
        "3000 a exited"
      ])
    }).pipe(
      scripted(
        { match: "a", after: "3 seconds", exitCode: 3 },
        { match: "b", after: "1 seconds", exitCode: 1 },
        { match: "c", after: "1500 millis", exitCode: 2 }
      )
    )
  )

  it.effect(
    "runAll cancels the others when one fails, waits until they are gone, and fails with the first",
    () =>
      Effect.gen(function* () {
        const commands = ["slow", "bad"].map((name) => Command.make(name))
        const all = yield* Effect.fork(
          Effect.flip(Subprocess.runAll(commands, { check: true, grace: "2 seconds" }))
        )
        yield* TestClock.adjust("2999 millis")
        assert.isNull(all.unsafePoll())
        yield* TestClock.adjust("1 millis")
        assert.strictEqual((yield* Fiber.join(all)).message, "bad failed: exit code 1: no such file")
        assert.deepStrictEqual((yield* recorded).slice(2), [
          "1000 bad exited",
          "1000 slow SIGTERM",
          "3000 slow SIGKILL"
        ])
      }).pipe(
        scripted(
          { match: "slow", after: "1 hour", ignoresTerm: true },
          { match: "bad", after: "1 seconds", exitCode: 1, stderr: "no such file\n" }
        )
      )
  )

  it.effect("runAll lets the others finish under continue", () =>
    Effect.gen(function* () {
      const commands = ["bad", "slow"].map((name) => Command.make(name))
      const all = yield* Effect.fork(Effect.exit(Subprocess.runAll(commands, { onFailure: "continue" })))
      yield* TestClock.adjust("2 seconds")
      const exit = yield* Fiber.join(all)
      assert.deepStrictEqual(exit, Exit.fail(new ProcessError.CommandNotFound({ command: "bad" })))
      assert.deepStrictEqual(yield* recorded, ["0 slow started", "2000 slow exited"])
    }).pipe(scripted({ match: "bad", fails: "notFound" }, { match: "slow", after: "2 seconds" }))
  )
})
