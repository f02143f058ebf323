import { Module } from "node:module"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { inspect, types } from "node:util"
import * as TypeScript from "../../source/TypeScript.js"
import { guarded, guardedText, isError, read } from "../../text/Foreign.js"
import { plural } from "../../text/Plural.js"
import * as InJob from "../InJob.js"

// A job from the view of its thread: its function, its outcome, and which values can cross to another thread. The
// worker's entry loads this file: Node's own modules only, because a thread that loads Effect starts in ten times the
// time (test/services/thread/internal/worker.test.ts).

/**
 * A job as it crosses to a thread: a function's source, or where to find it.
 *
 * @since 0.1.0
 * @category models
 */
export type Task =
  | { readonly _tag: "Source"; readonly source: string }
  | { readonly _tag: "Module"; readonly url: string; readonly name: string }

/**
 * The error that a job threw, as far as it can be cloned: its name, message, stack and own fields.
 *
 * @since 0.1.0
 * @category models
 */
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

/** Whether the value could cross to another thread. */
export const isClonable = (value: unknown): boolean =>
  guarded(() => {
    structuredClone(value)
    return true
  }, false)

// A thread's stack is four times that of the main thread, and reading takes more of it than writing: a value of some
// thousand levels may leave its thread and be unreadable where it arrives.
const surelyRead = 256

/**
 * Whether the value can be cloned here and read wherever it arrives. For everything beside a job's result: only the
 * result itself may be a message that cannot be read.
 */
export const crossesSafely = (value: unknown): boolean => {
  if (typeof value !== "object" && typeof value !== "function") return typeof value !== "symbol"
  if (!isClonable(value)) return false
  const { levels, whole } = inspectValue(value)
  return whole && levels <= surelyRead
}

// Guarded: a getter may throw every other time.
const safeCopy = (value: unknown): unknown =>
  guarded(() => (crossesSafely(value) ? structuredClone(value) : undefined), undefined)

const textLimit = 10_000

/** Any value as text of one line, whatever its getters and its `toString` do. */
export const textOf = (value: unknown): string => {
  const text = guarded(
    () => inspect(value, { breakLength: Number.POSITIVE_INFINITY }).replaceAll(/\n\s*/g, " "),
    undefined
  )
  if (text === undefined) return `${article(kindOf(value))} that cannot be shown`
  return text.length > textLimit ? `${text.slice(0, textLimit)}…` : text
}

/** The property as text; undefined if it is missing or cannot be read. */
const field = (error: object, key: string): string | undefined => {
  const value = read(error, key)
  return value === undefined || typeof value === "string" ? value : textOf(value)
}

const fieldsOf = (error: object): Record<string, unknown> => {
  const keys: ReadonlyArray<string> = guarded(() => Object.keys(error), [])
  const fields = keys.map((key) => [key, safeCopy(read(error, key))] as const)
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

/** A path within a value; of a long one the middle is left out. */
const pathOf = (keys: ReadonlyArray<string | number>): string => {
  const steps = keys.map(step)
  return steps.length <= 12
    ? steps.join("")
    : `${steps.slice(0, 6).join("")}…(${steps.length - 10} more)…${steps.slice(-4).join("")}`
}

const article = (kind: string): string => `${/^[AEIOaeio]/.test(kind) ? "an" : "a"} ${kind}`

const kindOf = (value: unknown): string => {
  if (typeof value === "function") {
    const name = guardedText(() => value.name)
    return name === "" ? "function" : `function (${name})`
  }
  if (typeof value !== "object" || value === null) return typeof value
  if (types.isProxy(value)) return "Proxy"
  if (types.isGeneratorObject(value)) return "generator object"
  if (types.isArgumentsObject(value)) return "arguments object"
  const name = guardedText(() => Object.getPrototypeOf(value)?.constructor?.name)
  // Buffers and their views can be cloned unless they were transferred.
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return `detached ${name}`
  if (name !== "" && name !== "Object") return name
  return guardedText(() => (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag]) || "object"
}

/** Whether the object is cloned without its properties. */
const isAtom = (value: object): boolean =>
  ArrayBuffer.isView(value) ||
  types.isAnyArrayBuffer(value) ||
  types.isBoxedPrimitive(value) ||
  types.isDate(value) ||
  types.isRegExp(value)

/** Whether the value cannot be cloned whatever is in it. Where parts are cloned one by one, the parts decide. */
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
  // Either an instance of a class, which is cloned as a plain object, or an object of the platform.
  return (isAtom(value) || Object.keys(value).length === 0) && !isClonable(value)
}

