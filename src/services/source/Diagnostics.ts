import { mkdtempSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Context, Effect, Layer } from "effect"
import { type Analysis, type Problem, type Rule, rules, type Target } from "./Analysis.js"
import { type DiagnosticsError, EffectMissing, InvalidTarget } from "./DiagnosticsError.js"
import { type Analysers, failed, killed, locate } from "./internal/analysers.js"
import { excerpt } from "./internal/dropped.js"
import { type Inspected, inspect } from "./internal/inspect.js"
import { isMeantToReturn, originOf } from "./internal/meant.js"
import { type Group, groupsOf, plan } from "./internal/projects.js"
import { type Report, runEffectDiagnostics } from "./internal/tsgo.js"
import { processOf } from "./internal/typescript.js"

// Two analysers, both packages of the user: the Effect diagnostics of @effect/tsgo find effects, and TypeScript 7, which
// @effect/tsgo needs anyway, has the types of everything else. Neither is bundled.

/**
 * Finds effects, promises and generators that are built and dropped in TypeScript source.
 *
 * @since 0.1.0
 * @category services
 */
export class Diagnostics extends Context.Tag("effect-asyncio/services/Diagnostics")<
  Diagnostics,
  {
    /** Analyses files or a project. Interruption kills the analysers. */
    readonly analyse: (target: Target) => Effect.Effect<Analysis, DiagnosticsError>
  }
>() {}

// make

/** The report without effects inside effects that are meant, and without those that are reported twice. */
const withoutNoise = async ({ ast }: Analysers, { asked, problems, sources }: Inspected, report: Report) => {
  const inside = new Set<string>()
  for (const { column, file, line, rule } of problems) {
    if (rule === "effectInEffect") inside.add(`${file}:${line}:${column}`)
  }
  const meant = new Set<Report["diagnostics"][number]>()
  const named = (rule: Rule) => report.diagnostics.filter(({ name }) => name === rule)
  for (const one of named("returnEffectInGen")) {
    const source = sources.get(one.file)
    if (source !== undefined && (await isMeantToReturn(asked, source, one.start))) meant.add(one)
    else inside.add(`${one.file}:${one.line}:${one.column}`)
  }
  for (const one of named("effectInVoidSuccess")) {
    const source = sources.get(one.file)
    if (source === undefined) continue
    const { idle, places } = originOf(ast, source, one.start)
    const reported = places.some((place) => {
      const { character, line } = source.getLineAndCharacterOfPosition(place)
      return inside.has(`${one.file}:${line + 1}:${character + 1}`)
    })
    if (idle || reported) meant.add(one)
  }
  return report.diagnostics.filter((one) => !meant.has(one))
}

