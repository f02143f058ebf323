import * as Command from "@effect/platform/Command"
import {
  Cause,
  Clock,
  Data,
  Deferred,
  Duration,
  Effect,
  Exit,
  Mailbox,
  Option,
  Schedule,
  Stream
} from "effect"
import { cancelled, codes } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as SystemLoad from "../services/host/SystemLoad.js"
import * as spool from "../services/job/internal/spool.js"
import * as JobLog from "../services/job/JobLog.js"
import * as JobResults from "../services/job/JobResults.js"
import * as Processes from "../services/process/Processes.js"
import * as EventBuffer from "../services/stream/EventBuffer.js"
import { withOwnScope } from "../services/stream/OwnScope.js"
import * as Cancellation from "../services/task/Cancellation.js"
import { headline } from "../services/task/Causes.js"
import * as Gather from "../services/task/Gather.js"
import * as Race from "../services/task/Race.js"
import * as WorkerFibers from "../services/task/WorkerFibers.js"
import * as Lines from "../services/text/Lines.js"
import { anyCount, checkedNumber, checkOptions, count, type Range, time } from "../services/text/Numbers.js"
import * as Timers from "../services/time/Timers.js"

/**
 * Runs a command as a child process and gives how it ended and what it wrote (asyncio: `create_subprocess_exec` and
 * `communicate`). Cancelled, it returns when no process of the command's group is left.
 *
 * An exit code other than 0 is a result, unless `check` makes it a `CommandFailed`. Fails with `CommandNotFound`,
 * `CommandNotExecutable` or `CommandNotStarted` when there is no process, and with `OutputTooLarge` beyond
 * `maxOutput`. The guide's section Subprocess.
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import { Effect } from "effect"
 * import * as Subprocess from "effect-asyncio/programs/Subprocess"
 * import * as Processes from "effect-asyncio/services/Processes"
 *
 * export const program = Subprocess.run(Command.make("uname", "-s"), { check: true }).pipe(
 *   Effect.timeout("10 seconds"),
 *   Effect.provide(Processes.layer)
 * )
 * ```
 */
export const run: (
  command: Command.Command,
  options?: Processes.RunOptions
) => Effect.Effect<Processes.Result, Processes.ProcessError, Processes.Processes> = Processes.run

/** Settings of {@link runAll}. */
export interface RunAllOptions extends Processes.RunOptions {
  /** How many run at once; default `"unbounded"`. */
  readonly concurrency?: number | "unbounded" | undefined
  /** What the failure of one does to the others; default `"cancel"`. */
  readonly onFailure?: "cancel" | "continue" | undefined
}

/**
 * Runs commands at once and gives their results in input order. Only what {@link run} fails with is a failure: with
 * `check` that is an exit code other than 0 too. Fails with the first, when the others are cancelled and gone
 * (`"cancel"`) or done (`"continue"`).
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import * as Subprocess from "effect-asyncio/programs/Subprocess"
 *
 * export const program = Subprocess.runAll(
 *   ["a.png", "b.png"].map((file) => Command.make("gzip", "--keep", file)),
 *   { concurrency: 4, check: true, grace: "2 seconds" }
 * )
 * ```
 */
export const runAll = (
  commands: Iterable<Command.Command>,
  options: RunAllOptions = {}
): Effect.Effect<ReadonlyArray<Processes.Result>, Processes.ProcessError, Processes.Processes> => {
  const { concurrency, onFailure, ...each } = options
  return Gather.gather(
    Array.from(commands, (command) => run(command, each)),
    { concurrency, onFailure, name: "subprocess" }
  )
}

/** A job: a command, and what it is called. */
export interface JobRequest {
  /**
   * The command, for the place where it runs: from 1 to the number at once. What it is with `"{%}"` is what it is known
   * by in logs, so that a job is the same wherever it runs.
   */
  readonly command: (slot: number | "{%}") => Command.Command
  /** For people, as a prefix of its lines; default the command. */
  readonly label?: string | undefined
}

/** When to give up the rest: `soon` starts nothing more, `now` also cancels what runs. */
export interface Halt {
  readonly when: "now" | "soon"
  readonly on: "fail" | "success"
  /** So many jobs, or so many percent of those that have ended (from the third on). */
  readonly count: number
  readonly percent: boolean
}

const positive: Range = { least: 0, above: true, whole: false, infinite: true }

