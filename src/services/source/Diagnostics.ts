import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, extname, join, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { Context, Data, Effect, Layer } from "effect"
import type * as Ast from "typescript/unstable/ast"
import type * as Api from "typescript/unstable/async"
import { shown } from "../host/Failures.js"
import { guarded } from "../text/Foreign.js"
import * as Callbacks from "./internal/callbacks.js"
import { nativeImport } from "./NativeImport.js"

// Two analysers, both the user's own packages: the Effect diagnostics of @effect/tsgo know effects, and TypeScript 7,
// which those need beside them anyway, knows the type of everything else. Neither is bundled.

// model

/** What to analyse: a project, some files under that project's settings, or files under the nearest tsconfig.json. */
export interface Target {
  readonly files: ReadonlyArray<string>
  /** The path of a tsconfig.json. */
  readonly project?: string | undefined
}

/** The rules whose findings are reported: those of the Effect diagnostics by their own name, and ours. */
export const rules = [
  "floatingEffect",
  "floatingEffectInVitest",
  "missingStarInYieldEffectGen",
  "returnEffectInGen",
  "effectInVoidSuccess",
  "effectInFailure",
  "promiseInEffectSuccess",
  "lazyPromiseInEffectSync",
  "effectInVoidCallback",
  "effectInEffect",
  "effectInPromise",
  "floatingStream",
  "floatingLayer",
  "floatingPromise",
  "floatingGenerator"
] as const

/** A rule of {@link rules}. */
export type Rule = (typeof rules)[number]

/** A place where something asynchronous is built and nothing comes of it. Lines and columns count from 1. */
export interface Problem {
  /** An absolute path. */
  readonly file: string
  readonly line: number
  readonly column: number
  readonly rule: Rule
  /** The source text in question, on one line and not longer than 60 characters. */
  readonly code: string
}

/** An import that leads nowhere, so that nothing is known of what it gives. */
export interface Unresolved {
  readonly file: string
  readonly specifier: string
}

/** A place in source code. The line counts from 1. */
export interface Place {
  readonly file: string
  readonly line: number
}

/** What was looked at and what was found, by file and place. */
export interface Analysis {
  readonly files: ReadonlyArray<string>
  readonly problems: ReadonlyArray<Problem>
  readonly unresolved: ReadonlyArray<Unresolved>
  /** Expressions over which TypeScript fails, so that effects there are not judged. */
  readonly unjudged: ReadonlyArray<Place>
}

// errors

/** A package that the analysis stands on is not installed where the code or this package could find it. */
export class AnalyserMissing extends Data.TaggedError("AnalyserMissing")<{
  readonly packages: ReadonlyArray<string>
}> {
  override get message() {
    return `aio await needs the Effect diagnostics: npm install --save-dev ${this.packages.join(" ")}`
  }
}

/** The file or the project is not one that can be analysed. */
export class InvalidTarget extends Data.TaggedError("InvalidTarget")<{
  readonly path: string
  readonly problem: string
}> {
  override get message() {
    return `${this.path}: ${this.problem}`
  }
}

/** `effect`, or a package built on it, is imported and not there: its effects would pass as values of any type. */
export class EffectMissing extends Data.TaggedError("EffectMissing")<{
  readonly file: string
  readonly specifier: string
  /** What is wrong with it: `is not installed in DIR`. */
  readonly problem: string
}> {
  override get message() {
    return `${this.specifier}, which ${this.file} imports, ${this.problem}; effects cannot be judged`
  }
}

/** An analyser crashed, or did not do what it was asked for. */
export class AnalyserFailed extends Data.TaggedError("AnalyserFailed")<{
  readonly analyser: string
  readonly problem: string
}> {
  override get message() {
    return `${this.analyser} failed: ${this.problem}`
  }
}

export type DiagnosticsError = AnalyserMissing | InvalidTarget | EffectMissing | AnalyserFailed

/** Finds what is built and dropped in TypeScript source. */
export class Diagnostics extends Context.Tag("effect-asyncio/services/Diagnostics")<
  Diagnostics,
  {
    /** Interruption kills the analysers. */
    readonly analyse: (target: Target) => Effect.Effect<Analysis, DiagnosticsError>
  }