const analyseGroup = (group: Group, home: string) =>
  Effect.gen(function* () {
    const directory = dirname(group.config ?? group.files![0]!)
    const analysers = yield* locate(directory, home)
    const attempt = <A>(body: () => Promise<A>) =>
      Effect.tryPromise({
        try: body,
        catch: (error) =>
          error instanceof InvalidTarget || error instanceof EffectMissing
            ? error
            : failed("TypeScript")(error)
      })
    const scratch = yield* Effect.acquireRelease(
      Effect.sync(() => realpathSync(mkdtempSync(join(tmpdir(), "aio-await-")))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
    const api = yield* Effect.acquireRelease(
      Effect.sync(() => new analysers.api.API({ cwd: directory })),
      (api) =>
        Effect.suspend(() => {
          const child = processOf(api)
          return Effect.zipRight(
            Effect.promise(() => api.close()),
            child === undefined ? Effect.void : killed(child)
          )
        })
    )
    const { config, files, project } = yield* attempt(() => plan(api, group, scratch))
    if (files.length === 0) {
      return yield* new InvalidTarget({ path: config, problem: "this project has no TypeScript files" })
    }
    const [report, inspected] = yield* Effect.all(
      [runEffectDiagnostics(analysers, config), attempt(() => inspect(analysers.ast, project, files))],
      { concurrency: 2 }
    )
    // effect-tsgo skips files that it does not understand, and reports success.
    const checked = new Set(report.files.map(({ file }) => file))
    const missed = files.filter((file) => !checked.has(file))
    if (missed.length > 0) {
      return yield* failed("effect-tsgo diagnostics")(
        `it left out ${missed.length} of ${files.length} files, ${missed[0]} first`
      )
    }
    const diagnostics = yield* attempt(() => withoutNoise(analysers, inspected, report))
    const problems = diagnostics.flatMap(
      ({ column, file, length, line, message, name, start }): Array<Problem> => {
        const text = inspected.sources.get(file)?.text
        if (text === undefined || !rules.includes(name as Rule)) return []
        const rule =
          name === "floatingEffect" && message.includes("`Stream<") ? "floatingStream" : (name as Rule)
        const code = text.slice(start, start + length)
        // The rest of the line too, if the report marks only the keyword.
        const shown = /^(yield|return)$/.test(code) ? /.*/.exec(text.slice(start))![0] : code
        return [{ file, line, column, rule, code: excerpt(shown) }]
      }
    )
    // An effect inside an effect that both analysers report is reported once.
    const reported = new Set(problems.map(({ column, file, line }) => `${file}:${line}:${column}`))
    const ours = inspected.problems.filter(
      ({ column, file, line, rule }) =>
        rule !== "effectInEffect" || !reported.has(`${file}:${line}:${column}`)
    )
    return {
      files,
      problems: [...problems, ...ours],
      unresolved: inspected.unresolved,
      unjudged: inspected.unjudged
    }
  }).pipe(Effect.scoped)

const sorted = (problems: ReadonlyArray<Problem>): ReadonlyArray<Problem> => {
  // effect-tsgo reports an effect as an error both at the expression and at its name.
  const key = ({ column, file, line, rule }: Problem) =>
    [file, line, rule, rule === "effectInFailure" ? "" : column].join("\0")
  const each = new Map(problems.map((problem) => [key(problem), problem]))
  return Array.from(each.values()).sort(
    (a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line || a.column - b.column
  )
}

/**
 * Runs `effect-tsgo diagnostics` as a child process and asks TypeScript 7 about promises and generators. Both packages
 * are found from the project's folder first, then from this package. Paths are relative to the working directory.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Diagnostics> = Layer.suspend(() =>
  layerAt(dirname(fileURLToPath(import.meta.url)))
)

/**
 * {@link layer} that finds the analysers from `home` if the project has none.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerAt = (home: string): Layer.Layer<Diagnostics> =>
  Layer.succeed(Diagnostics, {
    analyse: Effect.fn("Diagnostics.analyse")(function* (target) {
      const groups = yield* Effect.try({
        try: () => groupsOf(target),
        catch: (error) => (error instanceof InvalidTarget ? error : failed("reading the file system")(error))
      })
      const analyses = yield* Effect.forEach(groups, (group) => analyseGroup(group, home))
      return {
        files: analyses.flatMap(({ files }) => files),
        problems: sorted(analyses.flatMap(({ problems }) => problems)),
        unresolved: analyses.flatMap(({ unresolved }) => unresolved),
        unjudged: analyses.flatMap(({ unjudged }) => unjudged)
      }
    })
  })

/**
 * Finds these problems in these files; any other file is invalid. A project without files named is all of them.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (
  contents: Readonly<Record<string, ReadonlyArray<Omit<Problem, "file">>>>
): Layer.Layer<Diagnostics> =>
  Layer.succeed(Diagnostics, {
    analyse: ({ files }) =>
      Effect.gen(function* () {
        const asked = files.length === 0 ? Object.keys(contents) : files
        const unknown = asked.find((file) => !Object.hasOwn(contents, file))
        if (unknown !== undefined) {
          return yield* new InvalidTarget({ path: unknown, problem: "the file does not exist" })
        }
        const problems = asked.flatMap((file) => contents[file]!.map((problem) => ({ file, ...problem })))
        return { files: asked, problems: sorted(problems), unresolved: [], unjudged: [] }
      })
  })
