import type * as Command from "@effect/platform/Command"
import {
  Cause,
  Chunk,
  Clock,
  type Context,
  Data,
  Deferred,
  type Duration,
  Effect,
  Exit,
  Option,
  type Scope,
  Stream
} from "effect"
import * as EventLine from "../host/EventLine.js"
import { codes } from "../host/ExitCodes.js"
import * as SystemLoad from "../host/SystemLoad.js"
import { commandText } from "../process/CommandText.js"
import * as Processes from "../process/Processes.js"
import * as EventBuffer from "../stream/EventBuffer.js"
import { type Input, withOwnScope } from "../stream/OwnScope.js"
import * as Backoff from "../task/Backoff.js"
import * as Cancellation from "../task/Cancellation.js"
import { headline } from "../task/Causes.js"
import * as Race from "../task/Race.js"
import * as Sleep from "../task/Sleep.js"
import * as WorkerFibers from "../task/WorkerFibers.js"
import { anyCount, checkedNumber, checkOptions, count, type Range, time } from "../text/Numbers.js"
import * as deliveredLog from "./internal/deliveredLog.js"
import * as emitter from "./internal/emitter.js"
import * as jobAttempts from "./internal/jobAttempts.js"
import * as jobLimits from "./internal/jobLimits.js"
import * as jobOutput from "./internal/jobOutput.js"
import * as lanes from "./internal/lanes.js"
import type { SpoolError } from "./internal/spool.js"
import * as startGate from "./internal/startGate.js"
import * as tally from "./internal/tally.js"
import type { JobEvent, JobFinished, JobsSummary } from "./JobEvents.js"
import * as JobLog from "./JobLog.js"
import * as JobResults from "./JobResults.js"

// Many jobs on a few lanes: retries, the log, and when to give up the rest. Lanes, output, time limits, the start gate and
// the tally are in internal/.

/**
 * A job: a command, and its names.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobRequest {
  /** The command for the slot where it runs: a number from 1 to `concurrency`, of no two running jobs the same. */
  readonly command: (slot: number) => Command.Command
  /**
   * Identifies the job in events, in the log and among the results, so it must not depend on the slot; default the
   * command of slot 1 as text.
   */
  readonly key?: (() => string) | undefined
  /** The prefix of its lines; default the key. */
  readonly label?: string | undefined
}

/**
 * The key of a job, which identifies it in a log.
 *
 * @since 0.1.0
 * @category functions
 */
export const keyOf = (request: JobRequest): string => request.key?.() ?? commandText(request.command(1))

/**
 * When to give up the rest: `soon` starts no further job, `now` also cancels those that run.
 *
 * @since 0.1.0
 * @category models
 */
export interface Halt {
  readonly when: "now" | "soon"
  readonly on: "fail" | "success"
  /** This many jobs, or this percentage of those that have ended (from the third on). */
  readonly count: number
  readonly percent: boolean
}

/**
 * The first failure cancels the rest.
 *
 * @since 0.1.0
 * @category constants
 */
export const firstFailure: Halt = { when: "now", on: "fail", count: 1, percent: false }

/**
 * Settings of {@link stream} and {@link run}.
 *
 * @since 0.1.0
 * @category options
 */
export interface JobsOptions extends Processes.StopOptions {
  /** How many run at once; default: the processors. */
  readonly concurrency?: number | undefined
  /**
   * When output becomes events: `"group"` (default) when its job has ended; `"keepOrder"` so, in the order of the input;
   * `"line"` whole lines as they come; `"inherit"` never: jobs write to this process's own stdout and stderr.
   */
  readonly output?: "group" | "keepOrder" | "line" | "inherit" | undefined
  /** How long a job may run, or how many times the median of those that succeeded (from the third on); default no limit. */
  readonly timeout?: Duration.DurationInput | { readonly median: number } | undefined
  /** Further attempts of a job that failed; default 0. */
  readonly retries?: number | undefined
  /** The pauses before further attempts, in which the job keeps its lane; default as in `Backoff.make`. */
  readonly backoff?: Backoff.Backoff | undefined
  /** Least time between two starts; default none. */
  readonly delay?: Duration.DurationInput | undefined
  /** Default: never. */
  readonly halt?: Halt | undefined
  /** No job starts while the load average of the last minute is this or more; default no limit. */
  readonly load?: number | undefined
  /** No job starts while fewer bytes of memory are free; default no limit. */
  readonly memfree?: number | undefined
  /** A folder for each job's output and exit code, as in `JobResults`; default none. */
  readonly results?: string | undefined
  /** Most bytes of output that wait for their turn, in memory and in files; more is a {@link SpoolError}. Default no limit. */
  readonly spoolMax?: number | undefined
  /** Called as each further 8 MiB of output wait in files: a chance to check that the output still has a reader. */
  readonly onSpooled?: (() => void) | undefined
  /**
   * When this effect ends, all jobs end, with its result as the reason: as with a `halt` of `now`, and unlike an
   * interruption, the events still come. Default never.
   */
  readonly stop?: Effect.Effect<string> | undefined
}