>() {}

// finding the analysers

interface Tools {
  /** The script behind the command `effect-tsgo`. */
  readonly tsgo: string
  /** Where TypeScript was found from: effect-tsgo looks for it in its working directory. */
  readonly home: string
  readonly api: typeof Api
  readonly ast: typeof Ast
}

const resolveFrom = (directory: string, id: string): string | undefined => {
  try {
    return createRequire(join(directory, "noop.js")).resolve(id)
  } catch {
    return undefined
  }
}

const readJson = (path: string) => JSON.parse(readFileSync(path, "utf8"))

/** The names under which effect-tsgo, too, looks for TypeScript 7. */
const typescripts = ["typescript", "@typescript/native"]

const locate = (directory: string, home: string): Effect.Effect<Tools, AnalyserMissing | AnalyserFailed> =>
  Effect.gen(function* () {
    const places = [directory, home]
    const tsgo = places.map((place) => resolveFrom(place, "@effect/tsgo/package.json")).find(Boolean)
    const native = places
      .flatMap((home) => typescripts.map((name) => ({ home, name })))
      .find(({ home, name }) => resolveFrom(home, `${name}/unstable/async`))
    if (tsgo === undefined || native === undefined) {
      // An older TypeScript stays what the project compiles with; the new one goes beside it.
      const older = resolveFrom(directory, "typescript/package.json") !== undefined
      return yield* new AnalyserMissing({
        packages: [
          ...(tsgo === undefined ? ["@effect/tsgo"] : []),
          ...(native === undefined ? [older ? "@typescript/native@npm:typescript@7" : "typescript@7"] : [])
        ]
      })
    }
    const load = (path: string) =>
      nativeImport(pathToFileURL(resolveFrom(native.home, `${native.name}/${path}`)!).href)
    return yield* Effect.tryPromise({
      try: async () => ({
        tsgo: join(dirname(tsgo), readJson(tsgo).bin["effect-tsgo"]),
        home: native.home,
        api: await load("unstable/async"),
        ast: await load("unstable/ast")
      }),
      catch: failed(native.name)
    })
  })

const failed = (analyser: string) => (error: unknown) =>
  new AnalyserFailed({ analyser, problem: error instanceof Error ? firstLine(error.message) : String(error) })

const firstLine = (text: string) =>
  text
    .split("\n")
    .find((line) => line.trim() !== "")
    ?.trim() ?? "it said nothing"

// the Effect diagnostics

interface Report {
  readonly files: ReadonlyArray<{ readonly file: string }>
  readonly diagnostics: ReadonlyArray<{
    readonly file: string
    readonly start: number
    readonly length: number
    readonly line: number
    readonly column: number
    readonly name: string
    readonly message: string
  }>
}

// Given here, the settings need no plugin in the user's tsconfig, and what it switches off is looked for all the
// same; what a comment in the source switches off is not.
const settings = JSON.stringify({
  diagnosticSeverity: Object.fromEntries(rules.map((rule) => [rule, "error"]))
})

const runEffectDiagnostics = (tools: Tools, config: string): Effect.Effect<Report, AnalyserFailed> =>
  Effect.async((resume) => {
    const words = ["--project", config, "--format", "json", "--list-files", "--lspconfig", settings]
    const child = spawn(process.execPath, [tools.tsgo, "diagnostics", ...words], {
      cwd: tools.home,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true // the command is a script that waits for a program of its own: both are killed as a group
    })
    const said = { stdout: "", stderr: "" }
    child.stdout.setEncoding("utf8").on("data", (text) => {
      said.stdout += text
    })
    child.stderr.setEncoding("utf8").on("data", (text) => {
      said.stderr += text
    })
    const fail = failed("effect-tsgo diagnostics")
    child.once("error", (error) => resume(fail(error)))
    child.once("close", () => {
      try {
        const report: Report = JSON.parse(said.stdout)
        resume(report.files ? Effect.succeed(report) : fail("its report lists no files"))
      } catch {
        resume(fail(firstLine(said.stderr || said.stdout)))
      }
    })
    return killed(child)
  })

