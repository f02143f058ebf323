import { randomUUID } from "node:crypto"
import { type Duration, Effect, Either, Layer, type Scope } from "effect"
import type { MissingPackage } from "../network/NetworkSettings.js"
import * as CommandText from "../process/CommandText.js"
import * as ProcessError from "../process/ProcessError.js"
import * as Processes from "../process/Processes.js"
import type { Exited, Result } from "../process/ProcessOutcome.js"
import { anyCount, checkOptions, count, time } from "../text/Numbers.js"
import type { ExecutorError, JobRefused } from "../thread/ExecutorError.js"
import type { Settled } from "../thread/Job.js"
import * as Builtins from "./internal/builtins.js"
import * as CommandWire from "./internal/commandWire.js"
import * as Session from "./internal/session.js"
import * as Submission from "./internal/submission.js"
import type { RunError } from "./RunError.js"
import type * as Store from "./Store.js"

// The submitter's side: processes that run on other machines, by way of a store.

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
  /** Time limit of commands without one of their own; time in the queue does not count. Default no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /** A command that this many runners had when they died is lost; default 3. */
  readonly tries?: number | undefined
  /** Bytes of a command with its stdin; a larger one fails with `CommandNotStarted`. Default 2 MiB. */
  readonly maxSize?: number | undefined
  /** How long a store that does not answer is asked again; default 1 minute. */
  readonly patience?: Duration.DurationInput | undefined
  /**
   * Keeps results until the scope closes, so that another process can continue the run if this one is killed. Default:
   * results are removed when they are read, and a run without its submitter ends after a minute.
   */
  readonly resumable?: boolean | undefined
  /** Continues this run, with the same commands: what has a result does not run again. */
  readonly run?: string | undefined
  /** Called with the run's id, when it is in the store. Default: does nothing. */
  readonly onRun?: ((id: string) => Effect.Effect<void>) | undefined
  /**
   * Called before commands fail because none can run any more: no runner of the group allows them, or the store has failed.
   * Default: does nothing.
   */
  readonly onRefused?: ((error: JobRefused) => void) | undefined
}

const mebibyte = 1024 * 1024

/** Attempts at a command, and commands of a run, that have a number in the store. */
const [attempts, commands] = [2 ** 7, 2 ** 24]

const make = (
  options: Options
): Effect.Effect<
  typeof Processes.Processes.Service,
  Store.StoreError | MissingPackage | RunError,
  Scope.Scope
> =>
  Effect.gen(function* () {
    checkOptions(options, { timeout: time, tries: count, maxSize: count, patience: time })
    const { module, version } = Builtins.commands
    const of = { module, version, name: "run" }
    const session = yield* Session.open({ ...options, of })
    const { taken } = session
    const { maxSize = 2 * mebibyte, resumable = taken !== undefined, tries = 3 } = options
    const submission = Submission.make({
      ...session,
      job: module,
      run: { id: taken?.id ?? randomUUID(), ...of, settings: {}, tries },
      resumable,
      taken: taken !== undefined,
      maxSize,
      onRun: options.onRun ?? (() => Effect.void)
    })
    yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(submission.work)), (fiber) =>
      Submission.end({ ...submission, fiber })
    )
    let next = 0

    const failureOf = (command: string, error: ExecutorError): ProcessError.ProcessError => {
      switch (error._tag) {
        case "JobRefused":
          options.onRefused?.(error)
          return new ProcessError.CommandNotStarted({ command, detail: error.reason })
        case "NotSerializable":
          return new ProcessError.CommandNotStarted({ command, detail: error.detail })
        case "WorkerCrashed":
          return new ProcessError.CommandLost({ command, detail: error.detail })
        default:
          return new ProcessError.CommandLost({ command, detail: error.message })
      }
    }

    const run: Processes.Processes["Type"]["run"] = (command, given = {}) =>
      Effect.gen(function* () {
        checkOptions(given, { grace: time, maxOutput: anyCount, timeout: time })
        checkOptions(given.place ?? {}, { job: count, attempt: count })
        const line = CommandText.commandLine(command)
        const { job, attempt } = given.place ?? { job: ++next, attempt: 1 }
        if (job > commands || attempt > attempts) {
          const detail = `a run has at most ${commands} commands, each tried ${attempts} times`
          return yield* new ProcessError.CommandNotStarted({ command: line, detail })
        }
        const request = yield* CommandWire.requestOf(command, { timeout: options.timeout, ...given }, maxSize)
        const settled = yield* Effect.async<Settled<unknown>>((resume) => {
          const cancel = submission.submit(
            { inputs: [[request]], context: undefined, timeout: undefined },
            ([settled]) => resume(Effect.succeed(settled!)),
            { idx: (attempt - 1) * commands + job - 1 }
          )
          return Effect.async<void>((resume) => cancel(() => resume(Effect.void)))
        })
        if (Either.isLeft(settled.result)) return yield* failureOf(line, settled.result.left)
        const result = yield* Effect.mapError(
          CommandWire.decodeResult(settled.result.right),
          ({ message }) =>
            new ProcessError.CommandLost({ command: line, detail: `its result cannot be read: ${message}` })
        )
        if (result.pid > 0) given.onStarted?.(result.pid)
        return yield* deliver(command, result, given)
      })

    return Processes.Processes.of({
      run,
      start: (command) =>
        new ProcessError.CommandNotStarted({
          command: CommandText.commandLine(command),
          detail: "on another machine a command runs to its end: Processes.run"
        })
    })
  })

