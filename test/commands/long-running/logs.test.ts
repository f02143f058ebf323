import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Control from "../../../src/commands/long-running/control.js"

const output = (name: string, text: string) =>
  ({ event: "output", index: 1, name, stream: "stdout", bytes: Buffer.from(text) }) as const
const summary = {
  event: "summary",
  succeeded: 1,
  failed: 0,
  cancelled: 0,
  skipped: 0,
  timed_out: 0,
  duration: 1,
  exitCode: 0
} as const

/** What a follower gets: the bytes of output, and of output that was left out, as they come. */
const pieces = (lines: Iterable<string>) =>
  [...lines].slice(1).map((line) => {
    const { base64, lost, name } = JSON.parse(line) as Record<string, any>
    return [name, lost === undefined ? Buffer.from(base64, "base64").length : -lost]
  })

describe("the logs that are followed", () => {
  it.effect("leave out what a slow reader would let wait beyond 1 MiB, and say how much", () =>
    Effect.gen(function* () {
      const logs = Control.makeLogs()
      const follower = yield* Effect.map(logs.follow(["a", "b"]), (lines) => lines!)
      const large = "x".repeat(600_000)
      for (const name of ["a", "a", "a", "b"]) logs.take(output(name, large))
      // Once it reads on, it is told, whether more comes or not.
      const begun = yield* Stream.runCollect(Stream.take(follower, 5))
      expect(pieces(begun)).toEqual([
        ["a", 600_000],
        ["a", 600_000],
        ["a", -600_000],
        ["b", -600_000]
      ])
    })
  )

  it.effect("say at the end, too, what they have left out", () =>
    Effect.gen(function* () {
      const logs = Control.makeLogs()
      const follower = yield* Effect.map(logs.follow(["a"]), (lines) => lines!)
      const large = "x".repeat(600_000)
      for (let i = 0; i < 4; i++) logs.take(output("a", large))
      logs.take(summary)
      expect(pieces(yield* Stream.runCollect(follower))).toEqual([
        ["a", 600_000],
        ["a", 600_000],
        ["a", -1_200_000]
      ])
    })
  )
})
