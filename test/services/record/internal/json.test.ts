import { assert, describe, it } from "@effect/vitest"
import * as Splitter from "../../../../src/services/record/Splitter.js"

/** Index, line and value (or problem) of the records of a text, in chunks of this size. */
const read = (text: string | Uint8Array, size = 1 << 20, maxLine?: number) => {
  const splitter = Splitter.make({ format: "json", maxLine })
  const bytes = Buffer.from(text as string)
  const found = []
  for (let at = 0; at < bytes.length; at += size) found.push(...splitter.push(bytes.subarray(at, at + size)))
  found.push(...splitter.end())
  return found.map((record) => [record.index, record.line, record.problem ?? record.value] as const)
}

describe("JSON values", () => {
  const text =
    '\ufeff{\n "a": [1, {"b": "]}\\\\\\""}]\n}  7 "x]"[\n  1,\n [2, 3] ,\n{"id":12345678901234567890}\n]true[] \n null'
  const expected = [
    [1, 1, { a: [1, { b: ']}\\"' }] }],
    [2, 3, 7],
    [3, 3, "x]"],
    [4, 4, 1],
    [5, 5, [2, 3]],
    [6, 6, { id: 12345678901234567890n }],
    [7, 7, true],
    [8, 8, null]
  ]

  it("are records whatever the white space, and so are the elements of arrays, wherever chunks end", () => {
    for (const size of [1, 2, 3, 7, 1 << 20]) assert.deepStrictEqual<unknown>(read(text, size), expected)
    assert.deepStrictEqual(read(" \n[ ]\n"), [])
  })

  it("have a problem of their own, which costs no other", () => {
    assert.deepStrictEqual<unknown>(read('[1, tru,\n{"a" 1}, 2]'), [
      [1, 1, 1],
      [2, 1, read("tru")[0]![2]],
      [3, 2, "not JSON: Expected ':' after property name"],
      [4, 2, 2]
    ])
    assert.match(String(read("tru")[0]![2]), /^not JSON: /)
    assert.deepStrictEqual(
      read(Buffer.concat([Buffer.from('["'), Buffer.from([0xff]), Buffer.from('",1]')])).map(
        ([, , value]) => value
      ),
      ["not UTF-8", 1]
    )
    for (const size of [1, 5, 1000]) {
      assert.deepStrictEqual(
        read(`["${"x".repeat(50)}", 1, ${"2".repeat(50)}]`, size, 20).map(([, , value]) => value),
        ["longer than 20 bytes", 1, "longer than 20 bytes"]
      )
    }
  })

  it("that cannot be told apart end the input, with the line and what was expected", () => {
    const last = (text: string) => read(text, 3).at(-1)
    assert.deepStrictEqual(last("[1\n2]"), [
      0,
      2,
      "not JSON: unexpected '2'; expected , or ] behind an element"
    ])
    assert.deepStrictEqual(last("[1,]"), [0, 1, "not JSON: unexpected ']'"])
    assert.deepStrictEqual(last("1 ]"), [0, 1, "not JSON: unexpected ']'"])
    assert.deepStrictEqual(last("[1,\n2"), [0, 2, "not JSON: the array has no ]"])
    assert.deepStrictEqual(last('{"a":\n'), [0, 2, "not JSON: the value that begins in line 1 has no end"])
    assert.deepStrictEqual(last("[1}"), [0, 1, "not JSON: unexpected '}'; expected , or ] behind an element"])
  })
})
