import { spawnSync } from "node:child_process"
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Chunk, Effect, Exit, FastCheck, Stream } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as LosslessJson from "../../src/services/record/LosslessJson.js"
import * as MapRecords from "../../src/services/record/MapRecords.js"
import * as ReadRecords from "../../src/services/record/ReadRecords.js"
import * as Records from "../../src/services/record/Records.js"
import * as Splitter from "../../src/services/record/Splitter.js"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"
import { mapping, splitting } from "../support/RecordModel.js"

// One bad record costs itself. The tables hold what public reports of peers and attacks came with: what was a fault and
// what has held.

afterAll(Aio.removeFolders)

const root = fileURLToPath(new URL("../..", import.meta.url))
let cwd: string

beforeAll(() => {
  cwd = Aio.folder()
  symlinkSync(join(root, "node_modules"), join(cwd, "node_modules"))
  writeFileSync(
    join(cwd, "f.mjs"),
    `import * as Effect from "effect/Effect"
export default (r) => r
export const wrap = (r) => ({ r })
export const later = async (r, _) => ({ r })
export const bad = (r) => { throw new Error("no " + (r.a ?? r)) }
export const huge = () => { throw new Error("x".repeat(1e6)) }
const hostile = new Proxy({}, { get() { throw 1 }, has() { throw 1 }, ownKeys() { throw 1 } })
const circle = {}
circle.self = circle
const answers = [
  () => { throw hostile }, () => hostile, () => circle, () => ({ get a() { throw 1 } }), () => ({ toJSON() { throw 1 } }),
  () => Effect.interrupt, () => Effect.die(hostile), async () => { throw hostile }, () => [undefined], () => ({ n: NaN }),
  () => Symbol(), () => () => 1, () => { throw Object.assign(new Error("zero"), { exitCode: 0 }) }
]
export const nth = (n) => (answers[n] ?? ((x) => ({ x })))(n)
`
  )
})

const aio = (words: ReadonlyArray<string>, stdin: string, options: Aio.SpawnOptions = {}) =>
  InProcess.run(["loop", "-q", ...words], { cwd, stdin, ...options })

const split = (bytes: Buffer, options: Splitter.Options, cuts: ReadonlyArray<number> = []) => {
  const records = Splitter.make(options)
  const places = [0, ...cuts, bytes.length]
  const found = cuts.flatMap((cut, i) => records.push(Buffer.from(bytes.subarray(places[i], cut))))
  found.push(...records.push(Buffer.from(bytes.subarray(places.at(-2)))), ...records.end())
  return found
}

/** `line: values` for a row, `line! why` for a record that is not a row. */
const told = (record: Records.Record): string =>
  record.problem === undefined
    ? `${record.line}: ${JSON.stringify(record.value)}`
    : `${record.line}! ${record.problem.replace("not CSV: ", "")}`

