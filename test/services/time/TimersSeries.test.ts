import { describe, expect, it } from "@effect/vitest"
import {
  Clock,
  Deferred,
  Duration,
  Effect,
  Either,
  Exit,
  Fiber,
  FastCheck as fc,
  Scope,
  TestClock
} from "effect"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as CivilTime from "../../../src/services/time/CivilTime.js"
import * as Timers from "../../../src/services/time/Timers.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

const zone = (name: string) => Either.getOrThrow(CivilTime.zone(name))
const berlin = zone("Europe/Berlin")
const minute = 60_000
const hour = 60 * minute

const setup = (options?: Timers.Options) =>
  Effect.map(Timers.make(options), (timers) => {
    const log: Array<number> = []
    /** Notes when it began, and takes that long. */
    const takes = (duration: Duration.DurationInput) =>
      Effect.zipRight(
        Effect.map(Clock.currentTimeMillis, (now) => void log.push(now)),
        Effect.sleep(duration)
      )
    const events: Array<string> = []
    const skipped: Array<number> = []
    const observe = (event: Timers.SeriesEvent) =>
      Effect.sync(() => {
        if (event._tag === "Skipped") skipped.push(event.count)
        events.push(
          event._tag === "Scheduled"
            ? `next ${event.at}`
            : `skipped ${event.at}${event.until === event.at ? "" : ` to ${event.until}`}: ${event.reason}`
        )
      })
    return { timers, log, takes, note: takes(0), events, skipped, observe }
  })

const virtually = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>, start = 0) =>
  Effect.scoped(effect).pipe(VirtualClock.run({ patience: 0, start }))

// A clock whose wall can be set, and which may stand still.
const settable = Effect.map(Effect.clock, (base) => {
  const state = { offset: 0, slept: 0 }
  const nanos = () => base.unsafeCurrentTimeNanos() + BigInt(state.slept) * 1_000_000n
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => base.unsafeCurrentTimeMillis() + state.offset,
    unsafeCurrentTimeNanos: nanos,
    currentTimeMillis: Effect.sync(() => base.unsafeCurrentTimeMillis() + state.offset),
    currentTimeNanos: Effect.sync(nanos),
    sleep: (duration) => base.sleep(duration)
  }
  return { clock, state }
})

