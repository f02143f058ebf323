import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Loops from "../../src/programs/Loops.js"
import * as Output from "../../src/services/host/Output.js"

describe("Loops.example", () => {
  it.effect("alternates strictly between producer and consumer", () =>
    Effect.gen(function* () {
      yield* Loops.example
      const { stderr, stdout } = yield* Output.Captured
      expect(stdout).toEqual(
        [0, 1, 2, 3, 4].flatMap((n) => [`Before yield ${n}`, `Yay, I've been yield'd ${n}`])
      )
      expect(stderr).toEqual([])
    }).pipe(Effect.provide(Output.layerTest))
  )
})
