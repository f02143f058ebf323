import * as Command from "@effect/platform/Command"
import { assert, describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  FastCheck as fc,
  Layer,
  Option,
  Random,
  Ref,
  type Scope,
  TestClock
} from "effect"
import * as LongRunning from "../../src/programs/LongRunning.js"
import * as Output from "../../src/services/host/Output.js"
import * as ProcessesTest from "../../src/services/process/ProcessesTest.js"
import * as Probes from "../../src/services/supervision/Probes.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"
import { plural } from "../../src/services/text/Units.js"
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

    it.effect("stops before a Hello that is due in its very last moment", () =>
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
    it.effect("pauses before each round, for as long as is drawn", () =>
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

    it.effect("starves nobody with pauses of zero", () =>
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
        expect(log.slice(3)).toEqual([{ reason: "its run time of 10s is over", origin: "cancelAfter" }])
        expect(yield* Fiber.join(fiber)).toEqual(Option.none())
      })
    )

    it.effect("gives the result of a task that ends before, at once", () =>
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
      "lets as many rounds happen as fit before the deadline",
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

describe("LongRunning.services", () => {
  const scripts: ReadonlyArray<ProcessesTest.Script> = [
    { match: "server", output: [{ after: "2 seconds", stdout: "listening\n" }], after: "1 hour" },
    { match: "stubborn", after: "1 hour", ignoresTerm: true },
    { match: "crash", after: "1 second", exitCode: 7 },
    { match: "once", after: "1 second", stdout: "done" },
    { match: "check", exitCode: 0, times: 2 },
    { match: "check", exitCode: 1 }
  ]
  const said = (event: LongRunning.ServiceEvent): string | undefined => {
    const { name } = event
    switch (event.event) {
      case "waiting":
        return `${name} waits for ${event.others}`
      case "output":
        return undefined
      case "ready":
        return `${name} ready after ${event.after}`
      case "unhealthy":
        return `${name} unhealthy: ${event.detail}`
      case "ended":
        return `${name} ended after ${event.runtime}: ${event.detail}`
      case "restarting":
        return `${name} run ${event.run} in ${event.pause}`
      case "stopping":
        return `${name} is stopping: ${event.reason}`
      case "lingering":
        return `${name} lingers, ${event.left} left`
      case "finished":
        return `${name} ${event.status}${event.detail === undefined ? "" : `: ${event.detail}`}, ${plural(event.restarts, "restart")}`
      case "started":
        return `${name} started`
      default:
        return `${name} ${event.event}`
    }
  }
  const record = (
    requests: ReadonlyArray<Omit<LongRunning.ServiceRequest, "command"> & { readonly run?: string }>,
    options: LongRunning.ServicesOptions = {}
  ) => {
    const lines: Array<string> = []
    const onEvent = (event: LongRunning.ServiceEvent) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const line = said(event)
        if (line !== undefined) lines.push(`${now / 1000} ${line}`)
      })
    const run = LongRunning.services(
      requests.map(({ run, ...request }) => ({ ...request, command: Command.make(run ?? request.name) })),
      { backoff: { jitter: 0 }, ...options, onEvent }
    )
    return { lines, run }
  }
  const layers = Layer.merge(
    ProcessesTest.layerTest(scripts),
    Probes.layerTest({ port: () => Effect.map(Clock.currentTimeMillis, (now) => now >= 3000) })
  )
  it.live.each(["started", "ready", "ended", "restarting", "stopping"] as const)(
    "an onEvent that throws at %s is not passed over, and nothing hangs",
    (event) =>
      Effect.gen(function* () {
        const events: Array<string> = []
        const run = LongRunning.services([{ name: "db", command: Command.make("quits") }], {
          backoff: { jitter: 0 },
          duration: "20 seconds",
          onEvent: (told) => {
            if (told.event === event) throw new Error("boom")
            events.push(JSON.stringify(told))
            return Effect.void
          }
        })
        const exit = yield* Effect.exit(run)
        // Within a run it is how the run has ended.
        const told = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : JSON.stringify(exit.value)
        expect(`${events.join()} ${told}`).toContain("boom")
      }).pipe(
        Effect.provide(
          Layer.merge(
            ProcessesTest.layerTest([{ match: "quits", after: "3 seconds", exitCode: 1 }]),
            Probes.layerTest({})
          )
        ),
        VirtualClock.run()
      )
  )

  const play = (...args: Parameters<typeof record>) => {
    const { lines, run } = record(...args)
    return run.pipe(
      Effect.map(() => lines),
      Effect.provide(layers),
      VirtualClock.run()
    )
  }

  it.live("ends all in reverse order of their start when the time is up, and says for whom it waits", () =>
    Effect.gen(function* () {
      const lines = yield* play(
        [
          { name: "a", run: "server", after: ["b"] },
          { name: "b", run: "stubborn" },
          { name: "c", run: "server" }
        ],
        { duration: "10 seconds" }
      )
      assert.deepStrictEqual(lines, [
        "0 a waits for b",
        "0 b started",
        "0 c started",
        "0 b ready after 0",
        "0 c ready after 0",
        "0 a started",
        "0 a ready after 0",
        "10 a is stopping: the run time of 10s is over",
        "10 a cancelled: the run time of 10s is over, 0 restarts",
        "10 c is stopping: the run time of 10s is over",
        "10 c cancelled: the run time of 10s is over, 0 restarts",
        "10 b is stopping: the run time of 10s is over",
        "11 b lingers, 4000 left",
        "15 b cancelled: the run time of 10s is over, 0 restarts"
      ])
    })
  )

  it.live("starts nobody again while it ends all, and takes nobody's own end for a failure", () =>
    Effect.gen(function* () {
      const health = { exec: Command.make("check") }
      const lines = yield* play(
        [{ name: "crash", health }, { name: "other", run: "crash" }, { name: "stubborn" }],
        {
          health: { every: "900 millis", failures: 1 },
          duration: "2500 millis",
          backoff: { first: "1 second", max: "1 second", jitter: 0 }
        }
      )
      assert.deepStrictEqual(
        lines.filter((line) => Number.parseFloat(line) >= 2),
        [
          "2 crash started",
          "2 crash ready after 0",
          "2 other started",
          "2 other ready after 0",
          "2.5 stubborn is stopping: the run time of 2.5s is over",
          "3.5 stubborn lingers, 4000 left",
          "7.5 stubborn cancelled: the run time of 2.5s is over, 0 restarts",
          "7.5 other is stopping: the run time of 2.5s is over",
          "7.5 other cancelled: the run time of 2.5s is over, 1 restart",
          "7.5 crash is stopping: the run time of 2.5s is over",
          "7.5 crash cancelled: the run time of 2.5s is over, 1 restart"
        ]
      )
    })
  )

  it.live("starts who waits when the others are ready: a line, a port, a command", () =>
    Effect.gen(function* () {
      const starts = (lines: ReadonlyArray<string>) => lines.filter((line) => /started|ready/.test(line))
      const log = yield* play(
        [
          { name: "a", run: "once", after: ["b"] },
          { name: "b", run: "server", ready: { log: /^listen/ } }
        ],
        { duration: "5 seconds" }
      )
      assert.deepStrictEqual(starts(log), [
        "0 b started",
        "2 b ready after 2000",
        "2 a started",
        "2 a ready after 0"
      ])
      const port = yield* play([{ name: "b", run: "server", ready: { port: 1 } }], { duration: "5 seconds" })
      assert.include(port, "3 b ready after 3000")
      const never = yield* play(
        [
          { name: "a", run: "once", after: ["b"] },
          { name: "b", run: "server", ready: { log: /never/ }, restart: "never" }
        ],
        { readyTimeout: "3 seconds", onFailure: "continue" }
      )
      assert.deepStrictEqual(never.slice(-3), [
        "3 b ended after 3000: not ready: not within 3s",
        "3 b failed: not ready: not within 3s, 0 restarts",
        "3 a cancelled: b was never ready, 0 restarts"
      ])
    })
  )

  it.live("restarts what ends, and gives up the rest when one has failed for good", () =>
    Effect.gen(function* () {
      const lines = yield* play(
        [
          { name: "a", run: "crash" },
          { name: "b", run: "server" }
        ],
        { maxRestarts: 2 }
      )
      assert.deepStrictEqual(
        lines.filter((line) => !/ started$|ready after/.test(line)),
        [
          "1 a ended after 1000: exit code 7",
          "1 a run 2 in 500",
          "2.5 a ended after 1000: exit code 7",
          "2.5 a run 3 in 1000",
          "4.5 a ended after 1000: exit code 7",
          "4.5 a failed: restarted 2 times within 1m, and again: exit code 7, 2 restarts",
          "4.5 b is stopping: sibling a failed",
          "4.5 b cancelled: sibling a failed, 0 restarts"
        ]
      )
    })
  )

  it.live("ends when all have ended for good", () =>
    Effect.gen(function* () {
      const lines = yield* play(
        [
          { name: "a", run: "once" },
          { name: "b", run: "crash", restart: "never" }
        ],
        {
          onFailure: "continue"
        }
      )
      assert.deepStrictEqual(lines.slice(-4), [
        "1 a ended after 1000: exit code 0",
        "1 a succeeded, 0 restarts",
        "1 b ended after 1000: exit code 7",
        "1 b failed: exit code 7, 0 restarts"
      ])
    })
  )

  it.live("restarts whose health checks fail", () =>
    Effect.gen(function* () {
      const health = { every: "10 seconds", failures: 2 } as const
      const lines = yield* play([{ name: "a", run: "server", health: { exec: Command.make("check") } }], {
        health,
        duration: "41 seconds"
      })
      assert.deepStrictEqual(lines.slice(2, 6), [
        "30 a unhealthy: exit code 1",
        "40 a unhealthy: exit code 1",
        "40 a ended after 40000: unhealthy: 2 checks in a row failed, the last with: exit code 1",
        "40 a run 2 in 500"
      ])
    })
  )

  describe("after", () => {
    const up = (
      stdout: string,
      after: string,
      extra: Partial<ProcessesTest.Script> = {}
    ): ProcessesTest.Script => ({
      match: "",
      output: [{ after: "500 millis", stdout }],
      after: after as Duration.DurationInput,
      ...extra
    })
    const dependent: ReadonlyArray<ProcessesTest.Script> = [
      { ...up("READY\n", "1 second", { exitCode: 1 }), match: "db", times: 1 },
      { ...up("READY\n", "4 seconds", { exitCode: 1 }), match: "db", times: 1 },
      { ...up("READY\n", "1 hour"), match: "db" },
      { match: "cache", output: [{ after: "2 seconds", stdout: "READY\n" }], after: "1 hour" },
      { match: "web", after: "1 second", exitCode: 1, times: 1 },
      { match: "web", after: "1 hour" },
      { match: "migrate", after: "1 second", stdout: "a line\nREADY" },
      { match: "broken", after: "1 second", stdout: "READY", exitCode: 1 },
      { match: "silent", after: "1 second" },
      { match: "steady", after: "1 hour" },
      { match: "asked", exitCode: 1, times: 1 },
      { match: "asked", exitCode: 0 }
    ]
    const ready = { log: /^READY$/ }
    const playWith = (...[requests, options]: Parameters<typeof record>) => {
      const { lines, run } = record(requests, {
        duration: "20 seconds",
        backoff: { first: "3 seconds", factor: 1, jitter: 0 },
        ...options
      })
      return run.pipe(
        Effect.map(() =>
          lines.filter((line) => !line.includes("is over") && !/ (stopping|steady)/.test(line))
        ),
        Effect.provide(Layer.merge(ProcessesTest.layerTest(dependent), Probes.layerTest({}))),
        VirtualClock.run()
      )
    }
    const of = (name: string, lines: ReadonlyArray<string>) =>
      lines.filter((line) => line.split(" ")[1] === name && !/is stopping|cancelled: the 20s/.test(line))

    it.live("starts one when all that it waits for are ready in the same moment, at its restarts too", () =>
      Effect.gen(function* () {
        const lines = yield* playWith([
          { name: "web", after: ["db", "cache"] },
          { name: "db", ready },
          { name: "cache", ready }
        ])
        assert.deepStrictEqual(of("db", lines), [
          "0 db started",
          "0.5 db ready after 500",
          "1 db ended after 1000: exit code 1",
          "1 db run 2 in 3000",
          "4 db started",
          "4.5 db ready after 500",
          "8 db ended after 4000: exit code 1",
          "8 db run 3 in 3000",
          "11 db started",
          "11.5 db ready after 500"
        ])
        assert.deepStrictEqual(of("web", lines), [
          "0 web waits for db,cache",
          "4.5 web started",
          "4.5 web ready after 0",
          "5.5 web ended after 1000: exit code 1",
          "5.5 web run 2 in 3000",
          "8.5 web waits for db",
          "11.5 web started",
          "11.5 web ready after 0"
        ])
      })
    )

    it.live("waits along a chain, whose end is not its concern", () =>
      Effect.gen(function* () {
        const lines = yield* playWith([
          { name: "steady", after: ["web"] },
          { name: "web", after: ["cache"], ready: { exec: Command.make("asked") } },
          { name: "cache", ready }
        ])
        assert.deepStrictEqual(of("web", lines).slice(0, 3), [
          "0 web waits for cache",
          "2 web started",
          "2.25 web ready after 250"
        ])
        const starts = yield* playWith([
          { name: "x", run: "web", after: ["cache"], restart: "never" },
          { name: "cache", ready }
        ])
        assert.include(starts, "2 x started")
      })
    )

    it.live("counts one that has ended well as what it was, its last words included", () =>
      Effect.gen(function* () {
        const one = (run: string, options: Partial<LongRunning.ServiceRequest> = {}) =>
          playWith([
            { name: "web", after: ["job", "cache"] },
            { name: "job", run, ready, ...options },
            { name: "cache", ready }
          ])
        for (const restart of ["on-failure", "never"] as const) {
          const lines = yield* one("migrate", { restart })
          assert.deepStrictEqual(of("job", lines), [
            "0 job started",
            "1 job ready after 1000",
            "1 job ended after 1000: exit code 0",
            "1 job succeeded, 0 restarts"
          ])
          // At the restart of web, too.
          assert.deepStrictEqual(
            of("web", lines).filter((line) => line.endsWith("started")),
            ["2 web started", "6 web started"]
          )
        }
        assert.include(yield* one("silent", { ready: undefined }), "2 web started")
        const never = yield* one("silent")
        assert.include(never, "1 web failed: job was never ready, 0 restarts")
        // One that is restarted has not ended: it is ready while it runs.
        const again = yield* one("migrate", { restart: "always" })
        assert.notInclude(again.join("\n"), "web started")
        const crashed = yield* one("broken", { restart: "never" })
        assert.deepStrictEqual(of("job", crashed).slice(1), [
          "1 job ready after 1000",
          "1 job ended after 1000: exit code 1",
          "1 job failed: exit code 1, 0 restarts"
        ])
        assert.include(crashed, "1 web cancelled: job has ended for good, 0 restarts")
      })
    )

    it.live("asks one that has ended well a last time whether it is ready", () =>
      Effect.gen(function* () {
        const lines = yield* playWith([
          { name: "web", after: ["silent"] },
          { name: "silent", ready: { exec: Command.make("asked") }, restart: "never" }
        ])
        assert.include(lines, "0.25 silent ready after 250")
        const port = yield* playWith([
          { name: "web", after: ["silent"] },
          { name: "silent", ready: { port: 1 }, restart: "never" }
        ])
        assert.include(port, "1 web failed: silent was never ready, 0 restarts")
      })
    )

    it.live("gives up one whose other has failed for good, before its start and at its restart", () =>
      Effect.gen(function* () {
        const run = (restart: "never" | "on-failure") =>
          playWith(
            [
              { name: "web", after: ["db", "cache"], restart },
              { name: "db", ready },
              { name: "cache", ready }
            ],
            { onFailure: "continue", maxRestarts: 0 }
          )
        assert.include(yield* run("never"), "1 web cancelled: db has ended for good, 0 restarts")
        const later = yield* playWith(
          [
            { name: "web", after: ["db"] },
            { name: "db", ready, restart: "never" }
          ],
          { onFailure: "continue" }
        )
        assert.deepStrictEqual(of("web", later), [
          "0 web waits for db",
          "0.5 web started",
          "0.5 web ready after 0",
          "1.5 web ended after 1000: exit code 1",
          "1.5 web run 2 in 3000",
          "4.5 web waits for db",
          "4.5 web failed: db has ended for good, 1 restart"
        ])
      })
    )

    it.live("fails a run whose pattern takes a line for longer than a second", () =>
      Effect.gen(function* () {
        const lines = yield* Effect.provide(
          Effect.suspend(() => {
            const { lines, run } = record([{ name: "a", ready: { log: /^(a+)+$/ }, restart: "never" }])
            return Effect.as(run, lines)
          }),
          Layer.merge(
            ProcessesTest.layerTest([
              { match: "a", output: [{ after: 1, stdout: `${"a".repeat(60)}!\n` }], after: "1 hour" }
            ]),
            Probes.layerTest({})
          )
        ).pipe(VirtualClock.run())
        assert.match(
          lines.at(-1)!,
          /a failed: not ready: \/.*\/ took longer than 1.0 s for a line, 0 restarts$/
        )
      })
    )
  })

  it.effect("ends all in order when it is interrupted, while one still waits", () =>
    Effect.gen(function* () {
      const { lines, run } = record([
        { name: "a", run: "server" },
        { name: "b", run: "server" },
        { name: "c", run: "server", after: ["d"] },
        { name: "d", run: "server", ready: { log: /never/ } }
      ])
      const fiber = yield* Effect.fork(run)
      yield* TestClock.adjust("5 seconds")
      yield* Cancellation.cancel(fiber, { reason: "SIGTERM", origin: "test" })
      assert.deepStrictEqual(
        lines.filter((line) => line.includes("cancelled")),
        ["c", "d", "b", "a"].map((name) => `5 ${name} cancelled: SIGTERM, 0 restarts`)
      )
    }).pipe(Effect.provide(layers))
  )
})
