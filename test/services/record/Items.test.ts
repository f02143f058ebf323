import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, FastCheck, Stream } from "effect"
import * as Input from "../../../src/services/host/Input.js"
import * as Items from "../../../src/services/record/Items.js"
import type * as Records from "../../../src/services/record/Records.js"
import * as RawText from "../../../src/services/text/RawText.js"

const input = (bytes: Stream.Stream<Uint8Array>) =>
  Effect.provideService(Input.Input, {
    isTerminal: false,
    source: "piped",
    isOnce: () => Effect.succeed(true),
    stdin: bytes,
    open: () => bytes
  })

const collect = (bytes: Stream.Stream<Uint8Array>, options: Items.Options = {}, path = "items.txt") =>
  Stream.runCollect(Items.read(path, options)).pipe(
    Effect.map((items) =>
      Chunk.toReadonlyArray(items).map(({ index, line, place, problem, text, value }) => ({
        index,
        line,
        place,
        problem,
        text,
        value
      }))
    ),
    input(bytes)
  )

const bytesOf = (...parts: ReadonlyArray<string | Uint8Array>) =>
  Stream.fromIterable(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)))

/** `place: value`, or what is wrong. */
const shown = (items: ReadonlyArray<Items.Item>) =>
  items.map(({ place, problem, value }) =>
    problem === undefined ? [place, value] : Items.describe(place, problem)
  )

describe("Items", () => {
  it.effect("reads lines with LF or CRLF, without blank ones and without a byte order mark", () =>
    Effect.gen(function* () {
      const items = yield* collect(bytesOf("\ufeffa\r\n\n \t\r\nb", "c\n d "))
      expect(shown(items)).toEqual([
        ["line 1 of items.txt", "a"],
        ["line 4 of items.txt", "bc"],
        ["line 5 of items.txt", " d "]
      ])
      expect(items.map(({ index }) => index)).toEqual([1, 2, 3])
      expect(yield* collect(bytesOf("\ufeff\n"))).toEqual([])
    })
  )

  it.effect("reads texts between NUL bytes as they are", () =>
    Effect.gen(function* () {
      expect(shown(yield* collect(bytesOf("a\nb\0", "\0c\r"), { format: "null" }, "-"))).toEqual([
        ["item 1 of standard input", "a\nb"],
        ["item 2 of standard input", ""],
        ["item 3 of standard input", "c\r"]
      ])
    })
  )

  it.effect("rounds no integer, and names the line of what is not JSON, not UTF-8 or too long", () =>
    Effect.gen(function* () {
      const lines = bytesOf(
        '\ufeff{"a":9007199254740993}\r\n\n{bad\n"',
        Buffer.of(0xff),
        '"\n"',
        "x".repeat(40),
        '"\n2\n'
      )
      const items = yield* collect(lines, { format: "ndjson", maxLine: 30 })
      expect(items[0]).toMatchObject({
        value: { a: 9007199254740993n },
        text: '{"a":9007199254740993}',
        index: 1
      })
      expect(shown(items.slice(1))).toEqual([
        expect.stringMatching(/^line 3 of items.txt is not JSON: /),
        "line 4 of items.txt is not UTF-8",
        "line 5 of items.txt is longer than 30 bytes",
        ["line 6 of items.txt", 2]
      ])
    })
  )

  it.effect("fails at a header of a CSV that cannot be used, and at the first bad item if asked to", () =>
    Effect.gen(function* () {
      expect(yield* collect(bytesOf("a,b\n1,2\n"), { format: "csv" })).toMatchObject([
        { value: { a: "1", b: "2" }, text: "1,2", place: "line 2 of items.txt" }
      ])
      const header = yield* Effect.flip(collect(bytesOf("a,a\n1,2\n"), { format: "csv" }))
      expect(header.message).toMatch(/^line 1 of items.txt is not CSV: columns 1 and 2 are both named 'a'/)
      const seen: Array<unknown> = []
      const failed = yield* Items.proper(Items.read("-")).pipe(
        Stream.runForEach(({ value }) => Effect.sync(() => seen.push(value))),
        Effect.flip,
        input(bytesOf("a\nb\n", Buffer.of(0x80), "\nc\n"))
      )
      expect([seen, failed.message]).toEqual([["a", "b"], "line 3 of standard input is not UTF-8"])
    })
  )

  it("makes items of arguments", () => {
    expect(shown(Items.words(["a", ""]))).toEqual([
      ["argument 1", "a"],
      ["argument 2", ""]
    ])
    expect(shown(Items.words(["9007199254740993", "{"], { format: "ndjson" }))).toEqual([
      ["argument 1", 9007199254740993n],
      expect.stringMatching(/^argument 2 is not JSON: /)
    ])
  })

  it.effect("keeps nothing of 600 MB without a line end", () =>
    Effect.gen(function* () {
      const piece = Buffer.alloc(1024 * 1024, "x")
      let most = 0
      const endless = Stream.map(Stream.range(1, 600), () => {
        most = Math.max(most, process.memoryUsage().arrayBuffers)
        return piece
      })
      const before = process.memoryUsage().arrayBuffers
      const items = yield* collect(endless, {}, "-")
      expect(items.map(({ place, problem }) => [place, problem])).toEqual([
        ["line 1 of standard input", "longer than 16 MiB"]
      ])
      expect(most - before).toBeLessThan(64 * 1024 * 1024)
    })
  )

  const formats: ReadonlyArray<Records.Format> = ["lines", "null", "ndjson", "csv"]
  const pieces = FastCheck.array(
    FastCheck.oneof(
      FastCheck.uint8Array({ maxLength: 6 }),
      FastCheck.constantFrom(
        "\n",
        "\r\n",
        "\0",
        "\ufeff",
        '{"a":1}',
        '"',
        ",",
        "12345678901234567890",
        "日本",
        " "
      ).map((text) => new Uint8Array(Buffer.from(text)))
    ),
    { maxLength: 30 }
  ).map((parts) => Buffer.concat(parts))

  it.effect.prop(
    "gives the same items whatever the chunks",
    [
      pieces,
      FastCheck.array(FastCheck.nat(120), { maxLength: 6 }),
      FastCheck.constantFrom(...formats),
      FastCheck.constantFrom("raw" as const, "utf8" as const)
    ],
    ([bytes, cuts, format, encoding]) =>
      Effect.gen(function* () {
        const places = [0, ...cuts.filter((at) => at < bytes.length).sort((a, b) => a - b), bytes.length]
        const chunks = places.slice(1).map((to, i) => new Uint8Array(bytes.subarray(places[i]!, to)))
        const options = { format, encoding, maxLine: 20 }
        const exit = (stream: Stream.Stream<Uint8Array>) => Effect.either(collect(stream, options))
        expect(yield* exit(Stream.fromIterable(chunks))).toEqual(
          yield* exit(Stream.succeed(new Uint8Array(bytes)))
        )
      })
  )

  it.effect.prop("raw items give the same bytes again", [pieces], ([bytes]) =>
    Effect.gen(function* () {
      const items = yield* collect(Stream.succeed(bytes), { format: "null", encoding: "raw" })
      const again = Buffer.concat(items.flatMap(({ text }) => [RawText.encode(text), Buffer.of(0)]))
      const ended = bytes.length === 0 || bytes.at(-1) === 0 ? bytes : Buffer.concat([bytes, Buffer.of(0)])
      expect(again.equals(ended)).toBe(true)
    })
  )
})
