import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Either, FastCheck, Stream } from "effect"
import * as Columns from "../../../src/services/record/Columns.js"
import * as MapRecords from "../../../src/services/record/MapRecords.js"
import * as ReadRecords from "../../../src/services/record/ReadRecords.js"
import * as RecordWriter from "../../../src/services/record/RecordWriter.js"
import * as Splitter from "../../../src/services/record/Splitter.js"

const written = (columns: Columns.Columns, values: ReadonlyArray<unknown>): string => {
  const rows = columns.rows(values.map(columns.cells))
  return [columns.header() ?? "", ...rows.map((row) => `${row}\n`)].join("")
}
const read = (text: string, format: Columns.Format) => {
  const splitter = Splitter.make({ format })
  const found = [...splitter.push(Buffer.from(text)), ...splitter.end()]
  return found.map(({ problem, value }) => problem ?? value)
}
const failing = (run: () => unknown): string => {
  try {
    run()
    return "it did not fail"
  } catch (error) {
    return (error as Error).message
  }
}

describe("Columns", () => {
  const hostile = FastCheck.oneof(
    FastCheck.fullUnicodeString({ maxLength: 6 }),
    FastCheck.stringOf(FastCheck.constantFrom(..."\"\t\n\r\\,'tnr ;\ufeffa"), { maxLength: 8 })
  )
  const table = FastCheck.uniqueArray(hostile, { minLength: 1, maxLength: 4 }).chain((names) =>
    FastCheck.record({
      names: FastCheck.constant(names),
      rows: FastCheck.array(FastCheck.array(hostile, { minLength: names.length, maxLength: names.length }))
    })
  )
  const unfit = (names: ReadonlyArray<string>) => /^\ufeff/.test(names[0]!) || names.join("") === ""

  it.each(["csv", "tsv"] as const)("what it writes as %s reads back as the same strings", (format) => {
    FastCheck.assert(
      FastCheck.property(table, ({ names, rows }) => {
        FastCheck.pre(format === "csv" || !unfit(names))
        const values = rows.map((row) =>
          Object.fromEntries(names.map((name, i) => [`${name}`, row[i]!] as const))
        )
        // Fields in any order, under the columns that are given.
        const turned = values.map((value) => Object.fromEntries(Object.entries(value).reverse()))
        const text = written(Columns.make(format, { fields: names }), turned)
        expect(read(text, format)).toEqual(rows.length === 0 ? [] : values)
        if (format === "tsv") expect(text.split("\n").length).toBe(rows.length === 0 ? 2 : rows.length + 2)
      }),
      { numRuns: 500 }
    )
  })

  it("writes all digits, JSON within a field, nothing for null, and leaves out what JSON leaves out", () => {
    const value = {
      big: 12345678901234567890n,
      zero: -0,
      yes: true,
      none: null,
      left: undefined,
      call: () => 1,
      list: [1, 9007199254740993n],
      object: { a: 'x"y' },
      at: new Date(0),
      text: new String("boxed")
    }
    expect(written(Columns.make("csv"), [value])).toBe(
      `big,zero,yes,none,list,object,at,text\n12345678901234567890,-0,true,,"[1,9007199254740993]","{""a"":""x\\""y""}",1970-01-01T00:00:00.000Z,boxed\n`
    )
    expect(written(Columns.make("tsv", { header: false }), [{ a: "x\ty", b: "1\n2\r", c: "\\t" }])).toBe(
      "x\\ty\t1\\n2\\r\t\\\\t\n"
    )
  })

  it("takes the columns of the first row, leaves a missing field empty, and refuses one that is no column", () => {
    const columns = Columns.make("csv")
    expect(columns.header()).toBeUndefined()
    expect(written(columns, [{ a: 1, b: 2 }, { b: 3 }, { b: 4, a: 5 }, {}])).toBe("a,b\n1,2\n,3\n5,4\n,\n")
    expect(columns.header()).toBeUndefined()
    expect(failing(() => written(columns, [{ a: 1, c: 2 }]))).toBe(
      "its field 'c' is not one of the columns a, b"
    )
    const fresh = Columns.make("csv")
    expect(failing(() => written(fresh, [{ a: 1 }, { b: 1 }]))).toMatch(/^its field 'b'/)
    expect(written(fresh, [{ c: 1 }])).toBe("c\n1\n") // the record that failed has left no columns
  })

  it.each<[value: unknown, format: Columns.Format, message: string]>([
    [[1], "csv", "an array is not a row of CSV; return an object"],
    ["text", "tsv", "a string is not a row of TSV; return an object"],
    [null, "csv", "null is not a row of CSV; return an object"],
    [{}, "csv", "it has no fields, so there are no columns"],
    [{ a: Number.NaN }, "csv", "NaN cannot be represented in JSON (at a)"],
    [{ a: { b: [undefined] } }, "csv", "undefined cannot be represented in JSON (at a.b[0])"],
    [{ a: "\ud800" }, "csv", "a lone surrogate cannot be written as UTF-8 (at a)"],
    [{ "\ud800": 1 }, "csv", "the name of a field has a lone surrogate, which cannot be written as UTF-8"],
    [{ "": 1 }, "tsv", "the only column of a TSV needs a name"],
    [{ "\ufeffa": 1 }, "tsv", "a TSV cannot begin with a byte order mark in a name"]
  ])("refuses %j as %s", (value, format, message) => {
    expect(failing(() => written(Columns.make(format), [value]))).toBe(message)
  })

  it("reads names as the header of a CSV", () => {
    expect(Columns.names('id,"last, first"')).toEqual(Either.right(["id", "last, first"]))
    for (const [text, problem] of [
      ["a,b,a", "columns 1 and 3 are both named 'a'"],
      ["a,", "a name is empty"],
      ['"a', "a quote that is not closed"]
    ] as const) {
      expect(Either.merge(Columns.names(text))).toContain(`'${text}': ${problem}`)
    }
  })

  it.effect("makes rows in the order of the records, whichever is done first", () =>
    Effect.gen(function* () {
      const bytes = Stream.make(Buffer.from('{"a":1}\n{"a":2,"b":1}\n{"a":3}\n{"a":4}\n'))
      const run = (onFailure: "cancel" | "continue") => {
        const columns = Columns.make("csv")
        const seen: Array<string> = []
        return ReadRecords.records(bytes, { format: "ndjson" }).pipe(
          // The second record is done before the first.
          MapRecords.mapRecords(
            (value) => ((value as { a: number }).a === 1 ? Effect.as(Effect.yieldNow(), value) : value),
            { ...RecordWriter.formOf("ndjson", { as: columns }), concurrency: 4, onFailure }
          ),
          Stream.runForEach((outcome) =>
            Effect.sync(() => {
              if (outcome instanceof MapRecords.FailedRecord) seen.push(outcome.reason)
              else if (outcome instanceof MapRecords.MappedRecord) seen.push(...(outcome.results as []))
            })
          ),
          Effect.either,
          Effect.map((end) => [columns.header(), ...seen, Either.isLeft(end) ? end.left.message : ""])
        )
      }
      const problem = "its field 'b' is not one of the columns a"
      expect(yield* run("continue")).toEqual(["a\n", "1", problem, "3", "4", ""])
      expect(yield* run("cancel")).toEqual(["a\n", "1", `line 2: ${problem}`])
    })
  )

  it.effect("reads back a TSV that other tools write", () =>
    Effect.gen(function* () {
      const text = 'a\tb\n"q"\tx\\ty\nb\\\\s\\q\tz\\\n'
      const records = yield* Stream.runCollect(
        ReadRecords.records(Stream.make(Buffer.from(text)), { format: "tsv" })
      )
      expect(Chunk.toReadonlyArray(records).map(({ value }) => value)).toEqual([
        { a: '"q"', b: "x\ty" },
        { a: "b\\s\\q", b: "z\\" }
      ])
      expect(read("a\nx\n\ny\n", "tsv")).toEqual([{ a: "x" }, { a: "" }, { a: "y" }])
      expect(read("a\nx\n\ny\n", "csv")).toEqual([{ a: "x" }, { a: "y" }])
    })
  )
})