describe("Timers.every", () => {
  it.scoped("runs at each interval and not before", () =>
    Effect.gen(function* () {
      const { log, note, timers } = yield* setup()
      const handle = yield* timers.every("2 seconds", note)
      expect(handle.when).toBe(2000)
      yield* TestClock.adjust(1999)
      expect(log).toEqual([])
      yield* TestClock.adjust(1)
      expect(log).toEqual([2000])
      expect(handle.when).toBe(4000)
      yield* TestClock.adjust(1999)
      expect(log).toEqual([2000])
      yield* TestClock.adjust(1)
      expect(log).toEqual([2000, 4000])
      yield* TestClock.adjust("6 seconds")
      expect(log).toEqual([2000, 4000, 6000, 8000, 10_000])
    })
  )

  it.live("is anchored: the duration of a run does not shift later ones", () =>
    Effect.gen(function* () {
      const { log, takes, timers } = yield* setup()
      yield* Effect.sleep(50)
      const handle = yield* timers.every("1 second", takes(300), { times: 4 })
      expect(yield* handle.await).toEqual(Exit.succeed({ runs: 4, failed: 0, skipped: 0 }))
      expect(log).toEqual([1050, 2050, 3050, 4050])
      expect(handle.when).toBe(Number.POSITIVE_INFINITY)
      expect(yield* Clock.currentTimeMillis).toBe(4350)
    }).pipe(virtually)
  )

  it.live("keeps a fractional interval for long", () =>
    Effect.gen(function* () {
      const { log, note, timers } = yield* setup()
      yield* (yield* timers.every(Duration.micros(100_100n), note, { times: 1000 })).await
      expect(log.at(-1)).toBe(100_100)
      expect(new Set(log).size).toBe(1000)
    }).pipe(virtually)
  )

  it.live("takes a virtual day of minute ticks", () =>
    Effect.gen(function* () {
      const { log, note, timers } = yield* setup()
      yield* (yield* timers.every("1 minute", note, { times: 1440 })).await
      expect(log).toEqual(Array.from({ length: 1440 }, (_, i) => (i + 1) * minute))
    }).pipe(virtually)
  )

  it.live("gives each run its number and the time it was due", () =>
    Effect.gen(function* () {
      const { timers } = yield* setup()
      const ticks: Array<Timers.Tick> = []
      const handle = yield* timers.every(100, (tick) => Effect.sync(() => void ticks.push(tick)), {
        times: 2
      })
      yield* handle.await
      expect(ticks).toEqual([
        { run: 1, at: 1100, skipped: undefined },
        { run: 2, at: 1200, skipped: undefined }
      ])
    }).pipe((effect) => virtually(effect, 1000))
  )

  describe("when a run is due while the previous one still runs", () => {
    const cases: ReadonlyArray<
      readonly [
        Timers.Overlap,
        began: ReadonlyArray<number>,
        tally: Timers.Tally,
        said: ReadonlyArray<string>
      ]
    > = [
      [
        "skip",
        [1000, 4000, 7000],
        { runs: 3, failed: 0, skipped: 4 },
        [2000, 3000, 5000, 6000].map((at) => `skipped ${at}: the previous run is still running`)
      ],
      [
        "queueOne",
        [1000, 3500, 6000],
        { runs: 3, failed: 0, skipped: 1 },
        ["skipped 3000: another run is waiting already"]
      ],
      ["queueAll", [1000, 3500, 6000], { runs: 3, failed: 0, skipped: 0 }, []],
      ["cancelRunning", [1000, 2000, 3000], { runs: 3, failed: 0, skipped: 0 }, []],
      ["parallel", [1000, 2000, 3000], { runs: 3, failed: 0, skipped: 0 }, []]
    ]
    it.live.each(cases)("%s", ([overlap, began, tally, said]) =>
      Effect.gen(function* () {
        const { events, log, observe, takes, timers } = yield* setup()
        const handle = yield* timers.every(1000, takes(2500), { overlap, times: 3, observe })
        expect(yield* handle.await).toEqual(Exit.succeed(tally))
        expect(log).toEqual(began)
        expect(events.filter((event) => event.startsWith("skipped"))).toEqual(said)
      }).pipe(virtually)
    )

    it.live("cancelRunning awaits the clean-up, and cancels with a reason", () =>
      Effect.gen(function* () {
        const { events, log, note, observe, timers } = yield* setup()
        const reasons: Array<string> = []
        const body = note.pipe(
          Effect.zipRight(Effect.never),
          Effect.onExit((exit) =>
            Effect.sync(() => {
              for (const { origin, reason } of Cancellation.fromExit(exit))
                reasons.push(`${origin}: ${reason}`)
            })
          ),
          Effect.ensuring(Effect.sleep(1500))
        )
        const handle = yield* timers.every(1000, body, { overlap: "cancelRunning", name: "poll", observe })
        yield* Effect.sleep(5900)
        yield* handle.cancel("enough", { origin: "test" })
        // The one of 2000 has lost its place in the queue to the one of 3000 before the first has cleaned up.
        expect(log).toEqual([1000, 3500, 5500])
        expect(events.filter((event) => event.startsWith("skipped"))).toEqual([
          "skipped 2000: the next run is due",
          "skipped 4000: the next run is due"
        ])
        expect(reasons).toEqual(["poll: the next run is due", "poll: the next run is due", "test: enough"])
      }).pipe(virtually)
    )
  })

  it.live("delays by a jitter that its seed decides, and that moves no anchor", () =>
    Effect.gen(function* () {
      const { log, note, timers } = yield* setup()
      const run = (seed: number) =>
        Effect.gen(function* () {
          const start = yield* Clock.currentTimeMillis
          yield* (yield* timers.every(1000, note, { times: 20, jitter: 400, seed })).await
          return log.splice(0).map((at) => at - start)
        })
      const first = yield* run(7)
      expect(yield* run(7)).toEqual(first)
      expect(yield* run(8)).not.toEqual(first)
      const delays = first.map((at, i) => at - (i + 1) * 1000)
      for (const delay of delays) expect(delay >= 0 && delay < 400).toBe(true)
      expect(new Set(delays).size).toBeGreaterThan(10)
    }).pipe(virtually)
  )

  it.live("keeps the order when the jitter is longer than the interval", () =>
    Effect.gen(function* () {
      const { log, note, timers } = yield* setup()
      yield* (yield* timers.every(1000, note, { times: 20, jitter: "1 hour", seed: 1 })).await
      expect(log.map((at) => Math.floor(at / 1000))).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
    }).pipe(virtually)
  )

  it.live("ends after so many times, or with the last that is due until then", () =>
    Effect.gen(function* () {
      const { log, note, timers } = yield* setup()
      expect(yield* (yield* timers.every(1000, note, { until: 3000 })).await).toEqual(
        Exit.succeed({ runs: 3, failed: 0, skipped: 0 })
      )
      expect(log).toEqual([1000, 2000, 3000])
      const past = yield* timers.every(1000, note, { until: 2000 })
      expect(yield* past.await).toEqual(Exit.succeed({ runs: 0, failed: 0, skipped: 0 }))
      expect((yield* (yield* timers.every(1000, note, { times: 0 })).await)._tag).toBe("Success")
    }).pipe(virtually)
  )

  it.live("aligns to the wall clock of the zone", () =>
    Effect.gen(function* () {
      const { timers } = yield* setup()
      const ticks: Array<string> = []
      const handle = yield* timers.every(
        "1 day",
        ({ at }) => Effect.sync(() => void ticks.push(CivilTime.format(at, berlin))),
        { align: true, zone: berlin, times: 2 }
      )
      yield* handle.await
      // One of these days has 23 hours.
      expect(ticks).toEqual(["2027-03-28T00:00:00+01:00", "2027-03-29T00:00:00+02:00"])
    }).pipe((effect) => virtually(effect, Date.UTC(2027, 2, 27, 12)))
  )

  it.effect("dies if the interval is not positive", () =>
    Effect.gen(function* () {
      const { timers } = yield* setup()
      expect(yield* Effect.exit(timers.every(0, Effect.void))).toSatisfy(Exit.isFailure)
      // For ever is a long time, but one to wait for.
      const handle = yield* timers.every(Duration.infinity, Effect.void)
      expect(handle.when).toBe(Number.POSITIVE_INFINITY)
      yield* TestClock.adjust("1000 days")
      yield* handle.cancel("enough")
    }).pipe(Effect.scoped)
  )

  it.live("reports a run that fails, and continues", () =>
    Effect.gen(function* () {
      const failures: Array<string> = []
      const { log, note, timers } = yield* setup({
        report: ({ message }) => Effect.sync(() => void failures.push(message))
      })
      const body = (tick: Timers.Tick) =>
        Effect.zipRight(note, tick.run === 2 ? Effect.fail("no disk") : Effect.void)
      const handle = yield* timers.every(1000, body, { times: 3, name: "backup" })
      expect(yield* handle.await).toEqual(Exit.succeed({ runs: 3, failed: 1, skipped: 0 }))
      expect(log.length).toBe(3)
      expect(failures).toEqual(["backup, run 2 failed: no disk"])
    }).pipe(virtually)
  )

  describe("cancel", () => {
    it.live("ends the series, with its current and waiting runs, after the clean-up", () =>
      Effect.gen(function* () {
        const { log, note, timers } = yield* setup()
        let cleaned = false
        const body = Effect.ensuring(
          Effect.zipRight(note, Effect.never),
          Effect.delay(
            Effect.sync(() => {
              cleaned = true
            }),
            500
          )
        )
        const handle = yield* timers.every(1000, body, { overlap: "queueAll" })
        yield* Effect.sleep(3100)
        yield* handle.cancel("enough", { origin: "test" })
        expect(cleaned).toBe(true)
        expect(yield* handle.cancelled).toBe(true)
        expect(Cancellation.fromExit(yield* handle.await)).toEqual([{ reason: "enough", origin: "test" }])
        yield* Effect.sleep("1 hour")
        expect(log).toEqual([1000])
      }).pipe(virtually)
    )

    it.live("may come from a run itself", () =>
      Effect.gen(function* () {
        const { log, note, timers } = yield* setup()
        const self = yield* Deferred.make<Timers.Handle<Timers.Tally>>()
        const body = note.pipe(
          Effect.zipRight(Deferred.await(self)),
          Effect.flatMap((handle) => Effect.uninterruptible(handle.cancel("I stop")))
        )
        const handle = yield* timers.every(1000, body)
        yield* Deferred.succeed(self, handle)
        expect(Cancellation.fromExit(yield* handle.await)).toEqual([{ reason: "I stop", origin: "timers" }])
        expect(log).toEqual([1000])
      }).pipe(virtually)
    )

    it.live("comes with the end of the scope", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { log, note, timers } = yield* Scope.extend(setup(), scope)
        const waiting = yield* timers.every(1000, note)
        const running = yield* timers.every(500, Effect.never, { overlap: "queueAll" })
        yield* Effect.sleep(1600)
        yield* Scope.close(scope, Exit.void)
        const late = yield* timers.every(1000, note)
        for (const handle of [waiting, running, late]) {
          expect(Cancellation.fromExit(yield* handle.await)).toEqual([
            { reason: "the timers were closed", origin: "timers" }
          ])
        }
        yield* Effect.sleep(5000)
        expect(log).toEqual([1000])
      }).pipe(virtually)
    )
  })

  it.effect.prop(
    "begins at full intervals only, and never before the run before has ended",
    [
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 1, maxLength: 10 })
    ],
    ([interval, durations]) =>
      Effect.gen(function* () {
        const { log, takes, timers } = yield* setup()
        const body = ({ run }: Timers.Tick) => takes(durations[run - 1]!)
        yield* (yield* timers.every(interval, body, { times: durations.length })).await
        expect(log.length).toBe(durations.length)
        let free = 0
        for (const [i, at] of log.entries()) {
          expect(at % interval).toBe(0)
          expect(at).toBeGreaterThanOrEqual(free)
          // The first full interval that is left, or the one after where it is due just as the run ends.
          expect(at - Math.max(free, interval)).toBeLessThanOrEqual(interval)
          free = at + durations[i]!
        }
      }).pipe(virtually),
    { fastCheck: { numRuns: 50 } }
  )
})

