import { describe, expect, it } from "vitest"
import * as View from "../../../src/commands/schedule/view.js"
import * as CivilTime from "../../../src/services/time/CivilTime.js"

describe("the view of aio schedule", () => {
  it("cuts the text of --json between characters, and ends with what is left of one", () => {
    const { json } = View.make({ zone: CivilTime.local(), repeated: true, timestamps: false, now: () => 0 })
    const which = { index: 1, name: "job" }
    const output = (...bytes: ReadonlyArray<number>) =>
      json!({ event: "output", ...which, stream: "stdout", bytes: Uint8Array.from(bytes) })
    const [first, second] = new TextEncoder().encode("é")
    const text = (text: string) => ({ event: "output", ...which, stream: "stdout", text })
    expect(output(97, first!)).toEqual([text("a")])
    expect(output(second!)).toEqual([text("é")])
    expect(output(first!)).toEqual([])
    const finished = { event: "finished", ...which, status: "succeeded", duration: 1 } as const
    expect(json!(finished)).toEqual([text("\ufffd"), finished])
    expect(json!(finished)).toEqual([finished])
  })
})
