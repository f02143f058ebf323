import { describe, expect, it } from "@effect/vitest"
import * as Flag from "../../../src/commands/kernel/Flag.js"
import * as Flags from "../../../src/commands/kernel/Flags.js"
import * as Values from "../../../src/commands/kernel/Values.js"
import * as Kernel from "../../support/Kernel.js"

const word = Values.text("a word")

/** The value of the option with these words. */
const valueOf = async (flag: Flag.Flag<unknown>, ...words: ReadonlyArray<string>) => {
  const { calls, error } = await Kernel.run(
    (called) => [Kernel.probe("x", { flag }, "none")(called)],
    ["x", ...words]
  )
  return error ?? (calls[0] as { config: { flag: unknown } }).config.flag
}

describe("Flag", () => {
  const rows: ReadonlyArray<readonly [string, Flag.Flag<unknown>, ReadonlyArray<string>, unknown]> = [
    ["value", Flag.value("one", { value: "W", text: "", parse: word }), [], undefined],
    ["value", Flag.value("one", { value: "W", text: "", parse: word }), ["--one", "a"], "a"],
    ["bare", Flag.value("one", { value: "W", bare: "b", text: "", parse: word }), [], undefined],
    ["bare", Flag.value("one", { value: "W", bare: "b", text: "", parse: word }), ["--one"], "b"],
    ["bare", Flag.value("one", { value: "W", bare: "b", text: "", parse: word }), ["--one=a"], "a"],
    ["values", Flag.values("one", { value: "W", text: "", parse: word }), [], []],
    ["values", Flag.values("one", { value: "W", text: "", parse: word }), ["--one=a", "--one=a"], ["a", "a"]],
    ["choice", Flag.choice("one", ["a", "b", "c"], { text: "" }), ["--one", "b"], "b"],
    [
      "choice",
      Flag.choice("one", ["a", "b", "c"], { text: "" }),
      ["--one", "d"],
      "aio x: option --one: 'd' is not accepted; expected a, b or c (see aio x --help)"
    ],
    ["toggle", Flag.toggle("one", ""), [], false],
    ["toggle", Flag.toggle("one", "", "o"), ["-o"], true],
    ["negatable", Flag.negatable("one", ""), [], undefined],
    ["negatable", Flag.negatable("one", ""), ["--no-one"], false],
    ["level", Flag.level("one", "", "o"), [], 0],
    ["level", Flag.level("one", "", "o"), ["-ooo"], 3],
    ["withDefault", Flag.withDefault(Flag.choice("one", ["a", "b"], { text: "" }), "b"), [], "b"],
    ["withDefault", Flag.withDefault(Flag.choice("one", ["a", "b"], { text: "" }), "b"), ["--one", "a"], "a"],
    [
      "withText",
      Flag.withText(Flag.value("one", { value: "W", text: "", parse: word }), "text"),
      ["--one", "a"],
      "a"
    ]
  ]
  it.each(rows.map(([name, flag, words, expected]) => [name, words, flag, expected] as const))(
    "%s reads %j",
    async (_, words, flag, expected) => {
      expect(await valueOf(flag, ...words)).toEqual(expected)
    }
  )

  it("shows a default as it is written", () => {
    expect(Flags.maxLine.default).toBe("16M")
    expect(Flag.withDefault(Flags.jobs, 8).default).toBe("8")
    expect(Flag.withText(Flags.jobs, "another text", "one for each processor")).toMatchObject({
      text: "another text",
      default: "one for each processor"
    })
  })

  it("reads no option of a command without options", async () => {
    const { calls } = await Kernel.run((called) => [Kernel.probe("x", {}, "none")(called)], ["x"])
    expect(calls).toMatchObject([{ config: {} }])
  })
})
