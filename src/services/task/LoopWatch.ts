import {
  Cause,
  Context,
  Data,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  PubSub,
  Queue,
  Runtime,
  type Scope,
  Stream
} from "effect"
import { codes } from "../host/ExitCodes.js"
import { checkedDuration } from "../text/Numbers.js"
import { plural } from "../text/Plural.js"
import { type Report, text } from "./internal/loopReports.js"
import { open } from "./internal/loopWatch.js"

export type { Frame, Report } from "./internal/loopReports.js"
export { event, text } from "./internal/loopReports.js"

// Finds what blocks the event loop (asyncio's debug mode, loop.slow_callback_duration): docs/loop-watch.md.

/**
 * Settings of {@link layer}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The longest time without a turn of the loop that is not reported. Default: 100 milliseconds. */
  readonly threshold?: Duration.DurationInput | undefined
  /**
   * Called for each report, in order, when the loop turns again. Default: a warning in Effect's log, with the text of the
   * report.
   */
  readonly onReport?: ((report: Report) => Effect.Effect<void>) | undefined
  /**
   * When the loop is still blocked after this time, the watchdog's thread writes a line itself, because no fiber can.
   * Default: never.
   */
  readonly hanging?: Duration.DurationInput | undefined
  /** Whether that line is NDJSON. Default: false. */
  readonly json?: boolean | undefined
  /** The file descriptor that it is written to. Default: 2, stderr. */
  readonly descriptor?: 1 | 2 | undefined
}

/**
 * The event loop of this thread was blocked while {@link failOnBlock} ran something. Exit code 1.
 *
 * @since 0.1.0
 * @category errors
 */
export class LoopBlocked extends Data.TaggedError("LoopBlocked")<{
  readonly reports: ReadonlyArray<Report>
}> {
  readonly exitCode = codes.failed
  override get message() {
    const [first, ...more] = this.reports.map((report) => text(report, "/"))
    return more.length === 0 ? `${first}` : `${first} (and ${plural(more.length, "more report")})`
  }
}

/**
 * Watches the event loop of the thread that it was made in.
 *
 * @since 0.1.0
 * @category services
 */
export class LoopWatch extends Context.Tag("effect-asyncio/services/LoopWatch")<
  LoopWatch,
  {
    /** The reports from the subscription on; a slow reader misses the oldest of more than 1,024. */
    readonly reports: Stream.Stream<Report>
    /** Waits until all up to now is reported. */
    readonly flush: Effect.Effect<void>
  }
>() {}

const logged = (report: Report): Effect.Effect<void> => Effect.logWarning(`LoopWatch: ${text(report, "/")}`)

/**
 * Starts a watch that ends with the scope; the last report comes before that. It costs one thread and a timer that fires
 * four times per threshold. A place where stacks cannot be taken is a warning in the log: reports then have no place.
 * `threshold` and `hanging` that are no durations above zero are defects.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<Context.Tag.Service<LoopWatch>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const threshold = checkedDuration("threshold", options.threshold ?? 100, { duration: "some" })
    const hanging = checkedDuration("hanging", options.hanging ?? Number.POSITIVE_INFINITY, {
      duration: "some"
    })
    const { descriptor = 2, json = false, onReport = logged } = options
    const reports = yield* PubSub.sliding<Report>(1024)
    const queue = yield* Queue.unbounded<Report>()
    const fork = Runtime.runFork(yield* Effect.runtime())
    const watch = yield* Effect.acquireRelease(
      Effect.sync(() =>
        open({
          threshold: Duration.toMillis(threshold),
          hanging: Duration.isFinite(hanging)
            ? { after: Duration.toMillis(hanging), json, cwd: process.cwd(), descriptor }
            : undefined,
          onReport: (report) => queue.unsafeOffer(report),
          onUnavailable: (why) => {
            fork(Effect.logWarning(`LoopWatch: no stacks can be taken here: ${why}`))
          }
        })
      ),
      (watch) => Effect.sync(watch.close)
    )
    const publish = (report: Report) =>
      Effect.uninterruptible(Effect.zipRight(onReport(report), PubSub.publish(reports, report)))
    const publisher = yield* Effect.forkDaemon(Effect.forever(Effect.flatMap(Queue.take(queue), publish)))
    const flush = Effect.promise(watch.flush)
    yield* Effect.addFinalizer(() =>
      flush.pipe(
        Effect.zipRight(Fiber.interrupt(publisher)),
        Effect.zipRight(Queue.takeAll(queue)),
        Effect.flatMap(Effect.forEach(publish, { discard: true }))
      )
    )
    yield* Effect.promise(watch.ready)
    return { reports: Stream.fromPubSub(reports), flush }
  })

/**
 * Watches the event loop while the layer is in use.
 *
 * @example
 * import { Effect } from "effect"
 * import * as LoopWatch from "effect-asyncio/services/LoopWatch"
 *
 * const slow = Effect.sync(() => {
 *   const end = Date.now() + 300
 *   while (Date.now() < end);
 * })
 * export const program = slow.pipe(
 *   Effect.withSpan("slow"),
 *   Effect.provide(LoopWatch.layer({ threshold: "50 millis" }))
 * ) // logs: event loop was blocked for 300 ms: …, fiber #1, span 'slow'; move it to Executor.blocking
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<LoopWatch> => Layer.scoped(LoopWatch, make(options))

/**
 * Watches nothing.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerNoop: Layer.Layer<LoopWatch> = Layer.succeed(LoopWatch, {
  reports: Stream.empty,
  flush: Effect.void
})

type FailOptions = Pick<Options, "threshold">

const failing = <A, E, R>(effect: Effect.Effect<A, E, R>, { threshold }: FailOptions) =>
  Effect.suspend(() => {
    const reports: Array<Report> = []
    return Effect.gen(function* () {
      yield* make({ threshold, onReport: (report) => Effect.sync(() => void reports.push(report)) })
      return yield* effect
    }).pipe(
      Effect.scoped,
      Effect.zipLeft(Effect.suspend(() => (reports.length > 0 ? new LoopBlocked({ reports }) : Effect.void)))
    )
  })

/**
 * Fails with {@link LoopBlocked} when the effect has blocked the event loop for longer than the threshold (default: 100
 * milliseconds): a test that blocks then fails, with the place. A function without arguments, as test runners take it,
 * becomes one whose promise rejects.
 *
 * @example
 * import { Effect } from "effect"
 * import * as LoopWatch from "effect-asyncio/services/LoopWatch"
 *
 * // @effect/vitest: it.effect("is quick", () => LoopWatch.failOnBlock(quick))
 * export const quick = LoopWatch.failOnBlock(Effect.succeed(1), { threshold: "50 millis" })
 * // vitest: it("is quick", plain)
 * export const plain = LoopWatch.failOnBlock(async () => 1)
 *
 * @since 0.1.0
 * @category effects
 */
export const failOnBlock: {
  <A, E, R>(effect: Effect.Effect<A, E, R>, options?: FailOptions): Effect.Effect<A, E | LoopBlocked, R>
  <A>(test: () => A | PromiseLike<A>, options?: FailOptions): () => Promise<A>
} = (what: Effect.Effect<any, any, any> | (() => unknown), options: FailOptions = {}): any => {
  if (Effect.isEffect(what)) return failing(what, options)
  const call = what as () => unknown
  return async () => {
    const test = Effect.promise(async () => call()) // what it throws is thrown again below
    const exit = await Effect.runPromiseExit(failing(test, options))
    if (Exit.isFailure(exit)) throw Cause.squash(exit.cause)
    return exit.value
  }
}
