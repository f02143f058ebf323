import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as LinePrefix from "../../../src/commands/kernel/LinePrefix.js"

describe("LinePrefix.before", () => {
  it("prefixes each line once, however the bytes are cut", () => {
    const text = FastCheck.array(FastCheck.constantFrom("a", "\n", "bc", "é"), { maxLength: 30 }).map(
      (parts) => parts.join("")
    )
    FastCheck.assert(
      FastCheck.property(text, FastCheck.array(FastCheck.nat(40)), (text, cuts) => {
        const bytes = Buffer.from(text)
        const state = { open: false }
        const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)), bytes.length].sort((a, b) => a - b)
        const parts = at
          .slice(1)
          .map((end, i) => LinePrefix.before(bytes.subarray(at[i], end), Buffer.from("T "), state))
        const lines = text.split("\n").map((line) => `T ${line}`)
        const expected =
          text.endsWith("\n") || text === ""
            ? `${lines.slice(0, -1).join("\n")}${text === "" ? "" : "\n"}`
            : lines.join("\n")
        assert.strictEqual(Buffer.concat(parts).toString(), expected)
        assert.strictEqual(state.open, text !== "" && !text.endsWith("\n"))
      })
    )
  })
})
