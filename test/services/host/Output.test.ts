import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Output from "../../../src/services/host/Output.js"

describe("Output", () => {
  it.each([
    [true, {}, { interactive: true, colors: true }],
    [false, {}, { interactive: false, colors: false }],
    [true, { NO_COLOR: "1" }, { interactive: true, colors: false }],
    [true, { NO_COLOR: "" }, { interactive: true, colors: true }],
    [true, { TERM: "dumb" }, { interactive: false, colors: false }],
    [true, { CI: "true" }, { interactive: false, colors: true }],
    [false, { FORCE_COLOR: "1" }, { interactive: false, colors: true }],
    [true, { FORCE_COLOR: "0" }, { interactive: true, colors: false }],
    [false, { FORCE_COLOR: "1", NO_COLOR: "1" }, { interactive: false, colors: true }]
  ])("with a terminal: %j and %j has %j", (isTTY, env, expected) => {
    expect(Output.capabilities(isTTY, env)).toEqual(expected)
  })

  it.effect("keeps results and notes apart, in order", () =>
    Effect.gen(function* () {
      yield* Output.print("a")
      yield* Output.note("b")
      const { stderr, stdout } = yield* Output.Captured
      expect(stdout).toEqual(["a"])
      expect(stderr).toEqual(["b"])
    }).pipe(Effect.provide(Output.layerTest))
  )
})