const checkJobs = ({ timeout, ...options }: JobsOptions): void => {
  checkOptions(options, { concurrency: count, retries: anyCount, delay: time, grace: time })
  checkOptions(options, { load: positive, memfree: { least: 0, whole: false } })
  if (typeof timeout === "object" && "median" in timeout) checkOptions(timeout, { median: positive })
  else checkOptions({ timeout }, { timeout: time })
  const { halt } = options
  if (halt !== undefined)
    checkedNumber("halt.count", halt.count, halt.percent ? { ...positive, most: 100 } : count)
}

/** Settings of {@link jobs}. */
export interface JobsOptions extends Processes.StopOptions {
  /** How many run at once; default: the processors. */
  readonly concurrency?: number | undefined
  /**
   * What becomes of output: `"group"` (default) when its job has ended; `"keepOrder"` so, in the order of the input;
   * `"line"` whole lines as they come; `"inherit"` passes our own stdout and stderr on.
   */
  readonly output?: "group" | "keepOrder" | "line" | "inherit" | undefined
  /** How long a job may run, or how many times the median of those that succeeded (from the third on). */
  readonly timeout?: Duration.DurationInput | { readonly median: number } | undefined
  /** Further attempts of a job that failed; default 0. */
  readonly retries?: number | undefined
  /** Least time between two starts; default none. */
  readonly delay?: Duration.DurationInput | undefined
  readonly halt?: Halt | undefined
  /** Nothing is started while the machine's load is this or more. */
  readonly load?: number | undefined
  /** Nothing is started while fewer bytes of memory are free. */
  readonly memfree?: number | undefined
  /**
   * A log in GNU parallel's format; with `resume` jobs that are in it are skipped: all, or those that succeeded. A job is
   * in it when the next events are asked for after its last: whoever reads has then done with them.
   */
  readonly log?: { readonly path: string; readonly resume: JobLog.Resume } | undefined
  /** A folder for each job's output and exit code. */
  readonly results?: string | undefined
  /** Is called as each further 64 MiB of output wait in files for their turn: to see whether anything will read them. */
  readonly onSpooled?: (() => void) | undefined
  /**
   * When this ends, so does everything, for the reason that it gives: as with a `halt` of `now`, and unlike an
   * interruption, what becomes of the jobs is still told. Default never.
   */
  readonly stop?: Effect.Effect<string> | undefined
}

/** What happens in {@link jobs}. `seq` is the job's number in the input, from 1. */
export type JobEvent =
  | {
      readonly event: "started"
      readonly seq: number
      readonly slot: number
      readonly pid: number
      readonly command: string
      readonly attempt: number
    }
  /** Whole lines, unless one is longer than 1 MiB; in the end the rest. */
  | {
      readonly event: "output"
      readonly seq: number
      readonly label: string
      readonly stream: "stdout" | "stderr"
      readonly bytes: Uint8Array
    }
  | {
      readonly event: "retried"
      readonly seq: number
      readonly command: string
      readonly attempt: number
      readonly detail: string
    }
  | {
      readonly event: "finished"
      readonly seq: number
      readonly command: string
      readonly ok: boolean
      readonly exitCode: number
      readonly signal?: NodeJS.Signals | undefined
      /** Milliseconds of the last attempt. */
      readonly runtime: number
      /** Milliseconds, and bytes, where the platform tells. */
      readonly usage?:
        | { readonly user: number; readonly system: number; readonly peakMemory: number }
        | undefined
      /** Why, where it failed. */
      readonly detail?: string | undefined
    }
  | {
      readonly event: "skipped"
      readonly seq: number
      readonly command: string
      readonly why: "done" | "halted"
    }
  | { readonly event: "cancelled"; readonly seq: number; readonly command: string; readonly reason: string }
  /** It has been told to end and has not yet; it is killed after `left` milliseconds. */
  | { readonly event: "lingering"; readonly seq: number; readonly command: string; readonly left: number }
  /** Nothing is started for now: the load, or the bytes of free memory, by which that is so. */
  | { readonly event: "waiting"; readonly for: "load" | "memory"; readonly value: number }
  | JobsSummary

