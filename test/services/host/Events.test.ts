import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Either, FastCheck as fc, Schema } from "effect"
import * as EventLine from "../../../src/services/host/EventLine.js"
import * as Events from "../../../src/services/host/Events.js"
import * as InProcess from "../../support/InProcess.js"

const names = Object.keys(Events.byCommand) as Array<keyof typeof Events.byCommand>

type Json = Readonly<Record<string, unknown>>

/** What is wrong with a value by a JSON Schema of draft 7, of the keywords that the schemas use; others throw. */
const problems = (schema: Json, value: unknown, root: Json, at = ""): ReadonlyArray<string> => {
  const wrong = (what: string) => [`${at}: ${what}`]
  return Object.entries(schema).flatMap(([keyword, rule]): ReadonlyArray<string> => {
    switch (keyword) {
      case "$schema":
      case "$id":
      case "$defs":
      case "title":
      case "description":
      case "additionalProperties":
        return []
      case "$ref": {
        const name = String(rule).replace("#/$defs/", "")
        return problems((root["$defs"] as Record<string, Json>)[name]!, value, root, at)
      }
      case "anyOf": {
        const each = (rule as ReadonlyArray<Json>).map((one) => problems(one, value, root, at))
        return each.some((found) => found.length === 0) ? [] : wrong("none of the alternatives")
      }
      case "allOf":
        return (rule as ReadonlyArray<Json>).flatMap((one) => problems(one, value, root, at))
      case "type": {
        const is = value === null ? "null" : Array.isArray(value) ? "array" : typeof value
        const fits = is === rule || (rule === "integer" && Number.isInteger(value))
        return fits ? [] : wrong(`${is}, not ${rule}`)
      }
      case "enum":
        return (rule as ReadonlyArray<unknown>).includes(value) ? [] : wrong(`not one of ${rule}`)
      case "minimum":
        return (value as number) >= (rule as number) ? [] : wrong(`below ${rule}`)
      case "exclusiveMinimum":
        return (value as number) > (rule as number) ? [] : wrong(`not above ${rule}`)
      case "required":
        return (rule as ReadonlyArray<string>).flatMap((key) =>
          typeof value === "object" && value !== null && key in value ? [] : wrong(`no ${key}`)
        )
      case "properties": {
        if (typeof value !== "object" || value === null) return []
        const given = value as Json
        return Object.entries(rule as Record<string, Json>).flatMap(([key, one]) =>
          key in given ? problems(one, given[key], root, `${at}/${key}`) : []
        )
      }
      case "items":
        return (value as ReadonlyArray<unknown>).flatMap((one, i) =>
          problems(rule as Json, one, root, `${at}/${i}`)
        )
      default:
        throw new Error(`${at}: the keyword ${keyword}`)
    }
  })
}

const schemaOf = async (name: string): Promise<Json> => {
  const { code, stdout } = await InProcess.run(["schema", name])
  expect(code).toBe(0)
  return JSON.parse(stdout) as Json
}

const schemasOf = (name: keyof typeof Events.byCommand) =>
  Events.byCommand[name].members.map((member) => member as Schema.Schema<object>)

/** Events of each kind that Effect's schema describes; JSON has no undefined. */
const samples = (name: keyof typeof Events.byCommand): ReadonlyArray<object> =>
  schemasOf(name)
    .flatMap((member) => fc.sample(Arbitrary.make(member), { numRuns: 5, seed: 1 }))
    .filter((event) => !Object.values(event).includes(undefined))

/** Events of each kind that the JSON Schema describes. */
const jsonSamples = (schema: Json): ReadonlyArray<Json> =>
  (schema["anyOf"] as ReadonlyArray<Json>).flatMap((one) =>
    fc.sample(valueOf(one, schema) as fc.Arbitrary<Json>, { numRuns: 5, seed: 1 })
  )

