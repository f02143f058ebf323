import { existsSync } from "node:fs"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { Script } from "node:vm"
import {
  Chunk,
  Clock,
  Console,
  Context,
  Data,
  Duration,
  Effect,
  Either,
  Exit,
  Fiber,
  FiberRef,
  GlobalValue,
  HashMap,
  Layer,
  LogLevel,
  Option,
  Runtime,
  Stream,
  Tracer
} from "effect"
import { dual } from "effect/Function"
import * as EventBuffer from "../stream/EventBuffer.js"
import { withOwnScope } from "../stream/OwnScope.js"
import * as Cancellation from "../task/Cancellation.js"
import { anyCount, checkedDuration, checkOptions, count, countOrInfinity, time } from "../text/Numbers.js"
import { formatGiven } from "../text/Units.js"
import * as InJob from "./InJob.js"
import * as JobLoop from "./internal/jobLoop.js"
import * as JobPool from "./internal/jobPool.js"
import * as Protocol from "./internal/jobProtocol.js"
import {
  crossesSafely,
  isClonable,
  isEffect,
  levelsOf,
  type Outcome,
  resolve,
  type Task,
  type Thrown,
  textOf,
  toThrown,
  whereUncloneable
} from "./internal/jobs.js"
import * as JobUnits from "./internal/jobUnits.js"

// model

/** A function that may block: its thread is its own while it runs. */
export type Blocking<Args extends ReadonlyArray<unknown>, A> = (
  ...args: Args
) => A | PromiseLike<A> | Effect.Effect<A, any>

/** What a function gives in the end: it may answer at once, by a promise, or by an Effect, which its thread runs. */
export type Answer<R> =
  Awaited<R> extends infer B ? (B extends Effect.Effect<infer A, infer _E, infer _R> ? A : B) : never

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
  /** Whether the function came by its source; default false. */
  readonly shipped?: boolean | undefined
}> {
  /** The name that a shipped function refers to and that was not shipped with it. */
  get missing(): string | undefined {
    return this.shipped === true && this.thrown.name === "ReferenceError"
      ? /^(\S+) is not defined$/.exec(this.thrown.message)?.[1]
      : undefined
  }
  override get message() {
    const hint =
      this.missing === undefined ? "" : "; a job sees its arguments and nothing of where it was written"
    return `job ${this.job} failed: ${labelled(this.thrown)}${hint}`
  }
}

/** The thread (or process) ended under the job. Other jobs, and those that come after, are not affected. */
export class WorkerCrashed extends Data.TaggedError("WorkerCrashed")<{
  readonly job: string
  /**
   * `"exit"`: it called `process.exit`; `"signal"`: its process was ended by one; `"memory"`: its heap was full;
   * `"uncaught"`: an error outside of the job's promise; `"start"`: no thread could be started; `"closed"`: the
   * executor's scope was closed.
   */
  readonly reason: JobPool.CrashReason
  readonly detail: string
  /** The stack on the thread, where there was one. */
  readonly remoteStack?: string | undefined
}> {
  override get message() {
    return this.reason === "start"
      ? `job ${this.job} has no thread: ${this.detail}`
      : `the thread of job ${this.job} ended under it: ${this.detail}`
  }
}

/** The job ran for longer than its timeout. Its thread is free again, or gone. */
export class JobTimedOut extends Data.TaggedError("JobTimedOut")<{
  readonly job: string
  readonly after: Duration.Duration
}> {
  override get message() {
    return `job ${this.job} ran for longer than ${formatGiven(this.after)}`
  }
}

/** Something cannot cross from thread to thread: the function, its arguments or its result. */
export class NotSerializable extends Data.TaggedError("NotSerializable")<{
  readonly job: string
  readonly part: "function" | "arguments" | "result" | "context"
  /** Says where in it. */
  readonly detail: string
}> {
  override get message() {
    return `the ${this.part} of job ${this.job} cannot cross to another thread: ${this.detail}`
  }
}

/** As many jobs wait already as may wait. */
export class QueueFull extends Data.TaggedError("QueueFull")<{
  readonly job: string
  readonly maxQueue: number
}> {
  override get message() {
    return `job ${this.job} is refused: ${this.maxQueue} wait already, which is the most that may`
  }
}

