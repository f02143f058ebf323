import { Module } from "node:module"
import { join } from "node:path"
import { inspect } from "node:util"

// What a job is to the thread that runs it. Loaded by the worker's entry, so Node's own modules only: a thread that
// loads Effect starts in ten times the time.

/** A job as it crosses to a thread: a function's source, or where to find it. */
export type Task =
  | { readonly _tag: "Source"; readonly source: string }
  | { readonly _tag: "Module"; readonly url: string; readonly name: string }

export interface Message {
  readonly task: Task
  readonly args: ReadonlyArray<unknown>
}

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

type AnyFunction = (...args: ReadonlyArray<unknown>) => unknown

const clone = (value: unknown): unknown => {
  try {
    return structuredClone(value)
  } catch {
    return undefined
  }
}

const toThrown = (error: unknown): Thrown => {
  if (!(error instanceof Error)) {
    return { name: "", message: inspect(error), stack: undefined, value: clone(error) }
  }
  const fields = Object.entries(error).map(([key, value]) => [key, clone(value)] as const)
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    value: Object.fromEntries(fields.filter(([, value]) => value !== undefined))
  }
}

// What compilers leave in a function's source that is not the function's own: tsx and esbuild name inner functions
// through a helper, Vitest turns `import()` into a call.
const shims = {
  __name: (named: unknown) => named,
  __vite_ssr_dynamic_import__: (specifier: string) => import(specifier)
}

/** Makes the function that this source is of; it sees the globals of its thread and nothing else. */
const compile = (source: string): AnyFunction => {
  // As a CommonJS module in the working directory, whose packages `import()` then finds. (A `vm.Script` can do that
  // too, with a warning that it is experimental.)
  const filename = join(process.cwd(), "blocking.cjs")
  const module = new Module(filename) as Module & { _compile: (code: string, filename: string) => void }
  module._compile(`module.exports = (${Object.keys(shims).join(", ")}) => (${source}\n)`, filename)
  return module.exports(...Object.values(shims))
}

const compiled = new Map<string, AnyFunction>()

const resolve = async (task: Task): Promise<AnyFunction> => {
  const key = task._tag === "Source" ? task.source : `${task.url}#${task.name}`
  let found = compiled.get(key)
  if (found !== undefined) return found
  if (task._tag === "Source") found = compile(task.source)
  else {
    const module: Readonly<Record<string, unknown>> = await import(task.url)
    const value = module[task.name]
    if (typeof value !== "function") {
      const names = Object.keys(module).filter((name) => typeof module[name] === "function")
      throw new TypeError(
        `${task.url} has no function '${task.name}' (${names.length === 0 ? "it exports none" : names.join(", ")})`
      )
    }
    found = value as AnyFunction
  }
  if (compiled.size >= 1000) compiled.clear() // sources that are made up anew for each call
  compiled.set(key, found)
  return found
}

// A result that cannot be cloned is found by cloning it: were it found as it is sent, it would cost the thread. What
// is cheap to tell or dear to copy is not tried.
const checked = (value: unknown): Outcome => {
  const plain =
    (typeof value !== "object" && typeof value !== "function" && typeof value !== "symbol") || value === null
  if (plain || value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return { _tag: "Returned", value }
  try {
    structuredClone(value)
    return { _tag: "Returned", value }
  } catch (error) {
    return { _tag: "Uncloneable", detail: (error as Error).message }
  }
}

/** Runs a job on this thread. Never rejects. */
export const perform = async ({ args, task }: Message): Promise<Outcome> => {
  try {
    return checked(await (await resolve(task))(...args))
  } catch (error) {
    return { _tag: "Threw", thrown: toThrown(error) }
  }
}
