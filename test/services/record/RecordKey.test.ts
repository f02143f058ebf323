import { describe, expect, it } from "@effect/vitest"
import { Either } from "effect"
import * as RecordKey from "../../../src/services/record/RecordKey.js"

describe("RecordKey", () => {
  it("reads a path, a field of a line, and an expression of record", () => {
    const record = { user: { id: 7, tags: ["a", "b"] } }
    const key = (text: string, value: unknown) => Either.getOrThrow(RecordKey.parse(text))(value)
    expect(key("user.id", record)).toBe(7)
    expect(key("user.tags[1]", record)).toBe("b")
    expect(key("user.none.more", record)).toBeUndefined()
    expect(key("2", " a  b c ")).toBe("b")
    expect(key("record.user.id % 5", record)).toBe(2)
    expect(key("user.tags", record)).toBe('["a","b"]')
  })

  it("refuses other texts, naming what is accepted", () => {
    expect(RecordKey.parse("0")).toEqual(Either.left("'0' is not a field of a line; expected 1 or more"))
    expect(RecordKey.parse("a b")).toMatchObject({
      left: expect.stringMatching(/^'a b' is not an expression \(.*\); expected a path like user\.id/)
    })
  })
})
