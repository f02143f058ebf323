import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { Script } from "node:vm"
import type { Worker } from "node:worker_threads"
import { Context, Data, Effect, Layer, Stream } from "effect"
import type { Piscina } from "piscina"
import { type Message, type Outcome, perform, type Task, type Thrown } from "./internal/jobs.js"

// model

/** A function that may block: its thread is its own while it runs. */
export type Blocking<Args extends ReadonlyArray<unknown>, A> = (...args: Args) => A | PromiseLike<A>

/** Work for an executor: a function by its source ({@link fromFunction}) or by its module ({@link job}). */
export interface Job<in Args extends ReadonlyArray<any>, out A> {
  /** For people: the function's name, or `MODULE#EXPORT`. */
  readonly name: string
  /** How the thread comes by the function; undefined when this function cannot be shipped. */
  readonly task: Task | undefined
  readonly _types?: (...args: Args) => A
}

// errors

const labelled = (thrown: Thrown) =>
  thrown.name === "" ? thrown.message : `${thrown.name}: ${thrown.message}`

/** The job threw, or its promise was rejected. */
export class JobFailed extends Data.TaggedError("JobFailed")<{
  readonly job: string
  /**
   * What it threw: `name`, `message` and `stack` as they were on its thread; `value` is the thrown value itself, or
   * an error's own fields (`code`, say), as far as they can be cloned.
   */
  readonly thrown: Thrown
}> {
  override get message() {
    const hint =
      this.thrown.name === "ReferenceError"
        ? "; a job sees its arguments and nothing of where it was written"
        : ""
    return `job ${this.job} failed: ${labelled(this.thrown)}${hint}`
  }
}

/** The thread ended under the job. Other jobs, and those that come after, are not affected. */
export class WorkerCrashed extends Data.TaggedError("WorkerCrashed")<{
  readonly job: string
  /**
   * `"exit"`: it called `process.exit`; `"memory"`: its heap was full; `"uncaught"`: an error outside of the job's
   * promise; `"start"`: no thread could be started; `"closed"`: the executor's scope was closed.
   */
  readonly reason: "exit" | "memory" | "uncaught" | "start" | "closed"
  readonly detail: string
  /** The stack on the thread, where there was one. */
  readonly remoteStack?: string | undefined
}> {
  override get message() {
    return `the thread of job ${this.job} ended under it: ${this.detail}`
  }
}

/** Something cannot cross from thread to thread: the function, its arguments or its result. */
export class NotSerializable extends Data.TaggedError("NotSerializable")<{
  readonly job: string
  readonly part: "function" | "arguments" | "result"
  readonly detail: string
}> {
  override get message() {
    return `the ${this.part} of job ${this.job} cannot cross to another thread: ${this.detail}`
  }
}

export type ExecutorError = JobFailed | WorkerCrashed | NotSerializable

// tag

/** Runs blocking and CPU-bound work off the event loop (asyncio: `run_in_executor`). */
export class Executor extends Context.Tag("effect-asyncio/services/Executor")<
  Executor,
  {
    /** How many jobs run at once. */
    readonly maxWorkers: number
    /**
     * Runs the job on a thread of its own and gives what it returns. Arguments and result are copies (structured
     * clone). Jobs start in the order in which they are asked for. Interrupted while queued, the job never runs;
     * while running, its thread is terminated, and the interruption is over when the thread is gone.
     */
    readonly run: <Args extends ReadonlyArray<any>, A>(
      job: Job<Args, A>,
      args: Args
    ) => Effect.Effect<A, ExecutorError>
  }
>() {}

// jobs

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

/** The job that is a self-contained function; its source is shipped. See {@link blocking}. */
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
 *
 * const thumbnail = Executor.job<(file: string, width: number) => Uint8Array>(
 *   new URL("./images.js", import.meta.url),
 *   "thumbnail"
 * )
 *
 * export const program = Executor.run(thumbnail, "cat.png", 64) // Effect<Uint8Array, ExecutorError, Executor>
 * ```
 */
export const job = <F extends (...args: any) => unknown>(
  url: URL | string,
  name: string
): Job<Parameters<F>, Awaited<ReturnType<F>>> => ({
  name: `${String(url).replace(/^.*\//, "")}#${name}`,
  task: { _tag: "Module", url: String(url), name }
})

/** Runs a {@link job} with these arguments. */
export const run = <Args extends ReadonlyArray<any>, A>(
  job: Job<Args, A>,
  ...args: Args
): Effect.Effect<A, ExecutorError, Executor> =>
  Effect.flatMap(Executor, (executor) => executor.run(job, args))

