import { describe, expect, it } from "@effect/vitest"
import * as MapRecords from "../../../src/services/record/MapRecords.js"
import * as RecordWriter from "../../../src/services/record/RecordWriter.js"
import * as Splitter from "../../../src/services/record/Splitter.js"

const records = (text: string) => {
  const splitter = Splitter.make({ format: "ndjson" })
  return [...splitter.push(new TextEncoder().encode(text)), ...splitter.end()]
}
const text = (pieces: ReadonlyArray<RecordWriter.Piece>) =>
  pieces.map((piece) => (typeof piece === "string" ? piece : new TextDecoder().decode(piece))).join("")

describe("RecordWriter", () => {
  it("writes records side by side in one piece, and ends a record only when another follows", () => {
    const [a, b, c] = records("1\r\n 2\n3") as [any, any, any]
    const write = RecordWriter.make("\n")
    expect(write([a, b])).toHaveLength(1)
    expect(text(write([a, b, c]))).toBe("1\r\n 2\n3")
    expect(text(write([a]))).toBe("\n1\r\n")
    expect(text(write([new MapRecords.MappedRecord([b], ["x", b])]))).toBe("x\n 2\n")
  })

  it("writes each result as an event, with all digits of its value", () => {
    const [a, b] = records("12345678901234567890\n2\n") as [any, any]
    expect(
      text(
        RecordWriter.events([
          a,
          new MapRecords.MappedRecord([b], ["4", "5"]),
          new MapRecords.MappedRecord([b], [`"${"x".repeat(1 << 20)}"`])
        ])
      ).split("\n")
    ).toEqual([
      '{"schema":2,"event":"result","index":1,"line":1,"value":12345678901234567890}',
      '{"schema":2,"event":"result","index":2,"line":2,"value":4}',
      '{"schema":2,"event":"result","index":2,"line":2,"value":5}',
      `{"schema":2,"event":"result","index":2,"line":2,"value":"${"x".repeat(1 << 20)}"}`,
      ""
    ])
  })

  it("ends a record that came without an end", () => {
    const [a, b] = records("1\n2") as [any, any]
    expect(text([RecordWriter.ended(a, "ndjson"), RecordWriter.ended(b, "ndjson")])).toBe("1\n2\n")
  })

  it.each([
    ["lines", {}, { output: "lines", untouched: true, end: "\n" }],
    ["ndjson", {}, { output: "ndjson", untouched: true, end: "\n" }],
    ["csv", {}, { output: "ndjson", untouched: false, end: "\n" }],
    ["null", {}, { output: "lines", untouched: true, end: "\0" }],
    ["null", { as: "lines" }, { output: "lines", untouched: false, end: "\n" }],
    ["lines", { as: "ndjson" }, { output: "ndjson", untouched: false, end: "\n" }],
    ["ndjson", { as: "lines" }, { output: "lines", untouched: false, end: "\n" }],
    ["lines", { events: true }, { output: "ndjson", untouched: false, end: "\n" }],
    ["ndjson", { events: true }, { output: "ndjson", untouched: true, end: "\n" }]
  ] as const)("writes records of %s, asked for %j, in that form", (format, asked, form) => {
    expect(RecordWriter.formOf(format, asked)).toEqual(form)
  })
})
