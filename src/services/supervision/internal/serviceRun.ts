import type * as Command from "@effect/platform/Command"
import { Cause, Clock, Data, Deferred, Duration, Effect, Exit, FiberId, Option } from "effect"
import { codes } from "../../host/ExitCodes.js"
import * as LineOutput from "../../process/LineOutput.js"
import * as Processes from "../../process/Processes.js"
import * as ProcessOutcome from "../../process/ProcessOutcome.js"
import * as Causes from "../../task/Causes.js"
import * as Sleep from "../../task/Sleep.js"
import { formatDuration } from "../../text/Durations.js"
import type * as LogFiles from "../LogFiles.js"
import * as Supervisor from "../Supervisor.js"
import { someMatch } from "./patterns.js"

/** A command ended with an exit code other than 0 or by a signal. */
export class ServiceEnded extends Data.TaggedError("ServiceEnded")<{
  readonly message: string
  readonly exitCode: number
  readonly signal?: NodeJS.Signals | undefined
}> {}

/** How long a pattern may take for one chunk of output, in milliseconds. */
const matchLimit = 1000

/** The state of a run in progress. */
export interface RunState {
  readonly spawned: Deferred.Deferred<void>
  /** Done when a line matched; fails when the pattern was too slow. */
  readonly logged: Deferred.Deferred<void, ServiceEnded>
  /** Its first process, once there is one. */
  child: Processes.Process | undefined
  matched: boolean
  over: boolean
}

export const makeState = (): RunState => ({
  spawned: Deferred.unsafeMake(FiberId.none),
  logged: Deferred.unsafeMake(FiberId.none),
  child: undefined,
  matched: false,
  over: false
})

export interface RunSettings extends Processes.StopOptions {
  readonly command: Command.Command
  readonly state: RunState
  /** The pattern of the line that makes the run ready. */
  readonly pattern: RegExp | undefined
  readonly log: LogFiles.LogFile | undefined
  /** How often processor and memory are sampled; default never. */
  readonly sample: Duration.DurationInput | undefined
  readonly onStarted: (pid: number) => Effect.Effect<void>
  readonly onOutput: (stream: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void>
  readonly onLingering: (left: number, pid: number) => Effect.Effect<void>
  /** `cpu` in percent of one processor since the last sample, `memory` in bytes. */
  readonly onSample: (pid: number, cpu: number, memory: number) => Effect.Effect<void>
  /** The process has ended, or is being ended. */
  readonly onDown: () => void
  readonly onLogFailed: (error: LogFiles.LogFilesError) => Effect.Effect<unknown>
}

const sampling = (
  child: Processes.Process,
  every: Duration.DurationInput,
  onSample: RunSettings["onSample"]
) =>
  Effect.gen(function* () {
    let used = 0
    let at = yield* Clock.currentTimeNanos
    while (true) {
      yield* Sleep.sleep(every)
      const usage = yield* child.usage
      const now = yield* Clock.currentTimeNanos
      if (Option.isNone(usage)) continue
      const { memory, system, user } = usage.value
      const total = Duration.toMillis(user) + Duration.toMillis(system)
      const cpu = (Math.max(0, total - used) / (Number(now - at) / 1e6)) * 100
      yield* onSample(child.pid, cpu, memory)
      used = total
      at = now
    }
  })

/** Runs a service's command once, until no process of it is left. Fails when it ends with anything but exit code 0. */
export const run = (settings: RunSettings) =>
  Effect.gen(function* () {
    const { command, grace, log, onOutput, pattern, sample, state, stopSignal } = settings
    const processes = yield* Processes.Processes
    let seen = pattern === undefined
    /** What tells that the run is ready, if one of the lines does: it is run behind their output. */
    const look = (bytes: Uint8Array): Effect.Effect<unknown> => {
      if (seen) return Effect.void
      const matched = someMatch(pattern!, new TextDecoder().decode(bytes).split(/\r?\n/), matchLimit)
      if (matched === false) return Effect.void
      seen = true
      state.matched = matched === true
      const message = `${pattern} took longer than ${formatDuration(matchLimit)} for a line`
      const slow = Effect.fail(new ServiceEnded({ message, exitCode: codes.failed }))
      return Deferred.complete(state.logged, matched === true ? Effect.void : slow)
    }
    const lines = LineOutput.make(
      (pid) => Effect.zipRight(settings.onStarted(pid), Deferred.succeed(state.spawned, undefined)),
      (stream, bytes) => {
        const written = Effect.zipRight(onOutput(stream, bytes), look(bytes))
        return log === undefined
          ? written
          : Effect.zipRight(Effect.catchAll(log.write(bytes), settings.onLogFailed), written)
      }
    )
    yield* Effect.addFinalizer(() => lines.end)
    const child = yield* processes.start(command, {
      grace,
      stopSignal,
      onStarted: lines.onStarted,
      onOutput: lines.onOutput,
      until: "leader",
      onLingering: (left, pid) =>
        Effect.zipRight(
          lines.begin,
          Effect.suspend(() => settings.onLingering(left, pid))
        )
    })
    state.child = child
    yield* lines.begin
    if (sample !== undefined) yield* Effect.forkScoped(sampling(child, sample, settings.onSample))
    const exited = yield* Effect.ensuring(
      child.exit,
      Effect.sync(() => {
        state.over = true
        settings.onDown()
      })
    )
    const { exitCode, signal } = exited
    if (exitCode !== 0)
      return yield* new ServiceEnded({ message: ProcessOutcome.howEnded(exited), exitCode, signal })
  }).pipe(Effect.scoped)

/** How a run has ended, for its event. */
export const howEnded = (exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit)) return { reason: "exit code 0", exitCode: codes.ok }
  const reason = Causes.headline(exit.cause)
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (!(error instanceof ServiceEnded)) return { reason }
  const { exitCode, signal } = error
  return signal === undefined ? { reason, exitCode } : { reason, exitCode, signal }
}

/** The exit code for a service that has failed for good with this error. */
export const failureCode = (error: unknown): number => {
  if (error instanceof Supervisor.TooManyRestarts) {
    return failureCode(
      Exit.isFailure(error.last) ? Option.getOrUndefined(Cause.failureOption(error.last.cause)) : undefined
    )
  }
  // A process that ran has an exit code of its own; the code of an error says why there was no process.
  const { exitCode = codes.failed } =
    error === undefined || error instanceof ServiceEnded ? {} : (error as { exitCode?: number })
  return exitCode
}
