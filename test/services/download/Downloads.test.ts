import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Fiber, HashMap, Option, Random, Ref, Stream, TestClock } from "effect"
import * as Download from "../../../src/services/download/Download.js"
import type * as Downloader from "../../../src/services/download/Downloader.js"
import * as DownloaderTest from "../../../src/services/download/DownloaderTest.js"
import * as Downloads from "../../../src/services/download/Downloads.js"
import * as NameClaims from "../../../src/services/download/NameClaims.js"

const later = <A>(millis: number, value: A) => Effect.as(Effect.sleep(millis), value)
const failLater = <E>(millis: number, error: E) => Effect.zipRight(Effect.sleep(millis), Effect.fail(error))

describe("Downloads", () => {
  const url = (name: string) => `https://a.example/${name}`
  const request = (name: string, more: Partial<Download.DownloadRequest> = {}): Download.DownloadRequest => ({
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
  /** Fails with each of these in turn, and then serves. */
  const flaky = (failures: ReadonlyArray<Download.DownloadError>, body = "body"): DownloaderTest.Scripted => {
    let attempt = 0
    return Effect.suspend((): DownloaderTest.Scripted => {
      const failure = failures[attempt++]
      return failure === undefined ? Effect.succeed(body) : Effect.fail(failure)
    })
  }
  /** Runs the stream in the background, and collects its events. */
  const collect = <E>(stream: Stream.Stream<Downloads.DownloadEvent, E, Downloader.Downloader>) =>
    Effect.gen(function* () {
      const events: Array<any> = []
      const fiber = yield* Effect.fork(
        Stream.runForEach(stream, (event) => Effect.sync(() => events.push(event)))
      )
      return { events, fiber }
    })
  const serve = (scripts: Readonly<Record<string, DownloaderTest.Scripted>>) =>
    Effect.provide(
      DownloaderTest.layer(
        Object.fromEntries(Object.entries(scripts).map(([name, script]) => [url(name), script]))
      )
    )
  const noJitter = Effect.withRandom(Random.fixed([0.5]))
  const none = {
    succeeded: 0,
    failed: 0,
    cancelled: 0,
    skipped: 0,
    timed_out: 0,
    bytes: 0,
    retries: 0,
    causes: {},
    exitCode: 0
  }
  const done = (events: ReadonlyArray<any>) =>
    events.filter(({ status }) => status === "succeeded").map(({ name }) => name)
  const kinds = (events: ReadonlyArray<any>) => events.map(({ event }) => event)

  it.effect("gives started, finished and a summary; saves under the URL's name or the given one", () =>
    Effect.gen(function* () {
      const { events, fiber } = yield* collect(
        Downloads.downloads([request("x/a"), request("b", { name: "other" })], { directory: "dir" })
      )
      yield* TestClock.adjust(20)
      yield* Fiber.join(fiber)
      expect(events).toEqual([
        { event: "started", index: 1, name: url("x/a") },
        { event: "started", index: 2, name: url("b") },
        {
          event: "finished",
          index: 2,
          name: url("b"),
          status: "succeeded",
          duration: 10,
          bytes: 2,
          path: "dir/other",
          httpStatus: 200,
          attempts: 1
        },
        {
          event: "finished",
          index: 1,
          name: url("x/a"),
          status: "succeeded",
          duration: 20,
          bytes: 3,
          path: "dir/a",
          httpStatus: 200,
          attempts: 1
        },
        {
          event: "summary",
          ...none,
          succeeded: 2,
          bytes: 5,
          duration: 20
        }
      ])
      const files = yield* Ref.get(yield* DownloaderTest.Files)
      expect([...HashMap.keys(files)].sort()).toEqual(["dir/a", "dir/other"])
    }).pipe(serve({ "x/a": later(20, "aaa"), b: later(10, "bb") }))
  )

  it.effect("backs off 0.5 s, doubled, at most as often as retries", () =>
    Effect.gen(function* () {
      const { events, fiber } = yield* collect(Downloads.downloads([request("a")], { retries: 2 }))
      yield* TestClock.adjust(499)
      expect(events.slice(1)).toEqual([
        {
          event: "retrying",
          index: 1,
          name: url("a"),
          attempt: 2,
          delay: 500,
          cause: "dropped",
          reason: "broke"
        }
      ])
      yield* TestClock.adjust(1)
      expect(events[2]).toMatchObject({ event: "retrying", attempt: 3, delay: 1000 })
      yield* TestClock.adjust(999)
      expect(kinds(events)).toEqual(["started", "retrying", "retrying"])
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
      expect(events.slice(3)).toEqual([
        {
          event: "finished",
          index: 1,
          name: url("a"),
          status: "failed",
          duration: 0,
          attempts: 3,
          cause: "dropped",
          reason: "broke"
        },
        {
          event: "summary",
          ...none,
          failed: 1,
          duration: 1500,
          retries: 2,
          causes: { dropped: 1 },
          exitCode: 1
        }
      ])
    }).pipe(serve({ a: flaky(Array.from({ length: 9 }, () => error("a"))) }), noJitter)
  )

  it.effect("never waits longer than 30 s between attempts of its own accord", () =>
    Effect.gen(function* () {
      const { events, fiber } = yield* collect(Downloads.downloads([request("a")], { retries: 9 }))
      yield* TestClock.adjust("10 minutes")
      yield* Fiber.join(fiber)
      expect(events.filter(({ event }) => event === "retrying").map(({ delay }) => delay)).toEqual([
        500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000
      ])
      expect(events.at(-2).event).toBe("finished")
    }).pipe(serve({ a: flaky(Array.from({ length: 9 }, () => error("a"))) }), noJitter)
  )

  it.effect("waits for the time of Retry-After, if that is longer; beyond 5 minutes it has failed", () =>
    Effect.gen(function* () {
      const { events, fiber } = yield* collect(
        Downloads.downloads([request("a"), request("b"), request("c")])
      )
      yield* TestClock.adjust(249)
      expect(
        events.filter(({ event }) => event === "retrying").map(({ delay, name }) => [name, delay])
      ).toEqual([
        [url("a"), 7000],
        [url("b"), 500]
      ])
      expect(events.find(({ event }) => event === "finished")).toMatchObject({
        name: url("c"),
        status: "failed",
        reason: "broke, to be tried again in 10 minutes"
      })
      yield* TestClock.adjust(6750)
      expect(done(events)).toEqual([url("b")])
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
      expect(done(events)).toEqual([url("b"), url("a")])
    }).pipe(
      serve({
        a: flaky([error("a", { retryAfter: 7000 })]),
        b: flaky([error("b", { retryAfter: 10 })]),
        c: flaky([error("c", { retryAfter: 600_000 })])
      }),
      noJitter
    )
  )

  it.effect("does not retry permanent failures", () =>
    Effect.gen(function* () {
      const { events, fiber } = yield* collect(Downloads.downloads([request("missing")]))
      yield* Fiber.join(fiber)
      expect(events[1]).toEqual({
        event: "finished",
        index: 1,
        name: url("missing"),
        status: "failed",
        duration: 0,
        attempts: 1,
        cause: "status",
        reason: "404 Not Found",
        httpStatus: 404
      })
    }).pipe(serve({}))
  )

  it.effect("timeout bounds a transfer with its retries, to the millisecond; the others continue", () =>
    Effect.gen(function* () {
      const { events, fiber } = yield* collect(
        Downloads.downloads([request("a"), request("b")], { timeout: "1 seconds", retries: 99 })
      )
      yield* TestClock.adjust(999)
      expect(done(events)).toEqual([url("b")])
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
      expect(events.at(-2)).toMatchObject({
        event: "finished",
        index: 1,
        name: url("a"),
        status: "timed_out",
        cause: "timeout",
        reason: "not done in 1s"
      })
      expect(events.at(-1)).toMatchObject({ succeeded: 1, failed: 0, timed_out: 1, causes: { timeout: 1 } })
    }).pipe(serve({ a: flaky(Array.from({ length: 99 }, () => error("a"))), b: later(900, "b") }), noJitter)
  )

  it.effect("keeps to concurrency and perHost", () =>
    Effect.gen(function* () {
      const requests = [
        ...Array.from({ length: 4 }, (_, i) => request(String(i))),
        { url: new URL("https://b.example/x") }
      ]
      const { events, fiber } = yield* collect(Downloads.downloads(requests, { concurrency: 3, perHost: 2 }))
      yield* TestClock.adjust(9)
      expect(events.map(({ index }) => index)).toEqual([1, 2, 5])
      yield* TestClock.adjust(1)
      expect(events.filter(({ event }) => event === "started").map(({ index }) => index)).toEqual([
        1, 2, 5, 3, 4
      ])
      yield* TestClock.adjust(10)
      yield* Fiber.join(fiber)
    }).pipe(
      Effect.provide(
        DownloaderTest.layer({
          ...Object.fromEntries(Array.from({ length: 4 }, (_, i) => [url(String(i)), later(10, "x")])),
          "https://b.example/x": later(10, "x")
        })
      )
    )
  )

  it.effect("a failure under cancel ends the others, with the reason, and no further transfer starts", () =>
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
        Downloads.downloads([request("waits"), request("bad"), request("never")], {
          onFailure: "cancel",
          concurrency: 2
        })
      ).pipe(serve({ waits, bad: failLater(10, error("bad", { retryable: false })) }))
      yield* TestClock.adjust(14)
      expect([cleaned, kinds(events)]).toEqual([false, ["started", "started", "finished"]])
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
      expect(cleaned).toBe(true)
      expect(events.slice(3)).toEqual([
        {
          event: "finished",
          index: 1,
          name: url("waits"),
          status: "cancelled",
          duration: 15,
          attempts: 1,
          reason: `${url("bad")} failed: broke`
        },
        {
          event: "finished",
          index: 3,
          name: url("never"),
          status: "skipped",
          duration: 0,
          reason: `never begun: ${url("bad")} failed: broke`
        },
        {
          event: "summary",
          ...none,
          failed: 1,
          cancelled: 1,
          skipped: 1,
          duration: 15,
          causes: { dropped: 1 },
          exitCode: 1
        }
      ])
    })
  )

  it.effect("starts nothing after that, even when a full buffer has held workers back", () =>
    Effect.gen(function* () {
      const count = 3000
      const requests = Array.from({ length: count }, (_, i) => request(i === 0 ? "bad" : String(i)))
      const slowly = Downloads.downloads(requests, { onFailure: "cancel", concurrency: 4 }).pipe(
        Stream.mapChunksEffect((chunk) => Effect.as(Effect.sleep(100), chunk))
      )
      const { events, fiber } = yield* collect(slowly).pipe(
        Effect.provide(
          DownloaderTest.layer({
            ...Object.fromEntries(requests.map(({ url }) => [url.href, Effect.succeed("x")])),
            [url("bad")]: failLater(50, error("bad", { retryable: false }))
          })
        )
      )
      yield* TestClock.adjust("1 minutes")
      yield* Fiber.join(fiber)
      const started = events.filter(({ event }) => event === "started").length
      const ended = events.filter(({ event }) => event === "finished")
      expect(started).toBeLessThan(count)
      expect(ended.length).toBe(count)
      expect(ended.filter(({ status }) => status === "skipped").length).toBe(count - started)
      expect(events.at(-1).event).toBe("summary")
    })
  )

  it.effect("refuses a second request for one name; with letters in another case too", () =>
    Effect.gen(function* () {
      const { events, fiber } = yield* collect(
        Downloads.downloads([request("x/f"), request("y/F", { source: "urls.txt, line 2" })], {
          directory: "dir"
        })
      )
      const failure = yield* Effect.flip(Fiber.join(fiber))
      expect(failure).toBeInstanceOf(NameClaims.NameTaken)
      expect(failure.message).toBe(
        `urls.txt, line 2: ${url("y/F")}: another URL is saved as 'f' already, and 'F' is the same file where case does not count; give one of them a name of its own (URL, TAB, name)`
      )
      expect(kinds(events)).toEqual(["summary"])
    }).pipe(serve({ "x/f": Effect.succeed("1") }))
  )

  it.effect("without a directory there are no names to clash", () =>
    Effect.gen(function* () {
      const { events, fiber } = yield* collect(Downloads.downloads([request("a"), request("a")]))
      yield* Fiber.join(fiber)
      expect(events.at(-1)).toMatchObject({ succeeded: 2 })
    }).pipe(serve({ a: Effect.succeed("1") }))
  )

  it.effect("fails as its input fails, after cancelling running transfers", () =>
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
      const { events, fiber } = yield* collect(Downloads.downloads(input)).pipe(serve({ waits }))
      expect(yield* Effect.flip(Fiber.join(fiber))).toBe("line 2 is bad")
      expect(cleaned).toBe(true)
      expect(events[1]).toMatchObject({
        event: "finished",
        status: "cancelled",
        reason: "the list failed: line 2 is bad"
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
      const fiber = yield* Downloads.downloads(input).pipe(
        Stream.tap((event) =>
          event.event === "finished" ? Deferred.succeed(first, undefined) : Effect.void
        ),
        Stream.runLast,
        serve({ a: Effect.succeed("a"), b: Effect.succeed("b") }),
        Effect.fork
      )
      yield* Deferred.await(first)
      yield* Deferred.succeed(gate, undefined)
      expect(Option.getOrThrow(yield* Fiber.join(fiber))).toMatchObject({ event: "summary", succeeded: 2 })
    })
  )

  it.effect("ended early by its reader, cancels running transfers and awaits their clean-up", () =>
    Effect.gen(function* () {
      let cleaned = 0
      const waits = Effect.onInterrupt(Effect.never, () =>
        Effect.zipRight(
          Effect.yieldNow(),
          Effect.sync(() => cleaned++)
        )
      )
      const events = yield* Downloads.downloads([request("a"), request("b"), request("c")]).pipe(
        Stream.takeUntil((event) => event.event === "finished"),
        Stream.runCollect,
        serve({ a: waits, b: Effect.succeed("b"), c: waits })
      )
      expect(kinds(Chunk.toReadonlyArray(events)).at(-1)).toBe("finished")
      expect(cleaned).toBe(2)
    })
  )

  it.effect("interrupted, cancels running transfers and awaits their clean-up", () =>
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
        Stream.runDrain(Downloads.downloads([request("a")])).pipe(serve({ a: waits }))
      )
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      expect(cleaned).toBe(true)
    })
  )

  it.effect("keeps existing files on request, and counts them separately", () =>
    Effect.gen(function* () {
      yield* Ref.update(yield* DownloaderTest.Files, HashMap.set("dir/a", new Uint8Array(7) as Uint8Array))
      const { events, fiber } = yield* collect(
        Downloads.downloads([request("a"), request("b")], { directory: "dir", existing: "keep" })
      )
      yield* Fiber.join(fiber)
      expect(events.find(({ event, index }) => event === "finished" && index === 1)).toMatchObject({
        status: "skipped",
        reason: "it already exists",
        bytes: 7
      })
      expect(events.at(-1)).toMatchObject({ succeeded: 1, skipped: 1, bytes: 1, exitCode: 0 })
    }).pipe(serve({ b: Effect.succeed("b") }))
  )

  it.effect("shows no password in its events", () =>
    Effect.gen(function* () {
      const { events, fiber } = yield* collect(
        Downloads.downloads([{ url: new URL("https://me:secret@a.example/missing") }])
      )
      yield* Fiber.join(fiber)
      expect(events[0].name).toBe(url("missing"))
      expect(JSON.stringify(events)).not.toContain("secret")
    }).pipe(serve({}))
  )
})
