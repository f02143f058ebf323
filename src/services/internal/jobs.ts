import { Module } from "node:module"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { inspect } from "node:util"
import * as InJob from "../InJob.js"
import * as TypeScript from "./typescript.js"

// What a job is to the thread that runs it. Loaded by the worker's entry, so Node's own modules only: a thread that
// loads Effect starts in ten times the time.

/** A job as it crosses to a thread: a function's source, or where to find it. */
export type Task =
  | { readonly _tag: "Source"; readonly source: string }
  | { readonly _tag: "Module"; readonly url: string; readonly name: string }

/** What a job has thrown, as far as it can be cloned: of an error its words, stack and own fields. */
export interface Thrown {
  readonly name: string
  readonly message: string
  readonly stack: string | undefined
  readonly value: unknown
}

export type Outcome =
  | { readonly _tag: "Returned"; readonly value: unknown }
  | { readonly _tag: "Threw"; readonly thrown: Thrown }
  | { readonly _tag: "Uncloneable"; readonly detail: string }

export type JobFunction = (...args: ReadonlyArray<unknown>) => unknown

const clone = (value: unknown): unknown => {
  try {
    return structuredClone(value)
  } catch {
    return undefined
  }
}

/** Whether it could cross to another thread. */
export const isClonable = (value: unknown): boolean => {
  try {
    structuredClone(value)
    return true
  } catch {
    return false
  }
}

export const toThrown = (error: unknown): Thrown => {
  // Not instanceof: an error may be of another realm.
  if (!(error instanceof Error) && Object.prototype.toString.call(error) !== "[object Error]") {
    return { name: "", message: inspect(error), stack: undefined, value: clone(error) }
  }
  const { message, name, stack } = error as Error
  const fields = Object.entries(error as Error).map(([key, value]) => [key, clone(value)] as const)
  return {
    name: String(name),
    message: String(message),
    stack: stack === undefined ? undefined : String(stack),
    value: Object.fromEntries(fields.filter(([, value]) => value !== undefined))
  }
}

const step = (key: string): string =>
  /^\d+$/.test(key) ? `[${key}]` : /^[\w$]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`

const kindOf = (value: unknown): string => {
  if (typeof value === "function") return `a function${value.name === "" ? "" : ` (${value.name})`}`
  if (typeof value !== "object" || value === null) return `a ${typeof value}`
  const name = Object.getPrototypeOf(value)?.constructor?.name
  return name === undefined || name === "Object" ? "an object" : `a ${name}`
}

/** Where in a value that cannot be cloned the reason is: `arguments[0].on.close is a function (close)`. */
export const whereUncloneable = (value: unknown, path: string): string => {
  const seen = new Set<unknown>()
  const walk = (value: unknown, path: string): string | undefined => {
    if (seen.has(value)) return undefined
    seen.add(value)
    try {
      structuredClone(value)
      return undefined
    } catch (error) {
      if (typeof value === "object" && value !== null) {
        const entries: Iterable<readonly [string, unknown]> =
          value instanceof Map
            ? Array.from(value, ([key, item]) => [String(key), item])
            : value instanceof Set
              ? Array.from(value, (item, i) => [String(i), item])
              : Object.keys(value).map((key) => [key, (value as Record<string, unknown>)[key]])
        for (const [key, item] of entries) {
          const found = walk(item, path + step(key))
          if (found !== undefined) return found
        }
      }
      const { name, message } = error as Error
      return name === "DataCloneError"
        ? `${path} is ${kindOf(value)}, which cannot be cloned`
        : `${path}: ${message}`
    }
  }
  try {
    return walk(value, path) ?? `${path} cannot be cloned`
  } catch (error) {
    return `${path}: ${(error as Error).message}` // a getter that throws
  }
}

// What compilers leave in a function's source that is not the function's own: tsx and esbuild name inner functions
// through a helper, Vitest turns `import()` into a call.
const shims: Readonly<Record<string, unknown>> = {
  __name: (named: unknown) => named,
  __vite_ssr_dynamic_import__: (specifier: string) => import(specifier)
}

// `Executor.cancelled()` in a shipped function: whatever a bundler calls that import here, it means the thread's own.
const asking =
  /\b([\w$]*(?:Executor|InJob|__vi_import_\d+__|__vite_ssr_import_\d+__)[\w$]*)\.(?:cancelled|context|move)\b/g

/** Makes the function that this source is of; it sees the globals of its thread and nothing else. */
const compile = (source: string): JobFunction => {
  // As a CommonJS module in the working directory, whose packages `import()` then finds. (A `vm.Script` can do that
  // too, with a warning that it is experimental.)
  const filename = join(process.cwd(), "blocking.cjs")
  const module = new Module(filename) as Module & { _compile: (code: string, filename: string) => void }
  const given = { ...shims }
  for (const [, name] of source.matchAll(asking)) if (!(name! in globalThis)) given[name!] = InJob
  module._compile(`module.exports = (${Object.keys(given).join(", ")}) => (${source}\n)`, filename)
  return module.exports(...Object.values(given))
}

const load = async (url: string, name: string): Promise<JobFunction> => {
  if (url.startsWith("file:")) await TypeScript.enable(fileURLToPath(url))
  let module: Readonly<Record<string, unknown>> = await import(url)
  const whole = module["default"]
  // What a CommonJS file exports is on `default` as a whole; Node names of it what it can see without running it.
  if (!(name in module) && typeof whole === "object" && whole !== null) {
    module = whole as typeof module
  }
  const value = module[name]
  if (typeof value === "function") return value as JobFunction
  const names = Object.keys(module).filter((name) => typeof module[name] === "function")
  throw new TypeError(
    `${url} has no function '${name}' (${names.length === 0 ? "it exports none" : names.join(", ")})`
  )
}

const compiled = new Map<string, JobFunction>()

/** The function of a task; a promise where its module has not been loaded yet. Throws what loading throws. */
export const resolve = (task: Task): JobFunction | Promise<JobFunction> => {
  const key = task._tag === "Source" ? task.source : `${task.url}#${task.name}`
  const known = compiled.get(key)
  if (known !== undefined) return known
  const keep = (found: JobFunction) => {
    if (compiled.size >= 1000) compiled.clear() // sources that are made up anew for each call
    compiled.set(key, found)
    return found
  }
  return task._tag === "Source" ? keep(compile(task.source)) : load(task.url, task.name).then(keep)
}

/** Whether it has to be awaited. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" &&
  value !== null &&
  "then" in value &&
  typeof (value as PromiseLike<unknown>).then === "function"

const effectKey = Symbol.for("effect/Effect")

/** Whether it is an Effect, of whatever copy. */
export const isEffect = (value: unknown): boolean =>
  typeof value === "object" && value !== null && effectKey in value
