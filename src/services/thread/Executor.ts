import { availableParallelism } from "node:os"
import { Context, Duration, Effect, type FiberRef, Layer } from "effect"
import { dual } from "effect/Function"
import {
  anyCount,
  checkedDuration,
  checkOptions,
  count,
  countOrInfinity,
  type Range,
  time
} from "../text/Numbers.js"
import type { ExecutorError } from "./ExecutorError.js"
import { settings } from "./internal/settings.js"
import { register } from "./internal/starter.js"
import * as Threads from "./internal/threads.js"
import * as Units from "./internal/units.js"
import * as Job from "./Job.js"

// tag

/**
 * Runs blocking and CPU-bound work off the event loop (asyncio: `run_in_executor`).
 *
 * @since 0.1.0
 * @category services
 */
export class Executor extends Context.Tag("effect-asyncio/services/Executor")<
  Executor,
  {
    /** How many jobs run at once. */
    readonly maxWorkers: number
    /** How many jobs may be requested at once without a refusal. */
    readonly capacity: number
    /**
     * Runs the job on a thread of its own and returns its result. Arguments and result are copies (structured clone)
     * unless they are moved (`InJob.move`). Jobs start in the order in which they are requested. Interrupted while
     * queued, the job never runs; while running, it is asked to end (`InJob.cancelled`) and its thread is terminated
     * after the grace period; the interruption is over when the job has ended.
     */
    readonly run: <Args extends ReadonlyArray<any>, A>(
      job: Job.Job<Args, A>,
      args: Args
    ) => Effect.Effect<A, ExecutorError>
  }
>() {}

// settings of the jobs that a fiber requests

/**
 * Limits each job of the effect to this time of running: a job that runs for longer fails with `JobTimedOut`. It is
 * asked to end first, then its thread is terminated. Time in the queue does not count, other than for `Effect.timeout`.
 *
 * @example
 * ```ts
 * import * as Executor from "effect-asyncio/services/Executor"
 * import * as InJob from "effect-asyncio/services/InJob"
 *
 * const endless = () => {
 *   while (!InJob.cancelled());
 * }
 * export const program = Executor.blocking(endless).pipe(Executor.withTimeout("2 seconds"))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const withTimeout: {
  (timeout: Duration.DurationInput): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, timeout: Duration.DurationInput): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, timeout: Duration.DurationInput) =>
  Effect.suspend(() => {
    const checked = checkedDuration("timeout", timeout)
    return Effect.locallyWith(self, settings, (before) => ({ ...before, timeout: checked }))
  })
)

/**
 * Sends the values of these FiberRefs along with each job of the effect: `InJob.context().refs` has them, by these
 * names. Log annotations and the span always go along.
 *
 * @example
 * ```ts
 * import { FiberRef } from "effect"
 * import * as Executor from "effect-asyncio/services/Executor"
 * import * as InJob from "effect-asyncio/services/InJob"
 *
 * const tenant = FiberRef.unsafeMake("unknown")
 * const current = () => InJob.context().refs["tenant"]
 * export const program = Executor.blocking(current).pipe(Executor.withRefs({ tenant }))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const withRefs: {
  (
    refs: Readonly<Record<string, FiberRef.FiberRef<any>>>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    refs: Readonly<Record<string, FiberRef.FiberRef<any>>>
  ): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, refs: Readonly<Record<string, FiberRef.FiberRef<any>>>) =>
  Effect.locallyWith(self, settings, (before) => ({ ...before, refs: { ...before.refs, ...refs } }))
)

// run

/**
 * Runs a job with these arguments: `Executor.run` of the executor in the context.
 *
 * @since 0.1.0
 * @category effects
 */
export const run = <Args extends ReadonlyArray<any>, A>(
  job: Job.Job<Args, A>,
  ...args: Args
): Effect.Effect<A, ExecutorError, Executor> =>
  Effect.flatMap(Executor, (executor) => executor.run(job, args))

