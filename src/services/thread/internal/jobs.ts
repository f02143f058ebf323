import { Module } from "node:module"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { inspect, types } from "node:util"
import * as TypeScript from "../../source/TypeScript.js"
import { plural } from "../../text/Units.js"
import * as InJob from "../InJob.js"

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

/** Whether it could cross to another thread. */
export const isClonable = (value: unknown): boolean => {
  try {
    structuredClone(value)
    return true
  } catch {
    return false
  }
}

// A thread's stack is four times that of the main thread, and reading takes more of it than writing: a value of some
// thousand levels may leave its thread and be unreadable where it arrives.
const surelyRead = 256

/**
 * Whether it can be cloned here and read wherever it arrives. For all that goes along with a job's result: only the
 * result itself may be a message that cannot be read.
 */
export const crossesSafely = (value: unknown): boolean => {
  if (typeof value !== "object" && typeof value !== "function") return typeof value !== "symbol"
  if (!isClonable(value)) return false
  const { levels, whole } = inspectValue(value)
  return whole && levels <= surelyRead
}

const safeCopy = (value: unknown): unknown => {
  try {
    return crossesSafely(value) ? structuredClone(value) : undefined
  } catch {
    return undefined // a getter that throws every other time
  }
}

const textLimit = 10_000

/** Any value as text of one line, whatever its getters and its `toString` do. */
export const textOf = (value: unknown): string => {
  let text: string
  try {
    text = inspect(value, { breakLength: Number.POSITIVE_INFINITY }).replaceAll(/\n\s*/g, " ")
  } catch {
    text = `${article(kindOf(value))} that cannot be shown`
  }
  return text.length > textLimit ? `${text.slice(0, textLimit)}…` : text
}

const isError = (value: unknown): value is object => {
  if (types.isNativeError(value)) return true // of another realm too
  try {
    return value instanceof Error
  } catch {
    return false // a Proxy whose trap throws
  }
}

/** What reading a property gives as text; undefined where it is missing or cannot be read. */
const field = (error: object, key: string): string | undefined => {
  try {
    const value = (error as Record<string, unknown>)[key]
    return value === undefined || typeof value === "string" ? value : textOf(value)
  } catch {
    return undefined
  }
}

const fieldsOf = (error: object): Record<string, unknown> => {
  let keys: ReadonlyArray<string> = []
  try {
    keys = Object.keys(error)
  } catch {
    // a Proxy whose trap throws
  }
  const fields = keys.map((key) => {
    try {
      return [key, safeCopy((error as Record<string, unknown>)[key])] as const
    } catch {
      return [key, undefined] as const
    }
  })
  return Object.fromEntries(fields.filter(([, value]) => value !== undefined))
}

export const toThrown = (error: unknown): Thrown =>
  isError(error)
    ? {
        name: field(error, "name") ?? "Error",
        message: field(error, "message") ?? "its message cannot be read",
        stack: field(error, "stack"),
        value: fieldsOf(error)
      }
    : { name: "", message: textOf(error), stack: undefined, value: safeCopy(error) }

const step = (key: string | number): string =>
  typeof key === "number" || /^\d+$/.test(key)
    ? `[${key}]`
    : /^[\w$]+$/.test(key)
      ? `.${key}`
      : `[${JSON.stringify(key)}]`

/** Where in a value, with the middle left out where that is deep. */
const pathOf = (keys: ReadonlyArray<string | number>): string => {
  const steps = keys.map(step)
  return steps.length <= 12
    ? steps.join("")
    : `${steps.slice(0, 6).join("")}…(${steps.length - 10} more)…${steps.slice(-4).join("")}`
}

const article = (kind: string): string => `${/^[AEIOaeio]/.test(kind) ? "an" : "a"} ${kind}`

// Reads properties that may be getters of others: each is tried.
const tried = (read: () => unknown): string => {
  try {
    const found = read()
    return typeof found === "string" ? found : ""
  } catch {
    return ""
  }
}

const kindOf = (value: unknown): string => {
  if (typeof value === "function") {
    const name = tried(() => value.name)
    return name === "" ? "function" : `function (${name})`
  }
  if (typeof value !== "object" || value === null) return typeof value
  if (types.isProxy(value)) return "Proxy"
  if (types.isGeneratorObject(value)) return "generator object"
  if (types.isArgumentsObject(value)) return "arguments object"
  const name = tried(() => Object.getPrototypeOf(value)?.constructor?.name)
  // Those are cloned unless they were transferred.
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return `detached ${name}`
  if (name !== "" && name !== "Object") return name
  return tried(() => (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag]) || "object"
}

/** What is cloned without its properties. */
const isAtom = (value: object): boolean =>
  ArrayBuffer.isView(value) ||
  types.isAnyArrayBuffer(value) ||
  types.isBoxedPrimitive(value) ||
  types.isDate(value) ||
  types.isRegExp(value)

