import { statSync } from "node:fs"
import { dirname, join } from "node:path"
import { shown } from "../../host/Failures.js"
import { guarded } from "../../text/Foreign.js"
import type { Place, Problem, Rule, Unresolved } from "../Analysis.js"
import { EffectMissing, InvalidTarget } from "../DiagnosticsError.js"
import * as Callbacks from "./callbacks.js"
import { excerpt, isSwitchedOff, specifiersOf, suspects } from "./dropped.js"
import { ancestors, readJson } from "./packages.js"
import { invalid } from "./projects.js"
import * as Questions from "./questions.js"
import type { Api, Ast } from "./typescript.js"

// Promises, generators and hidden effects that are dropped in the files of a project, by the types of TypeScript 7.

const ruleOf: Readonly<Record<Questions.Kind, Rule>> = {
  Effect: "floatingEffect",
  Stream: "floatingStream",
  Layer: "floatingLayer",
  Promise: "floatingPromise",
  Generator: "floatingGenerator"
}

/** The result of {@link inspect}. */
export interface Inspected {
  readonly sources: ReadonlyMap<string, Ast.SourceFile>
  readonly problems: ReadonlyArray<Problem>
  readonly unresolved: ReadonlyArray<Unresolved>
  readonly unjudged: ReadonlyArray<Place>
  readonly asked: Questions.Questions
}

const packageOf = (specifier: string): string => /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier

const onEffect = /^(effect|@effect|@[^/]+\/effect)(?=[/-]|$)|^effect-/
const effectTypes = /^(.*\/effect)\/(?:.*\/)?Effect\.(?:d\.[mc]?)?ts$/

/** Fails if `effect`, or a package built on it, is imported and has no types of effect 3. */
const checkEffect = (
  imports: ReadonlyArray<Unresolved & { readonly found: boolean }>,
  sources: ReadonlyArray<string>
): void => {
  const ours = imports.filter(({ specifier }) => onEffect.test(specifier))
  const fail = ({ file, specifier }: Unresolved, problem: string) => {
    throw new EffectMissing({ file: shown(file, process.cwd()), specifier: packageOf(specifier), problem })
  }
  const missing = ours.find(({ found }) => !found)
  if (missing !== undefined) {
    const folder = dirname(missing.file)
    const installed = ancestors(folder).some((above) =>
      statSync(join(above, "node_modules", packageOf(missing.specifier)), { throwIfNoEntry: false })
    )
    fail(
      missing,
      installed ? `is installed without types for that in ${folder}` : `is not installed in ${folder}`
    )
  }
  const direct = ours.find(({ specifier }) => /^effect(\/|$)/.test(specifier))
  if (direct === undefined) return
  const homes = new Set(sources.flatMap((source) => effectTypes.exec(source)?.[1] ?? []))
  if (homes.size === 0) fail(direct, "is installed without its types: they lack Effect.d.ts")
  for (const home of homes) {
    const version = guarded(() => String(readJson(join(home, "package.json")).version), "3")
    if (!/^3(\.|$)/.test(version))
      fail(direct, `is installed as ${version} in ${home}, and effect 3 is expected`)
  }
}

/** Parses the files and finds the promises, generators and hidden effects that are dropped in them. */
export const inspect = async (
  ast: typeof Ast,
  project: Api.Project,
  files: ReadonlyArray<string>
): Promise<Inspected> => {
  const sources = new Map<string, Ast.SourceFile>()
  const problems: Array<Problem> = []
  const imports: Array<Unresolved & { readonly found: boolean }> = []
  const { checker } = project
  const kindOf = Questions.classify(checker)
  const asked = Questions.questions(ast, checker, kindOf)
  const failures: Array<Place> = []
  for (const file of files) {
    const source = await project.program.getSourceFile(file)
    if (source === undefined)
      throw new InvalidTarget({ path: file, problem: "TypeScript cannot read this file" })
    sources.set(file, source)
    const [error] = await project.program.getSyntacticDiagnostics(file)
    if (error !== undefined) throw invalid(file, error, source)
    const specifiers = specifiersOf(ast, source)
    const modules = await checker.getSymbolAtLocation(specifiers)
    for (const [i, { text }] of specifiers.entries()) {
      imports.push({ file, specifier: text, found: modules[i] !== undefined })
    }
    const found = suspects(ast, source)
    const unanswered = new Set<Ast.Node>()
    const unjudged = (node: Ast.Node) => {
      unanswered.add(node)
    }
    const nodes = found.map(({ node }) => node)
    const types = await Questions.typesAt(checker, nodes, unjudged)
    const report = (node: Ast.Node, rule: Rule) => {
      const start = node.getStart(source)
      const { character, line } = source.getLineAndCharacterOfPosition(start)
      if (isSwitchedOff(source.text, start, rule)) return
      const code = excerpt(source.text.slice(start, node.end))
      problems.push({ file, line: line + 1, column: character + 1, rule, code })
    }
    for (const [i, { handled, node, whole }] of found.entries()) {
      const type = types[i]
      if (type === undefined) continue
      await Questions.judging(node, unjudged, async () => {
        const kind = await kindOf(type)
        if (kind === undefined || (whole && (await isReportedByTsgo(kind, type)))) return
        if (kind === "Promise" && (await asked.isEffect(type))) report(node, "effectInPromise")
        if (!handled) report(node, ruleOf[kind])
      })
    }
    for (const { node, rule } of await Callbacks.find(asked, source, unjudged)) report(node, rule)
    const lines = Array.from(
      unanswered,
      (node) => source.getLineAndCharacterOfPosition(node.getStart(source)).line
    )
    for (const line of lines.sort((a, b) => a - b)) failures.push({ file, line: line + 1 })
  }
  checkEffect(imports, await project.program.getSourceFileNames())
  const unresolved = imports.filter(({ found }) => !found).map(({ file, specifier }) => ({ file, specifier }))
  return { sources, problems, unresolved, unjudged: failures, asked }
}

/** The Effect diagnostics report a statement that is an effect or a stream itself. */
const isReportedByTsgo = async (kind: Questions.Kind, type: Api.Type): Promise<boolean> =>
  (kind === "Effect" || kind === "Stream") && (await type.getSymbol())?.name === kind