/** The last event, unless the stream fails: what has become of all. */
export interface JobsSummary {
  readonly event: "summary"
  readonly ok: number
  readonly failed: number
  readonly skipped: number
  readonly cancelled: number
  /** Milliseconds. */
  readonly elapsed: number
  readonly slowest?: { readonly seq: number; readonly command: string; readonly runtime: number } | undefined
  /** Why the rest was given up. */
  readonly halted?: string | undefined
  /**
   * 0, or that of the first job that failed for want of a process (126, 127) or of time (124), if all are such, else 1;
   * where it was stopped and no job has failed, 128 and the number of the signal, or 1.
   */
  readonly exitCode: number
}

export type JobsError = JobLog.JobLogError | JobResults.JobResultsError | spool.SpoolError

class Halted extends Data.TaggedError("Halted")<{ readonly cancellation: Cancellation.Cancellation }> {}

/** How a job ended, in one shape. */
interface Outcome {
  readonly exitCode: number
  /** The program's own exit code, where no job fails otherwise. */
  readonly code: number
  readonly signal: NodeJS.Signals | undefined
  readonly usage: Option.Option<Processes.Usage>
  readonly detail: string | undefined
}

const outcomeOf = (exited: Processes.Exited): Outcome => {
  const { exitCode, signal, usage } = exited
  const detail = exitCode === 0 ? undefined : Processes.howEnded(exited)
  return { exitCode, code: codes.failed, signal, usage, detail }
}

const failure = (error: Processes.ProcessError): Outcome => {
  const exitCode = "exitCode" in error ? error.exitCode : codes.failed
  return { exitCode, code: exitCode, signal: undefined, usage: Option.none(), detail: error.message }
}

const buffered = 64
/** Of the events, in milliseconds: of small jobs there is one a millisecond. */
const eventPause = 8
const busyPause = "1 second"

/**
 * Runs jobs, some at a time, as a stream of events; requests are taken as places get free, so an endless list costs no
 * memory. A job fails by an exit code other than 0, by a signal, by its timeout, or because there is no process; that
 * is an event. Where there are many, events come up to 8 ms late, as one chunk. The stream itself fails where the
 * input, the log or the results' folder do. Ending the stream early, as every cancellation, ends the processes of all
 * jobs and waits until they are gone.
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import { Stream } from "effect"
 * import * as Subprocess from "effect-asyncio/programs/Subprocess"
 *
 * const files = ["a.png", "b.png"]
 * export const failures = Subprocess.jobs(
 *   files.map((file) => ({ command: () => Command.make("gzip", "--keep", file) })),
 *   { concurrency: 4, retries: 1, halt: { when: "soon", on: "fail", count: 10, percent: true } }
 * ).pipe(Stream.filter((event) => event.event === "finished" && !event.ok))
 * ```
 */
