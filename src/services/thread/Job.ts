import { Script } from "node:vm"
import type { Effect, Either } from "effect"
import type { ExecutorError } from "./ExecutorError.js"
import type { Task } from "./internal/task.js"

export type { Task } from "./internal/task.js"

/**
 * A function that may block: its thread is its own while it runs.
 *
 * @since 0.1.0
 * @category models
 */
export type Blocking<Args extends ReadonlyArray<unknown>, A> = (
  ...args: Args
) => A | PromiseLike<A> | Effect.Effect<A, any>

/**
 * The result of a function that returns it at once, by a promise, or by an Effect, which its thread runs.
 *
 * @since 0.1.0
 * @category models
 */
export type Answer<R> =
  Awaited<R> extends infer B ? (B extends Effect.Effect<infer A, infer _E, infer _R> ? A : B) : never

/**
 * Work for an executor: a function by its source ({@link fromFunction}) or by its module ({@link fromModule}).
 *
 * @since 0.1.0
 * @category models
 */
export interface Job<in Args extends ReadonlyArray<any>, out A> {
  /** The name in messages: the function's name, or `MODULE#EXPORT`. */
  readonly name: string
  /** How the thread obtains the function; undefined when this function cannot be shipped. */
  readonly task: Task | undefined
  readonly _types?: (...args: Args) => A
}

/**
 * How the job has ended for one input.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settled<A> {
  readonly result: Either.Either<A, ExecutorError>
  /** Milliseconds that the job ran. */
  readonly run: number
  /** Attempts that the executor has made by itself; default 1. */
  readonly attempts?: number | undefined
}

const sources = new WeakMap<object, Task | undefined>()

const toTask = (fn: (...args: ReadonlyArray<never>) => unknown): Task | undefined => {
  if (sources.has(fn)) return sources.get(fn)
  const source = Function.prototype.toString.call(fn)
  let task: Task | undefined
  try {
    new Script(`(${source}\n)`)
    task = { _tag: "Source", source }
  } catch {
    // a native or bound function, or a method
  }
  sources.set(fn, task)
  return task
}

/**
 * The job that is a self-contained function; its source is shipped. The function sees its arguments, the globals of its
 * thread and what it loads itself by `import()`, and nothing of where it was written. A native or bound function or a
 * method cannot be shipped: such a job fails with `NotSerializable`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromFunction = <Args extends ReadonlyArray<any>, A>(fn: Blocking<Args, A>): Job<Args, A> => ({
  name: fn.name === "" ? "(anonymous)" : fn.name,
  task: toTask(fn)
})

/**
 * The job that is a function of a module: for real applications, because the function may use all of its module.
 * Nothing is loaded here; each thread loads the module once, at its first call.
 *
 * @param url the module's absolute URL: `new URL("./images.js", import.meta.url)`
 * @param name the export that is the function
 *
 * @example
 * ```ts
 * import * as Executor from "effect-asyncio/services/Executor"
 * import * as Job from "effect-asyncio/services/Job"
 *
 * const thumbnail = Job.fromModule<(file: string, width: number) => Uint8Array>(
 *   new URL("./images.js", import.meta.url),
 *   "thumbnail"
 * )
 *
 * export const program = Executor.run(thumbnail, "cat.png", 64) // Effect<Uint8Array, ExecutorError, Executor>
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromModule = <F extends (...args: any) => unknown>(
  url: URL | string,
  name: string
): Job<Parameters<F>, Answer<ReturnType<F>>> => ({
  name: `${String(url).replace(/^.*\//, "")}#${name}`,
  task: { _tag: "Module", url: String(url), name }
})
