import { relative, resolve } from "node:path"
import { Effect } from "effect"
import * as Await from "../programs/Await.js"
import type * as Events from "../services/host/Events.js"
import { codes, ExitError } from "../services/host/ExitCodes.js"
import * as Diagnostics from "../services/source/Diagnostics.js"
import { plural } from "../services/text/Plural.js"
import * as Command from "./kernel/Command.js"
import * as Flags from "./kernel/Flags.js"
import * as Reporter from "./kernel/Reporter.js"

const flags = {
  project: Flags.file("project", "a tsconfig.json: check its files, or the given FILEs under its settings"),
  ...Flags.reporting
}

/** The guide's program; its warnings name the lines of its source. */
const example = Effect.gen(function* () {
  const { pages } = yield* Effect.promise(() => import("virtual:guide"))
  yield* Await.exampleAt((name) => {
    const call = name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
    return { file: "src/programs/Await.ts", line: pages["await"]!.calls[call]!, column: 3 }
  })
})

const invalid = ({ message }: { readonly message: string }) =>
  Command.usage(message.replace(/^aio await: /, ""))

type Event = typeof Events.Await.Type

/** A line per finding on stdout; paths below `folder` are relative to it. */
const view = (folder: string): Reporter.View<Event> => {
  const shown = (file: string) => (file.startsWith(`${folder}/`) ? relative(folder, file) : file)
  return {
    show: (event) => {
      switch (event.event) {
        case "finding":
          return {
            line: `${shown(event.file)}:${event.line}:${event.column}  ${event.reason}; ${event.mend}`
          }
        case "unresolved":
          return {
            failure: `${plural(event.count, "import")} not found, '${event.specifier}' in ${shown(event.file)} first; values that depend on them are not checked`
          }
        case "unjudged":
          return {
            failure: `TypeScript gave no type for ${plural(event.count, "expression")}, the first at ${shown(event.file)}:${event.line}; effects there are not checked`
          }
        case "summary":
          return { summary: `${plural(event.files, "file")}, ${plural(event.findings, "finding")}` }
      }
    }
  }
}

export const command = Command.provide(
  Command.make(
    "await",
    {
      summary: "find effects, promises and generators that are built and never run",
      usage: ["[OPTIONS] FILE...", "--project tsconfig.json"],
      operands: "list",
      arguments: [["FILE", "TypeScript files, each checked under the nearest tsconfig.json"]],
      flags,
      examples: [
        ["await hello.ts", "check a file"],
        ["await --json hello.ts", "the findings as NDJSON"]
      ]
    },
    ({ project, ...config }, { operands: files }) =>
      Effect.gen(function* () {
        if (files.length === 0 && project === undefined) {
          return yield* Command.usage("no file is given; expected FILE... or --project tsconfig.json")
        }
        const found = yield* Await.find({ files, project }).pipe(
          Effect.catchTags({
            AnalyserMissing: invalid,
            EffectMissing: invalid,
            InvalidTarget: invalid,
            AnalyserFailed: ({ message }) =>
              new ExitError({ exitCode: codes.failed, message: `aio await: ${message}` })
          })
        )
        const { report } = yield* Reporter.make(view(resolve(".")), config)
        yield* report(Await.events(found))
        yield* Command.exit(found.findings.length > 0 ? codes.failed : codes.ok)
      }).pipe(Effect.scoped),
    { example: { run: () => example, instead: "write FILE..., or --project tsconfig.json" } }
  ),
  Diagnostics.layer
)
