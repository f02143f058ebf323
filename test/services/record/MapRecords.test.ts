import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Cause, Clock, Context, Data, Effect, Exit, Fiber, Random, Stream, TestClock } from "effect"
import * as MapRecords from "../../../src/services/record/MapRecords.js"
import * as ReadRecords from "../../../src/services/record/ReadRecords.js"
import type * as Records from "../../../src/services/record/Records.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

const utf8 = (...parts: ReadonlyArray<string | Uint8Array>) =>
  Stream.fromIterable(parts.map((part) => (typeof part === "string" ? new TextEncoder().encode(part) : part)))

const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

describe("MapRecords.mapRecords", () => {
  class Offline extends Data.TaggedError("Offline")<{ readonly host: string }> {}
  class Api extends Context.Tag("Api")<
    Api,
    { readonly look: (n: number) => Effect.Effect<number, Offline> }
  >() {}
  const ask = (value: unknown) => Effect.flatMap(Api, ({ look }) => look(value as number))
  const digits = ReadRecords.records(utf8("1\n2\n"), { format: "ndjson" })

  it.effect("has the errors and requirements of the function's effects in its types", () =>
    Effect.gen(function* () {
      const mapped = MapRecords.mapRecords(digits, ask)
      const plain = MapRecords.mapRecords(digits, () => 1)
      const streamed = MapRecords.mapRecords(digits, (value) => Stream.fromEffect(ask(value)))
      expectTypeOf<Stream.Stream.Context<typeof mapped>>().toEqualTypeOf<Api>()
      expectTypeOf<Stream.Stream.Context<typeof streamed>>().toEqualTypeOf<Api>()
      expectTypeOf<Stream.Stream.Context<typeof plain>>().toEqualTypeOf<never>()
      expectTypeOf<Stream.Stream.Success<typeof mapped>>().toEqualTypeOf<MapRecords.RecordOutcome<Offline>>()
      expectTypeOf<Stream.Stream.Success<typeof plain>>().toEqualTypeOf<MapRecords.RecordOutcome<never>>()
      type Failure = Stream.Stream.Error<typeof mapped>["failure"]
      expectTypeOf<Failure>().toEqualTypeOf<Cause.Cause<Offline> | Cause.Cause<never> | undefined>()
      expectTypeOf<Stream.Stream.Error<typeof streamed>["failure"]>().toEqualTypeOf<Failure>()
      const offline = new Offline({ host: "api" })
      const api = Effect.provideService(Api, {
        look: (n) => (n === 1 ? Effect.succeed(10) : Effect.fail(offline))
      })
      const failed = yield* api(Effect.flip(Stream.runDrain(mapped)))
      expect(failed.failure).toEqual(Cause.fail(offline))
      const outcomes = yield* api(
        Stream.runCollect(MapRecords.mapRecords(digits, ask, { onFailure: "continue" }))
      )
      const [, second] = outcomes
      expect(second instanceof MapRecords.FailedRecord && second.failure).toEqual(Cause.fail(offline))
      const thrown = yield* Effect.flip(
        Stream.runDrain(MapRecords.mapRecords(digits, () => Promise.reject("no")))
      )
      expect(thrown.failure).toEqual(Cause.die("no"))
    })
  )

  const run = (
    text: string,
    f: (value: any, context: MapRecords.RecordContext) => unknown,
    options: MapRecords.MapRecordsOptions = {},
    format: Records.Format = "ndjson"
  ) =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const begun = yield* Clock.currentTimeMillis
      const all = MapRecords.mapRecords(ReadRecords.records(utf8(text), { format }), f, options)
      const exit = yield* Effect.exit(
        Stream.runForEach(all, (outcome) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            const at = now === begun ? "" : ` at ${now - begun}`
            if (outcome instanceof MapRecords.FailedRecord) {
              log.push(`! ${outcome.records.map(({ line }) => line)}: ${outcome.reason}${at}`)
            } else if (outcome instanceof MapRecords.MappedRecord) {
              const texts = outcome.results.map((each) =>
                typeof each === "string" ? each : each instanceof Uint8Array ? read(each) : `= ${each.text}`
              )
              log.push(`${texts.join(" ; ")}${at}`)
            } else log.push(`= ${outcome.text}${at}`)
          })
        )
      )
      if (Exit.isFailure(exit)) log.push(`!! ${(Cause.squash(exit.cause) as Error).message}`)
      return log
    }).pipe(VirtualClock.run())

  it.live.each<readonly [string, string, (...args: ReadonlyArray<any>) => unknown]>([
    ["a parameter", '"2 false"', (_, context) => `${context.line} ${context.signal.aborted}`],
    ["a pattern", '"2 false"', (_, { line, signal }) => `${line} ${signal.aborted}`],
    ["rest parameters", '"2"', (...all) => `${all[1].line}`],
    ["rest parameters behind another", '"2"', (_, ...more) => `${more[0].line}`],
    [
      "arguments",
      '"2"',
      function () {
        // biome-ignore lint/complexity/noArguments: that is the case
        return `${arguments[1].line}`
      }
    ],
    ["nothing but the value, spread", '{"a":2}', (value) => ({ ...value })]
  ])("gives the context to a function that reads it by %s", ([, last, f]) =>
    Effect.gen(function* () {
      expect((yield* run('{"a":1}\n{"a":2}\n', f, { untouched: false })).at(-1)).toBe(last)
    })
  )

  it.live("takes functions of every kind, and writes unchanged records with their own bytes", () =>
    Effect.gen(function* () {
      const text = '{"a": 1}\n{"a": 12345678901234567890}\n'
      const same = ['= {"a": 1}', '= {"a": 12345678901234567890}']
      expect(yield* run(text, (r) => r)).toEqual(same)
      expect(yield* run(text, async (r) => r)).toEqual(same)
      expect(yield* run(text, (r) => Effect.delay(Effect.succeed(r), 0))).toEqual(same)
      const changed = ['{"a":1,"b":[]}', '{"a":12345678901234567890,"b":[]}']
      expect(yield* run(text, (r) => ({ ...r, b: [] }))).toEqual(changed)
      expect(yield* run(text, (r) => Object.assign(r, { b: [] }))).toEqual(changed)
      expect(yield* run(text, (r) => (r.a === 1 ? undefined : r.a))).toEqual(["", "12345678901234567890"])
      const twice = function* (r: unknown) {
        yield r
        yield [r]
      }
      const each = ['= {"a": 1} ; [{"a":1}]', '= {"a": 12345678901234567890} ; [{"a":12345678901234567890}]']
      expect(yield* run(text, twice)).toEqual(each)
      expect(
        yield* run(text, async function* (r) {
          yield* twice(r)
        })
      ).toEqual(each)
      expect(yield* run(text, (r) => Stream.make(r, [r]))).toEqual(each)
      expect(yield* run("a\nb", (line) => line, {}, "lines")).toEqual(["= a", "= b"])
      expect(yield* run("a\nb", (line) => `${line}!`, { output: "lines" }, "lines")).toEqual(["a!", "b!"])
      expect(yield* run("a\nb", (line) => line, { untouched: false }, "lines")).toEqual(['"a"', '"b"'])
    })
  )

  it.live("stops at a failing record, or reports it and continues", () =>
    Effect.gen(function* () {
      const f = (n: number) => {
        if (n === 2) throw new Error("two")
        return n === 4 ? () => 4 : n
      }
      const text = "1\n2\n{\n4\n5\n"
      expect(yield* run(text, f)).toEqual(["= 1", "!! line 2: two"])
      expect(yield* run(text, async (n) => f(n), { onFailure: "continue", concurrency: 3 })).toEqual([
        "= 1",
        "! 2: two",
        "! 3: not JSON: Expected property name or '}'",
        "! 4: a function cannot be represented in JSON",
        "= 5"
      ])
    })
  )

  it.live("retries after a pause that doubles, and limits the time of each attempt", () =>
    Effect.gen(function* () {
      const attempts: Array<string> = []
      const backoff = { first: 100, jitter: 0 }
      const f = (n: number, { attempt, signal }: MapRecords.RecordContext) => {
        attempts.push(`${n}.${attempt}`)
        return attempt < n
          ? new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))))
          : n
      }
      const options = {
        retries: 2,
        backoff,
        timeout: "1 second",
        concurrency: 9,
        onFailure: "continue"
      } as const
      expect(yield* run("1\n2\n3\n4\n", f, options)).toEqual([
        "= 1",
        "= 2 at 1100",
        "= 3 at 2300",
        "! 4: not done in 1s at 3300"
      ])
      expect(attempts).toEqual(["1.1", "2.1", "3.1", "4.1", "2.2", "3.2", "4.2", "3.3", "4.3"])
      let failures = 2
      const flaky = (n: number) => {
        if (failures-- > 0) throw new Error("no")
        return n
      }
      expect(yield* run("1\n", flaky, { retries: 2, backoff })).toEqual(["= 1 at 300"])
      failures = 2
      expect(yield* run("1\n", flaky, { retries: 1, backoff })).toEqual(["!! line 1: no"])
    })
  )

  it.effect("pauses half a second before the first retry, by the clock", () =>
    Effect.gen(function* () {
      let attempts = 0
      const never = () => {
        attempts++
        throw new Error("no")
      }
      const records = ReadRecords.records(Stream.succeed(Buffer.from("1\n")), { format: "ndjson" })
      const fiber = yield* Effect.fork(
        Stream.runDrain(MapRecords.mapRecords(records, never, { retries: 1, onFailure: "continue" }))
      ).pipe(Effect.withRandom(Random.fixed([0.5])))
      yield* TestClock.adjust(499)
      expect(attempts).toBe(1)
      yield* TestClock.adjust(1)
      expect(attempts).toBe(2)
      yield* Fiber.join(fiber)
    })
  )

  it.live("passes batches as arrays, and limits their rate", () =>
    Effect.gen(function* () {
      const text = "1\n2\nx\n4\n5\n"
      const f = (all: ReadonlyArray<number>) => all.map((n) => (n > 3 ? n * 10 : n))
      expect(yield* run(text, f, { batch: { size: 3 }, onFailure: "continue" })).toEqual([
        "! 3: not JSON: Unexpected token 'x'",
        "= 1 ; = 2",
        "40 ; 50"
      ])
      const sum = (all: ReadonlyArray<number>) => all.reduce((a, b) => a + b, 0)
      expect(yield* run("1\n2\n3\n", sum, { batch: { size: 2 }, rate: { limit: 2 } })).toEqual([
        "3",
        "= 3 at 500"
      ])
      expect(yield* run("1\n2\n3\n", (n) => n, { rate: { limit: 4 } })).toEqual([
        "= 1",
        "= 2 at 250",
        "= 3 at 500"
      ])
    })
  )

  it.live("keeps each key in order, and fails records without one", () =>
    Effect.gen(function* () {
      const f = ({ k, ms }: { k: string; ms: number }) => Effect.delay(Effect.succeed(`${k}${ms}`), ms)
      const text = '{"k":"a","ms":30}\n{"k":"a","ms":10}\n{"k":"b","ms":20}\nnull\n'
      const options = { concurrency: 4, unordered: true, output: "lines", onFailure: "continue" } as const
      expect(yield* run(text, f, { ...options, key: (value: any) => value.k })).toEqual([
        "! 4: it has no key: Cannot read properties of null (reading 'k')",
        "b20 at 20",
        "a30 at 30",
        "a10 at 40"
      ])
    })
  )
})
