import { access, constants, readdir, stat } from "node:fs/promises"
import { createRequire } from "node:module"
import { basename, dirname, extname, isAbsolute, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { Context, Data, Effect, Layer } from "effect"
import { codes } from "../host/ExitCodes.js"
import { shown } from "../host/Failures.js"
import { PackageMissing } from "../host/OptionalPackage.js"
import { guarded, isError, readText } from "../text/Foreign.js"
import { didYouMean } from "../text/Spelling.js"
import { nativeImport } from "./NativeImport.js"
import * as TypeScript from "./TypeScript.js"

/**
 * A file cannot be loaded, or lacks the export; the message is one line for the user. Exit code 2.
 *
 * @since 0.1.0
 * @category errors
 */
export class ModuleError extends Data.TaggedError("ModuleError")<{
  readonly reason:
    | "NotFound"
    | "Unreadable"
    | "Unsupported"
    | "Syntax"
    | "ImportNotFound"
    | "ExportMissing"
    | "NotProgram"
  /** The file as the caller named it. */
  readonly file: string
  readonly message: string
}> {
  readonly exitCode = codes.usage
}

/**
 * The file's own code threw `cause` while it was loaded.
 *
 * @since 0.1.0
 * @category errors
 */
export class ModuleThrew extends Data.TaggedError("ModuleThrew")<{
  readonly file: string
  readonly cause: unknown
}> {
  override get message() {
    return `${this.file} failed while it was loaded`
  }
}

/**
 * An export of a file.
 *
 * @since 0.1.0
 * @category models
 */
export interface Export {
  /** The file as the caller named it. */
  readonly file: string
  /** Its absolute path. */
  readonly path: string
  /** The export's name. */
  readonly name: string
  readonly value: unknown
}

/**
 * Loads exports of JavaScript and TypeScript files.
 *
 * @since 0.1.0
 * @category services
 */
export class Modules extends Context.Tag("effect-asyncio/services/Modules")<
  Modules,
  {
    /**
     * Loads the file and returns its first export of `names` (default: `default`, then `main`). A relative path is
     * relative to the working directory. TypeScript runs as it is, types unchecked. A file is loaded once in a process.
     */
    readonly load: (
      file: string,
      names?: ReadonlyArray<string>
    ) => Effect.Effect<Export, ModuleError | ModuleThrew>
  }
>() {}

const javascript = new Set([".js", ".mjs", ".cjs"])

const firstLine = (text: string): string => text.split("\n", 1)[0]!.trim()

// Only Node's own report of a crash shows the place of a syntax error in an ES module. None of the file's code runs: it
// does not parse.
const placeOf = async (path: string): Promise<string | undefined> => {
  const { execFile } = (await nativeImport("node:child_process")) as typeof import("node:child_process")
  const program = `import ${JSON.stringify(pathToFileURL(path).href)}`
  return new Promise((done) => {
    execFile(process.execPath, ["--input-type=module", "-e", program], (_, __, stderr) =>
      done(/^(?:file:\/\/)?(\/.*:\d+)$/m.exec(stderr)?.[1])
    )
  })
}

const explain = async (file: string, path: string, cwd: string, thrown: unknown) => {
  const [code, message, name, stack] = ["code", "message", "name", "stack"].map((key) =>
    isError(thrown) ? readText(thrown, key) : ""
  ) as [string, string, string, string]
  const fail = (reason: ModuleError["reason"], text: string) =>
    new ModuleError({ reason, file, message: text })
  const place = (at: string) => at.replace(/^(.*?)((?::\d+)*)$/, (_, file, row) => shown(file, cwd) + row)

  if (thrown instanceof PackageMissing) return fail("ImportNotFound", `${file}: ${message}`)
  const transform = /^(.+:\d+:\d+): ERROR: (.*)$/m.exec(message)
  if (name === "TransformError" && transform !== null) {
    return fail("Syntax", `${place(transform[1]!)}: syntax error: ${transform[2]}`)
  }
  if (guarded(() => thrown instanceof SyntaxError, false)) {
    const found = /^(?:file:\/\/)?(\/.*:\d+)\n/.exec(stack)?.[1]
    // The innermost place is in Node: Node's loader threw the error, not the file's own code.
    const byNode = /^\s+at .*?\(?(\S+):\d+:\d+\)?$/m.exec(stack)?.[1]?.startsWith("node:")
    const byLoader = found ?? (byNode ? await placeOf(path) : undefined)
    const json = /^(\/.*\.json): (.*)$/.exec(message)
    if (json !== null) return fail("Syntax", `${place(json[1]!)}: syntax error: ${json[2]}`)
    if (byLoader !== undefined)
      return fail("Syntax", `${place(byLoader)}: syntax error: ${firstLine(message)}`)
  }
  const missing = /^Cannot find (?:package|module) '([^']+)'(?: imported from (.+))?/.exec(message)
  if ((code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") && missing !== null) {
    const required = (thrown as { readonly requireStack?: ReadonlyArray<string> }).requireStack?.[0]
    const from = missing[2] ?? required ?? path
    const what = missing[1]!
    const local = /^(?:[./]|file:)/.test(what)
    const name = what.split("/", what.startsWith("@") ? 2 : 1).join("/")
    return fail(
      "ImportNotFound",
      local
        ? `${shown(from, cwd)} imports ${isAbsolute(what) ? shown(what, cwd) : what}, which does not exist`
        : `${shown(from, cwd)} imports "${what}", which is not installed in ${dirname(from)}: npm install ${name === "effect" ? "effect@3" : name}`
    )
  }
  if (code === "ERR_PACKAGE_PATH_NOT_EXPORTED" || code === "ERR_UNSUPPORTED_DIR_IMPORT") {
    return fail("ImportNotFound", `${file}: ${firstLine(message)}`)
  }
  return new ModuleThrew({ file, cause: thrown })
}