describe("rows of a CSV", () => {
  const behind = "text after a closing quote"
  const uneven = "another number of fields than columns"
  const open = "a quote that is not closed"
  const cases: ReadonlyArray<readonly [string, string | Buffer, ReadonlyArray<string>]> = [
    ["plain", "a,b\n1,2\n3,4\n", ['2: {"a":"1","b":"2"}', '3: {"a":"3","b":"4"}']],
    ["no line end at the end", "a,b\n1,2", ['2: {"a":"1","b":"2"}']],
    ["a comma in quotes", 'a,b\n"1,2",3\n', ['2: {"a":"1,2","b":"3"}']],
    ["doubled quotes", 'a,b\n1,"ha ""ha"" ha"\n', ['2: {"a":"1","b":"ha \\"ha\\" ha"}']],
    ["doubled quotes alone", 'a\n""""\n""""""\n', ['2: {"a":"\\""}', '3: {"a":"\\"\\""}']],
    [
      "empty fields",
      'a,b,c\n1,"",""\n2,,\n,,\n',
      ['2: {"a":"1","b":"","c":""}', '3: {"a":"2","b":"","c":""}', '4: {"a":"","b":"","c":""}']
    ],
    ["CRLF", "a,b\r\n1,2\r\n", ['2: {"a":"1","b":"2"}']],
    [
      "CRLF behind quotes",
      '"a","b"\r\n"1","2"\r\n"3",""\r\n',
      ['2: {"a":"1","b":"2"}', '3: {"a":"3","b":""}']
    ],
    ["LF, then CRLF", 'a,b\n1,2\r\n"3","4"\r\n', ['2: {"a":"1","b":"2"}', '3: {"a":"3","b":"4"}']],
    ["CRLF, then LF", "a,b\r\n1,2\n3,4\r\n", ['2: {"a":"1","b":"2"}', '3: {"a":"3","b":"4"}']],
    [
      "line ends in quotes",
      'a,b\n"1\n2","3\r\n4\r5"\n6,7\n',
      ['2: {"a":"1\\n2","b":"3\\r\\n4\\r5"}', '5: {"a":"6","b":"7"}']
    ],
    ["line ends in the header's quotes", '"a\nb",c\r\n1,2\r\n', ['3: {"a\\nb":"1","c":"2"}']],
    ["lone CR", 'a,b\r1,"2\r3"\r4,5', ['2: {"a":"1","b":"2\\r3"}', '4: {"a":"4","b":"5"}']],
    ["lone CR, then CRLF", "a\r1\r\n2\r\n", ['2: {"a":"1"}', '3: {"a":"2"}']],
    ["a CR in a field", "a,b\n1,2\r3\n", ['2: {"a":"1","b":"2\\r3"}']],
    ["a byte order mark", '\ufeff"a",b\n1,2\n', ['2: {"a":"1","b":"2"}']],
    ["a byte order mark further on", "a\n\ufeff1\n", ['2: {"a":"\ufeff1"}']],
    ["empty lines", "\n\na,b\n\n1,2\n\r\n\n3,4\n\n", ['5: {"a":"1","b":"2"}', '8: {"a":"3","b":"4"}']],
    ["an empty value that is quoted", 'a\n""\n', ['2: {"a":""}']],
    [
      "blanks are the value's",
      "a,b\n 1 ,\t2\n  ,  \n",
      ['2: {"a":" 1 ","b":"\\t2"}', '3: {"a":"  ","b":"  "}']
    ],
    [
      "a quote within a field",
      'a,b\n5" disk,x"y"\n3,4\n',
      ['2: {"a":"5\\" disk","b":"x\\"y\\""}', '3: {"a":"3","b":"4"}']
    ],
    ["a blank before a quote", 'a,b\n1, "2"\n', ['2: {"a":"1","b":" \\"2\\""}']],
    [
      "JSON in a field",
      'a,b\n1,"{""type"": ""Point"", ""at"": [1,2]}"\n',
      ['2: {"a":"1","b":"{\\"type\\": \\"Point\\", \\"at\\": [1,2]}"}']
    ],
    ["UTF-8", "é,😀\n“,ʤ\n", ['2: {"é":"“","😀":"ʤ"}']],
    [
      "columns named as an object's own",
      "__proto__,constructor,toString\n1,2,3\n",
      ['2: {"__proto__":"1","constructor":"2","toString":"3"}']
    ],
    ["a column without a name", "a,\n1,2\n", ['2: {"a":"1","":"2"}']],
    ["uneven rows", "a,b\n1\n1,2,3\n1,2\n", [`2! ${uneven}`, `3! ${uneven}`, '4: {"a":"1","b":"2"}']],
    [
      "text behind a quote",
      'a,b\n"1" ,2\n3,4\n5,6\n',
      [`2! ${behind}`, '3: {"a":"3","b":"4"}', '4: {"a":"5","b":"6"}']
    ],
    [
      "text behind a quote, a line end in the next",
      'a,b\n"1"x,"2\n3"\n3,4\n',
      [`2! ${behind}`, '4: {"a":"3","b":"4"}']
    ],
    [
      "quotes that are not doubled",
      'a,b\n"say "hi", now",2\n3,4\n',
      [`2! ${behind}`, '3: {"a":"3","b":"4"}']
    ],
    [
      "text behind a quote, too many fields",
      'a,b\n"1"x,2,3\n3,4\n',
      [`2! ${behind}`, '3: {"a":"3","b":"4"}']
    ],
    ["a CR behind a quote", 'a,b\n"1"\r,2\n3,4\n', [`2! ${behind}`, '3: {"a":"3","b":"4"}']],
    ["a quote that is not closed", 'a,b\n1,2\n3,"4\n5,6\n', ['2: {"a":"1","b":"2"}', `3! ${open}`]],
    ["a closed and an open quote", 'a,b\n"1"x,"2\n5,6\n', [`2! ${open}`]],
    [
      "no UTF-8",
      Buffer.from('a,b\n1,\xff\n"2","\xff"x\n3,4\n', "latin1"),
      ["2! not UTF-8", "3! not UTF-8", '4: {"a":"3","b":"4"}']
    ],
    ["NUL", "a,b\n\0,2\n", ['2: {"a":"\\u0000","b":"2"}']],
    ["nothing", "", []],
    ["a header alone", "a,b\n", []],
    [
      "two columns of one name",
      "id,name,name\n1,Ann,Lee\n",
      ["1! columns 2 and 3 are both named 'name'; give each a name of its own"]
    ],
    [
      "two columns of one name, quoted",
      '\ufeff"a",b,"a"\n1,2,3\n',
      ["1! columns 1 and 3 are both named 'a'; give each a name of its own"]
    ],
    [
      "two columns named __proto__",
      "__proto__,__proto__\n1,2\n",
      ["1! columns 1 and 2 are both named '__proto__'; give each a name of its own"]
    ],
    [
      "two columns without a name",
      "a,,\n1,2,3\n",
      ["1! columns 2 and 3 have no name; give each a name of its own"]
    ],
    ["a header with text behind a quote", '"a" ,b\n1,2\n', [`1! ${behind}`]],
    ["a header that is not closed", 'a,"b\n1,2\n', [`1! ${open}`]],
    ["a header that is not UTF-8", Buffer.from("a,\xff\n1,2\n", "latin1"), ["1! not UTF-8"]]
  ]

  it("are found however they are written, and a bad one fails alone, cut at any byte", () => {
    for (const [name, text, rows] of cases) {
      const bytes = Buffer.from(text as string)
      const options = { format: "csv" } as const
      expect(split(bytes, options).map(told), name).toEqual(rows)
      for (let cut = 0; cut <= bytes.length; cut++) {
        expect(split(bytes, options, [cut]).map(told), `${name}, cut at ${cut}`).toEqual(rows)
      }
      const each = Array.from(bytes.keys())
      expect(split(bytes, options, each).map(told), `${name}, byte by byte`).toEqual(rows)
    }
  })

  it("that are too long fail alone, and the message mentions an open quote", () => {
    const options = { format: "csv", maxLine: 8 } as const
    const tables: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
      [
        "a,b\n123456,8\n1234567,9\n1,2\n",
        ['2: {"a":"123456","b":"8"}', "3! longer than 8 bytes", '4: {"a":"1","b":"2"}']
      ],
      [
        "a,b\r\n123456,8\r\n1234567,9\r\n1,2\r\n",
        ['2: {"a":"123456","b":"8"}', "3! longer than 8 bytes", '4: {"a":"1","b":"2"}']
      ],
      [
        `a,b\n"${"x\n".repeat(20)}",2\n3,4\n`,
        ["2! longer than 8 bytes; a quote in it is not closed so far", '23: {"a":"3","b":"4"}']
      ],
      ['a,b\n1,"2\n3,4\n5,6\n', ["2! longer than 8 bytes; a quote in it is not closed so far"]],
      ["\ufeffabcde,gh\n1,2\n", ['2: {"abcde":"1","gh":"2"}']],
      ["12345,789\n1,2\n", ["1! longer than 8 bytes"]]
    ]
    for (const [text, rows] of tables) {
      for (let cut = 0; cut <= text.length; cut++) {
        expect(split(Buffer.from(text), options, [cut]).map(told), `${text} cut at ${cut}`).toEqual(rows)
      }
    }
  })

  it("resume after the last done row, and a place in the middle of a too long row is before it", () => {
    const bytes = Buffer.from("1\n22222222\n3\n4444444444")
    for (let cut = 0; cut <= bytes.length; cut++) {
      const options = { format: "lines", maxLine: 3 } as const
      const found = split(bytes, options, [cut])
      for (const { index, place } of found) {
        const rest = split(bytes.subarray(place.position), { ...options, from: place })
        expect(rest.map(told)).toEqual(found.map(told).slice(place.index))
        expect(place.index).toBeGreaterThanOrEqual(index - 1)
      }
    }
  })

  it("refuse the input when the header cannot be used, whatever the policy", async () => {
    const policies: ReadonlyArray<ReadonlyArray<string>> = [
      [],
      ["--on-failure", "continue"],
      ["--dead-letter", "header.dead"],
      ["--skip", "1"]
    ]
    await Promise.all(
      policies.map(async (words) => {
        const { code, stderr, stdout } = await aio(
          [...words, "--format", "csv", "f.mjs"],
          "id,name,name\n1,Ann,Lee\n"
        )
        expect([code, stdout, stderr]).toEqual([
          2,
          "",
          "aio loop: line 1 of standard input is not CSV: columns 2 and 3 are both named 'name'; give each a name of its own\n"
        ])
      })
    )
  })

  it("give their fields to a command in the order of the columns, whatever these are called", async () => {
    const { stdout } = await aio(["--format", "csv", "--", "echo", "{1}", "{2}"], "2020,1999\na,b\n")
    expect(stdout).toBe("a b\n")
  })
})

