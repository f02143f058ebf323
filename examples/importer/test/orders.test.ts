import assert from "node:assert/strict"
import { test } from "node:test"
import { Effect, Fiber, Layer } from "effect"
import { DownloadError } from "effect-asyncio/services/Download"
import * as DownloaderTest from "effect-asyncio/services/DownloaderTest"
import * as ExecutorTest from "effect-asyncio/services/ExecutorTest"
import * as ProcessesTest from "effect-asyncio/services/ProcessesTest"
import * as SafeHttpClient from "effect-asyncio/services/SafeHttpClient"
import * as Tail from "effect-asyncio/services/Tail"
import * as Timers from "effect-asyncio/services/Timers"
import { Interleave, VirtualClock } from "effect-asyncio/testing"
import { importOrders } from "../src/importer.js"
import { price } from "../src/price.js"
import * as Totals from "../src/Totals.js"

const settings = {
  file: "orders.ndjson",
  api: "https://api.example.org",
  deliver: ["tee", "-a", "invoices.ndjson"]
} as const

const text = `{"id":1,"customer":7,"items":[{"pieces":2,"cents":100}]}
{"id":2,"customer":8,"items":[{"pieces":1,"cents":50}]}
not an order
{"id":3,"customer":7,"items":[{"pieces":1,"cents":100}]}
`
const bytes = new TextEncoder().encode(text)
const piece = {
  bytes,
  file: { device: "1", inode: "1", head: bytes.subarray(0, 20) },
  position: 0,
  anew: true
}

/** The world: a file, an API that is busy at first, jobs on this thread, a command of two seconds. */
const world = () => {
  let asked = 0
  const customer = (discount: number) =>
    Effect.zipRight(Effect.sleep("1 second"), Effect.succeed(JSON.stringify({ name: "Ada", discount })))
  const busy = (url: URL) =>
    new DownloadError({
      reason: "status",
      url: url.href,
      detail: "HTTP 503",
      status: 503,
      retryable: true,
      retryAfter: 30_000
    })
  return Layer.mergeAll(
    Tail.layerTest({ [settings.file]: [piece] }),
    Layer.provide(
      SafeHttpClient.layerWith({}),
      DownloaderTest.layer({
        [`${settings.api}/customers/7`]: customer(50),
        [`${settings.api}/customers/8`]: ({ url }) => (asked++ === 0 ? busy(url) : customer(0))
      })
    ),
    ExecutorTest.layer((_, [order, discount]) => Effect.sync(() => price(order, discount))),
    ProcessesTest.layerTest([{ match: /^tee/, after: "2 seconds" }]),
    Timers.layer,
    Totals.layer
  )
}

test("imports in order, after the API's Retry-After, a bad line aside: in virtual time", async () => {
  const program = Effect.gen(function* () {
    const fiber = yield* Effect.fork(importOrders(settings))
    yield* Effect.sleep("3 minutes")
    yield* Fiber.interrupt(fiber)
    const { read } = yield* Totals.Totals
    return [yield* read, (yield* ProcessesTest.Recorded).events] as const
  })
  const [total, events] = await program.pipe(Effect.provide(world()), VirtualClock.run(), Effect.runPromise)
  assert.deepEqual(total, { orders: 3, cents: 200, bad: 1 })
  assert.deepEqual(
    events.map(({ event }) => event),
    ["started", "exited", "started", "exited"]
  )
})

test("a shutdown in the middle of a batch delivers it whole", async () => {
  const program = Effect.gen(function* () {
    const fiber = yield* Effect.fork(importOrders(settings))
    // The first batch is due after the answer of a second and the window of another.
    yield* Effect.sleep(3000)
    yield* Fiber.interrupt(fiber)
    return [yield* (yield* Totals.Totals).read, (yield* ProcessesTest.Recorded).events] as const
  })
  const [total, events] = await program.pipe(Effect.provide(world()), VirtualClock.run(), Effect.runPromise)
  assert.deepEqual(total, { orders: 1, cents: 100, bad: 1 })
  assert.deepEqual(
    events.map(({ at, event }) => [event, at]),
    [
      ["started", 2000],
      ["exited", 4000]
    ]
  )
})

test("no order of the fibers loses a total", async () => {
  const add = Effect.gen(function* () {
    const { add, read } = yield* Totals.Totals
    yield* Effect.all([add(1), add(2), add(3)], { concurrency: "unbounded" })
    assert.deepEqual(yield* read, { orders: 3, cents: 6, bad: 0 })
  })
  const { orders } = await Interleave.explore(Effect.provide(add, Totals.layer), { runs: 200 }).pipe(
    Effect.runPromise
  )
  assert.ok(orders > 1)
})

test("no order of the fibers changes the import", async () => {
  const program = Effect.gen(function* () {
    const fiber = yield* Effect.fork(importOrders(settings))
    yield* Effect.sleep("2 minutes")
    yield* Fiber.interrupt(fiber)
    assert.deepEqual(yield* (yield* Totals.Totals).read, { orders: 3, cents: 200, bad: 1 })
  })
  await Interleave.explore(
    Effect.suspend(() => Effect.provide(program, world())),
    { runs: 30 }
  ).pipe(Effect.runPromise)
})