/**
 * Runs a self-contained function on a thread: its source is shipped, so it sees its arguments, the thread's globals
 * and what it loads itself by `import()` (packages resolve from the working directory), and nothing of where it was
 * written. Arguments and result are copies.
 *
 * Fails with `JobFailed` when the function throws, `WorkerCrashed` when its thread ends under it, `NotSerializable`
 * when function, arguments or result cannot cross. The guide's section Executors.
 *
 * @example
 * ```ts
 * import * as Executor from "effect-asyncio/services/Executor"
 *
 * export const program = Executor.blocking((n: number) => {
 *   let sum = 0
 *   for (let i = 1; i <= n; i++) sum += Math.sqrt(i)
 *   return sum
 * }, 1e9)
 * ```
 */
export const blocking = <Args extends ReadonlyArray<any>, A>(
  fn: Blocking<Args, A>,
  ...args: Args
): Effect.Effect<A, ExecutorError, Executor> => Effect.suspend(() => run(fromFunction(fn), ...args))

/** Settings of {@link map}. */
export interface MapOptions {
  /** Results as they come instead of in input order; default false. */
  readonly unordered?: boolean | undefined
}

/**
 * Maps a job over inputs, as many at once as the executor has threads (asyncio: `Executor.map`). An input is read
 * when a thread is free for it. The first failure ends the stream and cancels the jobs under way.
 */
export const map = <Input, A, E = never, R = never>(
  job: Job<[Input], A>,
  inputs: Iterable<Input> | Stream.Stream<Input, E, R>,
  options?: MapOptions
): Stream.Stream<A, ExecutorError | E, Executor | R> =>
  Stream.unwrap(
    Effect.map(Executor, (executor) =>
      Stream.mapEffect(
        Symbol.iterator in inputs ? Stream.fromIterable(inputs) : inputs,
        (input) => executor.run(job, [input]),
        { concurrency: executor.maxWorkers, unordered: options?.unordered ?? false }
      )
    )
  )

// make

const shipped = (job: Job<any, unknown>): Effect.Effect<Task, NotSerializable> =>
  job.task === undefined
    ? new NotSerializable({
        job: job.name,
        part: "function",
        detail: "its source stands for nothing by itself (native, bound or a method); wrap it: (x) => f(x)"
      })
    : Effect.succeed(job.task)

const settled = (job: string, outcome: Outcome): Effect.Effect<any, JobFailed | NotSerializable> => {
  switch (outcome._tag) {
    case "Returned":
      return Effect.succeed(outcome.value)
    case "Threw":
      return new JobFailed({ job, thrown: outcome.thrown })
    case "Uncloneable":
      return new NotSerializable({ job, part: "result", detail: outcome.detail })
  }
}

/** Settings of {@link layerThreads}. */
export interface ThreadsOptions {
  /** How many threads there are at most; default one a core. */
  readonly maxWorkers?: number | undefined
}

// The thread's entry is built JavaScript: beside the library, above the command's chunks, or in dist when the
// sources themselves run (tsx, Vitest).
const entry = (): string => {
  const places = ["../workers/", "../../workers/", "../../dist/workers/"]
  const files = places.map((place) => fileURLToPath(new URL(`${place}executor.js`, import.meta.url)))
  const found = files.find((file) => existsSync(file))
  if (found === undefined)
    throw new Error(`no executor thread to start: none of ${files.join(", ")} is there`)
  return found
}

