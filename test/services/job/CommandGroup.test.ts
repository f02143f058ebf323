import * as Command from "@effect/platform/Command"
import { assert, describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, TestClock } from "effect"
import * as CommandGroup from "../../../src/services/job/CommandGroup.js"
import * as ProcessesTest from "../../../src/services/process/ProcessesTest.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

describe("CommandGroup", () => {
  const scripts: ReadonlyArray<ProcessesTest.Script> = [
    { match: "ok", after: "1 second", stdout: "fine" },
    { match: "bad", after: "2 seconds", exitCode: 3, stderr: "oh\n" },
    { match: "hit", after: "2 seconds", signal: "SIGSEGV" },
    { match: "long", after: "1 hour", output: [{ after: "1 second", stdout: "a\nb" }], ignoresTerm: true },
    { match: "none", fails: "notFound" },
    { match: "locked", fails: "notExecutable" }
  ]
  const lines = (events: ReadonlyArray<CommandGroup.CommandEvent>) =>
    events.map((event) => {
      switch (event.event) {
        case "started":
          return `${event.name} started ${event.command}`
        case "output":
          return `${event.name} ${event.stream} ${JSON.stringify(new TextDecoder().decode(event.bytes))}`
        case "finished":
          return `${event.name} ${event.status}${event.reason === undefined ? "" : `: ${event.reason}`} after ${event.duration}`
        case "retrying":
          return `${event.name} attempt ${event.attempt} in ${event.delay}: ${event.reason}`
        case "lingering":
          return `${event.name} lingers, ${event.left} left`
        default:
          return `${event.succeeded} ok, ${event.failed} failed, ${event.cancelled} cancelled, ${event.skipped} skipped in ${event.duration}, ${event.exitCode}`
      }
    })
  const request = (word: string): CommandGroup.CommandRequest => {
    const [name = "", command = "", after] = word.split(" ")
    return { name, command: Command.make(command), after: after?.split(",") }
  }
  const record = (words: ReadonlyArray<string>, options: CommandGroup.CommandsOptions = {}) => {
    const events: Array<CommandGroup.CommandEvent> = []
    const onEvent = (event: CommandGroup.CommandEvent) => Effect.sync(() => void events.push(event))
    return { events, run: CommandGroup.run(words.map(request), { ...options, onEvent }) }
  }
  const play = (words: ReadonlyArray<string>, options: CommandGroup.CommandsOptions = {}) => {
    const { events, run } = record(words, options)
    return run.pipe(
      Effect.map(() => lines(events)),
      Effect.provide(ProcessesTest.layerTest(scripts)),
      VirtualClock.run()
    )
  }

  it.live("runs all commands, and reports each", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["a ok", "b ok"]), [
        "a started ok",
        "b started ok",
        'a stdout "fine"',
        "a succeeded after 1000",
        'b stdout "fine"',
        "b succeeded after 1000",
        "2 ok, 0 failed, 0 cancelled, 0 skipped in 1000, 0"
      ])
    })
  )

  it.live("runs no more at once than it is told, and those that wait for others hold no place", () =>
    Effect.gen(function* () {
      const events = yield* play(["c ok a", "a ok", "b ok"], { concurrency: 1 })
      const steps = events.flatMap((line) => /^(\w) (?:started|succeeded)/.exec(line)?.slice(1) ?? [])
      assert.deepStrictEqual(steps.slice(0, 2), ["a", "a"])
      assert.deepStrictEqual(
        steps.filter((_, i) => i % 2 === 0),
        steps.filter((_, i) => i % 2 === 1)
      )
      assert.strictEqual(events.at(-1), "3 ok, 0 failed, 0 cancelled, 0 skipped in 3000, 0")
    })
  )

  it.live("tries a command again that fails or takes too long", () =>
    Effect.gen(function* () {
      const backoff = { first: "100 millis", jitter: 0 } as const
      assert.deepStrictEqual(yield* play(["a bad"], { retries: 1, backoff }), [
        "a started bad",
        'a stderr "oh\\n"',
        "a attempt 2 in 100: exit code 3",
        "a started bad",
        'a stderr "oh\\n"',
        "a failed: exit code 3 after 4100",
        "0 ok, 1 failed, 0 cancelled, 0 skipped in 4100, 1"
      ])
      const late = yield* play(["a long"], { timeout: "2 seconds", grace: "1 second" })
      assert.deepStrictEqual(late.slice(-2), [
        "a timed_out: not done in 2s after 3000",
        "0 ok, 0 failed, 0 cancelled, 0 skipped in 3000, 124"
      ])
    })
  )

  it.live("cancels the others when any has ended, if it is to", () =>
    Effect.gen(function* () {
      const events = yield* play(["a ok", "b long"], { untilFirst: true, grace: "1 second" })
      assert.deepStrictEqual(events.slice(-5), [
        "a succeeded after 1000",
        'b stdout "a\\n"',
        'b stdout "b"',
        "b cancelled: a has ended after 2000",
        "1 ok, 0 failed, 1 cancelled, 0 skipped in 2000, 0"
      ])
    })
  )

  it.live.each([
    ["all", ["a ok", "b bad"], 1],
    ["first", ["a ok", "b bad"], 0],
    ["last", ["a ok", "b bad"], 1],
    ["first", ["a none", "b ok"], 127],
    ["last", ["a none", "b ok"], 0],
    [{ name: "b" }, ["a none", "b ok"], 0],
    [{ name: "a" }, ["a bad", "b ok"], 1],
    [{ name: "c" }, ["a ok", "b bad", "c ok b"], 1]
  ] as const)("exits as the deciding command does: %j of %j with %i", ([success, words, code]) =>
    Effect.gen(function* () {
      const events = yield* play(words, { success, onFailure: "continue" })
      assert.match(events.at(-1)!, new RegExp(`, ${code}$`))
    })
  )

  it.live("reports all output of a command when it has ended, if it is to", () =>
    Effect.gen(function* () {
      const events = yield* play(["a long", "b ok"], {
        output: "group",
        timeout: "3 seconds",
        grace: "0 millis"
      })
      assert.deepStrictEqual(events.slice(2, -1), [
        'b stdout "fine"',
        "b succeeded after 1000",
        'a stdout "a\\n"',
        'a stdout "b"',
        "a timed_out: not done in 3s after 3000"
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
        "c skipped: sibling a failed after 0",
        "b lingers, 2000 left",
        'b stdout "b"',
        "b cancelled: sibling a failed after 5000",
        "0 ok, 1 failed, 1 cancelled, 1 skipped in 5000, 1"
      ])
    })
  )

  it.live("lets the others continue under continue, except those that wait for the failed one", () =>
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
          "d skipped: a did not succeed after 0",
          "e skipped: d did not succeed after 0",
          "b succeeded after 1000",
          "2 ok, 1 failed, 0 cancelled, 2 skipped in 2000, 1"
        ]
      )
    })
  )

  it.live("reports commands that could not be started", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* play(["a none", "b long"]), [
        "a failed: cannot run none: command not found after 0",
        "b skipped: sibling a failed after 0",
        "0 ok, 1 failed, 0 cancelled, 1 skipped in 0, 127"
      ])
      const last = (yield* play(["a locked", "b none"], { onFailure: "continue" })).at(-1)
      assert.strictEqual(last, "0 ok, 2 failed, 0 cancelled, 0 skipped in 0, 1")
    })
  )

  it.effect("reports all commands when it is interrupted, and why", () =>
    Effect.gen(function* () {
      const { events, run } = record(["a long", "b ok"], { grace: "1 second" })
      const fiber = yield* Effect.fork(run)
      yield* TestClock.adjust("10 seconds")
      yield* Effect.fork(Cancellation.cancel(fiber, { reason: "SIGINT", origin: "test" }))
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
      assert.deepStrictEqual(lines(events).slice(-2), [
        "a cancelled: SIGINT after 11000",
        "1 ok, 0 failed, 1 cancelled, 0 skipped in 11000, 130"
      ])
    }).pipe(Effect.provide(ProcessesTest.layerTest(scripts)))
  )

  describe("onEvent", () => {
    const boom = new Error("boom")
    const layer = ProcessesTest.layerTest([
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
            CommandGroup.run(requests, {
              onFailure,
              onEvent: (happened) => {
                if (happened.event === event) throw boom
                return Effect.void
              }
            })
          )
          expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("boom")
        }).pipe(Effect.provide(layer), VirtualClock.run())
    )
  })
})
