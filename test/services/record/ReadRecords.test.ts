import { describe, expect, it } from "@effect/vitest"
import { Cause, Clock, Effect, Exit, Option, Stream } from "effect"
import * as ReadRecords from "../../../src/services/record/ReadRecords.js"
import * as Records from "../../../src/services/record/Records.js"

/** What came, and when: `"A at 1000"`. */
const timed = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
  Effect.gen(function* () {
    const log: Array<string> = []
    const begun = yield* Clock.currentTimeMillis
    const exit = yield* Effect.exit(
      Stream.runForEach(stream, (a) =>
        Effect.map(Clock.currentTimeMillis, (now) => log.push(`${a} at ${now - begun}`))
      )
    )
    return [...log, ...(Exit.isFailure(exit) ? [Cause.pretty(exit.cause)] : [])]
  })

const utf8 = (...parts: ReadonlyArray<string | Uint8Array>) =>
  Stream.fromIterable(parts.map((part) => (typeof part === "string" ? new TextEncoder().encode(part) : part)))

const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

describe("ReadRecords.lines and ndjson", () => {
  it.effect("emit the records before the first bad one, then fail with its line and reason", () =>
    Effect.gen(function* () {
      expect(yield* timed(ReadRecords.lines(utf8("a\nb", "c\r\nd")))).toEqual(["a at 0", "bc at 0", "d at 0"])
      const bad = yield* timed(Stream.map(ReadRecords.ndjson(utf8("1\n2\n\n{\n5\n")), ({ value }) => value))
      expect(bad.slice(0, 2)).toEqual(["1 at 0", "2 at 0"])
      expect(bad.at(-1)).toContain("line 4: not JSON: Expected property name or '}'")
      const failure = yield* Effect.flip(
        Stream.runDrain(ReadRecords.lines(utf8("a\n", "b".repeat(20)), { maxLine: 10 }))
      )
      expect(failure).toBeInstanceOf(Records.RecordFailed)
      expect(failure.message).toBe("line 2: longer than 10 bytes")
      const invalid = yield* Effect.flip(
        Stream.runDrain(ReadRecords.lines(utf8("a\n", new Uint8Array([0xff, 10]))))
      )
      expect(invalid.message).toBe("line 2: not UTF-8")
    })
  )

  it.effect("write a record's own bytes unless it was changed", () =>
    Effect.gen(function* () {
      const text = '{ "id": 12345678901234567890, "n": 1.10 }\n'
      const record = Option.getOrThrow(yield* Stream.runHead(ReadRecords.ndjson(utf8(text))))
      const value = record.value as { n: number }
      expect(read(ReadRecords.encode(record, value))).toBe(text)
      expect(read(ReadRecords.encode(record, { ...value, n: 2 }))).toBe('{"id":12345678901234567890,"n":2}\n')
      value.n = 3
      expect(read(ReadRecords.encode(record, value))).toBe('{"id":12345678901234567890,"n":3}\n')
    })
  )
})