const makeThreads = (options: ThreadsOptions = {}) =>
  Effect.gen(function* () {
    const maxWorkers = options.maxWorkers ?? availableParallelism()
    if (!Number.isInteger(maxWorkers) || maxWorkers < 1) {
      return yield* Effect.dieMessage(`maxWorkers is ${maxWorkers}; an executor needs 1 or more`)
    }
    let pool: Piscina | undefined
    let closed = false
    let running = 0
    let startFailure = ""

    const start = (): Piscina => {
      // By require: an import() from the command's chunks, which run as scripts, warns on Node 20.
      const { Piscina } = createRequire(import.meta.url)("piscina") as typeof import("piscina")
      const made = new Piscina({
        filename: entry(),
        minThreads: 0,
        maxThreads: maxWorkers,
        idleTimeout: Number.POSITIVE_INFINITY,
        recordTiming: false
      })
      made.on("error", (error: Error) => {
        // A thread ended with no job on it: its last job left something behind that threw, and the thread is
        // replaced when it is needed. But where it ended before it was ready, piscina starts no other one, and the
        // job that waits for it would wait for ever.
        if (made.threads.length >= running) return
        if (pool === made) pool = undefined
        startFailure = error.message
        made.destroy()
      })
      return made
    }
    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        closed = true
        await pool?.destroy()
      })
    )

    const crashed = (job: string, error: Error & { code?: string }) => {
      if (error.name === "DataCloneError") {
        return new NotSerializable({ job, part: "arguments", detail: error.message })
      }
      const status = /^worker exited with code: (\d+)$/.exec(error.message)?.[1]
      if (status !== undefined) {
        return new WorkerCrashed({ job, reason: "exit", detail: `it called process.exit(${status})` })
      }
      if (error.message === "Terminating worker thread") {
        return closed
          ? new WorkerCrashed({ job, reason: "closed", detail: "the executor was closed" })
          : new WorkerCrashed({ job, reason: "start", detail: `no thread could be started: ${startFailure}` })
      }
      return error.code === "ERR_WORKER_OUT_OF_MEMORY"
        ? new WorkerCrashed({ job, reason: "memory", detail: error.message })
        : new WorkerCrashed({
            job,
            reason: "uncaught",
            detail: `uncaught ${error.name}: ${error.message}`,
            remoteStack: error.stack
          })
    }

    const submit = (job: string, message: Message) =>
      Effect.async<unknown, ExecutorError>((resume) => {
        pool ??= start()
        const taken = pool
        const controller = new AbortController()
        running++
        taken.run(message, { signal: controller.signal }).then(
          (outcome: Outcome) => {
            running--
            resume(settled(job, outcome))
          },
          (error: Error) => {
            running--
            resume(crashed(job, error))
          }
        )
        // piscina forgets a thread as soon as it has told it to end; wait for the end itself.
        return Effect.async<void>((resume) => {
          const before = taken.threads
          controller.abort()
          const after = new Set<Worker>(taken.threads)
          const ending = before.find((thread) => !after.has(thread) && thread.threadId !== -1)
          if (ending === undefined) resume(Effect.void)
          else ending.once("exit", () => resume(Effect.void))
        })
      })

    // Jobs wait here and not in piscina, whose queue is not first in, first out, and stands still when the threads
    // that it counted on have ended.
    const threads = yield* Effect.makeSemaphore(maxWorkers)
    return Executor.of({
      maxWorkers,
      run: (job, args) =>
        Effect.flatMap(shipped(job), (task) =>
          threads.withPermits(1)(
            Effect.suspend(() =>
              closed
                ? new WorkerCrashed({ job: job.name, reason: "closed", detail: "the executor was closed" })
                : submit(job.name, { task, args })
            )
          )
        ) as Effect.Effect<any, ExecutorError>
    })
  })

// layers

/**
 * Worker threads under piscina: started as jobs come, kept until the scope closes, which terminates what still runs.
 * Idle threads do not keep the process alive.
 */
export const layerThreads = (options?: ThreadsOptions): Layer.Layer<Executor> =>
  Layer.scoped(Executor, makeThreads(options))

/**
 * Runs jobs on the caller's own thread, one after the other, shipped and copied as {@link layerThreads} does it: for
 * tests of what a job computes. A job that blocks does block; one that is interrupted is only no longer waited for.
 */
export const layerInline: Layer.Layer<Executor> = Layer.effect(
  Executor,
  Effect.map(Effect.makeSemaphore(1), (thread) =>
    Executor.of({
      maxWorkers: 1,
      run: (job, args) =>
        Effect.gen(function* () {
          const task = yield* shipped(job)
          const copies = yield* Effect.try({
            try: () => structuredClone(args),
            catch: (error) =>
              new NotSerializable({ job: job.name, part: "arguments", detail: (error as Error).message })
          })
          const outcome = yield* Effect.promise(() => perform({ task, args: copies }))
          return structuredClone(yield* settled(job.name, outcome))
        }).pipe(thread.withPermits(1))
    })
  )
)

/**
 * Answers jobs by effects instead of running them: for tests in virtual time, where a job takes as long as its
 * answer sleeps. At most `maxWorkers` (default: no limit) answers are under way; the others queue.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Executor from "effect-asyncio/services/Executor"
 *
 * export const layer = Executor.layerTest((job, [url]) => Effect.delay(Effect.succeed(`${job} ${url}`), "2 seconds"))
 * ```
 */
export const layerTest = (
  answer: (job: string, args: ReadonlyArray<any>) => Effect.Effect<unknown, ExecutorError>,
  options?: ThreadsOptions
): Layer.Layer<Executor> =>
  Layer.effect(
    Executor,
    Effect.map(Effect.makeSemaphore(options?.maxWorkers ?? Number.MAX_SAFE_INTEGER), (threads) =>
      Executor.of({
        maxWorkers: options?.maxWorkers ?? Number.MAX_SAFE_INTEGER,
        run: ({ name }, args) => threads.withPermits(1)(Effect.suspend(() => answer(name, args))) as never
      })
    )
  )
