import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import type * as Records from "../../../src/services/record/Records.js"
import * as Splitter from "../../../src/services/record/Splitter.js"

/** The records of these bytes, given in pieces of this size. */
const all = (bytes: string | Uint8Array, options: Splitter.Options, piece = 1 << 20) => {
  const records = Splitter.make(options)
  const given = Buffer.from(bytes as string)
  const found: Array<Records.Record> = []
  for (let at = 0; at < given.length; at += piece) {
    found.push(...records.push(Buffer.from(given.subarray(at, at + piece))))
  }
  found.push(...records.end())
  return found
}
const told = (records: ReadonlyArray<Records.Record>) =>
  records.map(({ line, problem, value }) => (problem === undefined ? [line, value] : [line, `! ${problem}`]))

describe("Splitter", () => {
  it("splits lines, lines of JSON, and texts that end with NUL, with their line numbers", () => {
    expect(told(all("a\r\n\nb", { format: "lines" }))).toEqual([
      [1, "a"],
      [2, ""],
      [3, "b"]
    ])
    expect(told(all("a\nb\0\0c\0", { format: "null" }))).toEqual([
      [1, "a\nb"],
      [2, ""],
      [3, "c"]
    ])
    expect(
      told(all('\ufeff{"a":1}\n\n  \r\n[2]\r\n12345678901234567890\nx\n"é"', { format: "ndjson" }))
    ).toEqual([
      [1, { a: 1 }],
      [4, [2]],
      [5, 12345678901234567890n],
      [6, "! not JSON: Unexpected token 'x'"],
      [7, "é"]
    ])
  })

  it("reports which record is wrong, and why, and continues", () => {
    const bad = Buffer.concat([Buffer.from("1\n"), Buffer.from([0xff, 10]), Buffer.from("3\n")])
    for (const format of ["lines", "ndjson"] as const) {
      for (const piece of [1, 100]) expect(told(all(bad, { format }, piece))[1]).toEqual([2, "! not UTF-8"])
    }
    for (const piece of [1, 3, 100]) {
      expect(
        told(all(`1\n${"2".repeat(50)}\n3\n${"4".repeat(11)}`, { format: "lines", maxLine: 10 }, piece))
      ).toEqual([
        [1, "1"],
        [2, "! longer than 10 bytes"],
        [3, "3"],
        [4, "! longer than 10 bytes"]
      ])
    }
  })

  it("keeps at most maxLine bytes of a record that is too long", () => {
    const records = Splitter.make({ format: "ndjson" })
    const piece = Buffer.alloc(64 * 1024, "x")
    const found: Array<Records.Record> = []
    for (let i = 0; i < 3200; i++) found.push(...records.push(piece))
    found.push(...records.push(Buffer.from("\n1\n")), ...records.end())
    expect(told(found)).toEqual([
      [1, "! longer than 16 MiB"],
      [2, 1]
    ])
    expect(found[1]!.position).toBe(3200 * 64 * 1024 + 3)
  })

  const record = FastCheck.oneof(
    FastCheck.fullUnicodeString({ maxLength: 12 }),
    FastCheck.constantFrom("", "plain", "é", "12345678901234567890")
  ).map((text) => JSON.stringify(text))
  it("makes the same records however the bytes are cut, with every byte of them", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(record),
        FastCheck.integer({ min: 1, max: 40 }),
        FastCheck.boolean(),
        FastCheck.constantFrom("ndjson" as const, "lines" as const),
        (texts, piece, ended, format) => {
          const input = texts.join("\n") + (ended && texts.length > 0 ? "\n" : "")
          const found = all(input, { format }, piece)
          expect(found.map(({ value }) => value)).toEqual(
            format === "lines" ? texts : texts.map((text) => JSON.parse(text))
          )
          expect(Buffer.concat(found.map(({ bytes }) => bytes)).toString()).toBe(input)
          expect(found.map(({ text }) => text)).toEqual(texts)
          expect(found.map(({ line }) => line)).toEqual(texts.map((_, i) => i + 1))
          // Another reader continues at the end of a record.
          for (const { index, line, position } of found) {
            const rest = all(
              Buffer.from(input).subarray(position),
              { format, from: { index, line, position } },
              piece
            )
            expect(told(rest)).toEqual(told(found.slice(index)))
          }
        }
      )
    )
  })

  it("takes rows of a CSV as objects by column", () => {
    const csv = 'a,b\n1,"x\ny"\n2,z\n3\n"4","w"\n'
    const rows = [
      [2, { a: "1", b: "x\ny" }],
      [4, { a: "2", b: "z" }],
      [5, "! not CSV: another number of fields than columns"],
      [6, { a: "4", b: "w" }]
    ]
    for (const piece of [1, 3, 100]) expect(told(all(csv, { format: "csv" }, piece))).toEqual(rows)
    const from = { index: 2, line: 0, position: 0 }
    expect(told(all(csv, { format: "csv", from }))).toEqual(rows.slice(2))
    expect(told(all('a,b\n1,"x\n', { format: "csv" }))).toEqual([
      [2, "! not CSV: a quote that is not closed"]
    ])
    expect(told(all(Buffer.from("a\n\xff\nb\n", "latin1"), { format: "csv" }))).toEqual([
      [2, "! not UTF-8"],
      [3, { a: "b" }]
    ])
    expect(told(all(`a\n${"x".repeat(20)}\nb\n`, { format: "csv", maxLine: 10 }))).toEqual([
      [2, "! longer than 10 bytes"],
      [3, { a: "b" }]
    ])
    const endless = all(`a\n"${"x".repeat(100)}\nb\n`, { format: "csv", maxLine: 10 }, 5)
    expect(told(endless)).toEqual([[2, "! longer than 10 bytes; a quote in it is not closed so far"]])
  })
})
