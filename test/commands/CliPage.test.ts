import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Either, JSONSchema, Schema } from "effect"
import type * as Flag from "../../src/commands/kernel/Flag.js"
import * as Flags from "../../src/commands/kernel/Flags.js"
import * as Help from "../../src/commands/kernel/Help.js"
import * as Events from "../../src/services/host/Events.js"

const page = readFileSync(fileURLToPath(new URL("../../docs/cli.md", import.meta.url)), "utf8")

/** The cells of the first table below a heading. */
const table = (heading: string): ReadonlyArray<ReadonlyArray<string>> => {
  const [, section = ""] = page.split(`\n## ${heading}\n`)
  const lines = section
    .split("\n## ")[0]!
    .split("\n")
    .filter((line) => line.startsWith("|"))
  return lines.slice(2).map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim())
  )
}

const code = (text: string) => `\`${text.replaceAll("|", "\\|")}\``

const catalogue: ReadonlyArray<Flag.Flag<unknown>> = [
  ...Object.values(Flags).filter((flag): flag is Flag.Flag<never> => "parse" in flag),
  Flags.format(["lines", "null", "ndjson", "csv"]),
  Flags.onFailure(["cancel", "continue", "collect"], "cancel"),
  Flags.retries(0),
  Flags.grace("5s")
]

describe("docs/cli.md", () => {
  it("has the options of the catalogue, with their texts", () => {
    const sorted = [...catalogue].sort((a, b) => (a.name < b.name ? -1 : 1))
    expect(table("Options")).toEqual(
      sorted.map((flag) => [code(Help.spelling(flag)), flag.text.replaceAll("|", "\\|")])
    )
  })

  it("has the exit codes of aio --help", () => {
    expect(table("Exit codes")).toEqual(Help.exitCodes.map(([codes, text]) => [codes, text]))
  })

  it("has the old spellings that messages know", () => {
    expect(table("Old spellings")).toEqual(
      Object.entries(Flags.elsewhere).map(([before, now]) => [code(before), now.replaceAll("|", "\\|")])
    )
  })

  it.each(Object.keys(Events.byCommand) as Array<keyof typeof Events.byCommand>)(
    "has a sample of each event of aio %s, which its schema accepts",
    (name) => {
      const [, block = ""] =
        new RegExp(`\n### ${name}\n\n(?:[^#]*\n\n)?\`\`\`json\n([^\`]*)\`\`\``).exec(page) ?? []
      const samples = block
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as { event: string; schema: number })
      const decode = Schema.decodeUnknownEither(Events.byCommand[name] as unknown as Schema.Schema<object>, {
        onExcessProperty: "error"
      })
      for (const { schema, ...event } of samples) {
        expect(schema).toBe(2)
        expect(Either.mapLeft(decode(event), String)).toEqual(Either.right(event))
      }
      const known = Events.byCommand[name].members.map((member) => {
        const { properties } = JSONSchema.make(
          member as Schema.Schema<object>
        ) as JSONSchema.JsonSchema7Object
        return (properties["event"] as JSONSchema.JsonSchema7Enum).enum[0]
      })
      expect(new Set(samples.map(({ event }) => event))).toEqual(new Set(known))
    }
  )
})