const valueOf = (schema: Json, root: Json): fc.Arbitrary<unknown> => {
  if (schema["$ref"] !== undefined) {
    return valueOf(
      (root["$defs"] as Record<string, Json>)[String(schema["$ref"]).replace("#/$defs/", "")]!,
      root
    )
  }
  if (schema["enum"] !== undefined) return fc.constantFrom(...(schema["enum"] as ReadonlyArray<unknown>))
  switch (schema["type"]) {
    case "string":
      return fc.string()
    case "boolean":
      return fc.boolean()
    case "integer":
      return fc.integer({ min: 1, max: 1_000_000 })
    case "number":
      return fc.integer({ min: 0, max: 10_000 }).map((n) => n / 8)
    case "array":
      return fc.array(valueOf(schema["items"] as Json, root))
    case "object": {
      const { properties = {}, required = [] } = schema as {
        properties?: Record<string, Json>
        required?: Array<string>
      }
      const values = Object.entries(properties).map(([key, one]) => [key, valueOf(one, root)] as const)
      return fc.record(Object.fromEntries(values), { requiredKeys: required })
    }
    default:
      return fc.constantFrom<unknown>(1, "a", true, null, [1], { a: 1 })
  }
}

describe.each(names)("the JSON Schema of aio %s", (name) => {
  it("is one of draft 7, and accepts the same events as Effect's schema", async () => {
    const schema = await schemaOf(name)
    expect(schema["$schema"]).toBe("http://json-schema.org/draft-07/schema#")
    const ours = samples(name)
    expect(ours.length).toBeGreaterThan(0)
    for (const event of ours) {
      const line: unknown = JSON.parse(EventLine.encode(event as { event: string }))
      expect(problems(schema, line, schema), JSON.stringify(event)).toEqual([])
    }
    const decode = Schema.decodeUnknownEither(Schema.Union(...schemasOf(name)), { onExcessProperty: "error" })
    for (const { schema: version, ...event } of jsonSamples(schema)) {
      expect(version).toBe(2)
      expect(Either.isRight(decode(event)), JSON.stringify(event)).toBe(true)
    }
  })

  it("refuses another version, an unknown event, an unknown status and a missing field", async () => {
    const schema = await schemaOf(name)
    for (const event of samples(name)) {
      const line = { schema: 2, ...event } as Json
      for (const wrong of [
        { ...line, schema: 1 },
        { ...line, event: "no such" },
        { ...line, event: undefined }
      ]) {
        expect(problems(schema, JSON.parse(JSON.stringify(wrong)), schema)).not.toEqual([])
      }
      if ("status" in line) expect(problems(schema, { ...line, status: "done" }, schema)).not.toEqual([])
      if ("duration" in line) expect(problems(schema, { ...line, duration: -1 }, schema)).not.toEqual([])
      if ("index" in line) expect(problems(schema, { ...line, index: 0 }, schema)).not.toEqual([])
    }
  })
})

describe("aio schema", () => {
  it("prints the schemas of all commands by name", async () => {
    const { stdout } = await InProcess.run(["schema"])
    expect(Object.keys(JSON.parse(stdout) as object)).toEqual(names)
  })

  it.each([
    ["gahter", "aio schema: 'gahter' has no events; did you mean gather?"],
    ["completions", "aio schema: 'completions' has no events"],
    ["toString", "aio schema: 'toString' has no events"]
  ])("%s is wrong usage", async (name, message) => {
    const { code, stderr } = await InProcess.run(["schema", name])
    expect([code, stderr.startsWith(message)]).toEqual([2, true])
  })
})

describe("EventLine", () => {
  it("is one line without control characters, whatever the texts are", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (name) => {
        const line = EventLine.encode({ event: "x", name } as { event: string })
        expect(line).not.toMatch(/[\0-\x1f]/)
        expect(JSON.parse(line)).toEqual({ schema: 2, event: "x", name })
      })
    )
  })

  it("cuts texts of several sources between characters", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 1, max: 5 }), (text, size) => {
        const bytes = Buffer.from(text)
        const { decode, end } = EventLine.texts()
        const parts: Array<string> = []
        for (let at = 0; at < bytes.length; at += size) {
          parts.push(decode("a", bytes.subarray(at, at + size)))
          decode("b", Buffer.from([0xf0]))
        }
        expect([...parts, end("a")].join("")).toBe(text)
        for (const part of parts) expect(part.isWellFormed?.() ?? true).toBe(true)
      })
    )
    const { decode, end } = EventLine.texts()
    expect([decode("a", Buffer.from([0xe6, 0x97])), end("a"), end("a")]).toEqual(["", "\ufffd", ""])
  })

  it("rounds milliseconds to microseconds", () => {
    expect([EventLine.ms(1.23456), EventLine.ms(0.0001), EventLine.ms(5)]).toEqual([1.235, 0, 5])
  })
})
