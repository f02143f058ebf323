import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import type * as Download from "../../../src/services/download/Download.js"
import * as Downloader from "../../../src/services/download/Downloader.js"
import * as FaultServer from "../../support/FaultServer.js"

const get = (request: Download.Request, options?: Download.SessionOptions) =>
  Effect.scoped(
    Effect.gen(function* () {
      const session = yield* Effect.orDie((yield* Downloader.Downloader).open(options))
      return yield* Downloader.fetch(session, request)
    })
  )

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "aio-downloader-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const serve = (...args: Parameters<typeof FaultServer.start>) =>
  Effect.acquireRelease(
    Effect.promise(() => FaultServer.start(...args)),
    (server) => Effect.promise(server.close)
  )

describe("Downloader", () => {
  it.scopedLive("interrupted, closes the connection and is back when its file is closed", () =>
    Effect.gen(function* () {
      const body = FaultServer.bytes(900_000)
      const closed = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      const server = yield* serve({
        "/f": FaultServer.file(body, '"v1"', (response, part) => {
          response.on("close", () => Deferred.unsafeDone(closed, Effect.void))
          response.write(part.subarray(0, 500_000))
        })
      })
      const directory = yield* folder
      const fiber = yield* Effect.fork(
        get({
          url: new URL(server.url("/f")),
          target: { directory, name: "f" },
          onProgress: (received) => {
            if (received > 0) Deferred.unsafeDone(begun, Effect.void)
          }
        })
      )
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      const [part] = readdirSync(directory)
      const kept = readFileSync(join(directory, part!))
      expect(kept.length).toBeGreaterThan(0)
      expect(kept.equals(body.subarray(0, kept.length))).toBe(true)
      yield* Deferred.await(closed)
    }).pipe(Effect.provide(Downloader.layer))
  )

  it.scopedLive("two sessions of one process do not share a partial file", () =>
    Effect.gen(function* () {
      const one = FaultServer.bytes(1_500_000, 1)
      const held: Array<() => void> = []
      const server = yield* serve({
        "/f": FaultServer.inTurn(
          FaultServer.dropAfter(one, 1_200_000, { etag: '"v1"' }),
          FaultServer.file(one, '"v1"', (response, part) => {
            held.push(() => response.end(part))
            if (held.length >= 2) for (const go of held) go()
          })
        )
      })
      const directory = yield* folder
      const request = { url: new URL(server.url("/f")), target: { directory, name: "f" } }
      expect((yield* Effect.flip(get(request))).reason).toBe("dropped")
      const exits = yield* Effect.all([Effect.either(get(request)), Effect.either(get(request))], {
        concurrency: 2
      })
      // One has the partial file; the other fails with that reason, and may try again.
      for (const exit of exits) {
        if (exit._tag === "Left") expect([exit.left.reason, exit.left.retryable]).toEqual(["file", true])
      }
      expect(exits.some(({ _tag }) => _tag === "Right")).toBe(true)
      expect(readFileSync(join(directory, "f")).equals(one)).toBe(true)
      expect(readdirSync(directory)).toEqual(["f"])
    }).pipe(Effect.provide(Downloader.layer))
  )

  it.scopedLive("mapUrl downloads from another URL than the requested one", () =>
    Effect.gen(function* () {
      const server = yield* serve({ "/a.example": FaultServer.ok("page") })
      const { size } = yield* get({ url: new URL("https://a.example/page") }).pipe(
        Effect.updateService(
          Downloader.Downloader,
          Downloader.mapUrl(({ host }) => new URL(host, server.origin))
        )
      )
      expect(size).toBe(4)
      expect(server.seen).toHaveLength(1)
    }).pipe(Effect.provide(Downloader.layer))
  )
})
