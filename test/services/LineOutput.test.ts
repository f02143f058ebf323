import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import * as LineOutput from "../../src/services/LineOutput.js"

const recorded = () => {
  const events: Array<string> = []
  const lines = LineOutput.make(
    (pid) => Effect.sync(() => void events.push(`started ${pid}`)),
    (stream, bytes) => Effect.sync(() => void events.push(`${stream} ${new TextDecoder().decode(bytes)}`))
  )
  return { events, lines }
}

describe("LineOutput", () => {
  it.effect("holds lines until the start is told, and gives the rest at the end", () =>
    Effect.gen(function* () {
      const { events, lines } = recorded()
      lines.onStarted(7)
      const held = yield* Effect.fork(lines.onOutput("stdout", Buffer.from("a\nb")) ?? Effect.void)
      yield* Effect.yieldNow()
      expect(events).toEqual([])
      yield* lines.during(lines.begin)
      yield* Fiber.join(held)
      yield* lines.end
      expect(events).toEqual(["started 7", "stdout a\n", "stdout b"])
    })
  )

  it.effect("tells of the start, and lets lines through, where it is interrupted before", () =>
    Effect.gen(function* () {
      const { events, lines } = recorded()
      lines.onStarted(7)
      const held = yield* Effect.fork(lines.onOutput("stderr", Buffer.from("last\n")) ?? Effect.void)
      expect(Exit.isInterrupted(yield* Effect.exit(lines.during(Effect.interrupt)))).toBe(true)
      yield* Fiber.join(held)
      expect(events).toEqual(["started 7", "stderr last\n"])
    })
  )
})
