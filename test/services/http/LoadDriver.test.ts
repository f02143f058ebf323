import { existsSync, readdirSync, readFileSync } from "node:fs"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, FastCheck as fc, Layer } from "effect"
import { WebSocketServer } from "ws"
import { quantiles } from "../../../src/services/http/internal/answerTimes.js"
import * as LoadDriver from "../../../src/services/http/LoadDriver.js"
import * as Processes from "../../../src/services/process/Processes.js"

const layer = Layer.provide(LoadDriver.layer, Processes.layer)

/** A server in this process, and what it has seen. */
const served = Effect.acquireRelease(
  Effect.promise(async () => {
    const seen = { most: 0, open: 0, webSockets: 0 }
    const server = http.createServer((request, response) => {
      if (request.url === "/fail") response.statusCode = 500
      if (request.url === "/never") return
      response.end("hi\n")
    })
    server.on("connection", (socket) => {
      seen.open++
      seen.most = Math.max(seen.most, seen.open)
      socket.on("close", () => seen.open--)
    })
    new WebSocketServer({ server, path: "/ws" }).on("connection", () => seen.webSockets++)
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
    return { server, seen, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  }),
  ({ server }) =>
    Effect.promise(async () => {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    })
)

/** The processes whose command line holds the text. */
const running = (text: string): ReadonlyArray<string> =>
  readdirSync("/proc").filter((pid) => {
    const file = `/proc/${pid}/cmdline`
    try {
      return /^\d+$/.test(pid) && existsSync(file) && readFileSync(file, "latin1").includes(text)
    } catch {
      return false
    }
  })

const short = { time: "300 millis", warmUp: 0 } as const

describe("LoadDriver", () => {
  it.scopedLive("counts answers, connections and WebSockets, and runs the phases in their order", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* served
      const phases: Array<string> = []
      const result = yield* LoadDriver.run(`${url}/`, { ...short, connections: 3, webSockets: 4 }, (phase) =>
        Effect.sync(() => {
          if (phase === "open") expect(seen).toMatchObject({ open: 4, webSockets: 4 })
          phases.push(phase)
        })
      )
      expect(phases).toEqual(["warm", "open", "begun", "ended"])
      expect(result).toMatchObject({ connected: 3, webSockets: 4, refused: 0, errors: 0, failures: [] })
      expect(result.requests).toBeGreaterThan(0)
      expect(result.time).toBeGreaterThanOrEqual(299)
      expect(result.p50!.ms).toBeLessThanOrEqual(result.p99!.ms)
      expect(result.timeWait).toBeTypeOf("number")
      expect(seen.most).toBe(7)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("counts other answers as refused, and requests that still wait with their time so far", () =>
    Effect.gen(function* () {
      const { url } = yield* served
      const refused = yield* LoadDriver.run(`${url}/fail`, { ...short, connections: 2 })
      expect([refused.requests, refused.refused > 0]).toEqual([0, true])
      const waiting = yield* LoadDriver.run(`${url}/never`, { ...short, connections: 2 })
      expect([waiting.requests, waiting.refused]).toEqual([0, 0])
      expect(waiting.p50!.atLeast).toBe(true)
      expect(waiting.p50!.ms).toBeGreaterThanOrEqual(299)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("counts connections that fail, with the codes of their errors", () =>
    Effect.gen(function* () {
      const { server, url } = yield* served
      yield* Effect.promise(() => new Promise((done) => server.close(done)))
      const webSockets = { ...short, connections: 0, webSockets: 2, connectTime: "100 millis" } as const
      const result = yield* LoadDriver.run(url, webSockets)
      expect(result).toMatchObject({ connected: 0, webSockets: 0, errors: 2, failures: ["ECONNREFUSED"] })
      expect(result.p50).toBeUndefined()
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("ends its process and its connections when it is interrupted", () =>
    Effect.gen(function* () {
      const { server, url } = yield* served
      const begun = yield* Deferred.make<void>()
      const load = yield* Effect.fork(
        LoadDriver.run(`${url}/`, { connections: 2, time: "1 hour", warmUp: 0 }, (phase) =>
          phase === "begun" ? Deferred.succeed(begun, undefined) : Effect.void
        )
      )
      const closed = Effect.promise(() => new Promise<void>((done) => void server.close(() => done())))
      yield* Deferred.await(begun)
      expect(running(url)).toHaveLength(1)
      yield* Fiber.interrupt(load)
      expect(running(url)).toEqual([])
      yield* closed // when its connections are
    }).pipe(Effect.provide(layer))
  )

  it.live("says in one line that the load generator is missing, with exit code 2", () =>
    Effect.gen(function* () {
      const driver = yield* LoadDriver.LoadDriver
      for (const effect of [driver.check, driver.run("http://127.0.0.1:1/")]) {
        const error = yield* Effect.flip(effect)
        expect([error.exitCode, error.message]).toEqual([
          2,
          "the load generator no-such-generator is not installed; npm install --save-dev no-such-generator"
        ])
      }
    }).pipe(
      Effect.provide(Layer.provide(LoadDriver.layerWith({ generator: "no-such-generator" }), Processes.layer))
    )
  )

  it.live("fails with the error of a load generator that does not work, with exit code 1", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(LoadDriver.run("http://127.0.0.1:1/", short))
      expect([error.exitCode, error.message]).toEqual([
        1,
        "the load generator failed: TypeError: autocannon is not a function"
      ])
    }).pipe(Effect.provide(Layer.provide(LoadDriver.layerWith({ generator: "tsx" }), Processes.layer)))
  )

  it.live("leaves some of the limit of open files to other files", () =>
    Effect.gen(function* () {
      const { mostConnections } = yield* LoadDriver.LoadDriver
      const limit = Number(/^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))![1])
      expect(yield* mostConnections).toBe(limit - 64)
    }).pipe(Effect.provide(layer))
  )

  it.effect("has a layer for tests that runs the phases and returns the given results", () =>
    Effect.gen(function* () {
      const phases: Array<string> = []
      const result = yield* LoadDriver.run("http://x/", { connections: 7 }, (phase) =>
        Effect.sync(() => void phases.push(phase))
      )
      expect(phases).toEqual([...LoadDriver.Phase.literals])
      expect(result).toMatchObject({ connected: 7, requests: 70, errors: 0 })
      const wrong = yield* Effect.exit(LoadDriver.run("http://x/", { connections: -1 }))
      expect(Exit.isFailure(wrong)).toBe(true)
    }).pipe(
      Effect.provide(LoadDriver.layerTest((_, { connections = 0 }) => ({ requests: connections * 10 })))
    )
  )
})

describe("quantiles of the times of answers", () => {
  const times = fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 50 })
  const share = fc.constantFrom(0.01, 0.5, 0.9, 0.99)

  it("are the plain ones if no request waits", () => {
    fc.assert(
      fc.property(times, share, (answered, share) => {
        const sorted = [...answered].sort((a, b) => a - b)
        const [found] = quantiles(answered, [], [share])
        const at = Math.ceil(share * sorted.length - 1e-6) - 1
        expect(found).toEqual(sorted.length === 0 ? undefined : { ms: sorted[at], atLeast: false })
      })
    )
  })

  it("never fall by a request that waits longer than all, and are known in the order of their shares", () => {
    fc.assert(
      fc.property(times, times, share, (answered, waiting, share) => {
        fc.pre(answered.length + waiting.length > 0)
        const [before] = quantiles(answered, waiting, [share])
        const [after, median, high] = quantiles(answered, [...waiting, 2000], [share, 0.5, 0.99])
        expect(after!.ms).toBeGreaterThanOrEqual(before!.ms)
        expect(high!.ms).toBeGreaterThanOrEqual(median!.ms)
        if (median!.atLeast) expect(high!.atLeast).toBe(true)
      })
    )
  })

  it("are bounds where most requests wait", () => {
    expect(quantiles([10, 10, 10], Array(97).fill(500), [0.01, 0.5, 0.99])).toEqual([
      { ms: 10, atLeast: false },
      { ms: 500, atLeast: true },
      { ms: 500, atLeast: true }
    ])
  })
})
