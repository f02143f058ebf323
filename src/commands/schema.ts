import { Effect, JSONSchema, Schema } from "effect"
import * as EventLine from "../services/host/EventLine.js"
import * as Events from "../services/host/Events.js"
import * as Output from "../services/host/Output.js"
import { didYouMean } from "../services/text/Spelling.js"
import * as Command from "./kernel/Command.js"

const version = Schema.Struct({ schema: Schema.Literal(EventLine.schemaVersion) })

const names = Object.keys(Events.byCommand) as Array<keyof typeof Events.byCommand>

const schemaOf = (name: keyof typeof Events.byCommand): object =>
  JSONSchema.make(
    Schema.Union(
      ...Events.byCommand[name].members.map((event) => Schema.extend(version, event as Schema.Schema<object>))
    )
  )

export const command = Command.make(
  "schema",
  {
    summary: "print the JSON Schema of the events that --json prints, of one command or of all by name",
    usage: ["[COMMAND]"],
    operands: "mixed",
    arguments: [["COMMAND", "a subcommand with --json; without one, all by name", names]],
    flags: {},
    examples: [
      ["schema gather", "the events of aio gather --json"],
      ["schema", "the events of all commands"]
    ]
  },
  (_, words) =>
    Effect.gen(function* () {
      const [name, extra] = Command.everyWord(words)
      if (extra !== undefined) return yield* Command.usage(`unexpected '${extra}'; one command at a time`)
      const one = names.find((each) => each === name)
      if (name !== undefined && one === undefined) {
        return yield* Command.usage(
          `'${name}' has no events${didYouMean(name, names)} (commands with --json: ${names.join(", ")})`
        )
      }
      const schemas =
        one === undefined ? Object.fromEntries(names.map((each) => [each, schemaOf(each)])) : schemaOf(one)
      yield* Output.print(JSON.stringify(schemas, undefined, 2))
    })
)
