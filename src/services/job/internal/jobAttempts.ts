import * as Command from "@effect/platform/Command"
import { type Clock, Duration, Effect, Option, type Scope } from "effect"
import type { Status } from "../../host/Events.js"
import { codes } from "../../host/ExitCodes.js"
import type * as Processes from "../../process/Processes.js"
import * as ProcessOutcome from "../../process/ProcessOutcome.js"
import type { JobEvent } from "../JobEvents.js"
import * as JobResults from "../JobResults.js"
import type { JobLimits } from "./jobLimits.js"
import type { Sink } from "./jobOutput.js"
import * as spool from "./spool.js"

/** A command to run, and its names. */
export interface Attempt {
  /** From 1; more than 1 for a retry. */
  readonly number: number
  readonly command: Command.Command
  /** The key of its job. */
  readonly name: string
  readonly label: string
  readonly index: number
  readonly slot: number
}

/** An attempt that has ended. */
export interface Attempted {
  readonly outcome: ProcessOutcome.ProcessOutcome
  /** Milliseconds. */
  readonly runtime: number
  /** Milliseconds since the epoch. */
  readonly began: number
}

/** The status of the job whose last attempt this was. */
export const statusOf = ({ exitCode, failureCode }: ProcessOutcome.ProcessOutcome): Status =>
  exitCode === 0 ? "succeeded" : failureCode === codes.timedOut ? "timed_out" : "failed"

/** What an event has of an outcome; absent fields are left out, as in the schema. */
export const fieldsOf = ({ detail, exitCode, host, signal, usage }: ProcessOutcome.ProcessOutcome) => ({
  exitCode,
  ...(host === undefined ? {} : { host }),
  ...(signal === undefined ? {} : { signal }),
  ...(detail === undefined ? {} : { reason: detail }),
  ...(Option.isNone(usage)
    ? {}
    : {
        usage: {
          user: Duration.toMillis(usage.value.user),
          system: Duration.toMillis(usage.value.system),
          peakMemory: usage.value.peakMemory
        }
      })
})

/** Settings of all attempts. */
export interface Settings extends Processes.StopOptions {
  readonly processes: Processes.Processes["Type"]
  readonly clock: Clock.Clock
  readonly emit: (event: JobEvent) => void
  readonly limits: JobLimits
  /** Ends when a job may start. */
  readonly gate: Effect.Effect<void> | undefined
  /** Opens the files for the results of a job; undefined if none are saved. */
  readonly openFiles:
    | ((
        label: string,
        name: string
      ) => Effect.Effect<JobResults.JobFiles, JobResults.JobResultsError, Scope.Scope>)
    | undefined
  /** Whether jobs write to the caller's own stdout and stderr. */
  readonly inherit: boolean
}

/** Makes a function that runs attempts: a process with its output into the sink, its limits, and its files. */
export const make = ({
  clock,
  emit,
  gate,
  grace,
  inherit,
  limits,
  openFiles,
  processes,
  stopSignal
}: Settings): ((
  attempt: Attempt,
  sink: Sink,
  /** Called when the attempt may start. */
  begin: () => void
) => Effect.Effect<Attempted, JobResults.JobResultsError | spool.SpoolError>) => {
  // Plain code if nothing waits, because each step of Effect counts for a small job.
  const run = (
    { command, index, name, number, slot }: Attempt,
    sink: Sink,
    files: JobResults.JobFiles | undefined
  ): Effect.Effect<Attempted, JobResults.JobResultsError | spool.SpoolError> => {
    const began = clock.unsafeCurrentTimeMillis()
    const started = clock.unsafeCurrentTimeNanos()
    let pid = 0
    const ended = processes.run(
      inherit ? command.pipe(Command.stdout("inherit"), Command.stderr("inherit")) : command,
      {
        grace,
        stopSignal,
        place: { job: index, attempt: number },
        onLingering: (left) => Effect.sync(() => emit({ event: "lingering", index, name, pid, left })),
        onStarted: (started) => {
          pid = started
          emit({ event: "started", index, name, attempt: number, pid, slot })
        },
        onOutput: (stream, bytes) => {
          files?.write(stream, bytes)
          return sink.write(stream, bytes)
        }
      }
    )
    const attempted = Effect.match(limits.limit(name, ended, started), {
      onFailure: (error) => ({
        outcome: ProcessOutcome.ofError(error),
        runtime: Number(clock.unsafeCurrentTimeNanos() - started) / 1e6,
        began
      }),
      onSuccess: (exited) => ({
        outcome: ProcessOutcome.ofExited(exited),
        runtime: Duration.toMillis(exited.duration),
        began
      })
    })
    // Output that cannot be kept throws on arrival.
    return Effect.catchAllDefect(attempted, (defect) => {
      sink.drop()
      const full = defect instanceof JobResults.JobResultsError || defect instanceof spool.SpoolError
      return full ? Effect.fail(defect) : Effect.die(defect)
    })
  }
  return (attempt, sink, begin) => {
    const start = () => {
      begin()
      if (openFiles === undefined) return run(attempt, sink, undefined)
      return Effect.scoped(
        Effect.gen(function* () {
          const files = yield* openFiles(attempt.label, attempt.name)
          const attempted = yield* run(attempt, sink, files)
          yield* files.finish(attempted.outcome.signal ?? String(attempted.outcome.exitCode))
          return attempted
        })
      )
    }
    return gate === undefined ? start() : Effect.flatMap(gate, start)
  }
}
