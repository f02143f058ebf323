import { describe, expect, it } from "@effect/vitest"
import { Console, Effect } from "effect"
import * as Timestamps from "../../../src/commands/kernel/Timestamps.js"
import * as Output from "../../../src/services/host/Output.js"

const off = { virtual: false, timestamps: false }

describe("Timestamps", () => {
  it("formats times as hours, minutes, seconds and milliseconds, with hours beyond 24", () => {
    expect([0, 1, 61_001, 86_399_999, 86_400_000, 360_000_000].map(Timestamps.format)).toEqual([
      "00:00:00.000",
      "00:00:00.001",
      "00:01:01.001",
      "23:59:59.999",
      "24:00:00.000",
      "100:00:00.000"
    ])
  })

  it.effect("gives a line the time of its first piece", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const output = yield* Output.Output
        yield* output.print("")
        yield* Effect.sleep(1500)
        yield* output.write("be")
        yield* Effect.sleep("1 second")
        yield* output.write(new TextEncoder().encode("gun\n\nand"))
        yield* output.write("")
        yield* output.print(" so on")
        yield* Console.withGroup(Console.log("%d lines\nof %s", 2, "text"), { label: "group" })
        yield* Console.log({ a: 1 })
        yield* output.note("not this")
      })
      yield* Timestamps.timed(program, { virtual: true, timestamps: true })
      const { stderr, stdout } = yield* Output.Captured
      expect(stdout.join("").split("\n")).toEqual([
        "00:00:00.000  ",
        "00:00:01.500  begun",
        "00:00:02.500  ",
        "00:00:02.500  and so on",
        "00:00:02.500  group",
        "00:00:02.500    2 lines",
        "00:00:02.500    of text",
        "00:00:02.500  { a: 1 }",
        ""
      ])
      expect(stderr).toEqual(["not this"])
    }).pipe(Effect.provide(Output.layerTest))
  )

  it.effect("does not change a program without options", () =>
    Effect.gen(function* () {
      yield* Timestamps.timed(Output.print("plain"), off)
      expect((yield* Output.Captured).stdout).toEqual(["plain"])
    }).pipe(Effect.provide(Output.layerTest))
  )
})