/**
 * Makes a blocking function an effect: it runs on a thread of the executor while the event loop turns (asyncio:
 * `loop.run_in_executor(executor, fn, *args)`). The source of the function is shipped, so it sees its arguments, the
 * thread's globals and what it loads itself by `import()` (packages resolve from the working directory), and nothing of
 * where it was written; `Job.fromModule` names a function of a module instead. Arguments and result are copies.
 *
 * Fails with `JobFailed` when the function throws, `WorkerCrashed` when its thread ends under it, `NotSerializable`
 * when function, arguments or result cannot cross, `QueueFull` when the executor refuses it, `JobTimedOut` under
 * {@link withTimeout}. The guide's section Executors.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Executor from "effect-asyncio/services/Executor"
 *
 * const hash = Executor.blocking(async (password: string) => {
 *   const { scryptSync } = await import("node:crypto")
 *   return scryptSync(password, "salt", 64).toString("hex")
 * }, "secret")
 *
 * export const program = hash.pipe(Effect.provide(Executor.layerThreads({ maxWorkers: 2 })))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const blocking = <Args extends ReadonlyArray<any>, A>(
  fn: Job.Blocking<Args, A>,
  ...args: Args
): Effect.Effect<A, ExecutorError, Executor> => Effect.suspend(() => run(Job.fromFunction(fn), ...args))

// layers

/**
 * Settings of {@link layerThreads} and {@link layerProcesses}.
 *
 * @since 0.1.0
 * @category options
 */
export interface WorkersOptions {
  /** Most threads (processes); default one a core. */
  readonly maxWorkers?: number | undefined
  /** Threads that are kept from the first job on; default 0. */
  readonly minWorkers?: number | undefined
  /** A thread above `minWorkers` ends when it had nothing to do for this long; default: threads stay. */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /** Most jobs that wait for a thread; one more fails with `QueueFull`. Default: no limit. */
  readonly maxQueue?: number | undefined
  /** Bytes of heap for each thread; a job that needs more fails. Buffers are not counted. Default: Node's own. */
  readonly maxMemory?: number | undefined
  /** A thread is replaced after this many jobs: for code that leaks. Default: never. */
  readonly recycleAfter?: number | undefined
  /** Runs first on each thread. If it fails there is no thread, and the job that waited for it fails. */
  readonly initializer?: Job.Job<[], unknown> | undefined
  /**
   * Time between asking a job to end (or closing the scope) and terminating its thread; default 1 second. With zero,
   * jobs are not asked.
   */
  readonly grace?: Duration.DurationInput | undefined
}

/** Workers of one executor: their ids are numbers of 16 bits. */
const workers: Range = { most: 2 ** 16 - 1 }

const milliseconds = (duration: Duration.DurationInput) => Duration.toMillis(Duration.decode(duration))

const layerWorkers = (unit: Threads.Options["unit"], options: WorkersOptions = {}): Layer.Layer<Executor> =>
  Layer.scoped(
    Executor,
    Effect.gen(function* () {
      checkOptions(options, {
        maxWorkers: workers,
        minWorkers: anyCount,
        maxQueue: anyCount,
        recycleAfter: countOrInfinity,
        maxMemory: count,
        idleTimeout: time,
        grace: time
      })
      const { maxWorkers = availableParallelism(), maxQueue = Number.POSITIVE_INFINITY } = options
      const { run, starter } = yield* Threads.make({
        unit,
        maxWorkers,
        maxQueue,
        minWorkers: options.minWorkers ?? 0,
        recycleAfter: options.recycleAfter ?? Number.POSITIVE_INFINITY,
        idleTimeout: milliseconds(options.idleTimeout ?? Duration.infinity),
        maxMemory: options.maxMemory,
        initializer: options.initializer,
        grace: milliseconds(options.grace ?? "1 second")
      })
      return register(Executor.of({ maxWorkers, capacity: maxWorkers + maxQueue, run }), starter)
    })
  )

/**
 * Worker threads, started as jobs come and closed with the scope: running jobs then have the grace period to end,
 * queued jobs fail with `WorkerCrashed`. Threads do not keep the process alive, jobs do. Dies on an option out of range.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerThreads = (options?: WorkersOptions): Layer.Layer<Executor> =>
  layerWorkers(Units.thread, options)

/**
 * Child processes, for code that may crash: a crash, even of native code, ends only its own process. A process starts in
 * some ten times the time of a thread, shares no memory, and its buffers are copied. Terminating one also ends the
 * processes that it started.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerProcesses = (options?: WorkersOptions): Layer.Layer<Executor> =>
  layerWorkers(Units.childProcess, options)