export type ExecutorError = JobFailed | WorkerCrashed | JobTimedOut | NotSerializable | QueueFull

// tag

/** How the work on one input has ended. */
export interface Settled<A> {
  readonly result: Either.Either<A, ExecutorError>
  /** Milliseconds that it ran. */
  readonly run: number
}

/** Runs blocking and CPU-bound work off the event loop (asyncio: `run_in_executor`). */
export class Executor extends Context.Tag("effect-asyncio/services/Executor")<
  Executor,
  {
    /** How many jobs run at once. */
    readonly maxWorkers: number
    /** How many may be asked for at once without one being refused. */
    readonly capacity: number
    /**
     * Runs the job on a thread of its own and gives what it returns. Arguments and result are copies (structured
     * clone) unless they are moved ({@link move}). Jobs start in the order in which they are asked for. Interrupted
     * while queued, the job never runs; while running, it is asked to end ({@link cancelled}) and its thread is
     * terminated after the grace period; the interruption is over when the job has ended.
     */
    readonly run: <Args extends ReadonlyArray<any>, A>(
      job: Job<Args, A>,
      args: Args
    ) => Effect.Effect<A, ExecutorError>
    /**
     * For loops over many inputs, which have no fiber for each: {@link runChunk} and {@link each} are made of it. Takes
     * settings and context from the fiber, once, and gives a function that runs the job for some inputs, one after the
     * other on one thread, in one message (at most 1024). It calls back when all have settled; what it gives cancels
     * them, and calls back when they no longer run.
     */
    readonly starter: <Input, A>(
      fiber: Fiber.RuntimeFiber<any, any>,
      job: Job<[Input], A>
    ) => (
      inputs: ReadonlyArray<Input>,
      onSettled: (settled: ReadonlyArray<Settled<A>>) => void
    ) => (onGone: () => void) => void
  }
>() {}

// settings of a job, which it takes from its fiber

interface Settings {
  readonly timeout: Duration.Duration | undefined
  readonly refs: Readonly<Record<string, FiberRef.FiberRef<any>>>
}
const settings: FiberRef.FiberRef<Settings> = GlobalValue.globalValue(
  "effect-asyncio/services/Executor/settings",
  () => FiberRef.unsafeMake<Settings>({ timeout: undefined, refs: {} })
)

/**
 * Ends each job of the effect that runs for longer, with `JobTimedOut`: it is asked first, then its thread is
 * terminated. Time in the queue does not count, as it does for `Effect.timeout`.
 *
 * @example
 * ```ts
 * import * as Executor from "effect-asyncio/services/Executor"
 *
 * const endless = () => {
 *   while (!Executor.cancelled());
 * }
 * export const program = Executor.blocking(endless).pipe(Executor.withTimeout("2 seconds"))
 * ```
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
 * Sends the values of these FiberRefs along with each job of the effect, by these names: `Executor.context().refs`
 * has them there. Log annotations and the span always go along.
 *
 * @example
 * ```ts
 * import { FiberRef } from "effect"
 * import * as Executor from "effect-asyncio/services/Executor"
 *
 * const tenant = FiberRef.unsafeMake("nobody")
 * const who = () => Executor.context().refs["tenant"]
 * export const program = Executor.blocking(who).pipe(Executor.withRefs({ tenant }))
 * ```
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

/** Inside of a job: whether it has been asked to end. `effect-asyncio/services/InJob` has it without Effect. */
export const cancelled: () => boolean = InJob.cancelled

/** Inside of a job: what came with it. `effect-asyncio/services/InJob` has it without Effect. */
export const context: () => InJob.JobContext = InJob.context

/**
 * Marks an argument, or a job's result, so that its buffers are transferred instead of copied; afterwards they are
 * empty on this side. Gives the same value. `effect-asyncio/services/InJob` has it without Effect.
 *
 * @example
 * ```ts
 * import * as Executor from "effect-asyncio/services/Executor"
 *
 * const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => total + byte, 0)
 * export const program = Executor.blocking(sum, Executor.move(new Uint8Array(64 * 1024 * 1024)))
 * ```
 */
