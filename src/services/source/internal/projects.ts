import { statSync, writeFileSync } from "node:fs"
import { dirname, extname, join, resolve } from "node:path"
import type { Target } from "../Analysis.js"
import { InvalidTarget } from "../DiagnosticsError.js"
import { ancestors } from "./packages.js"
import { type Api, type Ast, noFiles } from "./typescript.js"

// The projects that TypeScript opens for the files to analyse.

export const invalid = (
  path: string,
  { pos, text }: Api.Diagnostic,
  source?: Ast.SourceFile
): InvalidTarget => {
  const at = source?.getLineAndCharacterOfPosition(pos)
  return new InvalidTarget({
    path: at === undefined ? path : `${path}:${at.line + 1}:${at.character + 1}`,
    problem: `${source === undefined ? "this is not a usable tsconfig" : "this does not parse"}: ${text}`
  })
}

const isSource = (file: string) => /\.[mc]?tsx?$/.test(file) && !/\.d\.[mc]?ts$/.test(file)

const checkFile = (path: string): string => {
  const file = resolve(path)
  const stat = statSync(file, { throwIfNoEntry: false })
  const problem =
    stat === undefined
      ? "the file does not exist"
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
      problem: "the project does not exist; name a tsconfig.json, or its folder"
    })
  }
  return config
}

const nearestConfig = (file: string): string | undefined =>
  ancestors(dirname(file))
    .map((folder) => join(folder, "tsconfig.json"))
    .find((config) => statSync(config, { throwIfNoEntry: false })?.isFile())

/** Compiler options of files without a tsconfig. */
const defaults = { target: "ESNext", module: "NodeNext", strict: true, skipLibCheck: true, types: ["*"] }

const open = async (api: Api.API, config: string): Promise<Api.Project> => {
  const project = (await api.updateSnapshot({ openProjects: [config] })).getProject(config)
  if (project === undefined)
    throw new InvalidTarget({ path: config, problem: "TypeScript cannot read this project" })
  return project
}

/** One run of the analysers: these files under the settings of `config`, or all files of the project. */
export interface Group {
  readonly config: string | undefined
  readonly files: ReadonlyArray<string> | undefined
}

export const groupsOf = ({ files, project }: Target): ReadonlyArray<Group> => {
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

export const plan = async (api: Api.API, group: Group, scratch: string): Promise<Plan> => {
  const base = group.config === undefined ? undefined : await open(api, group.config)
  const [error] = (await base?.program.getConfigFileParsingDiagnostics()) ?? []
  // A project without files of its own is not an error when files are named.
  const harmless = group.files !== undefined && noFiles.has(error?.code ?? 0)
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
  // The Effect diagnostics look at the root files of a project only, so the files become a project of their own.
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
