import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, HashMap, Ref, TestClock } from "effect"
import type * as Download from "../../../src/services/download/Download.js"
import * as Downloader from "../../../src/services/download/Downloader.js"
import * as DownloaderTest from "../../../src/services/download/DownloaderTest.js"

const get = (request: Download.Request) =>
  Effect.scoped(
    Effect.gen(function* () {
      const session = yield* Effect.orDie((yield* Downloader.Downloader).open())
      return yield* Downloader.fetch(session, request)
    })
  )

describe("DownloaderTest", () => {
  const url = new URL("https://a.example/f")
  const target = { directory: "dir", name: "f" }

  it.effect("serves scripts, counts, and saves into Files", () =>
    Effect.gen(function* () {
      expect(yield* get({ url })).toMatchObject({ size: 5, path: undefined, status: 200 })
      expect(yield* get({ url, target })).toMatchObject({ size: 5, path: "dir/f" })
      const files = yield* Ref.get(yield* DownloaderTest.Files)
      expect(new TextDecoder().decode(HashMap.unsafeGet(files, "dir/f"))).toBe("héé")
    }).pipe(Effect.provide(DownloaderTest.layer({ [url.href]: Effect.succeed("héé") })))
  )

  it.effect("keeps existing files, refuses too large bodies, and is 404 elsewhere", () =>
    Effect.gen(function* () {
      yield* get({ url, target })
      expect(yield* get({ url, target: { ...target, existing: "keep" } })).toMatchObject({
        skipped: true,
        size: 3,
        status: 0
      })
      const large = yield* Effect.flip(get({ url, maxSize: 2 }))
      expect([large.reason, large.message]).toEqual(["too-large", "https://a.example/f: more than 2 B"])
      const missing = yield* Effect.flip(get({ url: new URL("https://a.example/g") }))
      expect([missing.reason, missing.status, missing.retryable]).toEqual(["status", 404, false])
    }).pipe(Effect.provide(DownloaderTest.layer({ [url.href]: Effect.succeed("abc") })))
  )

  it.effect("runs the script anew each time, on the test's clock, and stops it when interrupted", () =>
    Effect.gen(function* () {
      let stopped = false
      let runs = 0
      const script = Effect.suspend(() => {
        runs++
        return Effect.onInterrupt(Effect.as(Effect.sleep(10), String(runs)), () =>
          Effect.sync(() => {
            stopped = true
          })
        )
      })
      yield* Effect.gen(function* () {
        const first = yield* Effect.fork(get({ url }))
        yield* TestClock.adjust(9)
        expect(first.unsafePoll()).toBeNull()
        yield* TestClock.adjust(1)
        yield* Fiber.join(first)
        const second = yield* Effect.fork(get({ url }))
        yield* TestClock.adjust(5)
        yield* Fiber.interrupt(second)
        expect([runs, stopped]).toEqual([2, true])
      }).pipe(Effect.provide(DownloaderTest.layer({ [url.href]: script })))
    })
  )
})