describe("Timers.cron", () => {
  it.scoped("runs at its times and not before", () =>
    Effect.gen(function* () {
      const { log, note, timers } = yield* setup()
      const handle = yield* timers.cron("*/5 * * * *", note, { zone: zone("UTC") })
      expect(handle.when).toBe(5 * minute)
      yield* TestClock.adjust(5 * minute - 1)
      expect(log).toEqual([])
      yield* TestClock.adjust(1)
      expect(log).toEqual([5 * minute])
      yield* TestClock.adjust(10 * minute)
      expect(log).toEqual([5 * minute, 10 * minute, 15 * minute])
    })
  )

  const ran = (expression: string, start: string, times: number) =>
    Effect.gen(function* () {
      const { timers } = yield* setup()
      const ticks: Array<string> = []
      const body = ({ at, skipped }: Timers.Tick) =>
        Effect.map(
          Clock.currentTimeMillis,
          (now) =>
            void ticks.push(
              `${CivilTime.format(at, berlin)}${skipped === undefined ? "" : ` for ${skipped}`}${now === at ? "" : " late"}`
            )
        )
      yield* (yield* timers.cron(expression, body, { zone: berlin, times })).await
      return ticks
    }).pipe((effect) => virtually(effect, Date.parse(start)))

  it.live("follows Debian's rule at clock changes", () =>
    Effect.gen(function* () {
      expect(yield* ran("30 2 * * *", "2027-03-27T12:00Z", 2)).toEqual([
        "2027-03-28T03:00:00+02:00 for 02:30",
        "2027-03-29T02:30:00+02:00"
      ])
      expect(yield* ran("30 2 * * *", "2027-10-30T12:00Z", 2)).toEqual([
        "2027-10-31T02:30:00+02:00",
        "2027-11-01T02:30:00+01:00"
      ])
      expect(yield* ran("0 * * * *", "2027-10-30T23:30Z", 3)).toEqual([
        "2027-10-31T02:00:00+02:00",
        "2027-10-31T02:00:00+01:00",
        "2027-10-31T03:00:00+01:00"
      ])
    })
  )

  it.effect("fails of an expression that cannot be read or never fires", () =>
    Effect.gen(function* () {
      const { timers } = yield* setup()
      const message = (expression: string) =>
        Effect.map(Effect.flip(timers.cron(expression, Effect.void)), ({ message }) => message)
      expect(yield* message("61 * * * *")).toContain("has minute '61'")
      expect(yield* message("0 0 30 2 *")).toContain("never fires")
    }).pipe(Effect.scoped)
  )

  it.scoped("reports when the next run is due", () =>
    Effect.gen(function* () {
      const { events, note, observe, timers } = yield* setup()
      yield* timers.cron("* * * * *", note, { observe, times: 2 })
      yield* TestClock.adjust("1 hour")
      expect(events).toEqual([`next ${minute}`, `next ${2 * minute}`])
    })
  )

  describe("when the wall clock jumps forward, or the machine has slept", () => {
    // From 00:10:30 on the wall shows 08:20:30. What is due at the full hours was missed.
    const slept = (options: Timers.CronOptions, expression = "0 * * * *") =>
      Effect.gen(function* () {
        const { clock, state } = yield* settable
        const { events, observe, takes, timers } = yield* Effect.withClock(setup(), clock)
        const ran: Array<number> = []
        const body = ({ at }: Timers.Tick) =>
          Effect.zipRight(
            Effect.sync(() => void ran.push(at / hour)),
            takes(0)
          )
        const handle = yield* timers.cron(expression, body, { zone: zone("UTC"), observe, ...options })
        yield* TestClock.adjust(10 * minute + 30_000)
        state.offset = 8 * hour + 10 * minute
        yield* TestClock.adjust(minute)
        const said = events.filter((event) => event.startsWith("skipped"))
        const next = handle.when / hour
        yield* handle.cancel("enough")
        return { ran, said, next }
      }).pipe(Effect.scoped)

    const missed = (from: number, to: number) =>
      `skipped ${from * hour}${from === to ? "" : ` to ${to * hour}`}: its time was missed`

    it.effect("none: they do not run", () =>
      Effect.gen(function* () {
        const { next, ran, said } = yield* slept({})
        expect(ran).toEqual([])
        expect(said).toEqual([missed(1, 8)])
        expect(next).toBe(9)
      })
    )

    it.effect("last: the last of them runs at once", () =>
      Effect.gen(function* () {
        const { next, ran, said } = yield* slept({ catchUp: "last" })
        expect(ran).toEqual([8])
        expect(said).toEqual([missed(1, 7)])
        expect(next).toBe(9)
      })
    )

    it.effect("all: all run, as far as overlap allows, and those of the window only", () =>
      Effect.gen(function* () {
        expect((yield* slept({ catchUp: "all", overlap: "queueAll" })).ran).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
        expect((yield* slept({ catchUp: "all", overlap: "parallel", times: 3 })).ran).toEqual([1, 2, 3])
        expect((yield* slept({ catchUp: "all" })).ran).toEqual([1])
        const windowed = yield* slept({ catchUp: "all", overlap: "queueAll", window: "3 hours" })
        expect(windowed.ran).toEqual([6, 7, 8])
        expect(windowed.said).toEqual([missed(1, 5)])
        expect((yield* slept({ catchUp: "last", window: "1 minute" })).ran).toEqual([])
      })
    )

    it.effect("none: a run that was due within the last minute is late, and not missed", () =>
      Effect.gen(function* () {
        const { ran, said } = yield* slept({}, "21 * * * *")
        expect(ran.map((at) => at * 60)).toEqual([8 * 60 + 21])
        expect(said).toEqual([`skipped ${21 * minute} to ${7 * hour + 21 * minute}: its time was missed`])
      })
    )
  })

  it.effect("catches up without looking at each of a million missed seconds, and counts them", () =>
    Effect.gen(function* () {
      const { clock, state } = yield* settable
      const { log, note, skipped, observe, timers } = yield* Effect.withClock(setup(), clock)
      yield* timers.cron("* * * * * *", note, { zone: berlin, catchUp: "last", observe })
      yield* TestClock.adjust(500)
      state.offset = Duration.toMillis("400 days")
      yield* TestClock.adjust(500)
      expect(log.length).toBe(1)
      expect(skipped).toEqual([400 * 86_400])
    }).pipe(Effect.scoped)
  )

  describe("counts every run that is missed", () => {
    const cases: ReadonlyArray<readonly [Timers.SeriesOptions, ran: number, skipped: ReadonlyArray<number>]> =
      [
        [{}, 1, [299]],
        [{ catchUp: "last" }, 1, [299]],
        [{ catchUp: "all", overlap: "queueAll" }, 300, []],
        // What is less than the recheck late is not missed, whatever the window.
        [{ catchUp: "all", overlap: "queueAll", window: "10 seconds" }, 60, [240]],
        [{ catchUp: "all", overlap: "queueAll", window: "100 seconds" }, 100, [200]],
        [{ until: 250_000 }, 1, [249]],
        [{ until: 200_000 }, 0, [200]],
        [{ times: 1 }, 1, [299]]
      ]
    // The machine stands still for 300 s.
    it.effect.each(cases)("%j", ([options, ran, counts]) =>
      Effect.gen(function* () {
        const { clock, state } = yield* settable
        const { log, note, observe, skipped, timers } = yield* Effect.withClock(setup(), clock)
        yield* timers.cron("* * * * * *", note, { zone: zone("UTC"), observe, ...options })
        yield* TestClock.adjust(500)
        state.offset = 299_900
        yield* TestClock.adjust(500)
        expect(log.length).toBe(ran)
        expect(skipped).toEqual(counts)
      }).pipe(Effect.scoped)
    )

    it.effect("with jitter, while the newest may still wait for its own", () =>
      Effect.gen(function* () {
        for (let seed = 0; seed < 20; seed++) {
          const { clock, state } = yield* settable
          const { log, note, observe, skipped, timers } = yield* Effect.withClock(setup(), clock)
          const begun = clock.unsafeCurrentTimeMillis()
          const options = { zone: zone("UTC"), observe, jitter: "900 millis", seed } as const
          const handle = yield* timers.cron("* * * * * *", note, options)
          yield* TestClock.adjust(500)
          state.offset = 299_900
          yield* TestClock.adjust(1500)
          const due = Math.floor(handle.when / 1000) - Math.floor(begun / 1000) - 1
          expect(log.length + skipped.reduce((a, b) => a + b, 0)).toBe(due)
          yield* handle.cancel("enough")
        }
      }).pipe(Effect.scoped)
    )

    it.effect("in the tally, of an interval too", () =>
      Effect.gen(function* () {
        const { clock, state } = yield* settable
        const { note, observe, skipped, timers } = yield* Effect.withClock(setup(), clock)
        const handle = yield* timers.every("100 millis", note, { observe, times: 2 })
        yield* TestClock.adjust(150)
        state.slept = 2000 // something holds the loop: the next that is seen is 2150
        yield* TestClock.adjust(50)
        expect(yield* handle.await).toEqual(Exit.succeed({ runs: 2, failed: 0, skipped: 20 }))
        expect(skipped).toEqual([20])
      }).pipe(Effect.scoped)
    )
  })

  it.effect("follows a wall clock that is put back, fixed times excepted", () =>
    Effect.gen(function* () {
      const { clock, state } = yield* settable
      const { timers } = yield* Effect.withClock(setup(), clock)
      const ticks: Array<string> = []
      const note =
        (name: string) =>
        ({ at }: Timers.Tick) =>
          Effect.sync(() => void ticks.push(`${name} ${at / minute}`))
      const options = { zone: zone("UTC") }
      yield* timers.cron("*/30 * * * *", note("wild"), options)
      yield* timers.cron("30 1 * * *", note("fixed"), options)
      yield* TestClock.adjust(95 * minute)
      expect(ticks.splice(0)).toEqual(["wild 30", "wild 60", "fixed 90", "wild 90"])
      state.offset = -hour // the wall shows 00:35
      yield* TestClock.adjust(60 * minute)
      expect(ticks).toEqual(["wild 60", "wild 90"])
    }).pipe(Effect.scoped)
  )

  it.live("cancels nothing but itself when another is cancelled", () =>
    Effect.gen(function* () {
      const { log, note, timers } = yield* setup()
      const one = yield* timers.cron("* * * * *", note)
      const other = yield* timers.every("1 minute", note, { times: 2 })
      yield* one.cancel("not wanted")
      yield* other.await
      expect(log).toEqual([minute, 2 * minute])
    }).pipe(virtually)
  )
})

describe("Timers.callAt", () => {
  it.live("is never more than a minute late when the wall clock has jumped", () =>
    Effect.gen(function* () {
      const { clock, state } = yield* settable
      const { timers } = yield* Effect.withClock(setup(), clock)
      for (const jump of [hour, 3 * hour, -2 * hour]) {
        const due = clock.unsafeCurrentTimeMillis() + 2 * hour
        const handle = yield* timers.callAt(
          due,
          Effect.sync(() => clock.unsafeCurrentTimeMillis())
        )
        yield* Effect.sleep(10 * minute + 1)
        state.offset += jump
        const reached = clock.unsafeCurrentTimeMillis()
        const fiber = yield* Effect.fork(handle.await)
        const exit = yield* Fiber.join(fiber)
        const at = Exit.isSuccess(exit) ? exit.value : Number.NaN
        expect(at).toBeGreaterThanOrEqual(due)
        expect(at - Math.max(due, reached)).toBeLessThanOrEqual(minute)
      }
    }).pipe(virtually)
  )
})
