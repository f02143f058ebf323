import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as LineOutput from "../../../src/services/process/LineOutput.js"

const recorded = () => {
  const events: Array<string> = []
  const lines = LineOutput.make(
    (pid) => Effect.sync(() => void events.push(`started ${pid}`)),
    (stream, bytes) => Effect.sync(() => void events.push(`${stream} ${new TextDecoder().decode(bytes)}`))
  )
  return { events, lines }
}

describe("LineOutput", () => {
  it.effect(
    "reports the start before the first line, from whichever runs first, and passes on the rest at the end",
    () =>
      Effect.gen(function* () {
        const { events, lines } = recorded()
        yield* lines.begin // there is no process yet
        lines.onStarted(7)
        expect(lines.onOutput("stdout", Buffer.from("a"))).toBeUndefined()
        const line = lines.onOutput("stdout", Buffer.from("\nb"))!
        yield* Effect.all([line, lines.begin], { concurrency: 2 })
        yield* lines.end
        expect(events).toEqual(["started 7", "stdout a\n", "stdout b"])
      })
  )

  it.effect("reports at the end a start that was not reported before", () =>
    Effect.gen(function* () {
      const { events, lines } = recorded()
      lines.onStarted(7)
      yield* lines.end
      expect(events).toEqual(["started 7"])
    })
  )

  it.effect("reports the start even if the reporting fiber is interrupted, and holds output until then", () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const reported = yield* Effect.makeLatch(false)
      const lines = LineOutput.make(
        () =>
          Effect.zipRight(
            reported.await,
            Effect.sync(() => void events.push("started"))
          ),
        () => Effect.sync(() => void events.push("line"))
      )
      lines.onStarted(7)
      const teller = yield* Effect.fork(lines.begin)
      const line = yield* Effect.fork(lines.onOutput("stderr", Buffer.from("x\n"))!)
      yield* Effect.yieldNow()
      yield* Fiber.interruptFork(teller)
      yield* Effect.yieldNow()
      expect(events).toEqual([])
      yield* reported.open
      yield* Fiber.join(line)
      expect(events).toEqual(["started", "line"])
    })
  )
})