/** Kills the process, with its group where it leads one, and waits until it is gone. It reads only: KILL is fine. */
const killed = (child: ChildProcess): Effect.Effect<void> =>
  Effect.promise(async () => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, child.stdout ? "close" : "exit")
    try {
      process.kill(-child.pid, "SIGKILL")
    } catch {
      child.kill("SIGKILL")
    }
    await gone
  })

// the rest: what TypeScript 7 knows of an expression that stands alone

type Kind = Callbacks.Kind
const ruleOf: Readonly<Record<Kind, Rule>> = {
  Effect: "floatingEffect",
  Stream: "floatingStream",
  Layer: "floatingLayer",
  Promise: "floatingPromise",
  Generator: "floatingGenerator"
}

const library = /(^|\/)lib\.[\w.]+\.d\.[mc]?ts$/
const kinds: Readonly<Record<string, readonly [Kind, declaredIn: RegExp]>> = {
  Promise: ["Promise", library],
  PromiseLike: ["Promise", library],
  Generator: ["Generator", library],
  AsyncGenerator: ["Generator", library],
  Effect: ["Effect", /\/effect\/(.*\/)?Effect\./],
  Stream: ["Stream", /\/effect\/(.*\/)?Stream\./],
  Layer: ["Layer", /\/effect\/(.*\/)?Layer\./]
}

interface Suspect {
  readonly node: Ast.Expression
  /** Its failure is taken care of; what it gives is dropped all the same. */
  readonly handled: boolean
  /** The expression is the whole statement, which is what the Effect diagnostics look at. */
  readonly whole: boolean
}

/** The expressions whose value nobody takes when this one stands as a statement: itself, or its branches. */
const dropped = (ast: typeof Ast, node: Ast.Expression, whole: boolean): ReadonlyArray<Suspect> => {
  const inner = (node: Ast.Expression) => dropped(ast, node, false)
  if (ast.isParenthesizedExpression(node)) return dropped(ast, node.expression, whole)
  if (ast.isVoidExpression(node)) return [] // dropped on purpose
  if (ast.isConditionalExpression(node)) return [...inner(node.whenTrue), ...inner(node.whenFalse)]
  if (ast.isBinaryExpression(node)) {
    switch (node.operatorToken.kind) {
      case ast.SyntaxKind.CommaToken:
        return [...inner(node.left), ...inner(node.right)]
      case ast.SyntaxKind.AmpersandAmpersandToken:
      case ast.SyntaxKind.BarBarToken:
      case ast.SyntaxKind.QuestionQuestionToken:
        return inner(node.right)
      default:
        return [] // an assignment keeps its value
    }
  }
  return [{ node, whole, handled: isHandled(ast, node) }]
}

const suspects = (ast: typeof Ast, file: Ast.SourceFile): ReadonlyArray<Suspect> => {
  const found: Array<Suspect> = []
  const visit = (node: Ast.Node): void => {
    if (ast.isExpressionStatement(node)) found.push(...dropped(ast, node.expression, true))
    node.forEachChild(visit)
  }
  file.forEachChild(visit)
  return found
}

/** `promise.catch(f)` and `promise.then(f, g)`: it has been thought of what comes of a failure. */
const isHandled = (ast: typeof Ast, node: Ast.Node): boolean => {
  if (!ast.isCallExpression(node) || !ast.isPropertyAccessExpression(node.expression)) return false
  const { expression: object, name } = node.expression
  if (name.text === "finally") return isHandled(ast, object)
  return (
    node.arguments.length >= (name.text === "catch" ? 1 : name.text === "then" ? 2 : Number.POSITIVE_INFINITY)
  )
}

/** What decides the kind of a type: its own, or that of the types that it is made of. */
interface Parts {
  readonly kind?: Kind
  /** Members of a union, elements of an array: what they are, it is. */
  readonly members: ReadonlyArray<Api.Type>
  /** A class on `Promise` is a promise; a fiber is an effect too, and may well be left alone. */
  readonly bases: ReadonlyArray<Api.Type>
}

