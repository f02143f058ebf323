import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Chunk,
  Deferred,
  Effect,
  Either,
  Exit,
  FastCheck,
  Fiber,
  HashMap,
  Layer,
  Option,
  Random,
  Ref,
  Stream,
  TestClock
} from "effect"
import * as Gather from "../../src/programs/Gather.js"
import * as Download from "../../src/services/download/Download.js"
import * as Downloader from "../../src/services/download/Downloader.js"
import * as Input from "../../src/services/host/Input.js"
import * as Output from "../../src/services/host/Output.js"
import * as GuideServer from "../../src/services/http/GuideServer.js"
import * as Cancellation from "../../src/services/task/Cancellation.js"

const later = <A>(millis: number, value: A) => Effect.as(Effect.sleep(millis), value)
const failLater = <E>(millis: number, error: E) => Effect.zipRight(Effect.sleep(millis), Effect.fail(error))

describe("Gather", () => {
  describe("gather", () => {
    it.effect("gives results in input order, whatever the order of arrival, each with its type", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(
          Gather.gather([later(30, "slow"), later(10, 2), Effect.succeed(true)])
        )
        yield* TestClock.adjust(29)
        expect(fiber.unsafePoll()).toBeNull()
        yield* TestClock.adjust(1)
        const results: [string, number, boolean] = yield* Fiber.join(fiber)
        expect(results).toEqual(["slow", 2, true])
      })
    )

    it.effect("of nothing is nothing", () =>
      Effect.gen(function* () {
        expect(yield* Gather.gather([])).toEqual([])
      })
    )

    it.effect("runs no more than concurrency at once, and starts in order", () =>
      Effect.gen(function* () {
        let out = 0
        let most = 0
        const begun: Array<number> = []
        const effects = Array.from({ length: 9 }, (_, i) =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              begun.push(i)
              most = Math.max(most, ++out)
            }),
            () => later(10 - i, i),
            () => Effect.sync(() => out--)
          )
        )
        const fiber = yield* Effect.fork(Gather.gather(effects, { concurrency: 4 }))
        yield* TestClock.adjust(100)
        expect(yield* Fiber.join(fiber)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
        expect([most, begun]).toEqual([4, [0, 1, 2, 3, 4, 5, 6, 7, 8]])
      })
    )

    describe("an iterable", () => {
      const counting = function* (log: Array<string>, effects: ReadonlyArray<Effect.Effect<number, string>>) {
        try {
          for (const [i, effect] of effects.entries()) {
            log.push(`give ${i}`)
            yield effect
          }
        } finally {
          log.push("closed")
        }
      }

      it.effect("is read only as far as places get free", () =>
        Effect.gen(function* () {
          const log: Array<string> = []
          const effects = Array.from({ length: 4 }, (_, i) => later(10, i))
          const fiber = yield* Effect.fork(Gather.gather(counting(log, effects), { concurrency: 2 }))
          yield* TestClock.adjust(9)
          expect(log).toEqual(["give 0", "give 1"])
          yield* TestClock.adjust(1)
          expect(log).toEqual(["give 0", "give 1", "give 2", "give 3"])
          yield* TestClock.adjust(10)
          expect(yield* Fiber.join(fiber)).toEqual([0, 1, 2, 3])
          expect(log.at(-1)).toBe("closed")
        })
      )

      it.effect("that is endless is left and closed at a failure", () =>
        Effect.gen(function* () {
          const log: Array<string> = []
          const endless = counting(
            log,
            Array.from({ length: 100 }, (_, i) => (i === 3 ? Effect.fail("three") : Effect.succeed(i)))
          )
          expect(yield* Effect.flip(Gather.gather(endless, { concurrency: 1 }))).toBe("three")
          expect(log).toEqual(["give 0", "give 1", "give 2", "give 3", "closed"])
        })
      )

      it.effect("that throws is a defect, not a shorter result", () =>
        Effect.gen(function* () {
          const boom = new Error("boom")
          const throws = function* () {
            yield Effect.succeed(1)
            throw boom
          }
          const exit = yield* Effect.exit(Gather.gather(throws()))
          expect(exit).toEqual(Exit.die(boom))
        })
      )
    })

    describe("when one fails", () => {
      // Two that wait and clean up slowly, and one that fails at 10 ms.
      const scene = () => {
        const log: Array<string> = []
        const exits = new Map<number, Exit.Exit<unknown, unknown>>()
        const waits = (name: string, millis: number) =>
          later(millis, name).pipe(
            Effect.onInterrupt(() =>
              Effect.zipRight(
                Effect.sleep(5),
                Effect.sync(() => log.push(`${name} cleaned up`))
              )
            ),
            Effect.tap(() => Effect.sync(() => log.push(`${name} done`)))
          )
        const effects = [waits("a", 100), failLater(10, "boom"), waits("b", 50)] as const
        return {
          log,
          exits,
          effects,
          onExit: (i: number, exit: Exit.Exit<unknown, unknown>) => exits.set(i, exit)
        }
      }

      it.effect(
        "cancel: interrupts the siblings with a reason, waits for their clean-up, fails with it",
        () =>
          Effect.gen(function* () {
            const { effects, exits, log, onExit } = scene()
            const fiber = yield* Effect.fork(Effect.flip(Gather.gather(effects, { onExit, name: "pages" })))
            yield* TestClock.adjust(14)
            expect(fiber.unsafePoll()).toBeNull()
            yield* TestClock.adjust(1)
            expect(yield* Fiber.join(fiber)).toBe("boom")
            expect(log.sort()).toEqual(["a cleaned up", "b cleaned up"])
            expect([0, 2].map((i) => Cancellation.fromExit(exits.get(i)!))).toEqual([
              [{ reason: "task 1 failed: boom", origin: "pages" }],
              [{ reason: "task 1 failed: boom", origin: "pages" }]
            ])
          })
      )

      it.effect("continue: lets the siblings finish, then fails with the first failure", () =>
        Effect.gen(function* () {
          const { effects, log } = scene()
          const fiber = yield* Effect.fork(
            Effect.flip(Gather.gather([...effects, failLater(20, "later")], { onFailure: "continue" }))
          )
          yield* TestClock.adjust(99)
          expect(fiber.unsafePoll()).toBeNull()
          yield* TestClock.adjust(1)
          expect(yield* Fiber.join(fiber)).toBe("boom")
          expect(log).toEqual(["b done", "a done"])
        })
      )

      it.effect("collect: gives every outcome as a value", () =>
        Effect.gen(function* () {
          const { effects } = scene()
          const fiber = yield* Effect.fork(Gather.gather(effects, { onFailure: "collect" }))
          yield* TestClock.adjust(100)
          const outcomes: [Exit.Exit<string>, Exit.Exit<never, string>, Exit.Exit<string>] =
            yield* Fiber.join(fiber)
          expect(outcomes).toEqual([Exit.succeed("a"), Exit.fail("boom"), Exit.succeed("b")])
        })
      )

      it.effect("a defect in a sibling's clean-up is not lost", () =>
        Effect.gen(function* () {
          const broken = Effect.onInterrupt(Effect.never, () => Effect.die("clean-up broke"))
          const exit = yield* Effect.exit(
            Gather.gather([broken, Effect.zipRight(Effect.yieldNow(), Effect.fail("boom"))])
          )
          expect(
            Exit.isFailure(exit) && [[...Cause.failures(exit.cause)], [...Cause.defects(exit.cause)]]
          ).toEqual([["boom"], ["clean-up broke"]])
        })
      )
    })

    it.effect("interrupted, interrupts and cleans up all, with the caller's reason", () =>
      Effect.gen(function* () {
        let cleaned = 0
        const exits: Array<Exit.Exit<unknown, unknown>> = []
        const waits = Effect.onInterrupt(Effect.never, () => Effect.sync(() => cleaned++))
        const fiber = yield* Effect.fork(
          Gather.gather([waits, waits, waits], {
            onExit: (i, exit) => {
              exits[i] = exit
            }
          })
        )
        yield* Effect.yieldNow()
        yield* Cancellation.cancel(fiber, { reason: "too late", origin: "user" })
        expect(cleaned).toBe(3)
        expect(exits.flatMap(Cancellation.fromExit).map(({ reason }) => reason)).toEqual([
          "too late",
          "too late",
          "too late"
        ])
      })
    )

    describe("no failure is dropped", () => {
      const causeOf = (exit: Exit.Exit<unknown, unknown>) => (Exit.isFailure(exit) ? exit.cause : Cause.empty)
      const failuresOf = (exit: Exit.Exit<unknown, unknown>) => [...Cause.failures(causeOf(exit))]
      const defectsOf = (exit: Exit.Exit<unknown, unknown>) => [...Cause.defects(causeOf(exit))]
      const run = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(effect)
          yield* TestClock.adjust(100)
          return yield* Fiber.await(fiber)
        })

      it.effect("cancel: a sibling's own failure, in an uninterruptible region", () =>
        Effect.gen(function* () {
          const both = [failLater(5, "a"), failLater(20, "b"), later(30, "c")]
          const within = yield* run(Effect.uninterruptible(Gather.gather(both)))
          expect(failuresOf(within)).toEqual(["a", "b"])
          const items = both.map((item) => Effect.uninterruptible(item))
          expect(failuresOf(yield* run(Gather.gather(items)))).toEqual(["a", "b"])
        })
      )

      it.effect.each(["cancel", "continue", "collect"] as const)(
        "%s: what breaks when it is interrupted",
        (onFailure) =>
          Effect.gen(function* () {
            const broken = (name: string) => Effect.onInterrupt(Effect.never, () => Effect.die(name))
            const late = Effect.uninterruptible(failLater(20, "late"))
            const items = [broken("a"), broken("b"), late] as Array<Effect.Effect<never, string>>
            const all =
              onFailure === "collect"
                ? Gather.gather(items, { onFailure })
                : Gather.gather(items, { onFailure })
            const fiber = yield* Effect.fork(all as Effect.Effect<unknown, string>)
            yield* TestClock.adjust(10)
            yield* Fiber.interruptFork(fiber)
            yield* TestClock.adjust(20)
            const exit = yield* Fiber.await(fiber)
            expect([Exit.isInterrupted(exit), failuresOf(exit), defectsOf(exit).sort()]).toEqual([
              true,
              ["late"],
              ["a", "b"]
            ])
          })
      )

      it.effect("of an item whose onExit throws", () =>
        Effect.gen(function* () {
          const boom = new Error("boom")
          const onExit = () => {
            throw boom
          }
          for (const concurrency of [1, 2, "unbounded"] as const) {
            const exit = yield* run(Gather.gather([Effect.fail("a"), Effect.never], { concurrency, onExit }))
            expect([failuresOf(exit), new Set(defectsOf(exit))]).toEqual([["a"], new Set([boom])])
          }
        })
      )
    })

    it.effect("concurrency is a count: what is none is refused by name, and runs nothing", () =>
      Effect.gen(function* () {
        let ran = 0
        const item = Effect.sync(() => ++ran)
        for (const concurrency of [
          Number.NaN,
          0,
          -1,
          1.5,
          Number.NEGATIVE_INFINITY,
          "2" as unknown as number
        ]) {
          const exit = yield* Effect.exit(Gather.gather([item, item], { concurrency }))
          expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain(
            `concurrency: ${concurrency} is out of range; expected a whole number`
          )
        }
        expect(ran).toBe(0)
        expect(yield* Gather.gather([item, item], { concurrency: Number.POSITIVE_INFINITY })).toEqual([1, 2])
      })
    )

    it.effect("goes on when an item's fiber is interrupted from outside", () =>
      Effect.gen(function* () {
        const victim = Effect.withFiberRuntime<never>((fiber) => {
          setImmediate(() => fiber.unsafeInterruptAsFork(fiber.id()))
          return Effect.never
        })
        for (const concurrency of [1, 2, "unbounded"] as const) {
          const items = [victim, Effect.succeed("a"), victim, Effect.succeed("b")]
          const outcomes = yield* Gather.gather(items, { concurrency, onFailure: "collect" })
          expect(outcomes.map((exit) => (Exit.isInterrupted(exit) ? "interrupted" : exit))).toEqual([
            "interrupted",
            Exit.succeed("a"),
            "interrupted",
            Exit.succeed("b")
          ])
          const exit = yield* Effect.exit(Gather.gather(items, { concurrency, onFailure: "continue" }))
          expect(Exit.isInterrupted(exit)).toBe(true)
        }
      })
    )

    it.effect("what is no effect is an item that dies, not the end", () =>
      Effect.gen(function* () {
        const items = [Effect.succeed(1), undefined as unknown as Effect.Effect<number>, Effect.succeed(3)]
        for (const given of [items, new Set(items)]) {
          const outcomes = yield* Gather.gather(given, { onFailure: "collect" })
          expect(outcomes.map((exit) => exit._tag)).toEqual(["Success", "Failure", "Success"])
        }
      })
    )

    it.effect.prop(
      "is the sequential map, for any delays, concurrency and point of failure",
      {
        delays: FastCheck.array(FastCheck.integer({ min: 0, max: 4 }), { maxLength: 12 }),
        concurrency: FastCheck.oneof(
          FastCheck.integer({ min: 1, max: 5 }),
          FastCheck.constant("unbounded" as const)
        ),
        fails: FastCheck.option(FastCheck.nat(12), { nil: undefined }),
        onFailure: FastCheck.constantFrom("cancel" as const, "continue" as const)
      },
      ({ concurrency, delays, fails, onFailure }) =>
        Effect.gen(function* () {
          const effects = delays.map((delay, i) => {
            const end: Effect.Effect<number, string> =
              i === fails ? Effect.fail(`no ${i}`) : Effect.succeed(i * i)
            return delay === 0 ? end : Effect.zipRight(Effect.sleep(delay), end)
          })
          const gathered = yield* Effect.fork(
            Effect.either(Gather.gather(effects, { concurrency, onFailure }))
          )
          const mapped = yield* Effect.fork(Effect.either(Effect.all(effects)))
          yield* TestClock.adjust(50)
          expect(yield* Fiber.join(gathered)).toEqual(yield* Fiber.join(mapped))
        }),
      { fastCheck: { numRuns: 40 } }
    )
  })

  describe("downloads", () => {
    const url = (name: string) => `https://a.example/${name}`
    const request = (name: string, more: Partial<Gather.DownloadRequest> = {}): Gather.DownloadRequest => ({
      url: new URL(url(name)),
      ...more
    })
    const error = (name: string, more: Partial<Download.Failure> = {}) =>
      new Download.DownloadError({
        reason: "dropped",
        url: url(name),
        detail: "broke",
        retryable: true,
        ...more
      })
    /** Fails as it is told, time after time, and then serves. */
    const flaky = (failures: ReadonlyArray<Download.DownloadError>, body = "body"): Downloader.Scripted => {
      let attempt = 0
      return Effect.suspend((): Downloader.Scripted => {
        const failure = failures[attempt++]
        return failure === undefined ? Effect.succeed(body) : Effect.fail(failure)
      })
    }
    /** Runs it in the background and keeps the events as they come. */
    const collect = <E>(stream: Stream.Stream<Gather.DownloadEvent, E, Downloader.Downloader>) =>
      Effect.gen(function* () {
        const events: Array<any> = []
        const fiber = yield* Effect.fork(
          Stream.runForEach(stream, (event) => Effect.sync(() => events.push(event)))
        )
        return { events, fiber }
      })
    const serve = (scripts: Readonly<Record<string, Downloader.Scripted>>) =>
      Effect.provide(
        Downloader.layerTest(
          Object.fromEntries(Object.entries(scripts).map(([name, script]) => [url(name), script]))
        )
      )
    // Jitter at its least: every delay is half of what it could be.
    const noJitter = Effect.withRandom(Random.fixed([0]))
    const kinds = (events: ReadonlyArray<any>) => events.map(({ event }) => event)

    it.effect("gives started, finished and a summary; saves under the URL's name or the given one", () =>
      Effect.gen(function* () {
        const { events, fiber } = yield* collect(
          Gather.downloads([request("x/a"), request("b", { name: "other" })], { directory: "dir" })
        )
        yield* TestClock.adjust(20)
        yield* Fiber.join(fiber)
        expect(events).toEqual([
          { event: "started", index: 0, url: url("x/a") },
          { event: "started", index: 1, url: url("b") },
          {
            event: "finished",
            index: 1,
            url: url("b"),
            size: 2,
            path: "dir/other",
            skipped: false,
            resumedFrom: 0,
            status: 200
          },
          {
            event: "finished",
            index: 0,
            url: url("x/a"),
            size: 3,
            path: "dir/a",
            skipped: false,
            resumedFrom: 0,
            status: 200
          },
          {
            event: "summary",
            finished: 2,
            skipped: 0,
            failed: 0,
            bytes: 5,
            elapsed: 20,
            retries: 0,
            causes: {}
          }
        ])
        const files = yield* Ref.get(yield* Downloader.Files)
        expect([...HashMap.keys(files)].sort()).toEqual(["dir/a", "dir/other"])
      }).pipe(serve({ "x/a": later(20, "aaa"), b: later(10, "bb") }))
    )

    it.effect("backs off 0.5 s, doubled, no more than retries say, with jitter between half and whole", () =>
      Effect.gen(function* () {
        const { events, fiber } = yield* collect(Gather.downloads([request("a")], { retries: 2 }))
        yield* TestClock.adjust(249)
        expect(events.slice(1)).toEqual([
          {
            event: "retried",
            index: 0,
            url: url("a"),
            attempt: 2,
            delay: 250,
            reason: "dropped",
            detail: "broke"
          }
        ])
        yield* TestClock.adjust(1)
        expect(events[2]).toMatchObject({ event: "retried", attempt: 3, delay: 500 })
        yield* TestClock.adjust(499)
        expect(kinds(events)).toEqual(["started", "retried", "retried"])
        yield* TestClock.adjust(1)
        yield* Fiber.join(fiber)
        expect(events.slice(3)).toEqual([
          { event: "failed", index: 0, url: url("a"), reason: "dropped", detail: "broke" },
          {
            event: "summary",
            finished: 0,
            skipped: 0,
            failed: 1,
            bytes: 0,
            elapsed: 750,
            retries: 2,
            causes: { dropped: 1 }
          }
        ])
      }).pipe(serve({ a: flaky(Array.from({ length: 9 }, () => error("a"))) }), noJitter)
    )

    it.effect("never waits longer than 30 s between attempts of its own accord", () =>
      Effect.gen(function* () {
        const { events, fiber } = yield* collect(Gather.downloads([request("a")], { retries: 9 }))
        yield* TestClock.adjust("10 minutes")
        yield* Fiber.join(fiber)
        expect(events.filter(({ event }) => event === "retried").map(({ delay }) => delay)).toEqual([
          250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000
        ])
        expect(events.at(-2).event).toBe("finished")
      }).pipe(serve({ a: flaky(Array.from({ length: 9 }, () => error("a"))) }), noJitter)
    )

    it.effect("waits as long as Retry-After says, when that is longer; beyond 5 minutes it has failed", () =>
      Effect.gen(function* () {
        const { events, fiber } = yield* collect(Gather.downloads([request("a"), request("b"), request("c")]))
        yield* TestClock.adjust(249)
        expect(
          events.filter(({ event }) => event === "retried").map(({ delay, url }) => [url, delay])
        ).toEqual([
          [url("a"), 7000],
          [url("b"), 250]
        ])
        expect(events.find(({ event }) => event === "failed")).toMatchObject({
          url: url("c"),
          detail: "broke, to be tried again in 10 minutes"
        })
        yield* TestClock.adjust(6750)
        expect(events.filter(({ event }) => event === "finished").map(({ url }) => url)).toEqual([url("b")])
        yield* TestClock.adjust(1)
        yield* Fiber.join(fiber)
        expect(events.filter(({ event }) => event === "finished")).toHaveLength(2)
      }).pipe(
        serve({
          a: flaky([error("a", { retryAfter: 7000 })]),
          b: flaky([error("b", { retryAfter: 10 })]),
          c: flaky([error("c", { retryAfter: 600_000 })])
        }),
        noJitter
      )
    )

    it.effect("does not try again what will not pass", () =>
      Effect.gen(function* () {
        const { events, fiber } = yield* collect(Gather.downloads([request("missing")]))
        yield* Fiber.join(fiber)
        expect(events[1]).toEqual({
          event: "failed",
          index: 0,
          url: url("missing"),
          reason: "status",
          detail: "404 Not Found",
          status: 404
        })
      }).pipe(serve({}))
    )

    it.effect("timeout bounds a transfer with its retries, to the millisecond; the others go on", () =>
      Effect.gen(function* () {
        const { events, fiber } = yield* collect(
          Gather.downloads([request("a"), request("b")], { timeout: "1 seconds", retries: 99 })
        )
        yield* TestClock.adjust(999)
        expect(events.some(({ event }) => event === "failed")).toBe(false)
        yield* TestClock.adjust(1)
        yield* Fiber.join(fiber)
        expect(events.at(-2)).toEqual({
          event: "failed",
          index: 0,
          url: url("a"),
          reason: "timeout",
          detail: "not done in 1s"
        })
        expect(events.at(-1)).toMatchObject({ finished: 1, failed: 1, causes: { timeout: 1 } })
      }).pipe(serve({ a: flaky(Array.from({ length: 99 }, () => error("a"))), b: later(900, "b") }), noJitter)
    )

    it.effect("keeps to concurrency and perHost", () =>
      Effect.gen(function* () {
        const requests = [
          ...Array.from({ length: 4 }, (_, i) => request(String(i))),
          { url: new URL("https://b.example/x") }
        ]
        const { events, fiber } = yield* collect(Gather.downloads(requests, { concurrency: 3, perHost: 2 }))
        yield* TestClock.adjust(9)
        expect(events.map(({ index }) => index)).toEqual([0, 1, 4])
        yield* TestClock.adjust(1)
        expect(events.filter(({ event }) => event === "started").map(({ index }) => index)).toEqual([
          0, 1, 4, 2, 3
        ])
        yield* TestClock.adjust(10)
        yield* Fiber.join(fiber)
      }).pipe(
        Effect.provide(
          Downloader.layerTest({
            ...Object.fromEntries(Array.from({ length: 4 }, (_, i) => [url(String(i)), later(10, "x")])),
            "https://b.example/x": later(10, "x")
          })
        )
      )
    )

    it.effect("a failure under cancel ends the others, which say why, and starts nothing more", () =>
      Effect.gen(function* () {
        let cleaned = false
        const waits = Effect.onInterrupt(Effect.never, () =>
          Effect.zipRight(
            Effect.sleep(5),
            Effect.sync(() => {
              cleaned = true
            })
          )
        )
        const { events, fiber } = yield* collect(
          Gather.downloads([request("waits"), request("bad"), request("never")], {
            onFailure: "cancel",
            concurrency: 2
          })
        ).pipe(serve({ waits, bad: failLater(10, error("bad", { retryable: false })) }))
        yield* TestClock.adjust(14)
        expect([cleaned, kinds(events)]).toEqual([false, ["started", "started", "failed"]])
        yield* TestClock.adjust(1)
        yield* Fiber.join(fiber)
        expect(cleaned).toBe(true)
        expect(events.slice(3)).toEqual([
          {
            event: "failed",
            index: 0,
            url: url("waits"),
            reason: "cancelled",
            detail: `cancelled: ${url("bad")} failed: broke`
          },
          {
            event: "summary",
            finished: 0,
            skipped: 0,
            failed: 2,
            bytes: 0,
            elapsed: 15,
            retries: 0,
            causes: { dropped: 1, cancelled: 1 }
          }
        ])
      })
    )

    it.effect("starts nothing after that, even when a full buffer has held workers back", () =>
      Effect.gen(function* () {
        const count = 3000
        const requests = Array.from({ length: count }, (_, i) => request(i === 0 ? "bad" : String(i)))
        const slowly = Gather.downloads(requests, { onFailure: "cancel", concurrency: 4 }).pipe(
          Stream.mapChunksEffect((chunk) => Effect.as(Effect.sleep(100), chunk))
        )
        const { events, fiber } = yield* collect(slowly).pipe(
          Effect.provide(
            Downloader.layerTest({
              ...Object.fromEntries(requests.map(({ url }) => [url.href, Effect.succeed("x")])),
              [url("bad")]: failLater(50, error("bad", { retryable: false }))
            })
          )
        )
        yield* TestClock.adjust("1 minutes")
        yield* Fiber.join(fiber)
        const started = events.filter(({ event }) => event === "started").length
        const ended = events.filter(({ event }) => event === "finished" || event === "failed").length
        expect(started).toBeLessThan(count)
        expect(ended).toBe(started)
        expect(events.at(-1).event).toBe("summary")
      })
    )

    it.effect("refuses a second request for one name; with letters in another case too", () =>
      Effect.gen(function* () {
        const { events, fiber } = yield* collect(
          Gather.downloads([request("x/f"), request("y/F", { source: "urls.txt, line 2" })], {
            directory: "dir"
          })
        )
        const failure = yield* Effect.flip(Fiber.join(fiber))
        expect(failure).toBeInstanceOf(Gather.NameTaken)
        expect(failure.message).toBe(
          `urls.txt, line 2: ${url("y/F")}: another URL is saved as 'f' already, and 'F' is the same file where case does not count; give one of them a name of its own (URL, TAB, name)`
        )
        expect(kinds(events)).toEqual(["summary"])
      }).pipe(serve({ "x/f": Effect.succeed("1") }))
    )

    it.effect("without a directory there are no names to clash", () =>
      Effect.gen(function* () {
        const { events, fiber } = yield* collect(Gather.downloads([request("a"), request("a")]))
        yield* Fiber.join(fiber)
        expect(events.at(-1)).toMatchObject({ finished: 2 })
      }).pipe(serve({ a: Effect.succeed("1") }))
    )

    it.effect("fails as its input fails, after cancelling what is under way", () =>
      Effect.gen(function* () {
        let cleaned = false
        const begun = yield* Deferred.make<void>()
        const waits = Effect.onInterrupt(
          Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never),
          () =>
            Effect.sync(() => {
              cleaned = true
            })
        )
        const input = Stream.concat(
          Stream.succeed(request("waits")),
          Stream.fromEffect(Effect.zipRight(Deferred.await(begun), Effect.fail("line 2 is bad")))
        )
        const { events, fiber } = yield* collect(Gather.downloads(input)).pipe(serve({ waits }))
        expect(yield* Effect.flip(Fiber.join(fiber))).toBe("line 2 is bad")
        expect(cleaned).toBe(true)
        expect(events[1]).toMatchObject({
          event: "failed",
          reason: "cancelled",
          detail: "cancelled: the list failed: line 2 is bad"
        })
      })
    )

    it.effect("begins before its input has ended", () =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const input = Stream.concat(
          Stream.succeed(request("a")),
          Stream.fromEffect(Effect.as(Deferred.await(gate), request("b")))
        )
        const first = yield* Deferred.make<void>()
        const fiber = yield* Gather.downloads(input).pipe(
          Stream.tap((event) =>
            event.event === "finished" ? Deferred.succeed(first, undefined) : Effect.void
          ),
          Stream.runLast,
          serve({ a: Effect.succeed("a"), b: Effect.succeed("b") }),
          Effect.fork
        )
        yield* Deferred.await(first)
        yield* Deferred.succeed(gate, undefined)
        expect(Option.getOrThrow(yield* Fiber.join(fiber))).toMatchObject({ event: "summary", finished: 2 })
      })
    )

    it.effect("ended early by its reader, cancels what is under way and waits for the clean-up", () =>
      Effect.gen(function* () {
        let cleaned = 0
        const waits = Effect.onInterrupt(Effect.never, () =>
          Effect.zipRight(
            Effect.yieldNow(),
            Effect.sync(() => cleaned++)
          )
        )
        const events = yield* Gather.downloads([request("a"), request("b"), request("c")]).pipe(
          Stream.takeUntil((event) => event.event === "finished"),
          Stream.runCollect,
          serve({ a: waits, b: Effect.succeed("b"), c: waits })
        )
        expect(kinds(Chunk.toReadonlyArray(events)).at(-1)).toBe("finished")
        expect(cleaned).toBe(2)
      })
    )

    it.effect("interrupted, cancels what is under way and waits for the clean-up", () =>
      Effect.gen(function* () {
        let cleaned = false
        const begun = yield* Deferred.make<void>()
        const waits = Effect.onInterrupt(
          Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never),
          () =>
            Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => {
                cleaned = true
              })
            )
        )
        const fiber = yield* Effect.fork(
          Stream.runDrain(Gather.downloads([request("a")])).pipe(serve({ a: waits }))
        )
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(fiber)
        expect(cleaned).toBe(true)
      })
    )

    it.effect("leaves what is there when told to, and counts it apart", () =>
      Effect.gen(function* () {
        yield* Ref.update(yield* Downloader.Files, HashMap.set("dir/a", new Uint8Array(7) as Uint8Array))
        const { events, fiber } = yield* collect(
          Gather.downloads([request("a"), request("b")], { directory: "dir", existing: "keep" })
        )
        yield* Fiber.join(fiber)
        expect(events.find(({ event, index }) => event === "finished" && index === 0)).toMatchObject({
          skipped: true,
          size: 7
        })
        expect(events.at(-1)).toMatchObject({ finished: 1, skipped: 1, bytes: 1 })
      }).pipe(serve({ b: Effect.succeed("b") }))
    )

    it.effect("shows no password in its events", () =>
      Effect.gen(function* () {
        const { events, fiber } = yield* collect(
          Gather.downloads([{ url: new URL("https://me:secret@a.example/missing") }])
        )
        yield* Fiber.join(fiber)
        expect(events[0].url).toBe(url("missing"))
        expect(JSON.stringify(events)).not.toContain("secret")
      }).pipe(serve({}))
    )
  })

  describe("lists", () => {
    const readText = (text: string) =>
      Gather.readList("-").pipe(
        Stream.runCollect,
        Effect.map(Chunk.toReadonlyArray),
        Effect.provide(Input.layerTest(text))
      )
    const sum = "ab".repeat(32)

    it.effect("reads URLs, names and checksums, and says where each was", () =>
      Effect.gen(function* () {
        const requests = yield* readText(
          `# head\n\nhttps://a.example/x\r\nhttps://a.example/y\tname.txt\n https://a.example/z \t\tSHA256:${sum.toUpperCase()}\nhttps://a.example/w\tn\tsha256:${sum}`
        )
        const checksum = { algorithm: "sha256", hex: sum }
        expect(requests).toEqual([
          { url: new URL("https://a.example/x"), source: "standard input, line 3" },
          { url: new URL("https://a.example/y"), name: "name.txt", source: "standard input, line 4" },
          { url: new URL("https://a.example/z"), checksum, source: "standard input, line 5" },
          { url: new URL("https://a.example/w"), name: "n", checksum, source: "standard input, line 6" }
        ])
      })
    )

    it.effect("of nothing is nothing", () =>
      Effect.gen(function* () {
        expect(yield* readText("")).toEqual([])
        expect(yield* readText("\n\n# only a comment\n")).toEqual([])
      })
    )

    it.effect.each([
      [
        "https://a.example\nftp://a.example/x",
        "line 2: 'ftp://a.example/x' is no web address; only http:// and https:// are downloaded"
      ],
      ["\n\nnonsense", "line 3: 'nonsense' is no URL; write it like https://example.com/file"],
      [
        "https://a.example\t.hidden",
        "line 1: '.hidden' is no plain file name; leave out folders, leading dots and special characters"
      ],
      [
        "https://a.example\tsha256:xyz",
        "line 1: 'sha256:xyz' is no checksum; write sha256: and 64 hexadecimal digits"
      ],
      ["https://a.example\ta\tb", "line 1: 'b' is a third field; write URL, TAB, file name, TAB, sha256:HEX"]
    ])("names the line: %j", ([text, message]) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(readText(text!))
        expect([error.message, error.exitCode]).toEqual([`standard input, ${message}`, 2])
      })
    )

    it.live("counts its lines anew each time it is read; says of a file what is wrong with it", () =>
      Effect.gen(function* () {
        const missing = yield* Effect.flip(Stream.runDrain(Gather.readList("/no/such/list")))
        expect(missing.message).toBe("cannot read the list /no/such/list: there is no such file")
        const list = Gather.readList(new URL(import.meta.url).pathname)
        const twice = yield* Effect.all([
          Effect.flip(Stream.runDrain(list)),
          Effect.flip(Stream.runDrain(list))
        ])
        expect(twice.map(({ line }) => line)).toEqual([1, 1])
      }).pipe(Effect.provide(Input.layer))
    )

    it("parseUrl and parseChecksum answer in words", () => {
      expect(Either.getOrThrow(Gather.parseUrl("HTTPS://A.example")).href).toBe("https://a.example/")
      expect(Either.isLeft(Gather.parseUrl("javascript:alert(1)"))).toBe(true)
      expect(Gather.parseChecksum(`sha256:${sum}`)).toEqual(Either.right({ algorithm: "sha256", hex: sum }))
      expect(Either.isLeft(Gather.parseChecksum(`sha1:${sum}`))).toBe(true)
    })
  })

  it.live("example prints the guide's four pages as they arrive", () =>
    Effect.gen(function* () {
      const { stdout } = yield* Output.Captured
      yield* Gather.example
      expect(stdout).toEqual(GuideServer.pages.map(({ size, url }) => `Downloaded ${url}, size ${size}`))
    }).pipe(Effect.provide(Layer.mergeAll(Output.layerTest, Downloader.layer, GuideServer.layer)))
  )
})
