import { Console, Duration, Effect, Either, LogLevel, Runtime, type Scope } from "effect"
import { builtFile } from "../../host/BuiltFile.js"
import {
  type ExecutorError,
  JobFailed,
  JobTimedOut,
  NotSerializable,
  QueueFull,
  WorkerCrashed
} from "../ExecutorError.js"
import * as InJob from "../InJob.js"
import type { Job, Settled } from "../Job.js"
import * as Pool from "./pool.js"
import type { LogEntry } from "./protocol.js"
import { type AnyFiber, contextOf, settings } from "./settings.js"
import { type Cancel, forkLike, type Starter } from "./starter.js"
import { isClonable, levelsOf, type Task, whereUncloneable } from "./task.js"
import type { Unit, UnitOptions } from "./units.js"

// Turns jobs into orders to the pool of threads (or processes), and its reports into results, output and log entries.

const unshippable = (job: string) =>
  new NotSerializable({
    job,
    part: "function",
    detail: "its source stands for nothing by itself (native, bound or a method); wrap it: (x) => f(x)"
  })

export const shipped = (job: Job<any, unknown>): Effect.Effect<Task, NotSerializable> =>
  job.task === undefined ? unshippable(job.name) : Effect.succeed(job.task)

/** Why these arguments, or the context that is sent with them, did not reach a thread. */
export const refused = (
  job: string,
  args: ReadonlyArray<unknown>,
  refs: unknown,
  refusal: Pool.Refusal
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

export const resultOf = (
  { name: job, task }: Job<any, unknown>,
  ended: Pool.Ended,
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

const speaker = (fiber: AnyFiber): ((effect: Effect.Effect<void>) => void) => {
  let fork: ReturnType<typeof forkLike> | undefined
  return (effect) => {
    fork ??= forkLike(fiber)
    fork(effect)
  }
}

/** Output in pieces, printed on a console line by line. */
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

const logged = ({ annotations, cause, level, message }: LogEntry): Effect.Effect<void> =>
  Effect.annotateLogs(
    Effect.logWithLevel(
      LogLevel.fromLiteral(level as LogLevel.Literal),
      ...message,
      ...(cause === undefined ? [] : [`\n${cause}`])
    ),
    annotations
  )

type Settle = (settled: ReadonlyArray<Settled<any>>) => void

/** The job as one order to a thread: with `args`, or, as a chunk, once for each of them. */
const submitter = (pool: Pool.Pool, fiber: AnyFiber, job: Job<any, unknown>, task: Task) => {
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
      // A chunk copies: after a crash it continues in another thread, where moved buffers would be missing.
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
        // One of the inputs cannot cross: the chunk is halved until that input is by itself, and the others run.
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

/** Settings of {@link make}; durations in milliseconds. */
export interface Options extends Omit<Pool.Options, "make" | "onStray" | "initializer"> {
  readonly unit: (options: UnitOptions) => Unit
  readonly maxQueue: number
  readonly initializer: Job<[], unknown> | undefined
}

/** A pool of threads or processes for the scope, and how it runs jobs. */
export const make = ({
  initializer,
  maxQueue,
  unit,
  ...options
}: Options): Effect.Effect<
  {
    readonly run: (job: Job<any, any>, args: ReadonlyArray<any>) => Effect.Effect<any, ExecutorError>
    readonly starter: Starter
  },
  never,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const strays = liner(Runtime.runFork(yield* Effect.runtime()))
    const task = initializer && (yield* Effect.orDie(shipped(initializer)))
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() =>
        Pool.make({
          ...options,
          make: (given) => unit({ ...given, entry: builtFile("services/thread/internal/worker.js") }),
          initializer: task,
          onStray: strays.push
        })
      ),
      (pool) => Effect.promise(pool.close)
    )
    const refusal = (job: Job<any, unknown>): ExecutorError | undefined =>
      job.task === undefined
        ? unshippable(job.name)
        : pool.unfinished() >= options.maxWorkers + maxQueue
          ? new QueueFull({ job: job.name, maxQueue })
          : undefined
    return {
      run: (job, args) =>
        Effect.withFiberRuntime<any, ExecutorError>((fiber) => {
          const error = refusal(job)
          if (error !== undefined) return Effect.fail(error)
          return Effect.async<any, ExecutorError>((resume) => {
            const submit = submitter(pool, fiber, job, job.task!)
            const cancel = submit(args, false, ([settled]) => resume(settled!.result))
            return Effect.async<void>((resume) => cancel(() => resume(Effect.void)))
          })
        }),
      starter: (fiber, job) => {
        const submit = job.task === undefined ? undefined : submitter(pool, fiber, job, job.task)
        return (inputs, onSettled) => {
          const error = inputs.length === 0 ? undefined : refusal(job)
          if (error === undefined && inputs.length > 0) {
            return submit!(inputs, inputs.length > 1, onSettled)
          }
          onSettled(inputs.map(() => ({ result: Either.left(error!), run: 0 })))
          return (onGone) => onGone()
        }
      }
    }
  })