/** The output and the end of a command, as if it had run here. */
const deliver = (
  command: Parameters<Processes.Processes["Type"]["run"]>[0],
  { ended, host, ...output }: CommandWire.Result,
  { check, maxOutput = 8 * mebibyte, onOutput, onTooLarge }: Processes.RunOptions
): Effect.Effect<Result, ProcessError.ProcessError> =>
  Effect.gen(function* () {
    const line = CommandText.commandLine(command)
    const kept: Record<"stdout" | "stderr", Uint8Array> = {
      stdout: new Uint8Array(0),
      stderr: new Uint8Array(0)
    }
    let truncated = false
    for (const stream of ["stdout", "stderr"] as const) {
      const bytes = output[stream]
      if (onOutput !== undefined) {
        if (bytes.length > 0) yield* onOutput(stream, bytes) ?? Effect.void
      } else if (bytes.length <= maxOutput) kept[stream] = bytes
      else if (onTooLarge === "truncate") {
        kept[stream] = bytes.subarray(0, maxOutput)
        truncated = true
      } else return yield* new ProcessError.OutputTooLarge({ command: line, stream, limit: maxOutput })
    }
    const exited: Exited = yield* CommandWire.endedOf(command, ended, host)
    const result: Result = { ...exited, ...kept, truncated }
    return check === true && result.exitCode !== 0
      ? yield* new ProcessError.CommandFailed({ command: line, result })
      : result
  })

/**
 * Runs commands on other machines: they go through a store to the runners of the group that allow them (`aio runner
 * --commands`, or `RunnerCommands.job`), and run there in the runner's working directory and environment, as its user. Their
 * output, at most the runner's `maxResult`, and their end come back when they have ended; `onStarted` and `onOutput` are called
 * then.
 *
 * A command whose runner dies runs again on another: at least once, and its result is recorded once; `AIO_JOB_ID` in its
 * environment is the same both times. Interrupted, its runner ends the process tree within 2 seconds and the grace period.
 * There is no `start`, and a command that writes to a stream of this process, or has another user, is `CommandNotStarted`.
 *
 * Fails with `StoreError` if the store cannot be opened, with `RunError` for a run that is not there. Needs what `Store.open`
 * needs.
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import { Effect } from "effect"
 * import * as ClusterProcesses from "effect-asyncio/services/ClusterProcesses"
 * import * as Subprocess from "effect-asyncio/programs/Subprocess"
 *
 * export const program = Subprocess.runAll(
 *   ["a.mkv", "b.mkv"].map((file) => Command.make("ffmpeg", "-i", file, `${file}.mp4`)),
 *   { check: true }
 * ).pipe(Effect.provide(ClusterProcesses.layer({ store: "postgres://jobs@db.example.org/jobs", group: "video" })))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<Processes.Processes, Store.StoreError | MissingPackage | RunError> =>
  Layer.scoped(Processes.Processes, make(options))