/**
 * Settings of {@link run}.
 *
 * @since 0.1.0
 * @category options
 */
export interface RunOptions<E = never, R = never> extends JobsOptions {
  /** Takes events, in order, one call at a time; jobs wait while 64 events are not taken. */
  readonly deliver: (events: ReadonlyArray<JobEvent>) => Effect.Effect<void, E, R>
  /**
   * A log in GNU parallel's format; with `resume` jobs that are in it are skipped: all, or those that succeeded. A job is
   * logged when `deliver` has returned for the last of its output.
   */
  readonly log?: { readonly path: string; readonly resume: JobLog.Resume } | undefined
}

export { SpoolError } from "./internal/spool.js"

/**
 * The log, the results' folder or the temporary files for output cannot be used.
 *
 * @since 0.1.0
 * @category errors
 */
export type JobsError = JobLog.JobLogError | JobResults.JobResultsError | SpoolError

class Halted extends Data.TaggedError("Halted")<{ readonly cancellation: Cancellation.Cancellation }> {}

const positive: Range = { least: 0, above: true, whole: false, infinite: true }

const checkJobs = ({ timeout, ...options }: JobsOptions): void => {
  checkOptions(options, { concurrency: count, retries: anyCount, spoolMax: count, delay: time, grace: time })
  checkOptions(options, { load: positive, memfree: { least: 0, whole: false } })
  if (typeof timeout === "object" && "median" in timeout) checkOptions(timeout, { median: positive })
  else checkOptions({ timeout }, { timeout: time })
  const { halt } = options
  if (halt !== undefined)
    checkedNumber("halt.count", halt.count, halt.percent ? { ...positive, most: 100 } : count)
}

const buffered = 64
/** Least milliseconds between two deliveries: small jobs emit one event a millisecond. */
const eventPause = 8

/** Jobs that run in a scope. */
interface Opened<E> {
  readonly events: Stream.Stream<JobEvent, E | JobsError>
  readonly log: deliveredLog.DeliveredLog | undefined
}