export const move: <A extends object>(value: A, buffers?: ReadonlyArray<object>) => A = InJob.move

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
): Job<Parameters<F>, Answer<ReturnType<F>>> => ({
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

/** Settings of {@link each}. */
export interface EachOptions {
  /** Results as they come instead of in input order; default false. */
  readonly unordered?: boolean | undefined
  /**
   * How many inputs go to a thread in one message; default 1. For jobs of some microseconds, where the message costs
   * more than the job. At most 1024.
   */
  readonly chunk?: number | undefined
  /**
   * How many jobs (chunks, where there are) are asked for at once; default so many that the threads always have the
   * next ones at hand. Fewer than there are threads uses only so many.
   */
  readonly concurrency?: number | undefined
  /** As {@link withTimeout}, for each input. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Further attempts for an input whose job has failed; default 0. */
  readonly retries?: number | undefined
}

/** What has become of one input. */
export interface Item<Input, A> {
  /** Its number in the inputs, from 0. */
  readonly index: number
  readonly input: Input
  readonly result: Either.Either<A, ExecutorError>
  /** Milliseconds: that it ran, and from when it was asked for until then. */
  readonly run: number
  readonly wait: number
  /** How often it was tried. */
  readonly attempts: number
}

/** How many more results than these are kept for the ones before them, in ordered streams. */
const kept = 256

/**
 * Runs a job once for each input and gives what has become of each: a failure is one input's, and the others go on.
 * Inputs are read as threads get free for them, and no faster than results are taken, so an endless stream costs no
 * memory. Ending the stream early cancels the jobs under way and waits until they have ended.
 *
 * Fails only as the inputs do.
 */
export const each = <Input, A, E = never, R = never>(
  job: Job<[Input], A>,
  source: Iterable<Input> | Stream.Stream<Input, E, R>,
  options: EachOptions = {}
): Stream.Stream<Item<Input, A>, E, Executor | R> =>
  withOwnScope(source, (inputs) =>
    Effect.gen(function* () {
      const executor = yield* Executor
      checkOptions(options, { chunk: count, concurrency: countOrInfinity, retries: anyCount, timeout: time })
      const { retries = 0, timeout, unordered = false } = options
      const chunk = Math.min(Math.max(1, options.chunk ?? 1), Protocol.longestChunk)
      const lanes = Math.max(
        1,
        Math.min(options.concurrency ?? executor.maxWorkers * Protocol.depth, executor.capacity)
      )
      const { emit, end, full, stream, whenRoom } = EventBuffer.make<Item<Input, A>, E>({
        capacity: Math.max(kept, lanes * chunk)
      })
      const loop = (fiber: AnyFiber, onEnd: (thrown: { readonly error: unknown } | undefined) => void) =>
        JobLoop.make<Input, Settled<A>>({
          iterator: Symbol.iterator in inputs ? inputs[Symbol.iterator]() : undefined,
          chunk,
          lanes,
          start: executor.starter(fiber, job),
          again: ({ result }, attempts) =>
            attempts <= retries && Either.isLeft(result) && canRetry(result.left),
          ordered: !unordered,
          kept,
          full,
          whenRoom,
          give: (index, input, { result, run }, attempts, asked) => {
            const wait = Math.max(0, performance.now() - asked - run)
            emit({ index, input, result, run, wait, attempts })
          },
          onEnd
        })
      const run = Effect.withFiberRuntime<void, E>((fiber) => {
        let whenOver: (() => void) | undefined
        let over: Exit.Exit<void> | undefined
        const running = loop(fiber, (thrown) => {
          over = thrown === undefined ? Exit.void : Exit.die(thrown.error)
          whenOver?.()
        })
        const settled = Effect.async<void>((resume) => {
          whenOver = () => resume(over!)
          if (over !== undefined) return whenOver()
          running.run()
          return Effect.async<void>((resume) => running.cancel(() => resume(Effect.void)))
        })
        if (Symbol.iterator in inputs) return settled
        // A little ahead of the jobs: as many as the stream gives at once.
        const feed = Stream.runForEachChunk(inputs, (some) =>
          Effect.async<void>((resume) => running.feed(Chunk.toReadonlyArray(some), () => resume(Effect.void)))
        ).pipe(Effect.andThen(Effect.sync(running.end)))
        return Effect.all([settled, feed], { concurrency: 2, discard: true })
      }).pipe(
        (all) => (timeout === undefined ? all : withTimeout(all, timeout)),
        Effect.onExit((exit) => Effect.sync(() => end(Exit.isFailure(exit) ? exit.cause : undefined)))
      )
      yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
        Cancellation.cancel(fiber, { reason: "nobody reads the results any more", origin: "executor" })
      )
      return stream
    })
  )

/**
 * Runs the job once for each input, one after the other on one thread, in one message: for jobs so short that the
 * message costs more than they do. Each input has its own end; one that takes the thread with it takes no other. At
 * most 1024 inputs.
 */
export const runChunk = <Input, A>(
  job: Job<[Input], A>,
  inputs: ReadonlyArray<Input>
): Effect.Effect<ReadonlyArray<Settled<A>>, never, Executor> =>
  Effect.flatMap(Executor, ({ starter }) =>
    Effect.withFiberRuntime<ReadonlyArray<Settled<A>>>((fiber) =>
      Effect.async<ReadonlyArray<Settled<A>>>((resume) => {
        const cancel = starter(fiber, job)(inputs, (settled) => resume(Effect.succeed(settled)))
        return Effect.async<void>((resume) => cancel(() => resume(Effect.void)))
      })
    )
  )

/** What may go better another time: not what can be told from the function and the input alone. */
const canRetry = (error: ExecutorError): boolean =>
  error._tag !== "NotSerializable" && !(error._tag === "WorkerCrashed" && error.reason === "closed")

/** Settings of {@link map}. */
export type MapOptions = EachOptions

/**
 * Maps a job over inputs, on all threads (asyncio: `Executor.map`). The first failure ends the stream and cancels the
 * jobs under way; {@link each} goes on.
 *
 * @example
 * ```ts
 * import { Stream } from "effect"
 * import * as Executor from "effect-asyncio/services/Executor"
 *
 * const square = Executor.fromFunction((n: number) => n * n)
 * export const program = Executor.map(square, Stream.range(1, 1_000_000), { chunk: 256 }).pipe(Stream.runSum)
 * ```
 */
export const map = <Input, A, E = never, R = never>(
  job: Job<[Input], A>,
  inputs: Iterable<Input> | Stream.Stream<Input, E, R>,
  options?: MapOptions
): Stream.Stream<A, ExecutorError | E, Executor | R> =>
  Stream.suspend(() => {
    let failure: ExecutorError | undefined
    const upToFailure = Stream.takeUntil(each(job, inputs, options), ({ result }) => {
      if (Either.isLeft(result)) failure = result.left
      return failure !== undefined
    })
    return upToFailure.pipe(
      Stream.filterMap(({ result }) => Either.getRight(result)),
      Stream.concat(Stream.suspend(() => (failure === undefined ? Stream.empty : Stream.fail(failure))))
    )
  })

// make

const unshippable = (job: string) =>
  new NotSerializable({
    job,
    part: "function",
    detail: "its source stands for nothing by itself (native, bound or a method); wrap it: (x) => f(x)"
  })

const shipped = (job: Job<any, unknown>): Effect.Effect<Task, NotSerializable> =>
  job.task === undefined ? unshippable(job.name) : Effect.succeed(job.task)

/** Why these arguments, or what goes along with them, have not come to a thread. */
const refused = (
  job: string,
  args: ReadonlyArray<unknown>,
  refs: unknown,
  refusal: JobPool.Refusal
): NotSerializable => {
  if ("unread" in refusal) {
    const part = levelsOf(refs) > levelsOf(args) ? "context" : "arguments"
    return new NotSerializable({ job, part, detail: refusal.unread })
  }
  if (!isClonable(refs)) {
    return new NotSerializable({
      job,
      part: "context",
      detail: whereUncloneable(refs, "refs", refusal.unsent)
    })
  }
  const index = args.findIndex((arg) => !isClonable(arg))
  const detail =
    index < 0
      ? whereUncloneable(args, "arguments", refusal.unsent)
      : whereUncloneable(args[index], `arguments[${index}]`, refusal.unsent)
  return new NotSerializable({ job, part: "arguments", detail })
}

const resultOf = (
  { name: job, task }: Job<any, unknown>,
  ended: JobPool.Ended,
  timeout: Duration.Duration | undefined
): Either.Either<any, ExecutorError> => {
  switch (ended._tag) {
    case "Returned":
      return Either.right(ended.value)
    case "Threw":
      return Either.left(new JobFailed({ job, thrown: ended.thrown, shipped: task?._tag === "Source" }))
    case "Uncloneable":
      return Either.left(new NotSerializable({ job, part: "result", detail: ended.detail }))
    case "TimedOut":
      return Either.left(new JobTimedOut({ job, after: timeout ?? Duration.zero }))
    case "Crashed": {
      const { detail, reason, stack } = ended
      return Either.left(new WorkerCrashed({ job, reason, detail, remoteStack: stack }))
    }
  }
}

type AnyFiber = Fiber.RuntimeFiber<any, any>

/** What goes along with a job; undefined where there is nothing. */
const contextOf = (fiber: AnyFiber): Protocol.Order["context"] => {
  const annotations = fiber.getFiberRef(FiberRef.currentLogAnnotations)
  const span = Context.getOption(fiber.getFiberRef(FiberRef.currentContext), Tracer.ParentSpan)
  const { refs } = fiber.getFiberRef(settings)
  const names = Object.keys(refs)
  if (HashMap.isEmpty(annotations) && Option.isNone(span) && names.length === 0) return undefined
  return {
    annotations: Object.fromEntries(
      Array.from(HashMap.toEntries(annotations), ([key, value]) => [
        key,
        crossesSafely(value) ? value : textOf(value)
      ])
    ),
    span: Option.getOrUndefined(
      Option.map(span, (span) => ({
        traceId: span.traceId,
        spanId: span.spanId,
        sampled: span.sampled,
        name: span._tag === "Span" ? span.name : undefined
      }))
    ),
    refs: Object.fromEntries(names.map((name) => [name, fiber.getFiberRef(refs[name]!)]))
  }
}

/** Runs effects where the caller's fiber would: its console, its loggers, its annotations. */
const forkLike = (fiber: AnyFiber) =>
  Runtime.runFork(
    Runtime.make({
      context: fiber.getFiberRef(FiberRef.currentContext),
      fiberRefs: fiber.getFiberRefs(),
      runtimeFlags: Runtime.defaultRuntime.runtimeFlags
    })
  )
const speaker = (fiber: AnyFiber): ((effect: Effect.Effect<void>) => void) => {
  let fork: ReturnType<typeof forkLike> | undefined
  return (effect) => {
    fork ??= forkLike(fiber)
    fork(effect)
  }
}

/** Text as it comes to the lines that a console prints. */
const liner = (say: (effect: Effect.Effect<void>) => void) => {
  const open = { stdout: "", stderr: "" }
  const print = (stream: "stdout" | "stderr", line: string) =>
    say(stream === "stdout" ? Console.log(line) : Console.error(line))
  return {
    push: (stream: "stdout" | "stderr", text: string) => {
      const lines = (open[stream] + text).split("\n")
      open[stream] = lines.pop()!
      for (const line of lines) print(stream, line)
    },
    end: () => {
      for (const stream of ["stdout", "stderr"] as const) {
        if (open[stream] !== "") print(stream, open[stream])
      }
    }
  }
}

const logged = ({ annotations, cause, level, message }: Protocol.LogEntry): Effect.Effect<void> =>
  Effect.annotateLogs(
    Effect.logWithLevel(
      LogLevel.fromLiteral(level as LogLevel.Literal),
      ...message,
      ...(cause === undefined ? [] : [`\n${cause}`])
    ),
    annotations
  )

type Settle = (settled: ReadonlyArray<Settled<any>>) => void
type Cancel = (onGone: () => void) => void

/** The job as one order to a thread: with `args`, or, as a chunk, once for each of them. */
const submitter = (pool: JobPool.Pool, fiber: AnyFiber, job: Job<any, unknown>, task: Task) => {
  const { timeout } = fiber.getFiberRef(settings)
  const milliseconds = timeout === undefined ? undefined : Duration.toMillis(timeout)
  const context = contextOf(fiber)
  const say = speaker(fiber)
  const submit = (args: ReadonlyArray<unknown>, chunk: boolean, onSettled: Settle): Cancel => {
    const settled: Array<Settled<any>> = []
    let lines: ReturnType<typeof liner> | undefined
    let whenGone: (() => void) | undefined
    let halves: ReadonlyArray<Cancel> | undefined
    let over = false
    const done = () => {
      over = true
      lines?.end()
      if (whenGone !== undefined) whenGone()
      else onSettled(settled)
    }
    const handle = pool.submit({
      name: job.name,
      task,
      args,
      chunk,
      // What is moved must be begun where it is sent; a chunk may go on elsewhere.
      transfer: chunk ? [] : args.flatMap(InJob.buffersOf),
      context,
      timeout: milliseconds,
      onOutput: (stream, text) => {
        lines ??= liner(say)
        lines.push(stream, text)
      },
      onLog: (entry) => say(logged(entry)),
      onEnd: (item, ended, run) => {
        settled[item] = { result: resultOf(job, ended, timeout), run }
      },
      onDone: done,
      onRefused: (from, refusal) => {
        const left = chunk ? args.length - from : 1
        if (left === 1) {
          const some = chunk ? args.slice(from) : args
          settled[from] = { result: Either.left(refused(job.name, some, context?.refs, refusal)), run: 0 }
          return done()
        }
        // One of them is what cannot cross: halved until it is by itself, the others run.
        const middle = from + (left >> 1)
        let open = 2
        halves = [args.slice(from, middle), args.slice(middle)].map((half, i) =>
          submit(half, true, (some) => {
            for (let at = 0; at < some.length; at++) settled[(i === 0 ? from : middle) + at] = some[at]!
            if (--open === 0) done()
          })
        )
      }
    })
    return (onGone) => {
      if (over) return onGone()
      if (halves !== undefined) {
        let open = halves.length
        for (const cancel of halves) cancel(() => --open === 0 && onGone())
        return
      }
      whenGone = onGone
      handle.cancel()
    }
  }
  return submit
}

/** The starter of executors that run jobs as effects. */
const starterOf =
  (
    run: (job: Job<any, any>, args: ReadonlyArray<any>) => Effect.Effect<any, ExecutorError>
  ): Context.Tag.Service<Executor>["starter"] =>
  (fiber, job) => {
    const fork = forkLike(fiber)
    return (inputs, onSettled) => {
      const all = Effect.forEach(inputs, (input) =>
        Effect.gen(function* () {
          const began = yield* Clock.currentTimeNanos
          const result = yield* Effect.either(run(job, [input]))
          return { result, run: Number((yield* Clock.currentTimeNanos) - began) / 1e6 }
        })
      )
      const running = fork(all)
      let cancelled = false
      running.addObserver((exit) => {
        if (!cancelled && Exit.isSuccess(exit)) onSettled(exit.value)
      })
      return (onGone) => {
        cancelled = true
        running.addObserver(() => onGone())
        fork(Fiber.interruptFork(running))
      }
    }
  }

/** Settings of {@link layerThreads} and {@link layerProcesses}. */
export interface WorkersOptions {
  /** How many threads (processes) there are at most; default one a core. */
  readonly maxWorkers?: number | undefined
  /** How many are kept once there was a first job; default 0. */
  readonly minWorkers?: number | undefined
  /** One more than `minWorkers` ends when it had nothing to do for so long; default: they stay. */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /** How many jobs may wait for a thread; one more fails with `QueueFull`. Default: no limit. */
  readonly maxQueue?: number | undefined
  /** Bytes of heap for each; one that needs more fails its job. Buffers are not counted. Default: as Node has it. */
  readonly maxMemory?: number | undefined
  /** Each is replaced after so many jobs: for code that leaks. Default: never. */
  readonly recycleAfter?: number | undefined
  /** Runs first on each. Where it fails there is no thread, and the job that waited for it fails. */
  readonly initializer?: Job<[], unknown> | undefined
  /**
   * From when a job is asked to end (or the scope closes) until its thread is terminated; default 1 second. Zero does
   * not ask.
   */
  readonly grace?: Duration.DurationInput | undefined
}

// The entry is built JavaScript: in the library beside this file, from the command's chunks two folders up, and in
// dist when the sources themselves run (tsx, Vitest).
const entry = (): string => {
  const places = ["./", "../../services/thread/", "../../../dist/services/thread/"]
  const files = places.map((place) => fileURLToPath(new URL(`${place}internal/worker.js`, import.meta.url)))
  const found = files.find((file) => existsSync(file))
  if (found === undefined) throw new Error(`none of ${files.join(", ")} is there`)
  return found
}

const milliseconds = (duration: Duration.DurationInput) => Duration.toMillis(Duration.decode(duration))

const makeWorkers = (unit: (options: JobUnits.UnitOptions) => JobUnits.Unit, options: WorkersOptions = {}) =>
  Effect.gen(function* () {
    const {
      maxWorkers = availableParallelism(),
      maxQueue = Number.POSITIVE_INFINITY,
      minWorkers = 0,
      recycleAfter = Number.POSITIVE_INFINITY
    } = options
    const whole = (n: number, least: number) =>
      n >= least && (Number.isInteger(n) || n === Number.POSITIVE_INFINITY)
    const bad = [
      whole(maxWorkers, 1) && maxWorkers < 2 ** 16
        ? ""
        : `maxWorkers is ${maxWorkers}; an executor needs 1 or more`,
      whole(minWorkers, 0) ? "" : `minWorkers is ${minWorkers}; it is 0 or more`,
      whole(maxQueue, 0) ? "" : `maxQueue is ${maxQueue}; it is 0 or more`,
      whole(recycleAfter, 1) ? "" : `recycleAfter is ${recycleAfter}; it is 1 or more`
    ].find((problem) => problem !== "")
    if (bad !== undefined) return yield* Effect.dieMessage(bad)
    checkOptions(options, { maxMemory: count, idleTimeout: time, grace: time })
    const fiberRefs = yield* Effect.runtime()
    const strays = liner(Runtime.runFork(fiberRefs))
    const initializer = options.initializer && (yield* Effect.orDie(shipped(options.initializer)))
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() =>
        JobPool.make({
          make: (given) => unit({ ...given, entry: entry() }),
          maxWorkers,
          minWorkers,
          recycleAfter,
          idleTimeout: milliseconds(options.idleTimeout ?? Duration.infinity),
          maxMemory: options.maxMemory,
          initializer,
          grace: milliseconds(options.grace ?? "1 second"),
          onStray: strays.push
        })
      ),
      (pool) => Effect.promise(pool.close)
    )
    const refused = (job: Job<any, unknown>): ExecutorError | undefined =>
      job.task === undefined
        ? unshippable(job.name)
        : pool.unfinished() >= maxWorkers + maxQueue
          ? new QueueFull({ job: job.name, maxQueue })
          : undefined
    return Executor.of({
      maxWorkers,
      capacity: maxWorkers + maxQueue,
      run: (job, args) =>
        Effect.withFiberRuntime<any, ExecutorError>((fiber) => {
          const error = refused(job)
          if (error !== undefined) return Effect.fail(error)
          return Effect.async<any, ExecutorError>((resume) => {
            const cancel = submitter(
              pool,
              fiber,
              job,
              job.task!
            )(args, false, ([settled]) => resume(settled!.result))
            return Effect.async<void>((resume) => cancel(() => resume(Effect.void)))
          })
        }),
      starter: (fiber, job) => {
        const submit = job.task === undefined ? undefined : submitter(pool, fiber, job, job.task)
        return (inputs, onSettled) => {
          const error = inputs.length === 0 ? undefined : refused(job)
          if (error === undefined && inputs.length > 0) {
            return submit!(inputs, inputs.length > 1, onSettled)
          }
          onSettled(inputs.map(() => ({ result: Either.left(error!), run: 0 })))
          return (onGone) => onGone()
        }
      }
    })
  })

