import { fileURLToPath } from "node:url"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpServer from "@effect/platform/HttpServer"
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { WebSocket } from "undici"
import { builtFile } from "../../../src/services/host/BuiltFile.js"
import * as Blocking from "../../../src/services/http/Blocking.js"
import { onSockets, port } from "../../support/Http.js"

const demo: Blocking.Target = { entry: builtFile("bin/serverWorker.cjs") }
const mine = {
  file: fileURLToPath(new URL("../../fixtures/server/app.ts", import.meta.url))
}

const serving = (target: Blocking.Target, options: Blocking.Options = {}) =>
  Effect.tap(Blocking.make(target, options), ({ app }) => HttpServer.serveEffect(app))

const get = (path: string) =>
  Effect.flatMap(HttpClient.get(path), ({ status, text }) => Effect.map(text, (body) => ({ status, body })))

/** Waits until it is so, ten seconds at most. */
const until = (holds: () => boolean) =>
  Effect.repeat(Effect.delay(Effect.sync(holds), 5), { until: (yes) => yes, times: 2000 })

// A thread that loads all of `effect` takes a second, and some on a busy machine.
describe("Blocking", { timeout: 120_000 }, () => {
  it.scopedLive("lets as many requests wait as there are threads; the others wait in the queue", () =>
    Effect.gen(function* () {
      const { counts } = yield* serving(demo, { threads: 2 })
      yield* until(() => counts().threads === 2)
      const three = yield* Effect.fork(
        Effect.all([get("/wait?ms=150"), get("/wait?ms=150"), get("/wait?ms=150")], {
          concurrency: "unbounded"
        })
      )
      yield* until(() => counts().busy === 2 && counts().queued === 1)
      expect(counts()).toEqual({ threads: 2, busy: 2, queued: 1 })
      const answers = yield* Fiber.join(three)
      expect(answers.map(({ body, status }) => [status, body])).toEqual(
        Array.from({ length: 3 }, () => [200, "waited 150 ms\n"])
      )
      yield* until(() => counts().busy === 0)
      expect(counts()).toMatchObject({ busy: 0, queued: 0 })
    }).pipe(Effect.provide(onSockets()))
  )

  it.scopedLive("blocks all others with one thread", () =>
    Effect.gen(function* () {
      const { counts } = yield* serving(demo, { threads: 1 })
      const slow = yield* Effect.fork(get("/block?ms=200"))
      yield* until(() => counts().busy === 1)
      const [waited, { body }] = yield* Effect.timed(get("/"))
      expect(body).toBe("hi\n")
      expect(Duration.toMillis(waited)).toBeGreaterThan(50)
      expect((yield* Fiber.join(slow)).body).toBe("blocked 200 ms\n")
    }).pipe(Effect.provide(onSockets()))
  )

  it.scopedLive("serves a person's app: bodies, streams, failures and threads that end", () =>
    Effect.gen(function* () {
      const reports: Array<string> = []
      yield* serving(mine, {
        threads: 1,
        report: ({ url }, reason) => Effect.sync(() => void reports.push(`${url}: ${reason}`))
      })
      const client = yield* HttpClient.HttpClient
      const post = HttpClientRequest.post("/upper").pipe(HttpClientRequest.bodyText("abc".repeat(50_000)))
      const answer = yield* client.execute(post)
      expect(yield* answer.text).toBe("ABC".repeat(50_000))
      expect(yield* get("/stream")).toMatchObject({ status: 200, body: "1\n2\n3\n" })
      expect((yield* get("/nowhere")).status).toBe(404)
      expect((yield* get("/fails")).status).toBe(500)
      expect(reports).toEqual(["/fails: no rows"])
      expect((yield* get("/exits")).status).toBe(500)
      expect(yield* get("/")).toMatchObject({ status: 200, body: "mine\n" })
    }).pipe(Effect.provide(onSockets()))
  )

  it.scopedLive("frees the thread of a client that goes, once its handler has ended", () =>
    Effect.gen(function* () {
      const { counts } = yield* serving(demo, { threads: 1 })
      const first = yield* Effect.fork(get("/wait?ms=100"))
      yield* until(() => counts().busy === 1)
      const second = yield* Effect.fork(get("/wait?ms=3000"))
      yield* until(() => counts().queued === 1)
      yield* Fiber.interrupt(second)
      yield* until(() => counts().queued === 0)
      yield* Fiber.interrupt(first)
      expect((yield* get("/")).body).toBe("hi\n")
      yield* until(() => counts().busy === 0)
      expect(counts()).toEqual({ threads: 1, busy: 0, queued: 0 })
    }).pipe(Effect.provide(onSockets()))
  )

  it.scopedLive("a WebSocket holds a thread until it closes", () =>
    Effect.gen(function* () {
      const { counts } = yield* serving(demo, { threads: 1 })
      const socket = new WebSocket(`ws://127.0.0.1:${yield* port}/ws`)
      const heard: Array<unknown> = []
      socket.addEventListener("message", ({ data }) => void heard.push(data))
      socket.addEventListener("open", () => {
        socket.send("one")
        socket.send("two")
      })
      yield* until(() => heard.length === 2)
      expect(heard).toEqual(["one", "two"])
      expect(counts().busy).toBe(1)
      socket.close()
      yield* until(() => counts().busy === 0)
      expect((yield* get("/")).body).toBe("hi\n")
    }).pipe(Effect.provide(onSockets()))
  )

  it.scopedLive("refuses what is no app", () =>
    Effect.gen(function* () {
      const refused = yield* Effect.flip(Blocking.make({ ...mine, exportName: "notAnApp" }, { threads: 1 }))
      expect(refused.message).toMatch(/export 'notAnApp' is an object; expected an HttpApp/)
      expect(refused.exitCode).toBe(2)
    })
  )
})
