import { Cause, Chunk, Clock, type Duration, Effect, Either, Exit, Option, Stream } from "effect"
import * as EventLine from "../host/EventLine.js"
import type { Status } from "../host/Events.js"
import { codes, ofMany } from "../host/ExitCodes.js"
import * as EventBuffer from "../stream/EventBuffer.js"
import { withOwnScope } from "../stream/OwnScope.js"
import * as Backoff from "../task/Backoff.js"
import * as Cancellation from "../task/Cancellation.js"
import { headline } from "../task/Causes.js"
import * as Sleep from "../task/Sleep.js"
import { notDoneIn } from "../text/Durations.js"
import { anyCount, checkedConcurrency, checkOptions, count, time } from "../text/Numbers.js"
import { Executor, withTimeout } from "./Executor.js"
import type { ExecutorError } from "./ExecutorError.js"
import * as Loop from "./internal/loop.js"
import { depth, longestChunk } from "./internal/protocol.js"
import * as Quantile from "./internal/quantiles.js"
import type { AnyFiber } from "./internal/settings.js"
import { forkLike, starterOf } from "./internal/starter.js"
import type { Job, Settled } from "./Job.js"

// one job for many inputs

/**
 * Settings of {@link each}.
 *
 * @since 0.1.0
 * @category options
 */
export interface EachOptions {
  /** Results as they come instead of in input order; default false. */
  readonly unordered?: boolean | undefined
  /**
   * Inputs that go to a thread in one message; default 1, at most 1024. For jobs of some microseconds, where the
   * message costs more than the job.
   */
  readonly chunk?: number | undefined
  /**
   * Jobs (or chunks) that are requested at once; default 16 per thread, so that each has its next jobs at hand. With
   * fewer than `maxWorkers`, only that many threads run.
   */
  readonly concurrency?: number | "unbounded" | undefined
  /** The timeout of each input, as `Executor.withTimeout`; default: none. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Further attempts for an input whose job has failed; default 0. */
  readonly retries?: number | undefined
  /** The pauses before further attempts; default as in `Backoff.make`. */
  readonly backoff?: Backoff.Backoff | undefined
}

/**
 * The end of one input.
 *
 * @since 0.1.0
 * @category models
 */
export interface Item<Input, A> {
  /** Its number in the inputs, from 0. */
  readonly index: number
  readonly input: Input
  readonly result: Either.Either<A, ExecutorError>
  /** Milliseconds that its job ran. */
  readonly run: number
  /** Milliseconds from the request of the job until it ran. */
  readonly wait: number
  /** Attempts, the first included. */
  readonly attempts: number
}

/** Most results that wait for results before them, in ordered streams. */
const kept = 256

/**
 * Runs a job once for each input and emits the outcome of each: a failure belongs to one input, and the others continue.
 * Inputs are read as threads become free, and no faster than results are pulled, so an endless stream costs no memory.
 * Ending the stream early cancels the running jobs and waits until they have ended.
 *
 * Fails only as the inputs do.
 *
 * @since 0.1.0
 * @category streams
 */
