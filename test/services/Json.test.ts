import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as Json from "../../src/services/Json.js"

describe("Json", () => {
  it("keeps every digit of an integer, wherever it stands, and nothing else", () => {
    const text =
      '{"id":12345678901234567890,"n":-98765432109876543210,"in":[{"x":9007199254740993}],"s":"12345678901234567890","f":0.12345678901234567,"e":12345678901234567e3,"safe":9007199254740991}'
    const value = Json.parse(text) as Record<string, unknown>
    expect([value["id"], value["n"], value["s"], value["safe"]]).toEqual([
      12345678901234567890n,
      -98765432109876543210n,
      "12345678901234567890",
      9007199254740991
    ])
    expect(value["f"]).toBe(Number("0.12345678901234567"))
    expect(value["e"]).toBe(Number("12345678901234567e3"))
    expect(Json.stringify(Json.parse('[12345678901234567890,"a"]'))).toBe('[12345678901234567890,"a"]')
    expect(Json.stringify(Json.parse("12345678901234567890"))).toBe("12345678901234567890")
  })

  it("takes no string for a number, whatever is in it", () => {
    const big = 12345678901234567890n
    const strings = ["12345678901234567890", '\\"12345678901234567890"', "\\", '"', "aio:1"]
    const value = { big, strings, "12345678901234567890": 1 }
    expect(Json.parse(Json.stringify(value)!)).toEqual(value)
  })

  it("fails as JSON.parse and JSON.stringify do", () => {
    for (const text of ["", "{", "[01234567890123456789]", '{"a":1}x', "[1,]", "12345678901234567890."]) {
      expect(() => Json.parse(text)).toThrow(SyntaxError)
    }
    const circle: Record<string, unknown> = { big: 1n }
    circle["self"] = circle
    expect(() => Json.stringify(circle)).toThrow(TypeError)
    expect(Json.stringify(undefined)).toBeUndefined()
  })

  it("is JSON.parse and JSON.stringify for all else", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.jsonValue(), FastCheck.bigInt(), (value, big) => {
        const text = JSON.stringify([value, 1])
        FastCheck.pre(!Json.mayRound(text))
        expect(Json.parse(text)).toEqual(JSON.parse(text))
        const withBig = `[${text},${big}]`
        expect(Json.stringify(Json.parse(withBig))).toBe(
          JSON.stringify(JSON.parse(text)).replace(/^(.*)$/s, `[$1,${big}]`)
        )
      })
    )
  })

  it("tells whether a value has been changed", () => {
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
      const snapshot = Json.snapshot(value)
      change(value)
      expect(Json.isUnchanged(value, snapshot), name).toBe(unchanged)
    }
    expect(Json.snapshot("text")).toBeUndefined()
  })

  it("tells from its source that a function changes nothing, and is never wrong", () => {
    for (const f of [
      "(r) => r",
      "r => r",
      "async (r) => r",
      "(r) => r.a > 10 && r.b !== null ? r : undefined",
      "r => r.a >= 1 ? r : null"
    ]) {
      expect(Json.changesNothing(new Function(`return ${f}`)()), f).toBe(true)
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
      expect(Json.changesNothing(new Function(`return ${f}`)()), f).toBe(false)
    }
  })
})
