import { Chunk, Effect, Exit, FastCheck, Stream } from "effect"
import * as LosslessJson from "../../src/services/record/LosslessJson.js"
import * as MapRecords from "../../src/services/record/MapRecords.js"
import * as ReadRecords from "../../src/services/record/ReadRecords.js"
import * as Records from "../../src/services/record/Records.js"
import * as Splitter from "../../src/services/record/Splitter.js"

// What `aio loop` must make of any bytes, in any chunks, by any function: a reference that reads the whole input at
// once, character by character, and shares no code with the package. fuzz/records.fuzz.ts tries it for minutes,
// test/faults/records.test.ts for a moment.

/** A record that must be found; index 0 is a header that must be refused. */
interface Expected {
  readonly index: number
  readonly line: number
  /** Its bytes, as a string of bytes, with what ends it; undefined where they need not be kept. */
  readonly bytes: string | undefined
  /** Its value as {@link canonical} text; undefined where it has a problem, which begins with `problem`. */
  readonly value: string | undefined
  readonly problem: string
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const utf8 = (bytes: string): string | undefined => {
  try {
    return strict.decode(Buffer.from(bytes, "latin1"))
  } catch {
    return undefined
  }
}

/** JSON text in one form: keys sorted, the last of two equal ones, integers as their digits; undefined if the text is not JSON. */
export const canonical = (text: string): string | undefined => {
  try {
    JSON.parse(text)
  } catch {
    return undefined
  }
  // It is JSON: what is left is to find the tokens.
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^[\]{}:,"\s]+/g)!
  const open: Array<{ readonly isArray: boolean; readonly parts: Map<string, string>; key: string }> = []
  let done = ""
  const put = (value: string) => {
    const top = open.at(-1)
    if (top === undefined) done = value
    else if (top.isArray) top.parts.set(String(top.parts.size).padStart(9, "0"), value)
    else if (top.key === "") top.key = value
    else {
      top.parts.set(top.key, value)
      top.key = ""
    }
  }
  for (const token of tokens) {
    if (token === "[" || token === "{") open.push({ isArray: token === "[", parts: new Map(), key: "" })
    else if (token === "]" || token === "}") {
      const { isArray, parts } = open.pop()!
      const sorted = [...parts].sort(([a], [b]) => (a < b ? -1 : 1))
      put(
        isArray
          ? `[${sorted.map(([, value]) => value)}]`
          : `{${sorted.map(([key, value]) => `${key}:${value}`)}}`
      )
    } else if (token.startsWith('"')) put(JSON.stringify(JSON.parse(token)))
    else if (/^-?\d+$/.test(token)) put(token === "-0" ? "-0" : String(BigInt(token)))
    else if (/^[-\d]/.test(token)) put(Object.is(Number(token), -0) ? "-0" : String(Number(token)))
    else if (token !== "," && token !== ":") put(token)
  }
  return done
}

const wrong = (index: number, line: number, problem: string, bytes: string | undefined): Expected => ({
  index,
  line,
  bytes,
  value: undefined,
  problem
})

const segments = (input: string, format: Records.Format, maxLine: number): ReadonlyArray<Expected> => {
  const delimiter = format === "null" ? "\0" : "\n"
  const parts = input.split(delimiter)
  const found: Array<Expected> = []
  for (const [i, part] of parts.entries()) {
    const isLast = i === parts.length - 1
    if (isLast && part === "") break
    const index = found.length + 1
    const ended = isLast ? part : part + delimiter
    if (part.length > maxLine) {
      found.push(wrong(index, i + 1, "longer than", undefined))
      continue
    }
    const own = format === "ndjson" && i === 0 ? part.replace(/^\xef\xbb\xbf/, "") : part
    const bytes = ended.slice(part.length - own.length)
    if (format === "ndjson" && /^[ \t\r]*$/.test(own)) continue
    const text = utf8(own)
    if (text === undefined) {
      found.push(wrong(index, i + 1, "not UTF-8", bytes))
      continue
    }
    const value =
      format === "ndjson"
        ? canonical(text)
        : JSON.stringify(format === "lines" ? text.replace(/\r$/, "") : text)
    if (value === undefined) found.push(wrong(index, i + 1, "not JSON: ", bytes))
    else found.push({ index, line: i + 1, bytes, value, problem: "" })
  }
  return found
}

const csvRows = (input: string, maxLine: number): ReadonlyArray<Expected> => {
  const found: Array<Expected> = []
  let names: ReadonlyArray<string> | undefined
  let lineEnd: "\n" | "\r" | undefined
  let line = 1
  let at = input.startsWith("\xef\xbb\xbf") ? 3 : 0
  while (at < input.length) {
    if (lineEnd === "\r" && input[at] === "\n") {
      at++
      continue
    }
    const begin = at
    const begun = line
    const values: Array<string> = []
    let behind = false
    let closed = true
    let content = ""
    fields: for (;;) {
      let field = ""
      let quoted = false
      if (input[at] === '"') {
        quoted = true
        at++
        closed = false
        while (at < input.length) {
          if (input[at] === '"' && input[at + 1] === '"') {
            field += '"'
            at += 2
          } else if (input[at] === '"') {
            closed = true
            at++
            break
          } else {
            if (input[at] === (lineEnd ?? "\n")) line++
            field += input[at++]
          }
        }
      }
      for (;;) {
        const c = input[at]
        const crlf = lineEnd !== "\r" && c === "\r" && input[at + 1] === "\n"
        const lf = lineEnd !== "\r" && c === "\n"
        const cr = c === "\r" && (lineEnd === "\r" || lineEnd === undefined || at + 1 === input.length)
        if (c === undefined || crlf || lf || cr) {
          values.push(field)
          content = input.slice(begin, at)
          if (crlf || lf) lineEnd = "\n"
          else if (cr) lineEnd ??= "\r"
          if (crlf || lf || (cr && lineEnd === "\r")) line++
          at += c === undefined ? 0 : crlf ? 2 : 1
          break fields
        }
        if (c === ",") {
          at++
          values.push(field)
          break
        }
        if (quoted) behind = true
        field += c
        at++
      }
    }
    if (content === "") continue
    const bytes = input.slice(begin, at)
    const index = names === undefined ? 0 : found.length + 1
    // In a quote that is not closed a line end is content.
    const length = closed ? content.length : bytes.length
    const texts = values.map(utf8)
    const problem =
      length > maxLine
        ? "longer than"
        : texts.includes(undefined)
          ? "not UTF-8"
          : !closed
            ? "not CSV: a quote that is not closed"
            : behind
              ? "not CSV: text after a closing quote"
              : names === undefined
                ? new Set(texts).size < texts.length
                  ? "not CSV: columns "
                  : ""
                : texts.length !== names.length
                  ? "not CSV: another number of fields"
                  : ""
    if (problem !== "") {
      found.push(wrong(index, begun, problem, problem === "longer than" ? undefined : bytes))
      if (names === undefined) break
    } else if (names === undefined) names = texts as ReadonlyArray<string>
    else {
      const text = names.map((name, i) => `${JSON.stringify(name)}:${JSON.stringify(texts[i])}`)
      found.push({ index, line: begun, bytes, value: canonical(`{${text}}`), problem: "" })
    }
  }
  return found
}

const reference = (input: string, format: Records.Format, maxLine: number): ReadonlyArray<Expected> =>
  format === "csv" ? csvRows(input, maxLine) : segments(input, format, maxLine)

/** Bytes cut at these places. */
const chunksOf = (bytes: Buffer, cuts: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  return [0, ...places].map((from, i) => Buffer.from(bytes.subarray(from, places[i] ?? bytes.length)))
}

const split = (chunks: ReadonlyArray<Buffer>, options: Splitter.Options) => {
  const splitter = Splitter.make(options)
  return [...chunks.flatMap((chunk) => splitter.push(Buffer.from(chunk))), ...splitter.end()]
}
const encoded = (value: unknown): string => {
  try {
    return LosslessJson.encode(value)
  } catch (error) {
    return (error as Error).message
  }
}
const told = (record: Records.Record) => ({
  index: record.index,
  line: record.line,
  problem: record.problem ?? "",
  value: record.problem === undefined ? encoded(record.value) : undefined,
  bytes: record.bytes.toString("latin1")
})

const fail = (message: string, ...details: ReadonlyArray<unknown>): never => {
  throw new Error(`${message}: ${details.map((detail) => JSON.stringify(detail)).join(" | ")}`)
}

const format = FastCheck.constantFrom<Records.Format>("lines", "ndjson", "null", "csv")
const noise = FastCheck.constantFrom(
  ..."\0,\n,\r\n,\r,\n\n, ,\t,x,é,\ufeff,\\,',0,]},[,{,:".split(","),
  ",",
  '"',
  '""',
  '"\n"'
)
const raw = FastCheck.constantFrom("\xff", "\xc3", "\xed\xa0\x80", "\xef\xbb\xbf", "\xef", "\xef\xbb")
const numbers =
  "0,-0,1e400,-1e400,[1e999],1e2,12345678901234567890,-98765432109876543210,9007199254740993,0.1,1E-400"
const levels = 5000
const deep = FastCheck.constantFrom(
  "[".repeat(levels) + "]".repeat(levels),
  `${'{"a":'.repeat(levels)}12345678901234567890${"}".repeat(levels)}`
)
const json = FastCheck.oneof(
  { weight: 1, arbitrary: deep },
  {
    weight: 30,
    arbitrary: FastCheck.constantFrom(
      ...numbers.split(","),
      "null",
      "[null]",
      '{"a":1,"a":-0}',
      '{"__proto__":{"x":1},"then":1}',
      '{"2":1,"1":[]}',
      '"\\ud800"',
      '"\\u0000"',
      '{"toJSON":1}'
    )
  },
  { weight: 10, arbitrary: FastCheck.json({ maxDepth: 2 }) }
)
const field = FastCheck.oneof(
  FastCheck.constantFrom(
    "",
    "a",
    "b",
    "1",
    " ",
    '"x"',
    '"a""b"',
    '"a\nb"',
    '"a\r\nb"',
    '""',
    "__proto__",
    '5"',
    '"1" ',
    'a"b"',
    '"x"y',
    "é"
  ),
  FastCheck.string({ maxLength: 4 })
)
const row = FastCheck.array(field, { minLength: 1, maxLength: 4 }).map((fields) => fields.join(","))
const lineEnd = FastCheck.constantFrom("\n", "\n", "\n", "\r\n", "\r", "\0")
/** Bytes as a string: near to what the formats take, with noise. */
const input = FastCheck.tuple(
  FastCheck.oneof(
    { weight: 3, arbitrary: FastCheck.constant("") },
    FastCheck.constantFrom("\ufeff", "a,b\n", "a,b\r\n", "a,b\r", '"a","b"\n', "\ufeffa,b\r\n")
  ),
  FastCheck.array(
    FastCheck.oneof(
      {
        weight: 4,
        arbitrary: FastCheck.tuple(FastCheck.oneof(json, row), lineEnd).map((parts) => parts.join(""))
      },
      { weight: 1, arbitrary: noise },
      { weight: 1, arbitrary: raw.map((bytes) => Buffer.from(bytes, "latin1").toString("latin1")) }
    ).map((text) => (/^[\x80-\xff]+$/.test(text) ? text : Buffer.from(text).toString("latin1"))),
    { maxLength: 12 }
  )
).map(([head, parts]) => Buffer.from(head).toString("latin1") + parts.join(""))
const cuts = FastCheck.array(FastCheck.nat(), { maxLength: 8 })
const maxLine = FastCheck.constantFrom(1 << 24, 1 << 24, 1 << 24, 3, 8)

/** The records of any bytes are those of the reference, in any chunks, and reading can continue behind each. */
export const splitting = FastCheck.asyncProperty(
  input,
  format,
  cuts,
  maxLine,
  async (text, format, cuts, maxLine) => {
    const bytes = Buffer.from(text, "latin1")
    const wanted = reference(text, format, maxLine)
    const options = { format, maxLine }
    const whole = split([bytes], options)
    const pieces = split(chunksOf(bytes, cuts), options)
    if (whole.length !== wanted.length) fail("other records", whole.map(told), wanted)
    for (const [i, record] of whole.entries()) {
      const expected = wanted[i]!
      const found = told(record)
      if (JSON.stringify(found) !== JSON.stringify(told(pieces[i]!))) {
        fail("the chunks matter", found, told(pieces[i]!))
      }
      if (record.index !== expected.index || record.line !== expected.line)
        fail("another place", found, expected)
      if (expected.bytes !== undefined && found.bytes !== expected.bytes) fail("other bytes", found, expected)
      if (expected.value === undefined) {
        if (!found.problem.startsWith(expected.problem)) fail("another problem", found, expected)
      } else if (found.problem !== "") fail("a problem", found, expected)
      else if (!expected.value.includes("Infinity") && canonical(found.value!) !== expected.value) {
        fail("another value", found, expected)
      }
    }
    if (pieces.length !== whole.length) fail("the chunks matter", pieces.map(told), whole.map(told))
    for (const record of pieces) {
      if (record.index === 0) continue
      const { place } = record
      const rest = split([format === "csv" ? bytes : bytes.subarray(place.position)], {
        ...options,
        from: place
      })
      const expected = pieces.slice(place.index).map(told)
      if (JSON.stringify(rest.map(told)) !== JSON.stringify(expected)) {
        fail("it goes on elsewhere", place, rest.map(told), expected)
      }
    }
  }
)

/** A function's answer to one record, and the outcome that it must have. */
interface Behaviour {
  readonly name: string
  readonly answer: (value: any) => unknown
  /** The record as it came; its value within `{"r":…}`; a failure; nothing; or these results. */
  readonly outcome: "same" | "wrapped" | "failed" | "dropped" | ReadonlyArray<string>
}

const thrower = (what: () => unknown) => ({
  get x(): never {
    throw what()
  }
})
const unprintable = {
  get message(): never {
    throw new Error("no message")
  },
  get exitCode(): never {
    throw new Error("no code")
  }
}
const hostile = new Proxy(
  {},
  {
    get: () => {
      throw new Error("get")
    },
    has: () => {
      throw new Error("has")
    },
    ownKeys: () => {
      throw new Error("ownKeys")
    }
  }
)
const circle = (): object => {
  const object: { self?: object } = {}
  object.self = object
  return object
}
const throws = (error: unknown) => () => {
  throw error
}
const failures: ReadonlyArray<readonly [string, () => unknown]> = [
  ["throws an Error", throws(new Error("no"))],
  ["throws undefined", throws(undefined)],
  ["throws null", throws(null)],
  ["throws a symbol", throws(Symbol("s"))],
  ["throws without a prototype", throws(Object.create(null))],
  ["throws what cannot be printed", throws(unprintable)],
  ["throws a proxy", throws(hostile)],
  ["throws a message that is no string", throws(Object.assign(new Error(), { message: {}, exitCode: 0 }))],
  ["rejects", async () => Promise.reject(unprintable)],
  ["rejects with a proxy", async () => Promise.reject(hostile)],
  ["rejects with nothing", () => Promise.reject()],
  // biome-ignore lint/suspicious/noThenProperty: that is the case
  ["a thenable that throws", () => Object.defineProperty({}, "then", { value: throws(hostile) })],
  // biome-ignore lint/suspicious/noThenProperty: that is the case
  ["a then that throws", () => Object.defineProperty({}, "then", { get: throws(hostile) })],
  ["fails", () => Effect.fail({ _tag: "No", exitCode: 512 })],
  ["dies", () => Effect.die(unprintable)],
  ["interrupts itself", () => Effect.interrupt],
  ["a stream that fails", () => Stream.concat(Stream.make(1), Stream.fail("no"))],
  [
    "a generator that throws",
    function* () {
      yield 1
      throw hostile
    }
  ],
  [
    "a generator that yields a circle",
    function* () {
      yield 1
      yield circle()
    }
  ],
  [
    "an async generator that throws",
    async function* () {
      yield 1
      throw unprintable
    }
  ],
  ["a circle", circle],
  ["a function", () => () => 1],
  ["a symbol", () => Symbol("s")],
  ["NaN", () => Number.NaN],
  ["an infinity within", () => ({ a: [Number.NEGATIVE_INFINITY] })],
  ["undefined within an array", () => [undefined]],
  ["an invalid date", () => [new Date(Number.NaN)]],
  ["a getter that throws", () => thrower(() => hostile)],
  ["a proxy", () => hostile],
  ["a proxy within", async () => [hostile]],
  ["a toJSON that throws", () => ({ toJSON: throws(unprintable) })],
  [
    "a toJSON without end",
    () => ({
      toJSON() {
        return { a: { ...this } }
      }
    })
  ]
]
const behaviours: ReadonlyArray<Behaviour> = [
  { name: "identity", answer: (value) => value, outcome: "same" },
  { name: "identity, later", answer: async (value) => value, outcome: "same" },
  {
    name: "identity, an Effect",
    answer: (value) => Effect.zipRight(Effect.yieldNow(), Effect.succeed(value)),
    outcome: "same"
  },
  { name: "wrap", answer: (r) => ({ r }), outcome: "wrapped" },
  {
    name: "wrap, a generator",
    answer: function* (r) {
      yield { r }
    },
    outcome: "wrapped"
  },
  { name: "drop", answer: () => undefined, outcome: "dropped" },
  { name: "drop, later", answer: async () => undefined, outcome: "dropped" },
  { name: "drop, a stream", answer: () => Stream.empty, outcome: "dropped" },
  {
    name: "two",
    answer: function* () {
      yield 1
      yield undefined
      yield "two"
    },
    outcome: ["1", '"two"']
  },
  {
    name: "exact",
    answer: () => [-0, 12345678901234567890n, null],
    outcome: ["[-0,12345678901234567890,null]"]
  },
  ...failures.map(([name, answer]): Behaviour => ({ name, answer, outcome: "failed" }))
]

const behaviour = FastCheck.oneof(
  FastCheck.constantFrom(...behaviours.slice(0, 10)),
  FastCheck.constantFrom(...behaviours)
)

/** One line for each outcome, to compare: its records' numbers, and what has become of them. */
const outcomeOf = (outcome: MapRecords.RecordOutcome): readonly [number, string, string] => {
  if (outcome instanceof Records.Record) return [outcome.index, "same", outcome.bytes.toString("latin1")]
  const { index } = outcome.records[0]!
  if (outcome instanceof MapRecords.FailedRecord) return [index, "failed", ""]
  const texts = outcome.results.map((result) =>
    result instanceof Records.Record ? `=${result.bytes.toString("latin1")}` : canonical(result as string)!
  )
  return texts.length === 1 && texts[0]!.startsWith("=")
    ? [index, "same", texts[0]!.slice(1)]
    : [index, texts.length === 0 ? "dropped" : "results", texts.join(";")]
}

/** Each record of any input is accounted for once, by any function, and none of them disturbs another. */
export const mapping = FastCheck.asyncProperty(
  input,
  format,
  cuts,
  maxLine,
  FastCheck.array(behaviour, { minLength: 1, maxLength: 6 }),
  FastCheck.record({
    onFailure: FastCheck.constantFrom("cancel" as const, "continue" as const, "continue" as const),
    unordered: FastCheck.boolean(),
    concurrency: FastCheck.integer({ min: 1, max: 4 }),
    untouched: FastCheck.boolean(),
    retries: FastCheck.constant(0),
    key: FastCheck.constantFrom(undefined, "one" as const, "own" as const, "throws" as const)
  }),
  async (text, format, cuts, maxLine, behaviours, options) => {
    const bytes = Buffer.from(text, "latin1")
    const wanted = reference(text, format, maxLine)
    const refused = wanted[0]?.index === 0
    // A function of one parameter takes another way than one that asks which record it is.
    const only = behaviours.length === 1 ? behaviours[0]! : undefined
    const f = only
      ? (value: unknown) => only.answer(value)
      : (value: unknown, { index }: MapRecords.RecordContext) =>
          behaviours[index % behaviours.length]!.answer(value)
    const { key, ...rest } = options
    const keys = { one: () => 1, own: (value: unknown) => value, throws: throws(hostile) }
    const results = (record: Expected): readonly [number, string, string] => {
      const { index, value } = record
      const { outcome } = only ?? behaviours[index % behaviours.length]!
      if (value === undefined || key === "throws") return [index, "failed", ""]
      if (outcome === "failed" || outcome === "dropped") return [index, outcome, ""]
      if (typeof outcome !== "string")
        return [index, "results", outcome.map((each) => canonical(each)!).join(";")]
      if (outcome === "same" && options.untouched) return [index, "same", record.bytes!]
      if (value.includes("Infinity")) return [index, "failed", ""]
      return [index, "results", outcome === "same" ? value : `{"r":${value}}`]
    }
    const all = refused ? [] : wanted.map(results)
    const firstFailure = options.onFailure === "cancel" ? all.findIndex(([, kind]) => kind === "failed") : -1

    const found: Array<readonly [number, string, string]> = []
    const exit = await Effect.runPromiseExit(
      ReadRecords.records(Stream.fromChunk(Chunk.unsafeFromArray(chunksOf(bytes, cuts))), {
        format,
        maxLine
      }).pipe(
        (records) =>
          MapRecords.mapRecords(records, f, { ...rest, ...(key === undefined ? {} : { key: keys[key] }) }),
        Stream.runForEach((outcome) => Effect.sync(() => found.push(outcomeOf(outcome))))
      )
    )
    const failure = Exit.isFailure(exit) ? exit.cause : undefined
    if (failure !== undefined) {
      if (failure._tag !== "Fail" || !(failure.error instanceof Records.RecordFailed)) {
        return fail("an error has escaped", String(failure))
      }
      const { exitCode, record } = failure.error
      if (!(exitCode > 0 && exitCode < 256)) fail("no exit code", exitCode)
      if (refused ? record.index !== 0 : firstFailure < 0) fail("stopped", told(record))
      if (!refused && !options.unordered && record.index !== firstFailure + 1)
        fail("another record failed", told(record))
      if (!refused && all[record.index - 1]![1] !== "failed") fail("it is none that fails", told(record))
      if (!refused && record.line !== wanted[record.index - 1]!.line) fail("another line", told(record))
    } else if (refused || firstFailure >= 0) fail("not stopped", found)
    const expected = firstFailure < 0 ? all : all.slice(0, firstFailure)
    const shown = !options.unordered ? found : [...found].sort(([a], [b]) => a - b)
    if (firstFailure >= 0 && options.unordered) {
      // Which were done before the first failure, by time, is open; each at most once, and right.
      const byIndex = new Map(all.map((each) => [each[0], JSON.stringify(each)]))
      for (const each of shown) {
        if (byIndex.get(each[0]) !== JSON.stringify(each)) fail("another outcome", each, all)
        byIndex.delete(each[0])
      }
    } else if (JSON.stringify(shown) !== JSON.stringify(expected)) fail("other outcomes", shown, expected)
  }
)