export const each = <Input, A, E = never, R = never>(
  job: Job<[Input], A>,
  source: Iterable<Input> | Stream.Stream<Input, E, R>,
  options: EachOptions = {}
): Stream.Stream<Item<Input, A>, E, Executor | R> =>
  withOwnScope(source, (inputs) =>
    Effect.gen(function* () {
      const executor = yield* Executor
      checkOptions(options, { chunk: count, retries: anyCount, timeout: time })
      const { retries = 0, timeout, unordered = false } = options
      const pauseBefore = Backoff.make(options.backoff)
      const chunk = Math.min(Math.max(1, options.chunk ?? 1), longestChunk)
      const lanes = Math.max(
        1,
        Math.min(checkedConcurrency(options.concurrency ?? executor.maxWorkers * depth), executor.capacity)
      )
      const { emit, end, full, stream, whenRoom } = EventBuffer.make<Item<Input, A>, E>({
        capacity: Math.max(kept, lanes * chunk)
      })
      const loop = (fiber: AnyFiber, onEnd: (thrown: { readonly error: unknown } | undefined) => void) =>
        Loop.make<Input, Settled<A>>({
          iterator: Symbol.iterator in inputs ? inputs[Symbol.iterator]() : undefined,
          chunk,
          lanes,
          start: starterOf(executor)(fiber, job),
          again: ({ result }, attempts) =>
            attempts <= retries && Either.isLeft(result) && canRetry(result.left),
          pause: (attempts, callback) => {
            const paused = forkLike(fiber)(Effect.flatMap(pauseBefore(attempts - 1), Sleep.sleep))
            let cancelled = false
            paused.addObserver((exit) => {
              if (!cancelled && Exit.isSuccess(exit)) callback()
            })
            return (onGone) => {
              cancelled = true
              paused.addObserver(() => onGone())
              paused.unsafeInterruptAsFork(fiber.id())
            }
          },
          ordered: !unordered,
          kept,
          full,
          whenRoom,
          give: (index, input, { attempts: made = 1, result, run }, attempts, asked) => {
            const wait = Math.max(0, performance.now() - asked - run)
            emit({ index, input, result, run, wait, attempts: attempts + made - 1 })
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
        // The stream is read one of its own chunks ahead of the jobs.
        const feed = Stream.runForEachChunk(inputs, (some) =>
          Effect.async<void>((resume) => running.feed(Chunk.toReadonlyArray(some), () => resume(Effect.void)))
        ).pipe(Effect.andThen(Effect.sync(running.end)))
        return Effect.all([settled, feed], { concurrency: 2, discard: true })
      }).pipe(
        (all) => (timeout === undefined ? all : withTimeout(all, timeout)),
        Effect.onExit((exit) => Effect.sync(() => end(Exit.isFailure(exit) ? exit.cause : undefined)))
      )
      yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
        Cancellation.cancel(fiber, { reason: "its results are no longer read", origin: "executor" })
      )
      return stream
    })
  )

/**
 * Runs the job once for each input, one after the other on one thread, in one message: for jobs so short that the
 * message costs more than they do. Each input has its own end; an input that crashes the thread fails alone, and the
 * inputs after it run on another. At most 1024 inputs.
 *
 * @since 0.1.0
 * @category effects
 */
export const runChunk = <Input, A>(
  job: Job<[Input], A>,
  inputs: ReadonlyArray<Input>
): Effect.Effect<ReadonlyArray<Settled<A>>, never, Executor> =>
  Effect.flatMap(Executor, (executor) =>
    Effect.withFiberRuntime<ReadonlyArray<Settled<A>>>((fiber) =>
      Effect.async<ReadonlyArray<Settled<A>>>((resume) => {
        const cancel = starterOf(executor)(fiber, job)(inputs, (settled) => resume(Effect.succeed(settled)))
        return Effect.async<void>((resume) => cancel(() => resume(Effect.void)))
      })
    )
  )

/**
 * Whether another attempt may succeed: not if the failure depends only on function and input.
 *
 * @since 0.1.0
 * @category predicates
 */
export const canRetry = (error: ExecutorError): boolean =>
  error._tag !== "NotSerializable" &&
  error._tag !== "JobRefused" &&
  !(error._tag === "WorkerCrashed" && error.reason === "closed")

/**
 * Maps a job over inputs, on all threads (asyncio: `Executor.map`). The first failure ends the stream and cancels the
 * running jobs; {@link each} continues after a failure.
 *
 * @example
 * ```ts
 * import { Stream } from "effect"
 * import * as Job from "effect-asyncio/services/Job"
 * import * as MapJobs from "effect-asyncio/services/MapJobs"
 *
 * const square = Job.fromFunction((n: number) => n * n)
 * export const program = MapJobs.map(square, Stream.range(1, 1_000_000), { chunk: 256 }).pipe(Stream.runSum)
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const map = <Input, A, E = never, R = never>(
  job: Job<[Input], A>,
  inputs: Iterable<Input> | Stream.Stream<Input, E, R>,
  options?: EachOptions
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

// items of a list that a user wrote

/**
 * An input of {@link items}: its text, and its value or its problem.
 *
 * @since 0.1.0
 * @category models
 */