const open = <E>(
  requests: Input<JobRequest, E>,
  options: JobsOptions & { readonly log?: RunOptions["log"] }
): Effect.Effect<Opened<E>, JobsError, Processes.Processes | SystemLoad.SystemLoad | Scope.Scope> =>
  Effect.gen(function* () {
    const system = yield* SystemLoad.SystemLoad
    const processes = yield* Processes.Processes
    const { concurrency = system.cpus, grace, halt, results, retries = 0, stopSignal } = options
    checkJobs(options)
    if (results !== undefined) yield* JobResults.check(results)
    const log = options.log && deliveredLog.make(yield* JobLog.open(options.log.path, options.log.resume))

    const buffer = EventBuffer.make<JobEvent, E | JobsError>({ capacity: buffered, pause: eventPause })
    const { emit, emitted, full, room, send } = emitter.make(buffer)
    const clock = yield* Effect.clock
    const begun = clock.unsafeCurrentTimeNanos()
    const mode = options.output ?? "group"
    const output = yield* jobOutput.make(
      mode,
      { emit, emitted, full, room, send },
      {
        most: options.spoolMax,
        onMuch: options.onSpooled
      }
    )
    const limits = jobLimits.make(options.timeout)
    const tallied = tally.make(halt)
    const attempt = jobAttempts.make({
      clock,
      emit,
      gate: startGate.make(options, system, send),
      grace,
      inherit: mode === "inherit",
      limits,
      openFiles: results === undefined ? undefined : JobResults.opener(results),
      processes,
      stopSignal
    })
    const pauseBefore = Backoff.make(options.backoff)
    const halting = yield* Deferred.make<void>()
    let halted: string | undefined
    const giveUp = (reason: string | undefined) => {
      if (reason === undefined || halted !== undefined) return
      halted = reason
      Deferred.unsafeDone(halting, Effect.void)
    }
    const finish = (
      job: tally.Ended,
      more: Pick<JobFinished, "attempts" | "exitCode" | "host" | "reason" | "signal" | "usage">
    ) => {
      const { duration, index, name, status } = job
      giveUp(tallied.ended(job))
      emit({ event: "finished", index, name, status, duration: EventLine.ms(duration), ...more })
    }

    const runJob = (
      request: JobRequest,
      index: number,
      lane: lanes.Lane
    ): Effect.Effect<void, JobsError | Halted> => {
      const name = keyOf(request)
      const job = { index, name, label: request.label ?? name }
      const skip = (reason: string) => {
        const skipped = Effect.sync(() =>
          finish({ ...job, status: "skipped", duration: 0, failureCode: codes.ok }, { attempts: 0, reason })
        )
        return (full() ? Effect.zipRight(room, skipped) : skipped).pipe(Effect.zipRight(output.skip(index)))
      }
      if (log?.wasDone(name) === true) return skip("it is in the job log")
      if (halted !== undefined) return skip(halted)
      const from = (attempts: number): Effect.Effect<void, JobsError | Halted> => {
        const sink = output.sink(job)
        const begin = () => {
          const since = clock.unsafeCurrentTimeNanos()
          lane.cancelled = (reason) => {
            sink.drop()
            const duration = Number(clock.unsafeCurrentTimeNanos() - since) / 1e6
            finish({ ...job, status: "cancelled", duration, failureCode: codes.failed }, { attempts, reason })
          }
        }
        const { slot } = lane
        const attempted = attempt(
          { ...job, number: attempts, command: request.command(slot), slot },
          sink,
          begin
        )
        return Effect.flatMap(attempted, ({ began, outcome, runtime }) => {
          const { detail, exitCode, failureCode, host, signal } = outcome
          const isFailed = exitCode !== 0
          const end = (): Effect.Effect<void, JobsError | Halted> => {
            lane.cancelled = undefined
            const received = sink.received()
            const entry = {
              seq: index,
              started: began,
              runtime,
              received,
              exitCode,
              signal,
              host,
              command: name
            }
            const written = output.finish(index, sink, () => log?.ended(entry, emitted()))
            const ended = () => {
              if (!isFailed) limits.succeeded(runtime)
              const status = jobAttempts.statusOf(outcome)
              finish(
                { ...job, status, duration: runtime, failureCode },
                { attempts, ...jobAttempts.fieldsOf(outcome) }
              )
              return halted !== undefined && halt?.when === "now"
                ? new Halted({ cancellation: { reason: halted, origin: "subprocess" } })
                : Effect.void
            }
            // The job has ended: only a reader that has stopped can keep its output back.
            return written === undefined ? ended() : Effect.uninterruptible(Effect.flatMap(written, ended))
          }
          if (!isFailed || attempts > retries || halted !== undefined) return end()
          sink.end()
          return Effect.flatMap(pauseBefore(attempts - 1), (pause) => {
            const delay = EventLine.ms(pause)
            const next = { index, name, attempt: attempts + 1, delay, reason: detail! }
            return send({ event: "retrying", ...next }).pipe(
              // A job that pauses when the others are given up has failed with the attempt that it made.
              Effect.zipRight(Race.first(Sleep.sleep(pause), Deferred.await(halting))),
              Effect.flatMap(() => {
                if (halted !== undefined) return end()
                sink.drop()
                return from(attempts + 1)
              })
            )
          })
        })
      }
      return full() ? Effect.flatMap(room, () => from(1)) : from(1)
    }

    const group: ReadonlyArray<Effect.Effect<void, E | JobsError | Halted>> = yield* lanes.over(
      requests,
      concurrency,
      runJob,
      () => halted ?? "cancelled"
    )
    let next = 0
    let broken: Cause.Cause<E | JobsError> | undefined
    let stopReason: string | undefined
    const all = WorkerFibers.run({
      concurrency: group.length,
      pull: () => group[next++],
      settle: (_index, exit: Exit.Exit<void, E | JobsError | Halted>) => {
        if (Exit.isSuccess(exit) || broken !== undefined) return undefined
        const error = Cause.failureOption(exit.cause)
        if (Option.isSome(error) && error.value instanceof Halted) return error.value.cancellation
        if (Cause.isInterruptedOnly(exit.cause)) return undefined
        broken = exit.cause as Cause.Cause<E | JobsError>
        return { reason: headline(broken), origin: "subprocess" }
      }
    })
    const stopped =
      options.stop &&
      Effect.map(options.stop, (reason) => {
        giveUp(reason)
        stopReason = reason
      })
    const running = (stopped === undefined ? all : Race.first(all, stopped)).pipe(
      Effect.zipRight(output.leftovers),
      Effect.andThen(Clock.currentTimeNanos),
      Effect.tap((now) => {
        if (broken !== undefined) return Effect.sync(() => buffer.end(broken))
        emit(tallied.summary(Number(now - begun) / 1e6, halted, stopReason))
        return Effect.sync(() => buffer.end())
      }),
      // Without this a defect here leaves the reader waiting.
      Effect.onError((cause) =>
        Cause.isInterruptedOnly(cause) ? Effect.void : Effect.sync(() => buffer.end(cause))
      )
    )
    yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(running)), (fiber) =>
      Effect.suspend(() => {
        buffer.abandon()
        return Cancellation.cancel(fiber, {
          reason: "the events are no longer read",
          origin: "subprocess"
        })
      })
    )
    return { events: buffer.stream, log }
  })

