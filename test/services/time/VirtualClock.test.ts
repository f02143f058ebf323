import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Queue,
  Schedule,
  TestClock
} from "effect"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import * as Timers from "../../../src/services/time/Timers.js"
import type { Options } from "../../../src/services/time/VirtualClock.js"
import * as Testing from "../../../src/testing/index.js"

const { VirtualClock } = Testing

// Lines, each with its virtual time.
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

  it.effect("is a layer, and drives the layers that are built on it", () =>
    Effect.gen(function* () {
      const { log, say } = recorder()
      const timers = yield* Timers.Timers
      yield* timers.callLater("1 hour", say("timer"))
      yield* Effect.sleep("2 hours")
      yield* say("end")
      expect(log).toEqual(["3600000 timer", "7200000 end"])
    }).pipe(Effect.provide(Layer.provideMerge(Timers.layer, VirtualClock.layer)))
  )

  it.effect("starts at the given time, with both clocks", () =>
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

  it.live("runs within another, and concurrently with another, each with a time of its own", () =>
    Effect.gen(function* () {
      const { log, say } = recorder()
      const inner = Effect.zipRight(Effect.sleep("1 hour"), say("inner")).pipe(VirtualClock.run())
      const outer = (name: string) =>
        Effect.all(
          [
            Effect.zipRight(Effect.sleep("1 minute"), inner),
            Effect.delay(say(`beside ${name}`), "2 minutes")
          ],
          {
            concurrency: "unbounded"
          }
        ).pipe(Effect.zipRight(say(name)), VirtualClock.run())
      yield* Effect.all([outer("a"), outer("b")], { concurrency: "unbounded" })
      const sorted = [...log].sort()
      expect(sorted).toEqual([
        "120000 a",
        "120000 b",
        "120000 beside a",
        "120000 beside b",
        "3600000 inner",
        "3600000 inner"
      ])
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

  it.effect("lets work that a sleeper starts end before the next one wakes", () =>
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

  it.effect("succeeds if a body completes exactly at its timeout's deadline", () =>
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

  it.effect("waits for a real timer that takes the place of one that stood open before", () =>
    Effect.suspend(() => {
      const before = setTimeout(() => undefined, 60_000)
      return Effect.promise(() => {
        clearTimeout(before)
        return new Promise((resolve) => setTimeout(() => resolve("fired"), 20))
      }).pipe(VirtualClock.run({ patience: 0 }))
    }).pipe(Effect.map((told) => expect(told).toBe("fired")))
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

  describe("deadlock", () => {
    // The defect of the run, and its report without the numbers of the fibers.
    const stuck = <A, E>(effect: Effect.Effect<A, E>, options: Options = { patience: 5 }) =>
      Effect.map(Effect.exit(VirtualClock.run(effect, options)), (exit) => {
        const [defect] = Exit.isFailure(exit) ? Array.from(Cause.defects(exit.cause)) : []
        if (!(defect instanceof VirtualClock.Deadlock)) throw new Error(`no deadlock: ${exit}`)
        return { deadlock: defect, exit, lines: defect.message.replace(/#\d+/g, "#").split("\n") }
      })

    it.effect("is reported instead of hanging, with what each fiber waits for", () =>
      Effect.gen(function* () {
        const { deadlock, lines } = yield* stuck(
          Effect.gen(function* () {
            yield* Effect.sleep("1 hour")
            const queue = yield* Queue.unbounded<number>()
            const taker = yield* Effect.fork(Effect.withSpan(Queue.take(queue), "take a job"))
            const latch = yield* Deferred.make<void>()
            yield* Effect.fork(Effect.withSpan(Deferred.await(latch), "wait for the start"))
            yield* Effect.fork(Effect.never)
            yield* Effect.fork(Effect.sleep(Duration.infinity))
            const lock = yield* Effect.makeSemaphore(0)
            yield* Effect.fork(lock.take(1))
            yield* Fiber.join(taker)
          })
        )
        expect(deadlock.time).toBe(3_600_000)
        expect(lines).toEqual([
          "nothing can happen any more: all 6 fibers wait",
          "  fiber # waits for the end of fiber #",
          "  fiber # (in take a job) waits for a queue, or a Deferred of its own",
          "  fiber # (in wait for the start) waits for a Deferred that fiber # has made",
          "  fiber # waits for ever (Effect.never)",
          "  fiber # waits for ever (a sleep without end)",
          "  fiber # waits for a semaphore, a latch, a callback or a promise"
        ])
      })
    )

    it.effect("names tasks, and the spans that locks are taken in", () =>
      Effect.gen(function* () {
        const [a, b] = [Effect.unsafeMakeSemaphore(1), Effect.unsafeMakeSemaphore(1)]
        const both = (first: Effect.Semaphore, second: Effect.Semaphore) =>
          first.withPermits(1)(
            Effect.zipRight(
              Effect.sleep(1),
              Effect.withSpan(second.withPermits(1)(Effect.void), "the second lock")
            )
          )
        const program = TaskGroup.scoped(
          Effect.gen(function* () {
            yield* TaskGroup.start("left", both(a, b))
            yield* TaskGroup.start("right", both(b, a))
          })
        )
        const { deadlock } = yield* stuck(program)
        const tasks = deadlock.fibers.filter(({ task }) => task !== undefined)
        expect(tasks.map(({ spans, task }) => [task, spans[0]])).toEqual([
          ["left", "the second lock"],
          ["right", "the second lock"]
        ])
      })
    )

    it.effect("interrupts waiting fibers, in order, and adds failures of their clean-up", () =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const clean = Effect.sync(() => log.push("cleaned up"))
        yield* stuck(Effect.ensuring(Effect.never, clean))
        expect(log).toEqual(["cleaned up"])
        const { exit } = yield* stuck(Effect.ensuring(Effect.never, Effect.dieMessage("broken")))
        expect(Exit.isFailure(exit) && Array.from(Cause.defects(exit.cause))).toHaveLength(2)
      })
    )

    it.effect("is reported even for a fiber that cannot be interrupted", () =>
      Effect.gen(function* () {
        const { deadlock } = yield* stuck(Effect.uninterruptible(Effect.never))
        expect(deadlock.fibers).toHaveLength(1)
      })
    )

    it.effect("is not a deadlock while real work is active", () =>
      Effect.gen(function* () {
        const timer = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 30, "timer")))
        const child = Effect.promise(() => once(spawn(process.execPath, ["-e", "0"]), "exit"))
        const latch = yield* Deferred.make<string>()
        // The callback that will open it is known neither to the fiber nor to the clock.
        const opened = Effect.zipRight(
          Effect.sync(() => setTimeout(() => Deferred.unsafeDone(latch, Effect.succeed("open")), 30)),
          Deferred.await(latch)
        )
        expect(yield* VirtualClock.run(timer, { patience: 0 })).toBe("timer")
        expect(yield* VirtualClock.run(child, { patience: 0 })).toEqual([0, null])
        expect(yield* VirtualClock.run(opened, { patience: 0 })).toBe("open")
      })
    )

    it.effect("is not a deadlock while the test runner loads a module", () =>
      Effect.gen(function* () {
        const loaded = yield* VirtualClock.run(Effect.promise(() => import("../../../src/programs/Tasks.js")))
        expect(loaded).toBeDefined()
      })
    )

    it.effect("is not a deadlock while a server listens", () =>
      Effect.gen(function* () {
        const server = createServer((_, response) => void response.end())
        const asked = Effect.async<string>((resume) => {
          server.once("request", () => resume(Effect.succeed("asked")))
        })
        const listening = Effect.promise(
          () => new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve))
        )
        const fiber = yield* Effect.fork(VirtualClock.run(Effect.zipRight(listening, asked), { patience: 0 }))
        // Turns enough for many looks.
        for (let i = 0; i < 100; i++) yield* EventLoop.nextTurn
        const { port } = server.address() as AddressInfo
        yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}`, { headers: { connection: "close" } }))
        expect(yield* Fiber.join(fiber)).toBe("asked")
        yield* Effect.promise(() => new Promise((resolve) => server.close(resolve)))
      })
    )

    it.effect("is reported by the layer too, as a defect of its scope", () =>
      Effect.gen(function* () {
        const program = Effect.fork(Effect.never).pipe(Effect.flatMap(Fiber.join))
        // A fiber of its own, because it is that one which is interrupted.
        const fiber = yield* Effect.fork(Effect.provide(program, VirtualClock.layerWith({ patience: 5 })))
        const exit = yield* Fiber.await(fiber)
        const [defect] = Exit.isFailure(exit) ? Array.from(Cause.defects(exit.cause)) : []
        expect(defect).toBeInstanceOf(VirtualClock.Deadlock)
        expect(Exit.isFailure(exit) && Cancellation.fromCause(exit.cause)[0]?.origin).toBe("VirtualClock")
      })
    )

    it.effect("leaves the process as it was", () =>
      Effect.gen(function* () {
        const before = globalThis.setInterval
        yield* stuck(Effect.never)
        expect(globalThis.setInterval).toBe(before)
        const one = yield* Effect.fork(VirtualClock.run(Effect.sleep("1 day")))
        yield* VirtualClock.run(Effect.sleep(1))
        yield* Fiber.join(one)
        expect(globalThis.setInterval).toBe(before)
      })
    )
  })

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

    it.effect("not by timers of its surroundings at the start", () =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const sleeper = Effect.zipRight(Deferred.succeed(begun, undefined), Effect.sleep("1 day"))
        const fiber = yield* Effect.fork(VirtualClock.run(sleeper, { patience: "1 hour" }))
        yield* Deferred.await(begun)
        // More than other tests' timers that may happen to end meanwhile.
        const alive = Array.from({ length: 9 }, () => setInterval(() => undefined, 2 ** 31 - 1))
        yield* Effect.ensuring(
          Fiber.join(fiber),
          Effect.sync(() => alive.forEach(clearInterval))
        )
      })
    )

    it.effect("not for ever by idle resources", () =>
      Effect.gen(function* () {
        const { log, say } = recorder()
        for (let i = 0; i < 50; i++) yield* Effect.timeoutOption(Effect.never, "1 day")
        yield* say("end")
        expect(log).toEqual([`${50 * 86_400_000} end`])
      }).pipe(VirtualClock.run({ patience: 20 }))
    )
  })
})