const classify = (checker: Api.Checker) => {
  const none: Parts = { members: [], bases: [] }
  const look = async (type: Api.Type): Promise<Parts> => {
    if (type.isUnionType() || type.isIntersectionType()) return { ...none, members: await type.getTypes() }
    if (!type.isObjectType()) return none
    const symbol = await type.getSymbol()
    const [kind, declaredIn] = (Object.hasOwn(kinds, symbol?.name ?? "") && kinds[symbol!.name]) || []
    if (kind !== undefined && symbol!.declarations.some(({ path }) => declaredIn!.test(path)))
      return { ...none, kind }
    if (symbol === undefined || (!type.isTypeReference() && !type.isClassOrInterface())) return none
    // an array of promises, or of anything else in question, is dropped as they are
    if (symbol.name === "Array" || symbol.name === "ReadonlyArray") {
      return type.isTypeReference() ? { ...none, members: await checker.getTypeArguments(type) } : none
    }
    const declared = type.isTypeReference() ? await type.getTarget() : type
    return { ...none, bases: (await declared.getBaseTypes()) ?? [] }
  }
  const partsOf = Callbacks.memoised(look)
  // A type may be made of itself, so a walk waits for parts only, never for what another walk finds.
  const walk = async (type: Api.Type, seen: Set<number>, depth: number): Promise<Kind | undefined> => {
    if (depth > 8 || seen.has(type.id)) return undefined
    seen.add(type.id)
    const { bases, kind, members } = await partsOf(type)
    if (kind !== undefined) return kind
    let unknown: unknown
    for (const part of [...members, ...bases]) {
      try {
        const found = await walk(part, seen, depth + 1)
        if (found !== undefined && (found === "Promise" || members.includes(part))) return found
      } catch (error) {
        unknown = error
      }
    }
    if (unknown !== undefined) throw unknown
    return undefined
  }
  return Callbacks.memoised((type) => walk(type, new Set(), 0))
}

const excerpt = (text: string): string => {
  const line = text.replace(/\s+/g, " ").trim()
  return line.length > 60 ? `${line.slice(0, 59)}…` : line
}

interface Inspected {
  readonly sources: ReadonlyMap<string, Ast.SourceFile>
  readonly problems: ReadonlyArray<Problem>
  readonly unresolved: ReadonlyArray<Unresolved>
  readonly unjudged: ReadonlyArray<Place>
  readonly asked: Callbacks.Questions
}

/** What the file imports values or types from, by the texts that name it. */
const specifiersOf = (ast: typeof Ast, file: Ast.SourceFile): ReadonlyArray<Ast.StringLiteral> => {
  const found: Array<Ast.StringLiteral> = []
  const add = (node: Ast.Node | undefined) => {
    if (node !== undefined && ast.isStringLiteral(node)) found.push(node)
  }
  const visit = (node: Ast.Node): void => {
    if (ast.isImportDeclaration(node)) {
      if (node.importClause !== undefined) add(node.moduleSpecifier)
    } else if (ast.isExportDeclaration(node)) add(node.moduleSpecifier)
    else if (ast.isExternalModuleReference(node)) add(node.expression)
    else if (ast.isCallExpression(node) && node.expression.kind === ast.SyntaxKind.ImportKeyword)
      add(node.arguments[0])
    node.forEachChild(visit)
  }
  file.forEachChild(visit)
  return found
}

const packageOf = (specifier: string): string => /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier

const onEffect = /^(effect|@effect|@[^/]+\/effect)(?=[/-]|$)|^effect-/
const effectTypes = /^(.*\/effect)\/(?:.*\/)?Effect\.(?:d\.[mc]?)?ts$/

/** Fails where what is imported from `effect`, or from a package built on it, has no types of effect 3. */
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
      fail(direct, `is installed as ${version} in ${home}, and effect 3 is known here`)
  }
}