/** The parts that are cloned with it; `at.key` is the key of the current part, whose getter may throw. */
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

/** Most values that are inspected. */
const mostLooked = 1_000_000

interface Seen {
  /** How deep objects are nested, as far as they were inspected. */
  readonly levels: number
  /** Whether the whole value was inspected. */
  readonly whole: boolean
  /** The first part that cannot be cloned: where it is, and why not. */
  readonly fault: { readonly keys: ReadonlyArray<string | number>; readonly why: string } | undefined
}

/**
 * Walks a value in the order in which it is cloned, up to the first fault: each object once, without recursion and with
 * a bound, so that the walk costs no more than cloning did.
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
 * Why a value cannot be cloned, and where in it: `arguments[0].on.close is a function (close), which cannot be cloned`.
 * `error` is the error of the attempt.
 */
export const whereUncloneable = (value: unknown, path: string, error: unknown): string => {
  const { fault, levels, whole } = inspectValue(value)
  if (fault !== undefined) return `${path}${pathOf(fault.keys)} ${fault.why}`
  if (isStackOverflow(error)) {
    return `${path} is nested ${whole ? levels : `${levels} or more`} levels deep, which is too deep to be copied`
  }
  return `${path} cannot be cloned: ${reasonOf(error)}`
}

/** Why a message that arrived cannot be read; with the `levels` of nesting if its value is known. */
export const whyUnread = (error: unknown, levels?: number): string =>
  isStackOverflow(error)
    ? `it is nested ${levels === undefined ? "" : `${plural(levels, "level")} `}too deep to be read where it arrives`
    : `it cannot be read where it arrives: ${reasonOf(error)}`

/** How deep objects are nested in the value. */
export const levelsOf = (value: unknown): number => inspectValue(value).levels

// Names that compilers add to a function's source: tsx and esbuild name inner functions through a helper, Vitest turns
// `import()` into a call.
const shims: Readonly<Record<string, unknown>> = {
  __name: (named: unknown) => named,
  __vite_ssr_dynamic_import__: (specifier: string) => import(specifier)
}

// `InJob.cancelled()` in a shipped function means the thread's own InJob, under whatever name a bundler gave the import.
const asking =
  /\b([\w$]*(?:InJob|__vi_import_\d+__|__vite_ssr_import_\d+__)[\w$]*)\.(?:cancelled|context|move)\b/g

/** The function of this source; it sees the globals of its thread and nothing else. */
const compile = (source: string): JobFunction => {
  // A CommonJS module in the working directory, so that `import()` finds the packages there. (`vm.Script` can do that
  // too, but warns that it is experimental.)
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
  // All that a CommonJS file exports is on `default`; Node names only the exports that it sees without running it.
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

/** The function of a task; a promise if its module is not loaded yet. Throws what loading throws. */
export const resolve = (task: Task): JobFunction | Promise<JobFunction> => {
  const key = task._tag === "Source" ? task.source : `${task.url}#${task.name}`
  const known = compiled.get(key)
  if (known !== undefined) return known
  const keep = (found: JobFunction) => {
    if (compiled.size >= 1000) compiled.clear() // bounded: sources may be made anew for each call
    compiled.set(key, found)
    return found
  }
  return task._tag === "Source" ? keep(compile(task.source)) : load(task.url, task.name).then(keep)
}

/** Whether the result has to be awaited. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" &&
  value !== null &&
  "then" in value &&
  typeof (value as PromiseLike<unknown>).then === "function"