export const jobs = <E = never, R = never>(
  list: Iterable<JobRequest> | Stream.Stream<JobRequest, E, R>,
  options: JobsOptions = {}
): Stream.Stream<JobEvent, E | JobsError, R | Processes.Processes | SystemLoad.Machine> =>
  withOwnScope(list, (requests) =>
    Effect.gen(function* () {
      const machine = yield* SystemLoad.Machine
      const processes = yield* Processes.Processes
      const { concurrency = machine.cpus, halt, output = "group", retries = 0, timeout } = options
      checkJobs(options)
      if (options.results !== undefined) yield* JobResults.check(options.results)
      const log = options.log && (yield* JobLog.open(options.log.path, options.log.resume))
      const makeSpool = yield* spool.make({ onMuch: options.onSpooled })
      const kept = makeKept()
      const buffer = EventBuffer.make<JobEvent, E | JobsError>({ capacity: buffered, pause: eventPause })
      const { abandon, end, full, stream, whenRoom } = buffer
      let emitted = 0
      const emit = (event: JobEvent) => {
        emitted++
        buffer.emit(event)
      }
      const room = Effect.async<void>((resume) => {
        if (full()) whenRoom(() => resume(Effect.void))
        else resume(Effect.void)
      })
      const send = (event: JobEvent): Effect.Effect<void> => {
        if (full()) return Effect.map(room, () => emit(event))
        emit(event)
        return Effect.void
      }

      // A job is in the log when whoever reads has asked for more after the last event of it: what was lost on the way is
      // not skipped next time.
      const ended: Array<{ readonly entry: JobLog.Entry; readonly events: number }> = []
      let delivered = 0
      const logged =
        log === undefined
          ? stream
          : Stream.fromPull(
              Effect.map(Stream.toPull(stream), (pull) => {
                const append = (all: boolean) =>
                  Effect.suspend(() => {
                    const later = all ? -1 : ended.findIndex(({ events }) => events > delivered)
                    const now = ended.splice(0, later < 0 ? ended.length : later)
                    return Effect.forEach(now, ({ entry }) => log.append(entry), { discard: true })
                  })
                const next = Effect.matchEffect(pull, {
                  onSuccess: (events) => {
                    delivered += events.length
                    return Effect.succeed(events)
                  },
                  // No event comes any more.
                  onFailure: (why) =>
                    Effect.zipRight(Effect.mapError(append(true), Option.some), Effect.fail(why))
                })
                return Effect.zipRight(Effect.mapError(append(false), Option.some), next)
              })
            )

      const clock = yield* Effect.clock
      const begun = clock.unsafeCurrentTimeNanos()
      const counts = { ok: 0, failed: 0, skipped: 0, cancelled: 0 }
      const exitCodes = new Set<number>()
      const runtimes: Array<number> = [] // of those that succeeded, in order of size
      const medianKnown = yield* Deferred.make<void>()
      let slowest: JobsSummary["slowest"]
      let halted: string | undefined

      // Outputs of whole jobs, one job at a time; in the input's order where that is asked for.
      const emitting = yield* Effect.makeSemaphore(1)
      const waiting = new Map<number, Effect.Effect<void>>()
      let turn = 1
      const inTurn = (seq: number, emitAll: Effect.Effect<void>): Effect.Effect<void> => {
        if (output !== "keepOrder") return emitting.withPermits(1)(emitAll)
        waiting.set(seq, emitAll)
        return emitting.withPermits(1)(
          Effect.whileLoop({
            while: () => waiting.has(turn),
            body: () => {
              const next = waiting.get(turn)!
              waiting.delete(turn++)
              return next
            },
            step: () => undefined
          })
        )
      }

      const medians = typeof timeout === "object" && "median" in timeout ? timeout.median : undefined
      const median = () => runtimes[Math.floor(runtimes.length / 2)]!
      const limited = <A, E2>(command: string, effect: Effect.Effect<A, E2>, started: bigint) => {
        if (timeout === undefined) return effect
        const fail = (after: Duration.Duration) =>
          Effect.fail(new Processes.CommandTimedOut({ command, after }))
        if (medians === undefined) {
          const after = Duration.decode(timeout as Duration.DurationInput)
          return Race.first(effect, Effect.zipRight(Timers.sleep(after), fail(after)))
        }
        const late = Effect.gen(function* () {
          yield* Deferred.await(medianKnown)
          const after = Duration.millis(median() * medians)
          const spent = Duration.nanos((yield* Clock.currentTimeNanos) - started)
          yield* Timers.sleep(Duration.subtract(after, spent))
          return yield* fail(after)
        })
        return Race.first(effect, late)
      }

      const gate = yield* Effect.makeSemaphore(1)
      let lastStart: bigint | undefined
      const mayStart = gate.withPermits(1)(
        Effect.gen(function* () {
          if (options.delay !== undefined && lastStart !== undefined) {
            const since = Duration.nanos((yield* Clock.currentTimeNanos) - lastStart)
            yield* Timers.sleep(Duration.subtract(options.delay, since))
          }
          const busy = Effect.gen(function* () {
            const { load, memfree } = options
            const now = load === undefined ? 0 : yield* machine.load
            if (load !== undefined && now >= load) return { for: "load", value: now } as const
            const free = memfree === undefined ? 0 : yield* machine.freeMemory
            if (memfree !== undefined && free < memfree) return { for: "memory", value: free } as const
            return undefined
          })
          for (let first = true, why = yield* busy; why !== undefined; first = false, why = yield* busy) {
            if (first) yield* send({ event: "waiting", ...why })
            yield* Effect.sleep(busyPause)
          }
          lastStart = yield* Clock.currentTimeNanos
        })
      )
      const gated = options.delay !== undefined || options.load !== undefined || options.memfree !== undefined

      // For a small job each step of Effect's counts: so plain code where nothing is waited for.

      /** One attempt; what it wrote is given to `sink`. */
      const attempt = (
        request: JobRequest,
        { attempt: number, label, line, seq, slot }: Running,
        sink: Sink,
        begin: () => void
      ): Effect.Effect<Attempted, JobsError> => {
        const plain = request.command(slot)
        const command =
          output === "inherit" ? plain.pipe(Command.stdout("inherit"), Command.stderr("inherit")) : plain
        const run = (files: JobResults.JobFiles | undefined): Effect.Effect<Attempted, JobsError> => {
          const began = clock.unsafeCurrentTimeMillis()
          const started = clock.unsafeCurrentTimeNanos()
          const ended = processes.run(command, {
            grace: options.grace,
            stopSignal: options.stopSignal,
            onLingering: (left) => Effect.sync(() => emit({ event: "lingering", seq, command: line, left })),
            onStarted: (pid) => emit({ event: "started", seq, slot, pid, command: line, attempt: number }),
            onOutput: (stream, bytes) => {
              files?.write(stream, bytes)
              return sink.write(stream, bytes)
            }
          })
          const attempted = Effect.match(limited(line, ended, started), {
            onFailure: (error) => ({
              outcome: failure(error),
              runtime: Number(clock.unsafeCurrentTimeNanos() - started) / 1e6,
              began
            }),
            onSuccess: (exited) => ({
              outcome: outcomeOf(exited),
              runtime: Duration.toMillis(exited.duration),
              began
            })
          })
          // Output that cannot be kept is thrown where it comes.
          return Effect.catchAllDefect(attempted, (defect) => {
            sink.drop()
            const full = defect instanceof JobResults.JobResultsError || defect instanceof spool.SpoolError
            return full ? Effect.fail(defect) : Effect.die(defect)
          })
        }
        const start = () => {
          begin()
          return options.results === undefined ? run(undefined) : kept(options.results, label, line, run)
        }
        return gated ? Effect.flatMap(mayStart, start) : start()
      }

      const finish = (seq: number, line: string, outcome: Outcome, runtime: number) => {
        const ok = outcome.exitCode === 0
        counts[ok ? "ok" : "failed"]++
        if (!ok) exitCodes.add(outcome.code)
        if (slowest === undefined || runtime > slowest.runtime) slowest = { seq, command: line, runtime }
        if (ok && medians !== undefined) {
          const at = runtimes.findIndex((other) => other > runtime)
          runtimes.splice(at < 0 ? runtimes.length : at, 0, runtime)
          if (runtimes.length === 3) Deferred.unsafeDone(medianKnown, Effect.void)
        }
        emit({
          event: "finished",
          seq,
          command: line,
          ok,
          exitCode: outcome.exitCode,
          runtime,
          signal: outcome.signal,
          detail: outcome.detail,
          usage: Option.isNone(outcome.usage)
            ? undefined
            : {
                user: Duration.toMillis(outcome.usage.value.user),
                system: Duration.toMillis(outcome.usage.value.system),
                peakMemory: outcome.usage.value.peakMemory
              }
        })
        if (halt === undefined || halted !== undefined) return
        const hits = halt.on === "fail" ? counts.failed : counts.ok
        const ended = counts.failed + counts.ok
        const reached = halt.percent ? ended >= 3 && hits * 100 >= halt.count * ended : hits >= halt.count
        if (reached && (halt.on === "fail") === !ok) {
          halted = `${hits} ${hits === 1 ? "job has" : "jobs have"} ${halt.on === "fail" ? "failed" : "succeeded"}`
        }
      }

      const runJob = (
        request: JobRequest,
        seq: number,
        lane: Lane
      ): Effect.Effect<void, JobsError | Halted> => {
        const line = Processes.commandText(request.command("{%}"))
        const label = request.label ?? line
        const skip = (why: "done" | "halted") => {
          counts.skipped++
          return Effect.zipRight(
            send({ event: "skipped", seq, command: line, why }),
            output === "keepOrder" ? inTurn(seq, Effect.void) : Effect.void
          )
        }
        if (log?.wasDone(line) === true) return skip("done")
        if (halted !== undefined) return skip("halted")
        const from = (number: number): Effect.Effect<void, JobsError | Halted> => {
          const sink = makeSink(seq, label)
          const running = { attempt: number, label, line, seq, slot: lane.slot }
          const begin = () => {
            lane.cancelled = (reason) => {
              sink.drop()
              counts.cancelled++
              emit({ event: "cancelled", seq, command: line, reason })
            }
          }
          return Effect.flatMap(attempt(request, running, sink, begin), ({ began, outcome, runtime }) => {
            const { detail, exitCode, signal } = outcome
            if (exitCode !== 0 && number <= retries && halted === undefined) {
              sink.drop()
              const retried = { seq, command: line, attempt: number + 1, detail: detail! }
              return Effect.flatMap(send({ event: "retried", ...retried }), () => from(number + 1))
            }
            lane.cancelled = undefined
            const received = sink.received()
            const entry = { seq, started: began, runtime, received, exitCode, signal, command: line }
            const allEmitted = () => void (log !== undefined && ended.push({ entry, events: emitted }))
            const rest = sink.done()
            if (rest === undefined && output !== "keepOrder") allEmitted()
            const written =
              output === "keepOrder" || rest !== undefined
                ? inTurn(seq, Effect.map(rest ?? Effect.void, allEmitted))
                : undefined
            const end = () => {
              finish(seq, line, outcome, runtime)
              return halted !== undefined && halt?.when === "now"
                ? new Halted({ cancellation: { reason: halted, origin: "subprocess" } })
                : Effect.void
            }
            // It has ended: nothing but the reader's end keeps its output back.
            return written === undefined ? end() : Effect.uninterruptible(Effect.flatMap(written, end))
          })
        }
        return full() ? Effect.flatMap(room, () => from(1)) : from(1)
      }

      /** Where a job's output goes on its way out. */
      const makeSink = (seq: number, label: string): Sink => {
        let received = 0
        const event = (stream: "stdout" | "stderr", bytes: Uint8Array): JobEvent => ({
          event: "output",
          seq,
          label,
          stream,
          bytes
        })
        if (output === "line") {
          const lines = {
            stdout: Lines.whole((bytes) => emit(event("stdout", bytes))),
            stderr: Lines.whole((bytes) => emit(event("stderr", bytes)))
          }
          const end = () => {
            lines.stdout.end()
            lines.stderr.end()
            return undefined
          }
          return {
            received: () => received,
            write: (stream, bytes) => {
              if (stream === "stdout") received += bytes.length
              lines[stream].push(bytes)
              return full() ? room : undefined
            },
            drop: end,
            done: end
          }
        }
        const passOn = (stream: "stdout" | "stderr", spool: spool.Spool) =>
          Effect.suspend(() => {
            let found: Uint8Array | undefined
            const lines = Lines.whole((bytes) => {
              found = bytes
            })
            const pass = () => {
              const bytes = found
              found = undefined
              return bytes === undefined ? Effect.void : send(event(stream, bytes))
            }
            const each = (bytes: Uint8Array) => {
              lines.push(bytes)
              return pass()
            }
            const rest = Effect.suspend(() => {
              lines.end()
              return pass()
            })
            return Effect.zipRight(spool.drain(each), rest)
          })
        let spools: { readonly stdout: spool.Spool; readonly stderr: spool.Spool } | undefined
        return {
          received: () => spools?.stdout.size() ?? 0,
          write: (stream, bytes) => {
            spools ??= { stdout: makeSpool(), stderr: makeSpool() }
            spools[stream].write(bytes)
            return undefined
          },
          drop: () => {
            spools?.stdout.close()
            spools?.stderr.close()
          },
          done: () => {
            if (spools === undefined) return undefined
            return Effect.zipRight(passOn("stdout", spools.stdout), passOn("stderr", spools.stderr))
          }
        }
      }

      let count = 0
      const iterator = (Stream.StreamTypeId in requests ? [] : requests)[Symbol.iterator]()
      // An iterable is asked by whoever is free; a stream runs by itself, no further ahead than there are workers.
      const lanes = (take: (lane: Lane) => Effect.Effect<void, JobsError | Halted>) =>
        Array.from({ length: concurrency }, (_, i) => {
          const lane: Lane = { slot: i + 1, cancelled: undefined }
          return Effect.onInterrupt(take(lane), (interruptors) =>
            Effect.sync(() =>
              lane.cancelled?.(
                Cancellation.fromInterruptors(interruptors)[0]?.reason ?? halted ?? "cancelled"
              )
            )
          )
        })
      const group: ReadonlyArray<Effect.Effect<void, E | JobsError | Halted>> =
        Stream.StreamTypeId in requests
          ? yield* Effect.map(Mailbox.make<JobRequest>(concurrency), (queue) => [
              Effect.ensuring(
                Stream.runForEach(requests, (request) => queue.offer(request)),
                queue.end
              ),
              ...lanes((lane) =>
                Effect.forever(Effect.flatMap(queue.take, (request) => runJob(request, ++count, lane))).pipe(
                  Effect.catchTag("NoSuchElementException", () => Effect.void)
                )
              )
            ])
          : lanes((lane) =>
              Effect.suspend(() => {
                let found = iterator.next()
                return Effect.whileLoop({
                  while: () => found.done !== true,
                  body: () => runJob(found.value, ++count, lane),
                  step: () => {
                    found = iterator.next()
                  }
                })
              })
            )
      let next = 0
      let broken: Cause.Cause<E | JobsError> | undefined
      let stoppedCode: number = codes.ok
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
          halted ??= reason
          stoppedCode = cancelled(reason)
        })
      // Where it was given up, what has ended and still waits for others is passed on in order.
      const leftovers = Effect.suspend(() =>
        Effect.forEach(
          [...waiting].sort(([a], [b]) => a - b),
          ([, one]) => one,
          { discard: true }
        )
      )
      const run = (stopped === undefined ? all : Race.first(all, stopped)).pipe(
        Effect.zipRight(leftovers),
        Effect.andThen(Clock.currentTimeNanos),
        Effect.tap((now) => {
          if (broken !== undefined) return Effect.sync(() => end(broken))
          const [exitCode = codes.ok, ...others] = exitCodes
          emit({
            event: "summary",
            ...counts,
            elapsed: Number(now - begun) / 1e6,
            ...(slowest === undefined ? {} : { slowest }),
            ...(halted === undefined ? {} : { halted }),
            exitCode: others.length > 0 ? codes.failed : exitCode || stoppedCode
          })
          return Effect.sync(() => end())
        }),
        // What throws here would leave the reader waiting.
        Effect.onError((cause) =>
          Cause.isInterruptedOnly(cause) ? Effect.void : Effect.sync(() => end(cause))
        )
      )
      yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
        Effect.suspend(() => {
          abandon()
          return Cancellation.cancel(fiber, {
            reason: "nobody reads the events any more",
            origin: "subprocess"
          })
        })
      )
      return logged
    })
  )

