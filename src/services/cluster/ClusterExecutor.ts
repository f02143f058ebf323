import { randomUUID } from "node:crypto"
import { Duration, Effect, Either, Layer, type Scope } from "effect"
import type { MissingPackage } from "../network/NetworkSettings.js"
import * as Backoff from "../task/Backoff.js"
import { anyCount, checkOptions, count, type Range, time } from "../text/Numbers.js"
import { Executor } from "../thread/Executor.js"
import { type ExecutorError, JobRefused, NotSerializable, QueueFull } from "../thread/ExecutorError.js"
import { type AnyFiber, contextOf, settings } from "../thread/internal/settings.js"
import { type Cancel, forkLike, register } from "../thread/internal/starter.js"
import type { Job, Settled } from "../thread/Job.js"
import * as Code from "./internal/code.js"
import * as Continued from "./internal/continued.js"
import * as Session from "./internal/session.js"
import * as Submission from "./internal/submission.js"
import { RunError } from "./RunError.js"
import type * as Store from "./Store.js"

// The submitter's side: an executor whose jobs run in other processes, by way of a store.

/**
 * Settings of {@link layer}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The store: `FILE`, `sqlite:FILE` or `postgres://user@host/database`. */
  readonly store: string
  /** The runners of this group: letters, digits, `.`, `_` and `-`, at most 40. Default `default`. */
  readonly group?: string | undefined
  /** The folder of the code: a job is named by its file's path in it. Default: the working directory. */
  readonly code?: string | undefined
  /** A map requests 16 times as many jobs at once, if it is not asked for less; default 64. */
  readonly maxWorkers?: number | undefined
  /** Most jobs that wait or run; one more fails with `QueueFull`. Default 10,000. */
  readonly capacity?: number | undefined
  /** Further attempts, on its runner, for a job that has failed; default 0. */
  readonly retries?: number | undefined
  /** The pauses before them. */
  readonly backoff?: Backoff.Backoff | undefined
  /** A job that this many runners had when they died fails; default 3. */
  readonly tries?: number | undefined
  /** Bytes of a job's arguments; larger ones go to `storage`, and fail with `NotSerializable` without one. Default 1 MiB. */
  readonly maxSize?: number | undefined
  /**
   * Where arguments above `maxSize` go, and from where large results come: a folder, or `s3://BUCKET`, as `Storage.open` reads
   * it. The same as that of the runners. Default: none.
   */
  readonly storage?: string | undefined
  /** How long a store that does not answer is asked again; default 1 minute. */
  readonly patience?: Duration.DurationInput | undefined
  /**
   * Keeps results until the scope closes, so that another process can continue the run if this one is killed. Default:
   * results are removed when they are read, and a run without its submitter ends after a minute.
   */
  readonly resumable?: boolean | undefined
  /** Continues this run, with the same inputs in the same order: what has a result does not run again. */
  readonly run?: string | undefined
  /** With `run`: the job that will be asked for; the layer fails with `RunError` if the run is of another one. */
  readonly job?: Job<any, unknown> | undefined
  /** Called with the id of each run, when it is in the store. Default: does nothing. */
  readonly onRun?: ((id: string) => Effect.Effect<void>) | undefined
}

const workers: Range = { most: 2 ** 16 - 1 }
const mebibyte = 1024 * 1024