export interface ItemInput {
  readonly text: string
  /** Where it is from, like `line 3 of items.txt`; it is in the event of its end. */
  readonly place?: string | undefined
  readonly value: Either.Either<unknown, string>
}

/**
 * Settings of {@link items}.
 *
 * @since 0.1.0
 * @category options
 */
export interface ItemsOptions extends EachOptions {
  /** `"cancel"` (default): the first failure cancels the running jobs and starts no others; `"continue"`: they run on. */
  readonly onFailure?: "cancel" | "continue" | undefined
  /** Turns a result into the value of its event; if it throws, the item fails. Default: the result itself. */
  readonly encode?: ((value: unknown) => unknown) | undefined
}

/**
 * The 50th, 95th and 99th percentile of all times, in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Quantiles {
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/**
 * An event of {@link items}.
 *
 * @since 0.1.0
 * @category events
 */
export type ItemEvent = ItemFinished | ItemsSummary

/**
 * The end of one item; durations are milliseconds.
 *
 * @since 0.1.0
 * @category events
 */
export interface ItemFinished {
  readonly event: "finished"
  /** The item's number in the input, from 1. */
  readonly index: number
  /** The item's text. */
  readonly name: string
  /** Where the item is from, if that is known: `line 3 of items.txt`. */
  readonly place?: string
  readonly status: "succeeded" | "failed" | "timed_out"
  /** How long its job ran. */
  readonly duration: number
  /** How long it waited for a thread. */
  readonly wait: number
  readonly attempts: number
  /** The result, if it succeeded with one. */
  readonly value?: unknown
  /** Why it failed. */
  readonly reason?: string
  /** The error's tag; `"BadInput"` if the item has no value, `"BadResult"` if `encode` threw. */
  readonly error?: ExecutorError["_tag"] | "BadInput" | "BadResult"
  /** The stack on the thread, if there was one. */
  readonly stack?: string | undefined
}

/**
 * The last event: how the items have ended. `cancelled` counts the items that a failure has cancelled while they ran or
 * waited for a thread.
 *
 * @since 0.1.0
 * @category models
 */
export interface ItemsSummary extends Readonly<Record<Status, number>> {
  readonly event: "summary"
  /** Milliseconds from the start of the stream. */
  readonly duration: number
  /** Of the items whose jobs ran. */
  readonly run: Quantiles
  readonly wait: Quantiles
  /** As `ExitCodes.ofMany`. */
  readonly exitCode: number
}

const stackOf = (error: ExecutorError): string | undefined =>
  error._tag === "JobFailed"
    ? error.thrown.stack
    : error._tag === "WorkerCrashed"
      ? error.remoteStack
      : undefined

