import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Path from "@effect/platform/Path"
import { Effect, Option } from "effect"
import * as Await from "../programs/Await.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import { plural } from "../services/text/Plural.js"
import { withRest } from "./kernel/Cli.js"

const files = Args.text({ name: "FILE" }).pipe(
  Args.withDescription("TypeScript files, each checked under the nearest tsconfig.json"),
  Args.repeated
)
const project = Options.text("project").pipe(
  Options.withPseudoName("file"),
  Options.withDescription("a tsconfig.json: check its files, or the given FILEs under its settings"),
  Options.optional
)
const json = Options.boolean("json").pipe(Options.withDescription("findings as NDJSON events"))

/** The guide's program; its warnings name the lines of its source. */
const example = Effect.gen(function* () {
  const { pages } = yield* Effect.promise(() => import("virtual:guide"))
  yield* Await.exampleAt((name) => {
    const call = name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
    return { file: "src/programs/Await.ts", line: pages["await"]!.calls[call]!, column: 3 }
  })
})

const invalid = (error: { readonly message: string }) => {
  const message = error.message.startsWith("aio await") ? error.message : `aio await: ${error.message}`
  return new UsageError({ message })
}

export const command = Command.make("await", { files, project, json }, ({ files: given, json, project }) =>
  Effect.gen(function* () {
    const files = yield* withRest(given)
    if (files.length === 0 && Option.isNone(project)) {
      if (!json) return yield* example
      return yield* invalid({ message: "--json needs FILEs or --project tsconfig.json" })
    }
    const path = yield* Path.Path
    const started = path.resolve(".")
    const shown = (file: string) => (file.startsWith(`${started}/`) ? path.relative(started, file) : file)
    const {
      files: seen,
      findings,
      unjudged,
      unresolved
    } = yield* Await.find({
      files,
      project: Option.getOrUndefined(project)
    }).pipe(
      Effect.catchTags({
        AnalyserMissing: invalid,
        EffectMissing: invalid,
        InvalidTarget: invalid,
        AnalyserFailed: ({ message }) =>
          new ExitError({ exitCode: codes.failed, message: `aio await: ${message}` })
      })
    )
    for (const { code, column, file, line, mend, rule, what } of findings) {
      if (json) yield* Output.event("finding", { file, line, column, rule, code, what, mend })
      else yield* Output.print(`${shown(file)}:${line}:${column}  ${what}; ${mend}`)
    }
    const [first] = unresolved
    if (first !== undefined) {
      yield* Output.note(
        `${plural(unresolved.length, "import")} not found, '${first.specifier}' in ${shown(first.file)} first; values that depend on them are not checked`
      )
    }
    const [failed] = unjudged
    if (failed !== undefined) {
      yield* Output.note(
        `aio await: TypeScript gave no type for ${plural(unjudged.length, "expression")}, the first at ${shown(failed.file)}:${failed.line}; effects there are not checked`
      )
    }
    if (json) {
      yield* Output.event("summary", {
        files: seen.length,
        findings: findings.length,
        ...(first === undefined ? {} : { unresolved: unresolved.length }),
        ...(failed === undefined ? {} : { unjudged: unjudged.length })
      })
    } else yield* Output.note(`${plural(seen.length, "file")}, ${plural(findings.length, "finding")}`)
    if (findings.length > 0) return yield* new ExitError({ exitCode: codes.failed, message: "" })
  })
).pipe(Command.withDescription("find effects, promises and generators that are built and never run"))
