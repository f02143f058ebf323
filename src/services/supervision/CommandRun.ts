import type * as Command from "@effect/platform/Command"
import { Cause, Duration, Effect, Either, Exit } from "effect"
import * as CommandText from "../process/CommandText.js"
import * as ProcessError from "../process/ProcessError.js"
import * as Processes from "../process/Processes.js"
import * as ProcessOutcome from "../process/ProcessOutcome.js"
import * as Cancellation from "../task/Cancellation.js"
import * as Deadline from "../task/Deadline.js"
import { notDoneIn } from "../text/Durations.js"
import { checkOptions, time } from "../text/Numbers.js"

/**
 * Settings of {@link attempt}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options
  extends Pick<Processes.StartOptions, "grace" | "onLingering" | "onOutput" | "onStarted" | "stopSignal"> {
  /** The longest it may take; default no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Run when the process has been started, while it runs; default nothing. */
  readonly started?: Effect.Effect<void> | undefined
}

/**
 * How a run of a command has ended: the fields of the event `finished`, and the code that its failure adds to
 * `ExitCodes.ofMany`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Ended {
  readonly status: "succeeded" | "failed" | "cancelled" | "timed_out"
  /** Why, unless it succeeded. */
  readonly reason?: string
  /** Without one the run was cancelled. */
  readonly exitCode?: number
  readonly signal?: NodeJS.Signals
  readonly failureCode?: number
}

/**
 * Runs a command once, until its first process ends. Interruption, failure and the timeout end its whole process tree.
 *
 * @since 0.1.0
 * @category effects
 */
export const attempt = (
  command: Command.Command,
  { started = Effect.void, timeout, ...options }: Options
): Effect.Effect<ProcessOutcome.Exited, ProcessError.ProcessError, Processes.Processes> => {
  if (timeout !== undefined) checkOptions({ timeout }, { timeout: time })
  const body = Effect.scoped(
    Effect.flatMap(Processes.start(command, { ...options, until: "leader" }), ({ exit }) =>
      Effect.zipRight(Effect.uninterruptible(started), exit)
    )
  )
  if (timeout === undefined) return body
  const after = Duration.decode(timeout)
  return Deadline.timeout(body, {
    limit: after,
    late: { reason: notDoneIn(after), origin: "timeout" },
    onTimeout: () => new ProcessError.CommandTimedOut({ command: CommandText.commandLine(command), after })
  })
}

/**
 * What the exit of {@link attempt} means. A defect stays one: only a failure of the command is the failure of a run.
 *
 * @since 0.1.0
 * @category functions
 */
export const ended = (
  exit: Exit.Exit<ProcessOutcome.Exited, ProcessError.ProcessError>
): Effect.Effect<Ended> =>
  Effect.gen(function* () {
    if (Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)) {
      const [why] = Cancellation.fromCause(exit.cause)
      return { status: "cancelled", reason: why?.reason ?? "cancelled" } as const
    }
    const result = yield* Effect.either(exit)
    const { detail, exitCode, failureCode, signal } = ProcessOutcome.of(result)
    if (detail === undefined) return { status: "succeeded", exitCode } as const
    const late = Either.isLeft(result) && result.left._tag === "CommandTimedOut"
    return {
      status: late ? "timed_out" : "failed",
      reason: detail,
      exitCode,
      ...(signal === undefined ? {} : { signal }),
      failureCode
    } as const
  })