/** Parses the files and finds the promises, generators and hidden effects that are dropped in them. */
const inspect = async (
  tools: Tools,
  project: Api.Project,
  files: ReadonlyArray<string>
): Promise<Inspected> => {
  const sources = new Map<string, Ast.SourceFile>()
  const problems: Array<Problem> = []
  const imports: Array<Unresolved & { readonly found: boolean }> = []
  const { checker } = project
  const kindOf = classify(checker)
  const asked = Callbacks.questions(tools.ast, checker, kindOf)
  const failures: Array<Place> = []
  for (const file of files) {
    const source = await project.program.getSourceFile(file)
    if (source === undefined)
      throw new InvalidTarget({ path: file, problem: "TypeScript cannot read this file" })
    sources.set(file, source)
    const [error] = await project.program.getSyntacticDiagnostics(file)
    if (error !== undefined) throw invalid(file, error, source)
    const specifiers = specifiersOf(tools.ast, source)
    const modules = await checker.getSymbolAtLocation(specifiers)
    for (const [i, { text }] of specifiers.entries()) {
      imports.push({ file, specifier: text, found: modules[i] !== undefined })
    }
    const found = suspects(tools.ast, source)
    const unanswered = new Set<Ast.Node>()
    const unjudged = (node: Ast.Node) => {
      unanswered.add(node)
    }
    const nodes = found.map(({ node }) => node)
    const types = await Callbacks.typesAt(checker, nodes, unjudged)
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
      await Callbacks.judging(node, unjudged, async () => {
        const kind = await kindOf(type)
        if (kind === undefined || (whole && (await isTheirs(kind, type)))) return
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

// By the comments with which the Effect diagnostics are switched off: on the line above, or for the file.
const isSwitchedOff = (text: string, at: number, rule: Rule): boolean => {
  const above = text.slice(0, text.lastIndexOf("\n", at - 1) + 1)
  const lists = Array.from(above.matchAll(/@effect-diagnostics\s+(.*)$/gm), ([, list]) => list!)
  const line = above.trimEnd()
  const comment = line.slice(line.lastIndexOf("\n") + 1)
  lists.push(/@effect-diagnostics-next-line\s+(.*)$/.exec(comment)?.[1] ?? "")
  return lists.some((list) => list.split(/\s+/).some((one) => one === `${rule}:off` || one === "*:off"))
}

/** A statement that is an effect or a stream itself is the Effect diagnostics' to report. */
const isTheirs = async (kind: Kind, type: Api.Type): Promise<boolean> =>
  (kind === "Effect" || kind === "Stream") && (await type.getSymbol())?.name === kind

const invalid = (path: string, { pos, text }: Api.Diagnostic, source?: Ast.SourceFile): InvalidTarget => {
  const at = source?.getLineAndCharacterOfPosition(pos)
  return new InvalidTarget({
    path: at === undefined ? path : `${path}:${at.line + 1}:${at.character + 1}`,
    problem: `${source === undefined ? "this is no usable tsconfig" : "this does not parse"}: ${text}`
  })
}

// projects

const isSource = (file: string) => /\.[mc]?tsx?$/.test(file) && !/\.d\.[mc]?ts$/.test(file)

const checkFile = (path: string): string => {
  const file = resolve(path)
  const stat = statSync(file, { throwIfNoEntry: false })
  const problem =
    stat === undefined
      ? "there is no such file"
      : !stat.isFile()
        ? "this is not a file; name TypeScript files, or a project with --project tsconfig.json"
        : !isSource(file)
          ? `${extname(file) || "a file without extension"} is not analysed; name .ts, .tsx, .mts or .cts files`
          : undefined
  if (problem !== undefined) throw new InvalidTarget({ path, problem })
  return file
}

const checkProject = (path: string): string => {
  const stat = statSync(resolve(path), { throwIfNoEntry: false })
  const config = stat?.isDirectory() ? join(resolve(path), "tsconfig.json") : resolve(path)
  if (!statSync(config, { throwIfNoEntry: false })?.isFile()) {
    throw new InvalidTarget({
      path,
      problem: "there is no such project; name a tsconfig.json, or its folder"
    })
  }
  return config
}

const ancestors = (directory: string): ReadonlyArray<string> => {
  const parent = dirname(directory)
  return parent === directory ? [directory] : [directory, ...ancestors(parent)]
}

const nearestConfig = (file: string): string | undefined =>
  ancestors(dirname(file))
    .map((folder) => join(folder, "tsconfig.json"))
    .find((config) => statSync(config, { throwIfNoEntry: false })?.isFile())

/** For files without a tsconfig. */
const defaults = { target: "ESNext", module: "NodeNext", strict: true, skipLibCheck: true, types: ["*"] }

const open = async (api: Api.API, config: string): Promise<Api.Project> => {
  const project = (await api.updateSnapshot({ openProjects: [config] })).getProject(config)
  if (project === undefined)
    throw new InvalidTarget({ path: config, problem: "TypeScript cannot read this project" })
  return project
}

/** One run of the analysers: the files under these settings, or all of the project's. */
interface Group {
  readonly config: string | undefined
  readonly files: ReadonlyArray<string> | undefined
}

const groupsOf = ({ files, project }: Target): ReadonlyArray<Group> => {
  const config = project === undefined ? undefined : checkProject(project)
  if (files.length === 0) return [{ config, files: undefined }]
  const groups = new Map<string | undefined, Array<string>>()
  for (const file of new Set(files.map(checkFile))) {
    const key = config ?? nearestConfig(file)
    groups.set(key, [...(groups.get(key) ?? []), file])
  }
  return Array.from(groups, ([config, files]) => ({ config, files }))
}

interface Plan {
  readonly config: string
  readonly project: Api.Project
  readonly files: ReadonlyArray<string>
}

const plan = async (api: Api.API, group: Group, scratch: string): Promise<Plan> => {
  const base = group.config === undefined ? undefined : await open(api, group.config)
  const [error] = (await base?.program.getConfigFileParsingDiagnostics()) ?? []
  // No files of its own is no fault when files are named.
  const harmless = group.files !== undefined && (error?.code === 18002 || error?.code === 18003)
  if (error !== undefined && !harmless) throw invalid(group.config!, error)
  const absent = group.files
    ? undefined
    : base!.rootFiles.find((file) => !statSync(file, { throwIfNoEntry: false }))
  if (absent !== undefined)
    throw new InvalidTarget({ path: group.config!, problem: `it names ${absent}, which does not exist` })
  const files = group.files ?? (await ownSources(base!))
  if (group.files === undefined && files.every((file) => base!.rootFiles.includes(file))) {
    return { config: group.config!, project: base!, files }
  }
  // The Effect diagnostics look at a project's root files alone, so what is asked for is made into a project.
  const config = join(scratch, "tsconfig.json")
  const home = dirname(group.config ?? files[0]!)
  const typeRoots =
    base?.compilerOptions.typeRoots ?? ancestors(home).map((f) => join(f, "node_modules/@types"))
  const compilerOptions = {
    ...(base ? {} : defaults),
    noEmit: true,
    composite: false,
    incremental: false,
    typeRoots
  }
  const ambient = base?.rootFiles.filter((file) => /\.d\.[mc]?ts$/.test(file)) ?? []
  writeFileSync(
    config,
    JSON.stringify({
      ...(group.config === undefined ? {} : { extends: group.config }),
      compilerOptions,
      files: [...files, ...ambient],
      include: []
    })
  )
  return { config, project: await open(api, config), files }
}

const ownSources = async ({ program }: Api.Project): Promise<ReadonlyArray<string>> => {
  const own: Array<string> = []
  for (const name of await program.getSourceFileNames()) {
    if (!isSource(name)) continue
    const source = await program.getSourceFile(name)
    if (source !== undefined && !(await program.isSourceFileFromExternalLibrary(source))) own.push(name)
  }
  return own
}

// make

/** The Effect diagnostics do not ask whether an effect inside an effect is meant, and some say it twice. */
const withoutNoise = async ({ ast }: Tools, { asked, problems, sources }: Inspected, report: Report) => {
  const inside = new Set<string>()
  for (const { column, file, line, rule } of problems) {
    if (rule === "effectInEffect") inside.add(`${file}:${line}:${column}`)
  }
  const meant = new Set<Report["diagnostics"][number]>()
  const named = (rule: Rule) => report.diagnostics.filter(({ name }) => name === rule)
  for (const one of named("returnEffectInGen")) {
    const source = sources.get(one.file)
    if (source !== undefined && (await Callbacks.isMeantToReturn(asked, source, one.start))) meant.add(one)
    else inside.add(`${one.file}:${one.line}:${one.column}`)
  }
  for (const one of named("effectInVoidSuccess")) {
    const source = sources.get(one.file)
    if (source === undefined) continue
    const { idle, places } = Callbacks.originOf(ast, source, one.start)
    const said = places.some((place) => {
      const { character, line } = source.getLineAndCharacterOfPosition(place)
      return inside.has(`${one.file}:${line + 1}:${character + 1}`)
    })
    if (idle || said) meant.add(one)
  }
  return report.diagnostics.filter((one) => !meant.has(one))
}

const analyseGroup = (group: Group, home: string) =>
  Effect.gen(function* () {
    const directory = dirname(group.config ?? group.files![0]!)
    const tools = yield* locate(directory, home)
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
      Effect.sync(() => new tools.api.API({ cwd: directory })),
      (api) =>
        Effect.suspend(() => {
          // Closing does not wait for the process behind it, nor end it when it computes.
          const child = (api as unknown as { client?: { process?: ChildProcess } }).client?.process
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
      [runEffectDiagnostics(tools, config), attempt(() => inspect(tools, project, files))],
      { concurrency: 2 }
    )
    // It passes over what it does not understand, and says that all is well.
    const checked = new Set(report.files.map(({ file }) => file))
    const missed = files.filter((file) => !checked.has(file))
    if (missed.length > 0) {
      return yield* failed("effect-tsgo diagnostics")(
        `it left out ${missed.length} of ${files.length} files, ${missed[0]} first`
      )
    }
    const diagnostics = yield* attempt(() => withoutNoise(tools, inspected, report))
    const problems = diagnostics.flatMap(
      ({ column, file, length, line, message, name, start }): Array<Problem> => {
        const text = inspected.sources.get(file)?.text
        if (text === undefined || !rules.includes(name as Rule)) return []
        const rule =
          name === "floatingEffect" && message.includes("`Stream<") ? "floatingStream" : (name as Rule)
        const code = text.slice(start, start + length)
        // of `yield` and `return`, which are marked alone, the line's rest too
        const shown = /^(yield|return)$/.test(code) ? /.*/.exec(text.slice(start))![0] : code
        return [{ file, line, column, rule, code: excerpt(shown) }]
      }
    )
    // What they report of an effect inside an effect is said once.
    const theirs = new Set(problems.map(({ column, file, line }) => `${file}:${line}:${column}`))
    const ours = inspected.problems.filter(
      ({ column, file, line, rule }) => rule !== "effectInEffect" || !theirs.has(`${file}:${line}:${column}`)
    )
    return {
      files,
      problems: [...problems, ...ours],
      unresolved: inspected.unresolved,
      unjudged: inspected.unjudged
    }
  }).pipe(Effect.scoped)

const sorted = (problems: ReadonlyArray<Problem>): ReadonlyArray<Problem> => {
  // An effect as an error is reported at the expression and at the name that it is given, too.
  const key = ({ column, file, line, rule }: Problem) =>
    [file, line, rule, rule === "effectInFailure" ? "" : column].join("\0")
  const each = new Map(problems.map((problem) => [key(problem), problem]))
  return Array.from(each.values()).sort(
    (a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line || a.column - b.column
  )
}

/**
 * Runs `effect-tsgo diagnostics` as a child process and asks TypeScript 7 about promises and generators. Both are
 * looked for from the project's folder first, then from this package's. Paths are relative to the working directory.
 */
export const layer: Layer.Layer<Diagnostics> = Layer.suspend(() =>
  layerAt(dirname(fileURLToPath(import.meta.url)))
)

/** {@link layer} that looks for the analysers from `home` where the project's folder has none. */
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

/** Knows these files and finds these problems in them; any other file, and every project but all of them, is invalid. */
export const layerTest = (
  contents: Readonly<Record<string, ReadonlyArray<Omit<Problem, "file">>>>
): Layer.Layer<Diagnostics> =>
  Layer.succeed(Diagnostics, {
    analyse: ({ files }) =>
      Effect.gen(function* () {
        const asked = files.length === 0 ? Object.keys(contents) : files
        const unknown = asked.find((file) => !Object.hasOwn(contents, file))
        if (unknown !== undefined) {
          return yield* new InvalidTarget({ path: unknown, problem: "there is no such file" })
        }
        const problems = asked.flatMap((file) => contents[file]!.map((problem) => ({ file, ...problem })))
        return { files: asked, problems: sorted(problems), unresolved: [], unjudged: [] }
      })
  })
