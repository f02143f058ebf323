import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Fiber, Layer, TestClock } from "effect"
import * as Gather from "../../src/programs/Gather.js"
import * as DownloaderTest from "../../src/services/download/DownloaderTest.js"
import * as Output from "../../src/services/host/Output.js"
import * as GuideServer from "../../src/services/http/GuideServer.js"
import * as EventLoop from "../../src/services/task/EventLoop.js"
import { until } from "../support/Waits.js"

// The last page listed arrives first.
const arrivals = [400, 300, 200, 100]
const origin = "http://127.0.0.1:1"
const scripts = Object.fromEntries(
  GuideServer.pages.map(({ size, url }, i) => [
    `${origin}/${new URL(url).host}`,
    Effect.delay(Effect.succeed("x".repeat(size)), arrivals[i]!)
  ])
)
const layers = Layer.mergeAll(
  DownloaderTest.layer(scripts),
  Layer.succeed(GuideServer.GuideServer, { origin }),
  Output.layerTest
)

describe("Gather.example", () => {
  it.effect("prints each page at the moment it arrives, whatever the order asked for", () =>
    Effect.gen(function* () {
      const { stdout } = yield* Output.Captured
      const fiber = yield* Effect.fork(Gather.example)
      yield* Effect.repeat(Effect.zipRight(EventLoop.nextTurn, TestClock.sleeps()), {
        until: (sleeping) => Chunk.size(sleeping) >= arrivals.length
      })
      const expected: Array<string> = []
      for (const { size, url } of GuideServer.pages.toReversed()) {
        yield* TestClock.adjust(100)
        expected.push(`Downloaded ${url}, size ${size}`)
        // The next page arrives only when the clock is adjusted, after this line.
        yield* until(() => stdout.length >= expected.length)
        expect(stdout).toEqual(expected)
      }
      yield* Fiber.join(fiber)
    }).pipe(Effect.provide(layers))
  )
})