const make = (
  options: Options
): Effect.Effect<typeof Executor.Service, Store.StoreError | MissingPackage | RunError, Scope.Scope> =>
  Effect.gen(function* () {
    checkOptions(options, {
      maxWorkers: workers,
      capacity: count,
      retries: anyCount,
      tries: count,
      maxSize: count,
      patience: time
    })
    const { capacity = 10_000, code = process.cwd(), maxSize = mebibyte, maxWorkers = 64 } = options
    const backoff = Backoff.inMillis(options.backoff ?? {})

    const placeOf = ({
      name: job,
      task
    }: Job<any, unknown>): Either.Either<Continued.Of, JobRefused | NotSerializable> => {
      if (task?._tag !== "Module") {
        const detail = "a runner has modules and runs no source that is sent to it; name it by Job.fromModule"
        return Either.left(new NotSerializable({ job, part: "function", detail }))
      }
      return Either.mapBoth(Code.name(code, task.url), {
        onLeft: (reason) => new JobRefused({ job, reason }),
        onRight: (found) => ({ ...found, name: task.name })
      })
    }
    const wanted = options.run === undefined || options.job === undefined ? undefined : placeOf(options.job)
    if (wanted !== undefined && Either.isLeft(wanted)) {
      return yield* new RunError({ message: wanted.left.message })
    }
    const session = yield* Session.open({ ...options, of: wanted?.right })
    const { taken } = session

    const submissions = new Map<string, Submission.Working>()
    yield* Effect.addFinalizer(() =>
      Effect.forEach(submissions.values(), Submission.end, { concurrency: "unbounded", discard: true })
    )
    const fork = forkLike(yield* Effect.withFiberRuntime<AnyFiber>((fiber) => Effect.succeed(fiber)))

    /** Where the job's rows go; the left is why nowhere. */
    const submissionOf = (job: Job<any, unknown>): Either.Either<Submission.Submission, ExecutorError> => {
      const key = job.task?._tag === "Module" ? `${job.task.url}#${job.task.name}` : ""
      const known = submissions.get(key)
      if (known !== undefined) return Either.right(known)
      const place = placeOf(job)
      if (Either.isLeft(place)) return Either.left(place.left)
      const { module, name, version } = place.right
      if (taken !== undefined) {
        const reason =
          Continued.problem(taken, place.right) ??
          (submissions.size > 0 ? `the run ${taken.id} has one function already` : undefined)
        if (reason !== undefined) return Either.left(new JobRefused({ job: job.name, reason }))
      }
      const { resumable = taken !== undefined, retries, tries = 3 } = options
      const submission = Submission.make({
        ...session,
        job: job.name,
        run: {
          id: taken?.id ?? randomUUID(),
          module,
          version,
          name,
          settings: { retries, backoff },
          tries
        },
        resumable,
        taken: taken !== undefined,
        maxSize,
        onRun: options.onRun ?? (() => Effect.void)
      })
      const working = { ...submission, fiber: fork(submission.work) }
      submissions.set(key, working)
      return Either.right(working)
    }

    const size = () => {
      let all = 0
      for (const submission of submissions.values()) all += submission.size()
      return all
    }

    const start = (
      fiber: AnyFiber,
      job: Job<any, any>,
      inputs: ReadonlyArray<ReadonlyArray<unknown>>,
      onSettled: (settled: ReadonlyArray<Settled<any>>) => void
    ): Cancel => {
      const found =
        size() + inputs.length > capacity
          ? Either.left(new QueueFull({ job: job.name, maxQueue: capacity }))
          : submissionOf(job)
      if (Either.isLeft(found) || inputs.length === 0) {
        onSettled(inputs.map(() => ({ run: 0, result: found as Either.Either<never, ExecutorError> })))
        return (onGone) => onGone()
      }
      const { timeout } = fiber.getFiberRef(settings)
      const request = {
        inputs,
        context: contextOf(fiber),
        timeout: timeout === undefined ? undefined : Duration.toMillis(timeout)
      }
      return found.right.submit(request, onSettled)
    }

    const executor = Executor.of({
      maxWorkers,
      capacity,
      run: (job, args) =>
        Effect.withFiberRuntime<any, ExecutorError>((fiber) =>
          Effect.async<any, ExecutorError>((resume) => {
            const cancel = start(fiber, job, [args], ([settled]) => resume(settled!.result))
            return Effect.async<void>((resume) => cancel(() => resume(Effect.void)))
          })
        )
    })
    return register(
      executor,
      (fiber, job) => (inputs, onSettled) =>
        start(
          fiber,
          job,
          inputs.map((input) => [input]),
          onSettled
        )
    )
  })

/**
 * Runs jobs in other processes, on this machine or others: they go through a store to the runners of the group (`aio runner`,
 * or `Runner.layer`), which have the same code. A job is a function of a module (`Job.fromModule`) in the folder `code`, named
 * by its path there and the digest of its file: a runner that has another version does not run it. Arguments and results are
 * copies (structured clone).
 *
 * A job whose runner dies runs again on another: at least once, and its result is recorded once. `InJob.context().refs` has
 * the job's id as `"aio.job"`, for effects that must not be repeated. Interrupted, a job's result is no longer recorded, and its
 * runner cancels it within 2 seconds. Output of a job goes to its runner's.
 *
 * Fails with `StoreError` if the store cannot be opened, with `RunError` for a run that is not there or of another job, and if
 * `storage` names no storage; a job fails with `JobRefused` if no runner has its code or the store has failed for longer than
 * `patience`. Needs what `Store.open` needs.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as ClusterExecutor from "effect-asyncio/services/ClusterExecutor"
 * import * as Job from "effect-asyncio/services/Job"
 * import * as MapJobs from "effect-asyncio/services/MapJobs"
 *
 * const thumbnail = Job.fromModule<(file: string) => number>(new URL("./images.js", import.meta.url), "thumbnail")
 *
 * export const program = MapJobs.map(thumbnail, ["a.png", "b.png"]).pipe(
 *   Stream.runSum,
 *   Effect.provide(ClusterExecutor.layer({ store: "postgres://jobs@db.example.org/jobs", group: "images" }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<Executor, Store.StoreError | MissingPackage | RunError> =>
  Layer.scoped(Executor, make(options))
