import { describe, expect, it } from "@effect/vitest"
import * as Unchanged from "../../../../src/services/record/internal/unchanged.js"

describe("unchanged", () => {
  it("detects whether a value has been changed", () => {
    const changes: ReadonlyArray<readonly [string, (value: any) => void, boolean]> = [
      ["nothing", () => undefined, true],
      ["the same again", (value) => Object.assign(value, { a: 1 }), true],
      ["a field", (value) => Object.assign(value, { a: 2 }), false],
      ["a new field", (value) => Object.assign(value, { z: undefined }), false],
      ["a field less", (value) => delete value.a, false],
      [
        "a field for another",
        (value) => {
          delete value.a
          value.z = undefined
        },
        false
      ],
      ["deep inside", (value) => value.b.c.push(1), false],
      ["in an array of objects", (value) => Object.assign(value.d[1], { e: 3 }), false],
      ["another object that is alike", (value) => Object.assign(value, { b: { c: [] } }), false]
    ]
    for (const [name, change, unchanged] of changes) {
      const value = { a: 1, b: { c: [] }, d: [{}, { e: 2 }], n: null }
      const snapshot = Unchanged.snapshot(value)
      change(value)
      expect(Unchanged.isUnchanged(value, snapshot), name).toBe(unchanged)
    }
    expect(Unchanged.snapshot("text")).toBeUndefined()
  })

  it("detects from its source that a function changes nothing, and is never wrong", () => {
    for (const f of [
      "(r) => r",
      "r => r",
      "async (r) => r",
      "(r) => r.a > 10 && r.b !== null ? r : undefined",
      "r => r.a >= 1 ? r : null"
    ]) {
      expect(Unchanged.changesNothing(new Function(`return ${f}`)()), f).toBe(true)
    }
    for (const f of [
      "(r) => (r.a = 1, r)",
      "r => r.a = r",
      "r => r.a += 1",
      "r => r.a++",
      "r => delete r.a",
      "r => f(r)",
      "r => f`x`",
      "r => new F",
      "(r) => { return r }",
      "function (r) { return r }",
      "r => r.a ??= 1",
      "r => r.a ||= r",
      "r => r.a **= 2",
      "r => r.a >>= 2",
      "r => r.a <<= 2",
      "r => r.a >>>= 2",
      "({ a }) => a",
      "(r = 1) => r",
      "r => r[r.a]",
      "(...r) => r"
    ]) {
      expect(Unchanged.changesNothing(new Function(`return ${f}`)()), f).toBe(false)
    }
  })
})