/** Makes an attempt with its output in files, which are put in place when it has ended. */
const makeKept = () => {
  let open = 0
  return (
    folder: string,
    label: string,
    line: string,
    run: (files: JobResults.JobFiles) => Effect.Effect<Attempted, JobsError>
  ) =>
    Effect.scoped(
      Effect.gen(function* () {
        const files = yield* Effect.retry(JobResults.open(folder, label, line), {
          while: ({ tooMany }) => tooMany && open > 0,
          schedule: Schedule.spaced("20 millis")
        })
        open++
        yield* Effect.addFinalizer(() => Effect.sync(() => open--))
        const attempted = yield* run(files)
        yield* files.finish(attempted.outcome.signal ?? String(attempted.outcome.exitCode))
        return attempted
      })
    )
}

/** Where one job runs at a time. */
interface Lane {
  readonly slot: number
  /** Tells that the attempt that runs there was cancelled. */
  cancelled: ((reason: string) => void) | undefined
}

/** An attempt that has ended. */
interface Attempted {
  readonly outcome: Outcome
  readonly runtime: number
  readonly began: number
}

interface Running {
  readonly attempt: number
  readonly label: string
  readonly line: string
  readonly seq: number
  readonly slot: number
}

interface Sink {
  /** Bytes of stdout. */
  readonly received: () => number
  readonly write: (stream: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void> | undefined
  /** What there is, is given up. */
  readonly drop: () => void
  /** The rest is passed on. */
  readonly done: () => Effect.Effect<void> | undefined
}

// #region example
const runCommand = Effect.fn("Subprocess.runCommand")(function* (...words: [string, ...Array<string>]) {
  const command = Command.make(...words)
  yield* Output.print(`Executing: ${Processes.commandLine(command)}`)
  const { stdout } = yield* run(command)
  yield* Output.print(new TextDecoder().decode(stdout))
})

/**
 * The guide's Subprocess: two commands at once. Prints `Executing: sleep 1` and `Executing: echo hello`, then the
 * output of each when it has ended, with a line end more: `hello` and an empty line, an empty line after a second.
 */
export const example: Effect.Effect<void, Processes.ProcessError, Output.Output | Processes.Processes> =
  Effect.asVoid(Gather.gather([runCommand("sleep", "1"), runCommand("echo", "hello")]))
// #endregion
