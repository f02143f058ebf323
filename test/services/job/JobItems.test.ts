import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Stream } from "effect"
import * as Input from "../../../src/services/host/Input.js"
import * as JobItems from "../../../src/services/job/JobItems.js"

describe("JobItems", () => {
  const input = (...chunks: ReadonlyArray<string>) =>
    Effect.provideService(Input.Input, {
      isTerminal: false,
      source: "piped",
      isOnce: () => Effect.succeed(true),
      stdin: Stream.empty,
      open: () => Stream.fromIterable(chunks.map((text) => new TextEncoder().encode(text)))
    })
  const read = (options: JobItems.Options, ...chunks: ReadonlyArray<string>) =>
    Effect.map(Stream.runCollect(JobItems.read("-", options)), Chunk.toReadonlyArray).pipe(input(...chunks))

  it.effect("reads a line each, without empty ones and without CR, however the bytes are cut", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* read({}, "a\r\n\nb", "c\n", " \nd"), ["a", "bc", " ", "d"])
    })
  )

  it.effect("reads items between NUL bytes as they are", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* read({ nul: true }, "a\nb\0", "\0c\r"), ["a\nb", "", "c\r"])
    })
  )

  it.effect("fails with the number of an item that is too long", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(read({ maxLine: 1024 }, "a\n", "x".repeat(1025), "\nb\n"))
      assert.strictEqual(error.message, "item 2 of - is longer than 1.0 KiB; --max-line sets the limit")
    })
  )
})