/**
 * Runs jobs, several at a time, and passes their events to `deliver`; returns the summary, which is the last event too.
 * Requests are taken as lanes become free, so an infinite list costs no memory. A job fails by an exit code other than 0,
 * by a signal, by its timeout, or because there is no process; that is an event. Many events are delivered together, up
 * to 8 ms late.
 *
 * Fails as the input or `deliver` fails, and when the log, the results' folder or temporary files cannot be used. A
 * failure or an interruption ends the processes of all jobs and waits until they are gone.
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import { Effect } from "effect"
 * import * as Jobs from "effect-asyncio/services/Jobs"
 *
 * export const compressed = (files: ReadonlyArray<string>) =>
 *   Jobs.run(
 *     files.map((file) => ({ command: () => Command.make("gzip", "--keep", file) })),
 *     {
 *       log: { path: "gzip.log", resume: "successful" },
 *       deliver: (events) => Effect.log(`${events.length} events`)
 *     }
 *   )
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const run = <E = never, R = never, E2 = never, R2 = never>(
  requests: Iterable<JobRequest> | Stream.Stream<JobRequest, E, R>,
  { deliver, ...options }: RunOptions<E2, R2>
): Effect.Effect<JobsSummary, E | E2 | JobsError, R | R2 | Processes.Processes | SystemLoad.SystemLoad> =>
  Effect.contextWithEffect((context: Context.Context<R | R2>) =>
    Effect.gen(function* () {
      const input = Stream.StreamTypeId in requests ? Stream.provideContext(requests, context) : requests
      const { events, log } = yield* open(input, options)
      const pull = yield* Stream.toPull(events)
      let last: JobEvent | undefined
      const next = Effect.matchEffect(pull, {
        onSuccess: (chunk) => {
          const happened = Chunk.toReadonlyArray(chunk)
          last = happened.at(-1)
          const delivered = Effect.provide(deliver(happened), context)
          return Effect.as(
            log === undefined ? delivered : Effect.zipRight(delivered, log.delivered(chunk.length)),
            true
          )
        },
        onFailure: (why) => {
          const over: Effect.Effect<boolean, E | JobsError> = Option.match(why, {
            onNone: () => Effect.succeed(false),
            onSome: (error) => Effect.fail(error)
          })
          return log === undefined ? over : Effect.zipRight(log.rest, over)
        }
      })
      yield* Effect.iterate(true, { while: (more) => more, body: () => next })
      return last as JobsSummary
    }).pipe(Effect.scoped)
  )

/**
 * {@link run} as a stream of events, without a log, because a stream does not know when its events have been handled.
 * Ending the stream early cancels the jobs.
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import { Stream } from "effect"
 * import * as JobEvents from "effect-asyncio/services/JobEvents"
 * import * as Jobs from "effect-asyncio/services/Jobs"
 *
 * const files = ["a.png", "b.png"]
 * export const failures = Jobs.stream(
 *   files.map((file) => ({ command: () => Command.make("gzip", "--keep", file) })),
 *   { concurrency: 4, retries: 1, halt: { when: "soon", on: "fail", count: 10, percent: true } }
 * ).pipe(Stream.filter(JobEvents.isFailed))
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const stream = <E = never, R = never>(
  requests: Iterable<JobRequest> | Stream.Stream<JobRequest, E, R>,
  options: JobsOptions = {}
): Stream.Stream<JobEvent, E | JobsError, R | Processes.Processes | SystemLoad.SystemLoad> =>
  withOwnScope(requests, (input) => Effect.map(open(input, options), ({ events }) => events))
