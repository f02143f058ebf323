import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Fiber, Layer, Option, Schedule, TestClock } from "effect"
import * as EventLoop from "../../src/services/EventLoop.js"
import * as Timers from "../../src/services/Timers.js"
import type { Options } from "../../src/services/VirtualClock.js"
import * as Testing from "../../src/testing/index.js"

const { VirtualClock } = Testing

// What it says, at which virtual time.
const recorder = () => {
  const log: Array<string> = []
  const say = (word: string) =>
    Effect.map(Clock.currentTimeMillis, (time) => void log.push(`${time} ${word}`))
  return { log, say }
}

// Real work beside a virtual sleep: which of them is first.
const beside = (work: () => Promise<unknown>, options?: Options) =>
  Effect.gen(function* () {
    const { log, say } = recorder()
    yield* Effect.all(
      [Effect.zipRight(Effect.promise(work), say("work")), Effect.delay(say("timer"), "1 day")],
      {
        concurrency: "unbounded"
      }
    ).pipe(VirtualClock.run(options))
    return log
  })

const held = ["0 work", "86400000 timer"]

describe("VirtualClock", () => {
  it.effect("jumps to the next deadline when every fiber waits", () =>
    Effect.gen(function* () {
      const { log, say } = recorder()
      yield* Effect.all([Effect.delay(say("b"), "2 days"), Effect.delay(say("a"), 1), say("now")], {
        concurrency: "unbounded"
      })
      yield* Effect.sleep("1 minute")
      yield* say("end")
      expect(log).toEqual(["0 now", "1 a", "172800000 b", "172860000 end"])
    }).pipe(VirtualClock.run())
  )

  it.effect("is a layer, and drives what is built on top of it", () =>
    Effect.gen(function* () {
      const { log, say } = recorder()
      const timers = yield* Timers.Timers
      yield* timers.callLater("1 hour", say("timer"))
      yield* Effect.sleep("2 hours")
      yield* say("end")
      expect(log).toEqual(["3600000 timer", "7200000 end"])
    }).pipe(Effect.provide(Layer.provideMerge(Timers.layer, VirtualClock.layer)))
  )

  it.effect("starts where it is told, with both clocks", () =>
    Effect.gen(function* () {
      yield* Effect.sleep("1500 micros")
      expect(yield* Clock.currentTimeMillis).toBe(Date.UTC(2026, 0, 1) + 1)
      expect(yield* Clock.currentTimeNanos).toBe(BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n + 1_500_000n)
    }).pipe(Effect.provide(VirtualClock.layerWith({ start: Date.UTC(2026, 0, 1) })))
  )

  it.effect("leaves the clock of the caller alone", () =>
    Effect.gen(function* () {
      yield* VirtualClock.run(Effect.sleep("1 day"))
      expect(yield* Clock.currentTimeMillis).toBe(0)
      yield* TestClock.adjust(5)
      expect(yield* Clock.currentTimeMillis).toBe(5)
    })
  )

  it.effect("wakes equal deadlines in order of request, fractions included", () =>
    Effect.gen(function* () {
      const { log, say } = recorder()
      yield* Effect.forEach([1, 2, 3, 4, 5], (i) => Effect.delay(say(`${i}`), 10), {
        concurrency: "unbounded"
      })
      const twice = Effect.zipRight(Effect.sleep("100 micros"), Effect.delay(say("0.1 + 0.2"), "200 micros"))
      yield* Effect.all([Effect.delay(say("0.3"), "300 micros"), twice], { concurrency: "unbounded" })
      expect(log).toEqual(["10 1", "10 2", "10 3", "10 4", "10 5", "10 0.3", "10 0.1 + 0.2"])
    }).pipe(VirtualClock.run())
  )

  it.effect("lets what one sleeper sets going end before the next one wakes", () =>
    Effect.gen(function* () {
      const { log, say } = recorder()
      const latch = yield* Deferred.make<void>()
      const chain = Effect.repeat(Effect.yieldNow(), Schedule.recurs(5))
      yield* Effect.all(
        [
          Effect.delay(Effect.zipRight(chain, Deferred.succeed(latch, undefined)), 10),
          Effect.delay(say("next"), 10),
          Effect.zipRight(Deferred.await(latch), say("set going"))
        ],
        { concurrency: "unbounded" }
      )
      expect(log).toEqual(["10 set going", "10 next"])
    }).pipe(VirtualClock.run())
  )

  it.effect("stands still while a fiber computes, however long", () =>
    Effect.gen(function* () {
      const { log, say } = recorder()
      yield* Effect.fork(Effect.delay(say("timer"), 1))
      // Enough for Effect to fall back on real timers, and turns of the event loop too.
      for (let i = 0; i < 5000; i++) yield* Effect.yieldNow()
      for (let i = 0; i < 20; i++) yield* EventLoop.nextTurn
      yield* say("computed")
      yield* Effect.sleep(2)
      expect(log).toEqual(["0 computed", "1 timer"])
    }).pipe(VirtualClock.run({ patience: "10 seconds" }))
  )

  it.effect("gives a body that completes exactly at its timeout's deadline its result", () =>
    Effect.gen(function* () {
      expect(yield* Effect.timeoutOption(Effect.sleep(10), 10)).toEqual(Option.some(undefined))
      expect(yield* Effect.timeoutOption(Effect.sleep(11), 10)).toEqual(Option.none())
      expect(yield* Clock.currentTimeMillis).toBe(20)
    }).pipe(VirtualClock.run())
  )

  it.effect("forgets a sleep that was interrupted", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Effect.sleep("1 day"))
      yield* Effect.sleep(1)
      yield* Fiber.interrupt(fiber)
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
      expect(yield* Clock.currentTimeMillis).toBe(1)
    }).pipe(VirtualClock.run({ patience: 0 }))
  )

  it.effect("takes no time for a sleep of zero, but a loop of them does not stop the clock", () =>
    Effect.gen(function* () {
      const { log, say } = recorder()
      let rounds = 0
      const loop = Effect.forever(
        Effect.zipRight(
          Effect.sleep(0),
          Effect.sync(() => rounds++)
        )
      )
      for (let i = 0; i < 100; i++) yield* Effect.sleep(0)
      yield* say("a hundred")
      yield* Effect.raceFirst(loop, Effect.delay(say("later"), "1 second"))
      expect(log).toEqual(["0 a hundred", "1000 later"])
      expect(rounds).toBe(999)
    }).pipe(VirtualClock.run())
  )

  it.effect("jumps ten thousand times without a real timer", () =>
    Effect.gen(function* () {
      const before = performance.now()
      for (let i = 0; i < 10_000; i++) yield* Effect.sleep("1 day")
      expect(yield* Clock.currentTimeMillis).toBe(Duration.toMillis("10000 days"))
      // A real timer takes at least 1 ms each.
      expect(performance.now() - before).toBeLessThan(10_000)
    }).pipe(VirtualClock.run())
  )

  describe("is held", () => {
    it.effect("by a promise that has only microtasks to go", () =>
      Effect.gen(function* () {
        const many = async () => {
          for (let i = 0; i < 1000; i++) await undefined
        }
        expect(yield* beside(many, { patience: 0 })).toEqual(held)
      })
    )

    it.effect("by a request to the system", () =>
      Effect.gen(function* () {
        const read = async () => {
          for (let i = 0; i < 20; i++) await readFile(import.meta.filename)
        }
        expect(yield* beside(read, { patience: 0 })).toEqual(held)
      })
    )

    it.effect("by a child process", () =>
      Effect.gen(function* () {
        const child = () =>
          once(spawn(process.execPath, ["-e", "setTimeout(() => {}, 50)"], { stdio: "ignore" }), "exit")
        expect(yield* beside(child, { patience: 0 })).toEqual(held)
      })
    )

    it.effect("by a real timer", () =>
      Effect.gen(function* () {
        const timer = () => new Promise((resolve) => setTimeout(resolve, 20))
        expect(yield* beside(timer, { patience: "10 seconds" })).toEqual(held)
      })
    )

    it.effect("by a connection, and not by a listening server", () =>
      Effect.gen(function* () {
        const server = createServer((_, response) => void setTimeout(() => response.end("hello"), 20))
        const listen = () =>
          new Promise<number>((resolve) =>
            server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port))
          )
        const port = yield* Effect.promise(listen).pipe(
          Effect.tap(() => Effect.sleep("1 day")),
          VirtualClock.run({ patience: "1 hour" })
        )
        const get = async () =>
          (await fetch(`http://127.0.0.1:${port}`, { headers: { connection: "close" } })).text()
        expect(yield* beside(get, { patience: "10 seconds" })).toEqual(held)
        server.closeAllConnections()
        yield* Effect.promise(() => new Promise((resolve) => server.close(resolve)))
      })
    )

    it.effect("not by what its surroundings set up as it starts", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(VirtualClock.run(Effect.sleep("1 day"), { patience: "1 hour" }))
        yield* Effect.yieldNow()
        // More than other tests' timers that may happen to end meanwhile.
        const alive = Array.from({ length: 9 }, () => setInterval(() => undefined, 2 ** 31 - 1))
        yield* Effect.ensuring(
          Fiber.join(fiber),
          Effect.sync(() => alive.forEach(clearInterval))
        )
      })
    )

    it.effect("not for ever by what stays idle", () =>
      Effect.gen(function* () {
        const { log, say } = recorder()
        for (let i = 0; i < 50; i++) yield* Effect.timeoutOption(Effect.never, "1 day")
        yield* say("end")
        expect(log).toEqual([`${50 * 86_400_000} end`])
      }).pipe(VirtualClock.run({ patience: 20 }))
    )
  })
})
