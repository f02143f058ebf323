import { fileURLToPath } from "node:url"
import * as Command from "@effect/platform/Command"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Fiber, Layer, Stream } from "effect"
import * as ServerCompare from "../../src/programs/ServerCompare.js"
import * as LoadDriver from "../../src/services/http/LoadDriver.js"
import * as Processes from "../../src/services/process/Processes.js"

const fixture = fileURLToPath(new URL("../fixtures/server/standIn.mjs", import.meta.url))

/** Prints an address and waits: enough for a load that is made up. */
const silent = () => Command.make("sh", "-c", "echo listening on http://127.0.0.1:1; exec sleep 60")

const faked = (...args: Parameters<typeof LoadDriver.layerTest>) =>
  Layer.merge(LoadDriver.layerTest(...args), Processes.layer)

const run = (options: ServerCompare.CompareOptions) =>
  Effect.map(Stream.runCollect(ServerCompare.compare(options)), Chunk.toReadonlyArray)

const measuredOf = (events: ReadonlyArray<ServerCompare.Event>) =>
  events.filter((event) => event.event === "measured")

describe("ServerCompare", () => {
  it.live("drives every model with the same loads, each on a server of its own", () =>
    Effect.gen(function* () {
      const started: Array<string> = []
      const events = yield* run({
        connections: [1, 50],
        webSockets: 30,
        threads: 3,
        wait: "20 millis",
        command: (model, threads) => {
          started.push(`${model} ${threads}`)
          return silent()
        }
      })
      expect(started).toEqual(
        ServerCompare.models.flatMap((model) => Array.from({ length: 4 }, () => `${model} 3`))
      )
      const measured = measuredOf(events)
      expect(
        measured.map(({ load, connections, webSockets, throughput }) => [
          load,
          connections,
          webSockets,
          throughput
        ])
      ).toEqual(
        ServerCompare.models.flatMap(() => [
          ["hello", 64, 0, 640],
          ["wait", 1, 0, 10],
          ["wait", 50, 0, 500],
          ["sockets", 64, 30, 640]
        ])
      )
      expect(measured[2]).toMatchObject({
        name: "event-loop: /wait?ms=20 on 50 connections",
        index: 3,
        model: "event-loop"
      })
      expect(measured[0]!.memory).toBeGreaterThan(0)
      expect(events[0]).toEqual({
        event: "started",
        index: 1,
        name: "event-loop: / on 64 connections",
        total: 12
      })
      expect(events.at(-1)).toMatchObject({ event: "compared", threads: 3, wait: 20, failed: 0, exitCode: 0 })
    }).pipe(Effect.provide(faked((_, { connections = 0 }) => ({ requests: connections * 10, time: 1000 }))))
  )

  it.live("opens no more connections than the limit of open files allows, with a note", () =>
    Effect.gen(function* () {
      const events = yield* run({
        models: ["threads"],
        connections: [1, 100, 500, 5000],
        webSockets: 1000,
        command: silent
      })
      expect(events[0]).toMatchObject({ event: "note", reason: expect.stringContaining("at most 200") })
      expect(measuredOf(events).map(({ connections, webSockets }) => [connections, webSockets])).toEqual([
        [64, 0],
        [1, 0],
        [100, 0],
        [200, 0],
        [64, 136]
      ])
    }).pipe(Effect.provide(faked(() => ({}), 200)))
  )

  it.live("reports a load that fails, goes on with the others, and ends with exit code 1", () =>
    Effect.gen(function* () {
      const command = (model: ServerCompare.Model) =>
        model === "threads" ? Command.make("sh", "-c", "echo no such model >&2; exit 2") : silent()
      const events = yield* run({ connections: [5], webSockets: 0, command })
      const failed = events.filter((event) => event.event === "finished")
      expect(failed.map(({ index, name }) => [index, name])).toEqual([
        [3, "threads: / on 64 connections"],
        [4, "threads: /wait?ms=100 on 5 connections"]
      ])
      expect(failed[0]!.reason).toMatch(/did not start to listen: no such model$/)
      expect(measuredOf(events)).toHaveLength(4)
      expect(events.at(-1)).toMatchObject({ event: "compared", failed: 2, exitCode: 1 })
    }).pipe(Effect.provide(faked(() => ({}))))
  )

  it.live("fails before it starts a server if the load generator is missing", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(run({ command: () => Command.make("false") }))
      expect([error.reason, error.exitCode]).toEqual(["missing", 2])
    }).pipe(
      Effect.provide(Layer.provideMerge(LoadDriver.layerWith({ generator: "no-such" }), Processes.layer))
    )
  )

  it.live("ends the server when it is interrupted", () =>
    Effect.gen(function* () {
      const driving = yield* Deferred.make<void>()
      const driver = yield* LoadDriver.LoadDriver
      const stuck = {
        ...driver,
        run: () => Effect.zipRight(Deferred.succeed(driving, undefined), Effect.never)
      }
      const processes = yield* Processes.Processes
      let pid = 0
      const watched = Processes.Processes.of({
        ...processes,
        start: (command, options) =>
          Effect.tap(processes.start(command, options), (server) => Effect.sync(() => (pid = server.pid)))
      })
      const comparing = yield* run({ command: silent }).pipe(
        Effect.provideService(LoadDriver.LoadDriver, stuck),
        Effect.provideService(Processes.Processes, watched),
        Effect.fork
      )
      yield* Deferred.await(driving)
      expect(process.kill(pid, 0)).toBe(true)
      yield* Fiber.interrupt(comparing)
      expect(() => process.kill(pid, 0)).toThrow("ESRCH")
    }).pipe(Effect.provide(faked(() => ({}))))
  )

  it.live("measures real servers: threads bound what the event loop does not", () =>
    Effect.gen(function* () {
      const events = yield* run({
        models: ["event-loop", "threads"],
        connections: [40],
        webSockets: 0,
        threads: 2,
        wait: "100 millis",
        time: "400 millis",
        command: (model, threads) => Command.make(process.execPath, fixture, model, String(threads))
      })
      const [, loop, , threads] = measuredOf(events)
      expect(loop).toMatchObject({ connected: 40, errors: 0, refused: 0, load: "wait", model: "event-loop" })
      expect(threads).toMatchObject({ connected: 40, errors: 0, model: "threads" })
      // The event loop answers all 40 in each wait, 2 threads answer 2.
      expect(loop!.requests).toBeGreaterThan(threads!.requests)
      expect(threads!.p99!.ms).toBeGreaterThanOrEqual(90)
      expect(loop!.cpu).toBeGreaterThanOrEqual(0)
    }).pipe(Effect.provide(Layer.provideMerge(LoadDriver.layer, Processes.layer)))
  )
})
