import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as Unchanged from "../../../src/services/record/internal/unchanged.js"
import * as LosslessJson from "../../../src/services/record/LosslessJson.js"

describe("LosslessJson", () => {
  it("keeps every digit of an integer at any place, and changes nothing else", () => {
    const text =
      '{"id":12345678901234567890,"n":-98765432109876543210,"in":[{"x":9007199254740993}],"s":"12345678901234567890","f":0.12345678901234567,"e":12345678901234567e3,"safe":9007199254740991}'
    const value = LosslessJson.parse(text) as Record<string, unknown>
    expect([value["id"], value["n"], value["s"], value["safe"]]).toEqual([
      12345678901234567890n,
      -98765432109876543210n,
      "12345678901234567890",
      9007199254740991
    ])
    expect(value["f"]).toBe(Number("0.12345678901234567"))
    expect(value["e"]).toBe(Number("12345678901234567e3"))
    expect(LosslessJson.encode(LosslessJson.parse('[12345678901234567890,"a"]'))).toBe(
      '[12345678901234567890,"a"]'
    )
    expect(LosslessJson.encode(LosslessJson.parse("12345678901234567890"))).toBe("12345678901234567890")
  })

  it("reads no string as a number, whatever its content", () => {
    const big = 12345678901234567890n
    const strings = ["12345678901234567890", '\\"12345678901234567890"', "\\", '"', "aio:1"]
    const value = { big, strings, "12345678901234567890": 1 }
    expect(LosslessJson.parse(LosslessJson.encode(value))).toEqual(value)
  })

  it("fails as JSON.parse and JSON.stringify do", () => {
    for (const text of ["", "{", "[01234567890123456789]", '{"a":1}x', "[1,]", "12345678901234567890."]) {
      expect(() => LosslessJson.parse(text)).toThrow(SyntaxError)
    }
    const circle: Record<string, unknown> = { big: 1n }
    circle["self"] = circle
    expect(() => LosslessJson.encode(circle)).toThrow(TypeError)
    expect(() => LosslessJson.encode(undefined)).toThrow("undefined cannot be represented in JSON")
  })

  it("is JSON.parse and JSON.stringify for all else", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.jsonValue(), FastCheck.bigInt(), (value, big) => {
        const text = JSON.stringify([value, 1])
        FastCheck.pre(!LosslessJson.mayRound(text))
        expect(LosslessJson.parse(text)).toEqual(JSON.parse(text))
        const withBig = `[${text},${big}]`
        expect(LosslessJson.encode(LosslessJson.parse(withBig))).toBe(
          JSON.stringify(JSON.parse(text)).replace(/^(.*)$/s, `[$1,${big}]`)
        )
      })
    )
  })

  it("writes each value so that parsing returns it, or fails with the value and its place", () => {
    const circle: Record<string, unknown> = { a: [] }
    circle["a"] = [circle]
    const endless = (): object =>
      new Proxy(
        {},
        {
          ownKeys: () => ["x"],
          get: (_, key) => (key === "x" ? endless() : undefined),
          getOwnPropertyDescriptor: () => ({ value: 1, enumerable: true, configurable: true })
        }
      )
    class Growing {
      get next() {
        return new Growing()
      }
    }
    Object.defineProperty(Growing.prototype, "next", { enumerable: true })
    const inherited = Object.create({})
    Object.getPrototypeOf(inherited).self = Object.getPrototypeOf(inherited)
    const cases: ReadonlyArray<readonly [unknown, string]> = [
      [-0, "-0"],
      [[0, -0, 10, { n: -0 }], '[0,-0,10,{"n":-0}]'],
      [{ null: null, zero: 0, u: undefined, f: () => 1, s: Symbol("s") }, '{"null":null,"zero":0}'],
      [new Date(0), '"1970-01-01T00:00:00.000Z"'],
      [{ at: new Date(0), n: null }, '{"at":"1970-01-01T00:00:00.000Z","n":null}'],
      [[Object(1), Object("a"), Object(false), Object(2n), null], '[1,"a",false,2,null]'],
      [[Object(-0)], "[-0]"],
      [{ toJSON: (key: string) => [key, -0] }, '["",-0]'],
      [{ a: { toJSON: (key: string) => `${key}!` }, b: 1n }, '{"a":"a!","b":1}'],
      ['\u2028"\ud800', '"\u2028\\"\\ud800"'],
      [JSON.parse('{"__proto__":12345,"a":[{}]}'), '{"__proto__":12345,"a":[{}]}'],
      [new Map([[1, 2]]), "{}"],
      [Object.assign([1], { x: 1n }), "[1]"],
      [[1n, null, [], {}, [[]]], "[1,null,[],{},[[]]]"],
      [Object.assign(inherited, { n: null }), '{"n":null}']
    ]
    for (const [value, text] of cases) expect(LosslessJson.encode(value)).toBe(text)
    const refused: ReadonlyArray<readonly [unknown, string]> = [
      [undefined, "undefined cannot be represented in JSON"],
      [Symbol("x"), "a symbol cannot be represented in JSON"],
      [() => 1, "a function cannot be represented in JSON"],
      [Number.NaN, "NaN cannot be represented in JSON"],
      [
        { a: [1, { "b c": Number.POSITIVE_INFINITY }] },
        "Infinity cannot be represented in JSON (at a[1].b c)"
      ],
      [[1, undefined], "undefined cannot be represented in JSON (at [1])"],
      [new Array(1), "undefined cannot be represented in JSON (at [0])"],
      [{ a: [() => 1] }, "a function cannot be represented in JSON (at a[0])"],
      [{ a: [Object(Number.NaN)] }, "NaN cannot be represented in JSON (at a[0])"],
      [{ at: new Date(Number.NaN) }, "an invalid Date cannot be represented in JSON (at at)"],
      [{ toJSON: () => Number.NaN }, "NaN cannot be represented in JSON"],
      [circle, "an object that contains itself cannot be represented in JSON (at a[0])"],
      [
        new Proxy(
          {},
          {
            ownKeys: () => {
              throw new Error("no keys")
            }
          }
        ),
        "no keys"
      ],
      [
        {
          get a() {
            throw new Error("no a")
          }
        },
        "no a"
      ],
      [
        {
          toJSON: () => {
            throw new Error("no JSON of mine")
          }
        },
        "no JSON of mine"
      ],
      [endless(), "a getter, proxy or toJSON beyond 5000 levels cannot be represented in JSON"],
      [
        {
          toJSON() {
            return { a: { ...this } }
          }
        },
        "a getter, proxy or toJSON beyond 5000 levels cannot be represented in JSON"
      ]
    ]
    for (const [value, message] of refused) {
      expect(() => LosslessJson.encode(value), message).toThrow(message)
    }
  })

  it("reads, copies, compares and writes values that are nested 20,000 levels deep", () => {
    const levels = 20_000
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":', "}"]
    ] as const) {
      for (const inside of ["1", "12345678901234567890", "-0", "null"]) {
        const text = open.repeat(levels) + inside + close.repeat(levels)
        const value = LosslessJson.parse(text)
        const snapshot = Unchanged.snapshot(value)
        expect(Unchanged.isUnchanged(value, snapshot)).toBe(true)
        expect(LosslessJson.isEqual(value, LosslessJson.parse(text))).toBe(true)
        expect(LosslessJson.encode({ value })).toBe(`{"value":${text}}`)
      }
    }
  })

  it("finds large integers in any text, and none in strings of any length", () => {
    const long = '\\"'.repeat(500_000)
    const text = `{"${long}":"${long}12345678901234567890","n":[-12345678901234567890,1234567890123456e0,${"7".repeat(100_000)}]}`
    const value = LosslessJson.parse(text) as { n: ReadonlyArray<unknown> }
    expect(value.n.map((each) => typeof each)).toEqual(["bigint", "number", "bigint"])
    expect(LosslessJson.encode(value)).toBe(text.replace("1234567890123456e0", "1234567890123456"))
  })

  it("compares two values", () => {
    const texts = [
      "1",
      "0",
      "-0",
      "null",
      '""',
      "[]",
      "{}",
      "[1]",
      "[[]]",
      '{"a":1}',
      '{"a":1,"b":2}',
      '{"b":1}'
    ]
    for (const one of texts) {
      for (const other of texts) {
        expect(LosslessJson.isEqual(JSON.parse(one), JSON.parse(other)), `${one} ${other}`).toBe(
          one === other
        )
      }
    }
    expect(LosslessJson.isEqual({ a: 1, b: [2n] }, { b: [2n], a: 1 })).toBe(true)
  })
})