const levels = (n: number) => "[".repeat(n) + "]".repeat(n)

describe("records of JSON", () => {
  // As text, and how a function that puts it into a new value has it written; undefined: as it is.
  const texts: ReadonlyArray<readonly [string, string?]> = [
    ["0"],
    ["-0"],
    ["1.0", "1"],
    ["1e2", "100"],
    ["-1.50", "-1.5"],
    ["1E-400", "0"],
    ["0.1"],
    ["9007199254740993"],
    ["-9007199254740993"],
    ["12345678901234567890"],
    ["1".repeat(5000)],
    ["7".repeat(300_000)],
    ['{"id":12345678901234567890,"in":[-0,{"x":98765432109876543210}]}'],
    ['{"a":1,"a":2}', '{"a":2}'],
    ['{"b":1,"a":2}'],
    ['{"2":1,"1":2}', '{"1":2,"2":1}'],
    ['{"__proto__":{"polluted":1}}'],
    ['{"constructor":{"prototype":{"polluted":1}}}'],
    ['{"toString":1,"then":2,"toJSON":3,"next":4,"length":5}'],
    ['"\\ud83d\\ude00"', '"😀"'],
    ['"\\ud800"'],
    ['"\\u2028\\u0000\\/"', '"\u2028\\u0000/"'],
    ['"é\u2028"'],
    ["null"],
    ["true"],
    ["[]"],
    ["{}"],
    ['""'],
    ['{"":""}'],
    ['[null,"12345678901234567890"]'],
    [levels(6000)],
    [`${'{"a":'.repeat(6000)}12345678901234567890${"}".repeat(6000)}`],
    [levels(100_000)]
  ]
  const none = [
    "{a:1}",
    "[1,]",
    "01",
    "+1",
    "NaN",
    "Infinity",
    "'a'",
    '{"a":1}}',
    '"\t"',
    '"\\x"',
    "1 2",
    "[",
    '"',
    "undefined",
    levels(6000).slice(1),
    "\u00a0"
  ]

  const outcomes = (text: string, f: (value: unknown) => unknown, options: MapRecords.MapRecordsOptions) =>
    Effect.runPromise(
      Stream.runCollect(
        MapRecords.mapRecords(ReadRecords.records(Stream.make(Buffer.from(text)), { format: "ndjson" }), f, {
          onFailure: "continue",
          ...options
        })
      )
    ).then(Chunk.toReadonlyArray)

  it("pass unchanged, and are written with all their content, of any kind and depth", async () => {
    const wrap = (r: unknown) => ({ r })
    const input = texts.map(([text]) => `${text}\n`).join("")
    for (const same of [
      (r: unknown) => r,
      (r: unknown) => {
        return r
      },
      async (r: unknown) => r
    ]) {
      const found = await outcomes(input, same, {})
      const bytes = found.map((outcome) => {
        const record = outcome instanceof MapRecords.MappedRecord ? outcome.results[0] : outcome
        return record instanceof Records.Record ? record.bytes.toString() : String(record)
      })
      expect(bytes.join("") === input).toBe(true)
    }
    for (const f of [
      wrap,
      async (r: unknown) => ({ r }),
      function* (r: unknown) {
        yield { r }
      }
    ]) {
      const found = await outcomes(input, f, { concurrency: 3 })
      for (const [i, [text, written = text]] of texts.entries()) {
        const [result] = (found[i] as MapRecords.MappedRecord).results
        expect(result === `{"r":${written}}`, text.slice(0, 40)).toBe(true)
      }
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  }, 120_000)

  it("that are invalid, or whose result cannot be written, fail alone, with their line", async () => {
    const bad = [...none, "1e400", "[-1e999]"]
    const input = bad.map((text, i) => `${i}\n\n${text}\n`).join("")
    const found = await outcomes(input, (r) => ({ r }), {})
    expect(
      found.map((outcome) => (outcome instanceof MapRecords.FailedRecord ? outcome.records[0]!.line : 0))
    ).toEqual(bad.flatMap((_, i) => [0, 3 * i + 3]))
    expect((found.at(-1) as MapRecords.FailedRecord).reason).toBe(
      "-Infinity cannot be represented in JSON (at r[0])"
    )
    expect((await outcomes("1e400\n", (r) => r, {}))[0]).toBeInstanceOf(Records.Record)
  })

  it("that nest more than a million levels deep are not written", () => {
    let value: unknown = 1
    for (let level = 0; level <= 1_000_000; level++) value = [value]
    expect(() => LosslessJson.encode(value)).toThrow(
      "what is nested more than 1000000 levels deep cannot be represented in JSON"
    )
  })
})

describe("aio loop, one bad record", () => {
  it("fails alone at any depth: later records are mapped, as results and as events", async () => {
    const text = `{"n":1}\n${levels(6000)}\n[3]\n`
    const plain = await aio(["--format", "ndjson", "--on-failure", "continue", "f.mjs#wrap"], text)
    expect([plain.code, plain.stdout === text.replace(/.+/g, '{"r":$&}'), plain.stderr]).toEqual([
      0,
      true,
      ""
    ])
    const events = await aio(["--format", "ndjson", "--json", "f.mjs#later"], text)
    expect(events.code).toBe(0)
    expect(events.stdout.split("\n").map((line) => line.slice(0, 52))).toEqual([
      '{"schema":2,"event":"result","index":1,"line":1,"val',
      '{"schema":2,"event":"result","index":2,"line":2,"val',
      '{"schema":2,"event":"result","index":3,"line":3,"val',
      '{"schema":2,"event":"summary","succeeded":3,"failed"',
      ""
    ])
    const dead = await aio(
      ["--format", "ndjson", "--checkpoint", "ck", "--dead-letter", "deep.dead", "f.mjs#bad"],
      `${text}[`
    )
    expect([dead.code, dead.stdout]).toEqual([1, ""])
    expect(readFileSync(join(cwd, "deep.dead"), "utf8") === `${text}[\n`).toBe(true)
    expect(JSON.parse(readFileSync(join(cwd, "ck"), "utf8")).position.index).toBe(4)
  })

  it("costs itself whatever its function throws or returns", async () => {
    const numbers = Array.from({ length: 14 }, (_, i) => `${i}\n`).join("")
    for (const words of [["--json"], ["-j", "3", "--retries", "0", "--timeout", "1h", "--json"]]) {
      const { code, stderr, stdout } = await aio(
        [...words, "--format", "ndjson", "--on-failure", "continue", "f.mjs#nth"],
        numbers
      )
      const events = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
      expect([code, stderr]).toEqual([1, ""])
      expect(events.slice(0, -1).map(({ event, line, reason }) => [line, reason ?? event])).toEqual([
        [1, "an error that cannot be printed: reading it throws 1"],
        [2, expect.any(String)],
        [3, "an object that contains itself cannot be represented in JSON (at self)"],
        [4, "1"],
        [5, "1"],
        [6, "it has interrupted itself"],
        [7, expect.any(String)],
        [8, "an error that cannot be printed: reading it throws 1"],
        [9, "undefined cannot be represented in JSON (at [0])"],
        [10, "NaN cannot be represented in JSON (at n)"],
        [11, "a symbol cannot be represented in JSON"],
        [12, "a function cannot be represented in JSON"],
        [13, "zero"],
        [14, "result"]
      ])
    }
    const stopped = await aio(["f.mjs#huge"], "a\n")
    expect([stopped.code, stopped.stderr.length < 1200]).toEqual([1, true])
    const zero = await aio(["--format", "ndjson", "f.mjs#nth"], "12\n")
    expect([zero.code, zero.stderr]).toEqual([1, "Failed line 1 of standard input: zero\n"])
  })

  it("is in the dead letters with its original bytes, in every format", async () => {
    const cases: ReadonlyArray<readonly [string, string, string]> = [
      ["lines", "a\r\n\nb", "a\r\n\nb\n"],
      ["null", "a\nb\0\0c", "a\nb\0\0c\0"],
      ["ndjson", ' {"a": 1.0}\r\n\n{"b":\n"é', ' {"a": 1.0}\r\n{"b":\n"é\n'],
      ["csv", 'a,b\r\n"1" ,2\r\n 3,"4\r\n5"\r\n6\r\n"7",', '"1" ,2\r\n 3,"4\r\n5"\r\n6\r\n"7",\n'],
      ["csv", 'a,b\n1,"2\n', '1,"2\n']
    ]
    await Promise.all(
      cases.map(async ([format, text, letters], i) => {
        const path = join(cwd, `dead${i}`)
        const { code } = await aio(["--format", format, "--dead-letter", path, "f.mjs#bad"], text)
        expect([code, readFileSync(path, "utf8")], text).toEqual([1, letters])
      })
    )
    const running = Aio.start(["loop", "-q", "--format", "csv", "--dead-letter", "bytes.dead", "f.mjs"], {
      cwd,
      shell: 'printf \'a\\n\\377\\n"\\376"x\\r\\nb\\n\' | "$@"'
    })
    running.end()
    expect((await running.ended).stdout).toBe('{"a":"b"}\n')
    expect(readFileSync(join(cwd, "bytes.dead"), "latin1")).toBe('\xff\n"\xfe"x\r\n')
  })

  it("ends with one line if the dead letters cannot be written", async () => {
    const path = join(cwd, "dead.fifo")
    spawnSync("mkfifo", [path])
    mkdirSync(join(cwd, "dead.d"))
    const wrong: ReadonlyArray<readonly [string, string]> = [
      [path, "it is a named pipe that nothing reads, not a regular file"],
      ["dead.d", "illegal operation on a directory"],
      ["/dev/full", "no space left on device"]
    ]
    await Promise.all(
      wrong.map(async ([file, why]) => {
        const { code, stderr } = await aio(["--dead-letter", file, "f.mjs#bad"], "a\nb\n")
        const line = `aio loop: cannot write failed records to ${file}: ${why}`
        expect([code, stderr.trim().split("\n").at(-1)]).toEqual([2, line])
        expect(stderr).not.toContain("    at ")
      })
    )
  })

  it("costs itself if it cannot be a word of a command", async () => {
    const text = `"a"\n"b\\u0000"\n"\\ud800"\n"${"c".repeat(200_000)}"\n"d"\n`
    const { code, stderr, stdout } = await aio(
      ["--format", "ndjson", "--dead-letter", "words.dead", "--", "echo", "{}"],
      text
    )
    expect([code, stdout]).toEqual([1, "a\nd\n"])
    expect(stderr).toMatch(
      /^Failed line 2 of standard input: .*\nFailed line 3 of standard input: .*\nFailed line 4 of standard input: .*\n$/
    )
    expect(stderr.length).toBeLessThan(3000)
    expect(
      readFileSync(join(cwd, "words.dead"), "utf8") ===
        text
          .split("\n")
          .slice(1, 4)
          .map((line) => `${line}\n`)
          .join("")
    ).toBe(true)
  })

  it("costs itself if it has no key; keys of objects keep their digits", async () => {
    const rows =
      '{"k":{"id":12345678901234567890}}\nnull\n{"k":{"id":12345678901234567891}}\n{"k":"__proto__"}\n'
    const keys = [
      ["record.k", [2]],
      ["k", []],
      ["record.k.id", [2]],
      ["__proto__.x", []],
      ["constructor.prototype", []]
    ] as const
    await Promise.all(
      keys.map(async ([key, failed]) => {
        const { stderr, stdout } = await aio(
          ["--format", "ndjson", "-j", "3", "--on-failure", "continue", "--key", key, "f.mjs"],
          rows
        )
        expect(stderr.match(/line \d+/g) ?? [], key).toEqual(failed.map((line) => `line ${line}`))
        expect(stdout).toBe(
          rows
            .split("\n")
            .filter((_, i) => !failed.includes((i + 1) as never))
            .join("\n")
        )
      })
    )
  })

  it("is refused before anything runs if the file has no such function", async () => {
    const words = [
      "data:text/javascript,export default 1",
      "node:fs#readFileSync",
      "http://127.0.0.1:1/x.mjs",
      "f.mjs#__proto__",
      "f.mjs#constructor",
      "f.mjs?x"
    ]
    await Promise.all(
      words.map(async (word) => {
        const { code, stderr, stdout } = await aio([word], "a\n")
        expect([code, stdout, stderr.trim().split("\n").length], word).toEqual([2, "", 1])
      })
    )
  })
})

describe("ReadRecords.encode", () => {
  it("returns a record's own bytes, or a readable error, at any depth", async () => {
    const text = `{"a":${levels(20_000)},"n":1e400}\n`
    const [record] = split(Buffer.from(text), { format: "ndjson" })
    expect(Buffer.from(ReadRecords.encode(record!, record!.value)).toString() === text).toBe(true)
    expect(() => ReadRecords.encode(record!, { n: Number.NaN })).toThrow(
      "NaN cannot be represented in JSON (at n)"
    )
    ;(record!.value as { n: number }).n = 1
    expect(
      Buffer.from(ReadRecords.encode(record!, record!.value)).toString() === text.replace("1e400", "1")
    ).toBe(true)
    expect(LosslessJson.encode([-0])).toBe("[-0]")
  })
})

describe("any records", () => {
  it("are found as by a simple reader, in whatever chunks", () =>
    FastCheck.assert(splitting, { numRuns: 500 }))
  it("are accounted for once, whatever the function does", () => FastCheck.assert(mapping, { numRuns: 100 }))

  it("end the loop when its function's caller is interrupted, and count as failures of none", async () => {
    const found: Array<MapRecords.RecordOutcome> = []
    const all = MapRecords.mapRecords(
      ReadRecords.records(Stream.make(Buffer.from("1\n2\n")), { format: "ndjson" }),
      (n) => (n === 2 ? Effect.never : n),
      { onFailure: "continue", concurrency: 2 }
    )
    const exit = await Effect.runPromiseExit(
      Stream.runForEach(all, (outcome) => Effect.sync(() => found.push(outcome))).pipe(
        Effect.timeout("100 millis")
      )
    )
    expect(Exit.isFailure(exit)).toBe(true)
    expect(found.length).toBe(1)
  })
})