/** Whether it cannot be cloned whatever is in it. What has parts that are cloned one by one is looked at by its parts. */
const isUncloneable = (value: unknown): boolean => {
  if (typeof value === "function" || typeof value === "symbol") return true
  if (typeof value !== "object" || value === null) return false
  if (types.isProxy(value)) return true
  if (Array.isArray(value) || types.isMap(value) || types.isSet(value) || types.isNativeError(value))
    return false
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) return types.isArgumentsObject(value)
  if (ArrayBuffer.isView(value)) return value.buffer.byteLength === 0 && !isClonable(value)
  if (types.isAnyArrayBuffer(value)) return value.byteLength === 0 && !isClonable(value)
  // An instance of a class, which is cloned as a plain object, or something that is none.
  return (isAtom(value) || Object.keys(value).length === 0) && !isClonable(value)
}

/** What is cloned with it, by keys; `at.key` is that of the part under way, whose getter may throw. */
function* partsOf(value: object, at: { key: string | number }): Generator<unknown> {
  if (isAtom(value)) return
  if (types.isMap(value)) {
    let index = 0
    for (const [key, part] of Map.prototype.entries.call(value) as MapIterator<[unknown, unknown]>) {
      at.key = typeof key === "string" || typeof key === "number" ? key : index
      index++
      if (typeof key !== "string") yield key
      yield part
    }
    return
  }
  if (types.isSet(value)) {
    at.key = -1
    for (const part of Set.prototype.values.call(value) as SetIterator<unknown>) {
      at.key++
      yield part
    }
    return
  }
  if (types.isNativeError(value)) {
    at.key = "cause"
    yield value.cause
    return
  }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      at.key = i
      yield value[i]
    }
    if (value.length > mostLooked) return
  }
  for (const key of Object.keys(value)) {
    if (Array.isArray(value) && /^\d+$/.test(key)) continue
    at.key = key
    yield (value as Record<string, unknown>)[key]
  }
}

/** How many values are looked at, at most. */
const mostLooked = 1_000_000

interface Seen {
  /** How deep objects are within objects, as far as it was looked at. */
  readonly levels: number
  /** Whether all of it was looked at. */
  readonly whole: boolean
  /** The first part that cannot be cloned: where, and what is the matter with it. */
  readonly fault: { readonly keys: ReadonlyArray<string | number>; readonly why: string } | undefined
}

/**
 * Looks through a value in the order in which it is cloned, up to the first fault: each object once, without recursion
 * and no more than so many, so that looking costs no more than cloning did.
 */
const inspectValue = (root: unknown): Seen => {
  interface Frame {
    readonly at: { key: string | number }
    readonly parts: Iterator<unknown>
  }
  const frames: Array<Frame> = []
  const seen = new Set<object>()
  const keys = () => frames.map(({ at }) => at.key)
  let levels = 0
  let value = root
  for (let looked = 0; looked < mostLooked; looked++) {
    try {
      if (isUncloneable(value)) {
        const why = `is ${article(kindOf(value))}, which cannot be cloned`
        return { levels, whole: true, fault: { keys: keys(), why } }
      }
      if (typeof value === "object" && value !== null && !seen.has(value)) {
        seen.add(value)
        const at = { key: 0 }
        frames.push({ at, parts: partsOf(value, at) })
        levels = Math.max(levels, frames.length)
      }
      let next: IteratorResult<unknown> | undefined
      while (frames.length > 0) {
        next = frames[frames.length - 1]!.parts.next()
        if (next.done !== true) break
        frames.pop()
      }
      if (frames.length === 0) return { levels, whole: true, fault: undefined }
      value = next!.value
    } catch (error) {
      return { levels, whole: true, fault: { keys: keys(), why: `cannot be read: ${reasonOf(error)}` } }
    }
  }
  return { levels, whole: false, fault: undefined }
}

/** An error in one line. */
export const reasonOf = (error: unknown): string =>
  (isError(error) ? (field(error, "message") ?? "an error that cannot be read") : textOf(error)).split(
    "\n",
    1
  )[0]!

const isStackOverflow = (error: unknown): boolean =>
  error instanceof RangeError && error.message.startsWith("Maximum call stack")

/**
 * Where in a value that cannot be cloned the reason is: `arguments[0].on.close is a function (close), which cannot be
 * cloned`. `error` is what the attempt has thrown.
 */
export const whereUncloneable = (value: unknown, path: string, error: unknown): string => {
  const { fault, levels, whole } = inspectValue(value)
  if (fault !== undefined) return `${path}${pathOf(fault.keys)} ${fault.why}`
  if (isStackOverflow(error)) {
    return `${path} is nested ${whole ? levels : `${levels} or more`} levels deep, which is too deep to be copied`
  }
  return `${path} cannot be cloned: ${reasonOf(error)}`
}

/** Why a message that has arrived cannot be read; `levels` of nesting where its value is known. */
export const whyUnread = (error: unknown, levels?: number): string =>
  isStackOverflow(error)
    ? `it is nested ${levels === undefined ? "" : `${plural(levels, "level")} `}too deep to be read where it arrives`
    : `it cannot be read where it arrives: ${reasonOf(error)}`

/** How deep objects are within objects. */
export const levelsOf = (value: unknown): number => inspectValue(value).levels

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

export { isEffect } from "../../task/internal/fiberRuntime.js"