// layers

/**
 * Worker threads, started as jobs come and closed with the scope: what runs then has the grace period to end, what
 * waits fails with `WorkerCrashed`. Threads do not keep the process alive, jobs do.
 */
export const layerThreads = (options?: WorkersOptions): Layer.Layer<Executor> =>
  Layer.scoped(Executor, makeWorkers(JobUnits.thread, options))

/**
 * A child process for each worker, for code that may crash: what ends it, even in native code, ends nothing else. They
 * start in some ten times the time of a thread, share no memory, and buffers are copied. One that is ended has the
 * processes that it started ended with it.
 */
export const layerProcesses = (options?: WorkersOptions): Layer.Layer<Executor> =>
  Layer.scoped(Executor, makeWorkers(JobUnits.childProcess, options))

const outcomeInline = async (call: () => unknown): Promise<Outcome> => {
  try {
    return { _tag: "Returned", value: await call() }
  } catch (error) {
    return { _tag: "Threw", thrown: toThrown(error) }
  }
}

/**
 * Runs jobs on the caller's own thread, one after the other, shipped and copied as {@link layerThreads} does it: for
 * tests of what a job computes. A job that blocks does block; one that is interrupted is asked, and no longer waited
 * for.
 */
export const layerInline: Layer.Layer<Executor> = Layer.effect(
  Executor,
  Effect.map(Effect.makeSemaphore(1), (thread) => {
    const run = (job: Job<any, any>, args: ReadonlyArray<any>): Effect.Effect<any, ExecutorError> =>
      Effect.withFiberRuntime<any, ExecutorError>((fiber) =>
        Effect.gen(function* () {
          const task = yield* shipped(job)
          const context = contextOf(fiber)
          const { timeout } = fiber.getFiberRef(settings)
          const copies = yield* Effect.try({
            try: () => structuredClone(args, { transfer: args.flatMap(InJob.buffersOf) }),
            catch: (error) => refused(job.name, args, context?.refs, { unsent: error })
          })
          let asked = false
          const host: InJob.Host = {
            cancelled: () => asked,
            context: () => ({
              job: job.name,
              annotations: context?.annotations ?? {},
              span: context?.span,
              refs: context?.refs ?? {}
            })
          }
          const outcome = yield* Effect.promise(() =>
            outcomeInline(async () => {
              const fn = await resolve(task)
              InJob.setHost(host)
              return fn(...copies)
            })
          ).pipe(
            Effect.onInterrupt(() =>
              Effect.sync(() => {
                asked = true
              })
            )
          )
          if (outcome._tag === "Returned" && isEffect(outcome.value)) {
            return yield* Effect.mapError(
              outcome.value as Effect.Effect<unknown, unknown>,
              (error) => new JobFailed({ job: job.name, thrown: toThrown(error) })
            )
          }
          const value = yield* resultOf(job, outcome, timeout)
          return yield* Effect.try({
            try: () => structuredClone(value, { transfer: [...InJob.buffersOf(value)] }),
            catch: (error) =>
              new NotSerializable({
                job: job.name,
                part: "result",
                detail: whereUncloneable(value, "the result", error)
              })
          })
        }).pipe((job_) => {
          const { timeout } = fiber.getFiberRef(settings)
          return timeout === undefined
            ? job_
            : Effect.timeoutFail(job_, {
                duration: timeout,
                onTimeout: () => new JobTimedOut({ job: job.name, after: timeout })
              })
        })
      ).pipe(thread.withPermits(1))
    return Executor.of({
      maxWorkers: 1,
      capacity: Number.POSITIVE_INFINITY,
      run,
      starter: starterOf(run)
    })
  })
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
  options?: { readonly maxWorkers?: number | undefined }
): Layer.Layer<Executor> =>
  Layer.effect(
    Executor,
    Effect.map(Effect.makeSemaphore(options?.maxWorkers ?? Number.MAX_SAFE_INTEGER), (threads) => {
      checkOptions(options ?? {}, { maxWorkers: count })
      const run = (
        { name }: Job<any, unknown>,
        args: ReadonlyArray<any>
      ): Effect.Effect<any, ExecutorError> => threads.withPermits(1)(Effect.suspend(() => answer(name, args)))
      return Executor.of({
        maxWorkers: options?.maxWorkers ?? 64,
        capacity: Number.POSITIVE_INFINITY,
        run,
        starter: starterOf(run)
      })
    })
  )