/**
 * Runs a job for each item, as a stream of events: in input order unless `unordered`, and a summary at the end. Items
 * are read as threads become free, so an endless list costs no memory. A failure is an event; the stream itself fails
 * only as the inputs do. Ending it early cancels the running jobs and waits for them.
 *
 * @example
 * ```ts
 * import { Either, Stream } from "effect"
 * import * as Executor from "effect-asyncio/services/Executor"
 * import * as Job from "effect-asyncio/services/Job"
 * import * as MapJobs from "effect-asyncio/services/MapJobs"
 *
 * const thumbnail = Job.fromModule<(file: string) => string>(new URL("./images.js", import.meta.url), "thumbnail")
 * const files = ["a.png", "b.png"].map((text) => ({ text, value: Either.right(text) }))
 *
 * export const failures = MapJobs.items(thumbnail, files, { timeout: "10 seconds", onFailure: "continue" }).pipe(
 *   Stream.filter((event) => event.event === "finished" && event.status === "failed"),
 *   Stream.provideLayer(Executor.layerThreads({ maxWorkers: 4 }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const items = <E = never, R = never>(
  job: Job<[any], unknown>,
  inputs: Iterable<ItemInput> | Stream.Stream<ItemInput, E, R>,
  options: ItemsOptions = {}
): Stream.Stream<ItemEvent, E, Executor | R> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { encode, onFailure = "cancel", unordered = false } = options
      const begun = yield* Clock.currentTimeNanos
      const runs = Quantile.make()
      const waits = Quantile.make()
      const counts = { succeeded: 0, failed: 0, timed_out: 0 }
      const exitCodes = new Set<number>()
      let stopped = false
      // Running items, by their numbers among the values; and the bad items whose events are not emitted yet.
      let count = 0
      let values = 0
      const under = new Map<number, Pick<ItemFinished, "index" | "name" | "place">>()
      let bad: Array<ItemFinished> = []
      const source = Symbol.iterator in inputs ? Stream.fromIterable(inputs) : inputs
      const given = source.pipe(
        // Items after a bad one are not started if the first failure ends all.
        Stream.takeWhile(() => !(onFailure === "cancel" && bad.length > 0)),
        Stream.filterMap(({ place, text, value }) => {
          const which = { index: ++count, name: text, ...(place === undefined ? {} : { place }) }
          if (Either.isRight(value)) {
            under.set(values++, which)
            return Option.some(value.right)
          }
          const nothing = { duration: 0, wait: 0, attempts: 0 }
          const failure = { status: "failed", error: "BadInput", reason: value.left } as const
          bad.push({ event: "finished", ...which, ...failure, ...nothing })
          return Option.none()
        })
      )
      const before = (index: number): ReadonlyArray<ItemFinished> => {
        if (bad.length === 0) return []
        const due = unordered ? bad : bad.filter((event) => event.index < index)
        if (due.length > 0) bad = bad.filter((event) => !due.includes(event))
        return due
      }
      const toEvent = (item: Item<any, unknown>): ItemFinished => {
        const { attempts, index, result, run, wait } = item
        const known = under.get(index)!
        under.delete(index)
        const ended = (what: Pick<ItemFinished, "status" | "value" | "reason" | "error" | "stack">) => {
          const times = { duration: EventLine.ms(run), wait: EventLine.ms(wait) }
          return { event: "finished" as const, ...known, ...what, ...times, attempts }
        }
        if (Either.isLeft(result)) {
          const { left } = result
          const end =
            left._tag === "JobTimedOut"
              ? { status: "timed_out" as const, reason: notDoneIn(left.after) }
              : { status: "failed" as const, reason: left.message }
          return ended({ ...end, error: left._tag, stack: stackOf(left) })
        }
        try {
          return ended({
            status: "succeeded",
            value: encode === undefined ? result.right : encode(result.right)
          })
        } catch (error) {
          const reason = `the result cannot be written: ${headline(Cause.fail(error))}`
          return ended({ status: "failed", error: "BadResult", reason })
        }
      }
      const events = each(job, given, options).pipe(
        Stream.mapConcat((item) => {
          const first = before(under.get(item.index)!.index)
          return [...first, toEvent(item)]
        }),
        Stream.concat(Stream.suspend(() => Stream.fromIterable(before(Number.POSITIVE_INFINITY)))),
        Stream.takeUntil((event) => {
          stopped = onFailure === "cancel" && event.status !== "succeeded"
          return stopped
        }),
        Stream.map((event) => {
          if (event.attempts > 0) {
            if (event.status === "succeeded" || event.duration > 0) runs.add(event.duration)
            waits.add(event.wait)
          }
          counts[event.status]++
          if (event.status !== "succeeded") {
            exitCodes.add(event.status === "timed_out" ? codes.timedOut : codes.failed)
          }
          return event
        })
      )
      const summary = Effect.map(
        Clock.currentTimeNanos,
        (now): ItemEvent => ({
          event: "summary",
          ...counts,
          cancelled: stopped ? under.size : 0,
          skipped: 0,
          duration: EventLine.ms(Number(now - begun) / 1e6),
          run: runs.quantiles(),
          wait: waits.quantiles(),
          exitCode: ofMany(exitCodes)
        })
      )
      return Stream.concat(events, Stream.fromEffect(summary))
    })
  )
