import * as Command from "@effect/platform/Command"
import { assert, describe, expect, it } from "@effect/vitest"
import { Cause, Clock, type Duration, Effect, Exit, Layer, TestClock } from "effect"
import * as ProcessesTest from "../../../src/services/process/ProcessesTest.js"
import * as Probes from "../../../src/services/supervision/Probes.js"
import * as Services from "../../../src/services/supervision/Services.js"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import { plural } from "../../../src/services/text/Plural.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

describe("Services", () => {
  const scripts: ReadonlyArray<ProcessesTest.Script> = [
    { match: "server", output: [{ after: "2 seconds", stdout: "listening\n" }], after: "1 hour" },
    { match: "stubborn", after: "1 hour", ignoresTerm: true },
    { match: "crash", after: "1 second", exitCode: 7 },
    { match: "once", after: "1 second", stdout: "done" },
    { match: "check", exitCode: 0, times: 2 },
    { match: "check", exitCode: 1 }
  ]
  const said = (event: Services.ServiceEvent): string | undefined => {
    if (event.event === "summary") return undefined
    const { name } = event
    switch (event.event) {
      case "waiting":
        return `${name} waits for ${event.others}`
      case "output":
        return undefined
      case "ready":
        return `${name} ready after ${event.duration}`
      case "unhealthy":
        return `${name} unhealthy: ${event.reason}`
      case "exited":
        return `${name} exited after ${event.duration}: ${event.reason}`
      case "restarting":
        return `${name} run ${event.run} in ${event.delay}`
      case "stopping":
        return `${name} is stopping: ${event.reason}`
      case "lingering":
        return `${name} lingers, ${event.left} left`
      case "finished":
        return `${name} ${event.status}${event.reason === undefined ? "" : `: ${event.reason}`}, ${plural(event.restarts, "restart")}`
      case "started":
        return `${name} started`
      default:
        return `${name} ${event.event}`
    }
  }
  const record = (
    requests: ReadonlyArray<Omit<Services.ServiceRequest, "command"> & { readonly run?: string }>,
    options: Services.ServicesOptions = {}
  ) => {
    const lines: Array<string> = []
    const onEvent = (event: Services.ServiceEvent) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const line = said(event)
        if (line !== undefined) lines.push(`${now / 1000} ${line}`)
      })
    const run = Services.run(
      requests.map(({ run, ...request }) => ({ ...request, command: Command.make(run ?? request.name) })),
      { backoff: { jitter: 0 }, ...options, onEvent }
    )
    return { lines, run }
  }
  const layers = Layer.merge(
    ProcessesTest.layerTest(scripts),
    Probes.layerTest({ port: () => Effect.map(Clock.currentTimeMillis, (now) => now >= 3000) })
  )
  it.live.each(["started", "ready", "exited", "restarting", "stopping"] as const)(
    "reports an onEvent that throws at %s, and does not hang",
    (event) =>
      Effect.gen(function* () {
        const events: Array<string> = []
        const run = Services.run([{ name: "db", command: Command.make("quits") }], {
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

  it.live(
    "stops all in reverse order of their start when the time is up, and reports a process that lingers",
    () =>
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
          "10 a is stopping: the run time of 10.0 s is over",
          "10 a cancelled: the run time of 10.0 s is over, 0 restarts",
          "10 c is stopping: the run time of 10.0 s is over",
          "10 c cancelled: the run time of 10.0 s is over, 0 restarts",
          "10 b is stopping: the run time of 10.0 s is over",
          "11 b lingers, 4000 left",
          "15 b cancelled: the run time of 10.0 s is over, 0 restarts"
        ])
      })
  )

  it.live("restarts no service during shutdown, and counts no end as a failure then", () =>
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
          "2.5 stubborn is stopping: the run time of 2.5 s is over",
          "3.5 stubborn lingers, 4000 left",
          "7.5 stubborn cancelled: the run time of 2.5 s is over, 0 restarts",
          "7.5 other is stopping: the run time of 2.5 s is over",
          "7.5 other cancelled: the run time of 2.5 s is over, 1 restart",
          "7.5 crash is stopping: the run time of 2.5 s is over",
          "7.5 crash cancelled: the run time of 2.5 s is over, 1 restart"
        ]
      )
    })
  )

  it.live("starts a service when the others are ready: by a line, a port, a command", () =>
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
        "3 b exited after 3000: not ready: not within 3.0 s",
        "3 b failed: not ready: not within 3.0 s, 0 restarts",
        "3 a skipped: b was never ready, 0 restarts"
      ])
    })
  )

  it.live("restarts a service that ends, and stops the others when one has failed for good", () =>
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
          "1 a exited after 1000: exit code 7",
          "1 a run 2 in 500",
          "2.5 a exited after 1000: exit code 7",
          "2.5 a run 3 in 1000",
          "4.5 a exited after 1000: exit code 7",
          "4.5 a failed: restarted 2 times within 1 m 00 s, and again: exit code 7, 2 restarts",
          "4.5 b is stopping: sibling a failed",
          "4.5 b cancelled: sibling a failed, 0 restarts"
        ]
      )
    })
  )

  it.live("returns when all have ended for good", () =>
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
        "1 a exited after 1000: exit code 0",
        "1 a succeeded, 0 restarts",
        "1 b exited after 1000: exit code 7",
        "1 b failed: exit code 7, 0 restarts"
      ])
    })
  )

  it.live("restarts a service whose health checks fail", () =>
    Effect.gen(function* () {
      const health = { every: "10 seconds", failures: 2 } as const
      const lines = yield* play([{ name: "a", run: "server", health: { exec: Command.make("check") } }], {
        health,
        duration: "41 seconds"
      })
      assert.deepStrictEqual(lines.slice(2, 6), [
        "30 a unhealthy: exit code 1",
        "40 a unhealthy: exit code 1",
        "40 a exited after 40000: unhealthy: 2 checks in a row failed, the last with: exit code 1",
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
      lines.filter((line) => line.split(" ")[1] === name && !/is stopping/.test(line))

    it.live("starts and restarts a service only while all that it waits for are ready", () =>
      Effect.gen(function* () {
        const lines = yield* playWith([
          { name: "web", after: ["db", "cache"] },
          { name: "db", ready },
          { name: "cache", ready }
        ])
        assert.deepStrictEqual(of("db", lines), [
          "0 db started",
          "0.5 db ready after 500",
          "1 db exited after 1000: exit code 1",
          "1 db run 2 in 3000",
          "4 db started",
          "4.5 db ready after 500",
          "8 db exited after 4000: exit code 1",
          "8 db run 3 in 3000",
          "11 db started",
          "11.5 db ready after 500"
        ])
        assert.deepStrictEqual(of("web", lines), [
          "0 web waits for db,cache",
          "4.5 web started",
          "4.5 web ready after 0",
          "5.5 web exited after 1000: exit code 1",
          "5.5 web run 2 in 3000",
          "8.5 web waits for db",
          "11.5 web started",
          "11.5 web ready after 0"
        ])
      })
    )

    it.live("waits for direct dependencies only", () =>
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

    it.live("keeps the state of a service that has ended well, its last output included", () =>
      Effect.gen(function* () {
        const one = (run: string, options: Partial<Services.ServiceRequest> = {}) =>
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
            "1 job exited after 1000: exit code 0",
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
          "1 job exited after 1000: exit code 1",
          "1 job failed: exit code 1, 0 restarts"
        ])
        assert.include(crashed, "1 web skipped: job has ended for good, 0 restarts")
      })
    )

    it.live("checks once more whether a service that has ended well was ready", () =>
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

    it.live(
      "cancels or fails a service whose dependency has failed for good, before its start and at its restart",
      () =>
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
          assert.include(yield* run("never"), "1 web skipped: db has ended for good, 0 restarts")
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
            "1.5 web exited after 1000: exit code 1",
            "1.5 web run 2 in 3000",
            "4.5 web waits for db",
            "4.5 web failed: db has ended for good, 1 restart"
          ])
        })
    )

    it.live("fails a run whose pattern takes longer than a second for a line", () =>
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

  describe("the summary", () => {
    const layer = Layer.merge(
      ProcessesTest.layerTest([
        { match: "ok", after: "1 second" },
        { match: "bad", after: "1 second", exitCode: 3 },
        { match: "none", fails: "notFound" },
        { match: "long", after: "1 hour" }
      ]),
      Probes.layerTest({})
    )
    const record = (commands: ReadonlyArray<string>, options: Services.ServicesOptions) => {
      const events: Array<Services.ServiceEvent> = []
      const run = Services.run(
        commands.map((name) => ({ name, command: Command.make(name) })),
        { ...options, onEvent: (event) => Effect.sync(() => void events.push(event)) }
      )
      return { events, run }
    }
    const counts = { succeeded: 0, failed: 0, cancelled: 0, skipped: 0, timed_out: 0 }
    const all = { restart: "never", onFailure: "continue" } as const
    it.live.each<[ReadonlyArray<string>, Services.ServicesOptions, Partial<typeof counts>, number]>([
      [["ok"], all, { succeeded: 1 }, 0],
      [["ok", "bad"], all, { succeeded: 1, failed: 1 }, 1],
      [["ok", "none"], all, { succeeded: 1, failed: 1 }, 127],
      [["none"], { maxRestarts: 2 }, { failed: 1 }, 127],
      [["none", "bad"], all, { failed: 2 }, 1],
      [["bad", "long"], { restart: "never" }, { failed: 1, cancelled: 1 }, 1],
      [["long"], { duration: "2 seconds" }, { cancelled: 1 }, 0]
    ])(
      "is the last event, with the counts and the exit code: %j %j",
      ([commands, options, expected, exitCode]) =>
        Effect.gen(function* () {
          const { events, run } = record(commands, options)
          yield* run
          assert.deepInclude(events.at(-1), { event: "summary", ...counts, ...expected, exitCode })
        }).pipe(Effect.provide(layer), VirtualClock.run())
    )

    it.effect("of an interrupted run has the exit code of the signal", () =>
      Effect.gen(function* () {
        const { events, run } = record(["long", "bad"], { ...all, restart: "never" })
        const fiber = yield* Effect.fork(run)
        yield* TestClock.adjust("5 seconds")
        yield* Cancellation.cancel(fiber, { reason: "SIGINT", origin: "test" })
        const summary = {
          event: "summary",
          ...counts,
          failed: 1,
          cancelled: 1,
          duration: 5000,
          exitCode: 130
        }
        assert.deepStrictEqual(events.at(-1), summary as Services.ServiceEvent)
      }).pipe(Effect.provide(layer))
    )
  })

  it.effect("stops all in order when it is interrupted, while a service still waits", () =>
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
        lines.filter((line) => line.includes("SIGTERM, ")),
        [
          "5 c skipped: SIGTERM, 0 restarts",
          ...["d", "b", "a"].map((name) => `5 ${name} cancelled: SIGTERM, 0 restarts`)
        ]
      )
    }).pipe(Effect.provide(layers))
  )

  describe("control", () => {
    it.live(
      "restarts, stops and starts a service on request, and each returns when the old run is over",
      () =>
        Effect.gen(function* () {
          const { lines, run } = record(
            [
              { name: "a", run: "stubborn" },
              { name: "b", run: "server", after: ["a"] }
            ],
            {
              duration: "1 minute",
              grace: "2 seconds",
              control: (controls) =>
                Effect.gen(function* () {
                  const at = (what: string) =>
                    Effect.map(Clock.currentTimeMillis, (now) => void lines.push(`${now / 1000} ${what}`))
                  yield* Effect.sleep("10 seconds")
                  yield* controls.restart("a", "a request")
                  yield* at("restarted")
                  yield* controls.stop("b", "a request")
                  yield* controls.stop("b", "a request")
                  yield* Effect.sleep("5 seconds")
                  yield* controls.start("b", "a request")
                  yield* controls.start("b", "a request")
                  yield* at("started again")
                  const wrong = yield* Effect.flip(controls.stop("c", "a request"))
                  yield* at(String(wrong))
                }).pipe(Effect.orDie)
            }
          )
          yield* run.pipe(Effect.provide(layers), VirtualClock.run())
          assert.deepStrictEqual(
            lines.filter((line) => Number.parseFloat(line) >= 10 && Number.parseFloat(line) < 60).sort(),
            [
              "10 a is stopping: a request",
              "11 a lingers, 1000 left",
              "12 a exited after 12000: a request",
              "12 a run 2 in 0",
              "12 restarted",
              "12 a started",
              "12 b is stopping: a request",
              "12 b exited after 12000: a request",
              "17 b run 2 in 0",
              "17 started again",
              "17 NotControlled: unknown name 'c'; expected one of a, b",
              "17 b started",
              "12 a ready after 0",
              "17 b ready after 0"
            ].sort()
          )
        })
    )

    it.live("keeps a service that stays, and ends one that does not", () =>
      Effect.gen(function* () {
        const { lines, run } = record([{ name: "a", run: "once", stays: true }], {
          duration: "9 seconds",
          control: ({ restart }) =>
            Effect.zipRight(Effect.sleep("5 seconds"), Effect.orDie(restart("a", "src has changed")))
        })
        yield* run.pipe(Effect.provide(layers), VirtualClock.run())
        assert.deepStrictEqual(lines, [
          "0 a started",
          "0 a ready after 0",
          "1 a exited after 1000: exit code 0",
          "5 a run 2 in 0",
          "5 a started",
          "5 a ready after 0",
          "6 a exited after 1000: exit code 0",
          "9 a is stopping: the run time of 9.0 s is over",
          "9 a cancelled: the run time of 9.0 s is over, 1 restart"
        ])
        const messages: Array<string> = []
        yield* Services.run(
          [
            { name: "a", command: Command.make("once") },
            { name: "b", command: Command.make("server") }
          ],
          {
            duration: "9 seconds",
            control: ({ start }) =>
              Effect.zipRight(Effect.sleep("5 seconds"), Effect.flip(start("a", "a request"))).pipe(
                Effect.tap((error) => Effect.sync(() => void messages.push(String(error)))),
                Effect.orDie
              )
          }
        ).pipe(Effect.provide(layers), VirtualClock.run())
        assert.include(messages[0], "a has ended for good: exit code 0")
      })
    )

    it.live("ends everything when control dies", () =>
      Effect.gen(function* () {
        const { run } = record([{ name: "a", run: "server" }], { control: () => Effect.dieMessage("boom") })
        const exit = yield* run.pipe(Effect.provide(layers), VirtualClock.run(), Effect.exit)
        assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "boom")
      })
    )
  })
})