const check = async (file: string, path: string): Promise<ModuleError | undefined> => {
  const fail = (reason: ModuleError["reason"], text: string) =>
    new ModuleError({ reason, file, message: `${file}: ${text}` })
  try {
    if ((await stat(path)).isDirectory()) {
      return fail("Unsupported", "is a folder; expected a .ts or .js file")
    }
    await access(path, constants.R_OK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "EACCES") return fail("Unreadable", "permission denied; make it readable")
    const beside = await readdir(dirname(path)).catch(() => [])
    const files = beside.filter(
      (name) => TypeScript.typescript.has(extname(name)) || javascript.has(extname(name))
    )
    const stem = files.find((name) => basename(name, extname(name)) === basename(path))
    const hint = stem === undefined ? didYouMean(basename(path), files) : `; did you mean ${stem}?`
    return fail(
      "NotFound",
      `no such file in ${dirname(path)}${hint || "; expected the path of a .ts or .js file"}`
    )
  }
  const extension = extname(path)
  return TypeScript.typescript.has(extension) || javascript.has(extension)
    ? undefined
    : fail(
        "Unsupported",
        `neither TypeScript nor JavaScript; expected a ${[...TypeScript.typescript, ...javascript].join(", ")} file`
      )
}

// All that a CommonJS file exports is on `default`; Node names only the exports that it sees without running it.
const exportsOf = (path: string, module: Record<string, any>): Record<string, unknown> => {
  const whole = module["default"]
  if (typeof whole !== "object" || whole === null || Effect.isEffect(whole)) return module
  const commonJs = /[.]c[jt]s$/.test(path) || path in createRequire(path).cache || "__esModule" in whole
  if (!commonJs) return module
  const { __esModule, ...named } = whole
  return named
}

// Throws ModuleError and ModuleThrew.
const load = async (file: string, names: ReadonlyArray<string>): Promise<Export> => {
  const cwd = process.cwd()
  const path = resolve(cwd, file)
  const bad = await check(file, path)
  if (bad !== undefined) throw bad
  let loaded: Record<string, unknown>
  try {
    await TypeScript.enable(path)
    loaded = await nativeImport(pathToFileURL(path).href)
  } catch (error) {
    throw await explain(file, path, cwd, error)
  }
  const exports = exportsOf(path, loaded)
  const name = names.find((name) => name in exports)
  if (name !== undefined) return { file, path, name, value: exports[name] }
  const available = Object.keys(exports).filter((name) => name !== "module.exports")
  const list = available.length > 20 ? [...available.slice(0, 20), "…"] : available
  throw new ModuleError({
    reason: "ExportMissing",
    file,
    message: `${file}: no export ${names.map((name) => `'${name}'`).join(" or ")}${
      names.length === 1 ? didYouMean(names[0]!, available) : ""
    } (it exports ${list.length === 0 ? "nothing" : list.join(", ")})`
  })
}

/**
 * Loads files by Node's own import, TypeScript through tsx, which is loaded for the first such file.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Modules> = Layer.succeed(Modules, {
  load: (file, names = ["default", "main"]) =>
    Effect.tryPromise({
      try: () => load(file, names),
      catch: (error) => error as ModuleError | ModuleThrew
    })
})

/**
 * Has these exports in place of files: `{ "job.ts": { default: … } }`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (
  files: Readonly<Record<string, Readonly<Record<string, unknown>>>>
): Layer.Layer<Modules> =>
  Layer.succeed(Modules, {
    load: (file, names = ["default", "main"]) => {
      const exports = files[file]
      const name = exports && names.find((name) => name in exports)
      return name === undefined
        ? Effect.fail(
            new ModuleError({
              reason: exports === undefined ? "NotFound" : "ExportMissing",
              file,
              message:
                exports === undefined ? `${file}: no such file` : `${file}: no export ${names.join(" or ")}`
            })
          )
        : Effect.succeed({ file, path: `/${file}`, name, value: exports![name] })
    }
  })
