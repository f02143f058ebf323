import type * as Command from "@effect/platform/Command"
import { Cause, Clock, Data, Deferred, Effect, Exit, FiberId, Option } from "effect"
import { cancelled, codes } from "../host/ExitCodes.js"
import * as CommandText from "../process/CommandText.js"
import * as LineOutput from "../process/LineOutput.js"
import * as Processes from "../process/Processes.js"
import * as ProcessOutcome from "../process/ProcessOutcome.js"
import * as Cancellation from "../task/Cancellation.js"
import * as TaskGroup from "../task/TaskGroup.js"

/**
 * A command of a group.
 *
 * @since 0.1.0
 * @category models
 */
export interface CommandRequest {
  /** Identifies the command in the group: no two have the same. */
  readonly name: string
  readonly command: Command.Command
  /** The names of commands that must succeed before this one starts; a cycle of them never starts. */
  readonly after?: Iterable<string> | undefined
  /** As in `Processes.StopOptions`; default that of the group. */
  readonly stopSignal?: NodeJS.Signals | undefined
}

/**
 * Settings of {@link run}.
 *
 * @since 0.1.0
 * @category options
 */
export interface CommandsOptions extends Processes.StopOptions {
  /** The effect of one command's failure on the others; default `"cancel"`. */
  readonly onFailure?: "cancel" | "continue" | undefined
  /** Receives every event, cancellation and clean-up included. A command waits while its output is handled. */
  readonly onEvent?: ((event: CommandEvent) => Effect.Effect<void>) | undefined
}

/**
 * An event of {@link run}.
 *
 * @since 0.1.0
 * @category events
 */
export type CommandEvent =
  | { readonly event: "started"; readonly name: string; readonly pid: number; readonly command: string }
  /** Whole lines, unless one is longer than 1 MiB; in the end the rest. */
  | {
      readonly event: "output"
      readonly name: string
      readonly stream: "stdout" | "stderr"
      readonly bytes: Uint8Array
    }
  /** The command was asked to end and still runs; it is killed after `left` milliseconds. */
  | { readonly event: "lingering"; readonly name: string; readonly pid: number; readonly left: number }
  | ({ readonly event: "finished" } & CommandOutcome)
  | ({ readonly event: "summary" } & CommandsSummary)

/**
 * The outcome of a command.
 *
 * @since 0.1.0
 * @category models
 */
export interface CommandOutcome {
  readonly name: string
  /**
   * `failed`: an exit code other than 0, a signal, or no process. `cancelled`: ended by the group, or never started.
   */
  readonly status: "succeeded" | "failed" | "cancelled"
  /** Why it failed or was cancelled. */
  readonly detail?: string | undefined
  /** Undefined without a process. */
  readonly exitCode?: number | undefined
  readonly signal?: NodeJS.Signals | undefined
  /** Milliseconds from its start; undefined when it was never started. */
  readonly runtime?: number | undefined
}

/**
 * The outcomes of all commands, in input order.
 *
 * @since 0.1.0
 * @category models
 */
export interface CommandsSummary {
  readonly tasks: ReadonlyArray<CommandOutcome>
  /** Milliseconds. */
  readonly elapsed: number
  /**
   * 0, or that of the first failure: 126 or 127 without a process, else 1. When a signal cancelled all, 128 plus its number.
   */
  readonly exitCode: number
}

class CommandEnded extends Data.TaggedError("CommandEnded")<{ readonly outcome: CommandOutcome }> {
  override get message() {
    return this.outcome.detail ?? "failed"
  }
}

/**
 * Runs named commands as one group, each as a task (asyncio: `TaskGroup`; the tools: foreman, concurrently). When one
 * fails the others are cancelled, with that as the reason, and it returns when no process of any is left. Never fails:
 * the outcomes are in the summary, which is also the last event, even of an interrupted group.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as CommandGroup from "effect-asyncio/services/CommandGroup"
 * import * as CommandText from "effect-asyncio/services/CommandText"
 *
 * export const program = CommandGroup.run(
 *   [
 *     { name: "build", command: CommandText.shell("npm run build") },
 *     { name: "test", command: CommandText.shell("npm test"), after: ["build"] },
 *     { name: "lint", command: CommandText.shell("npm run lint") }
 *   ],
 *   { onEvent: (event) => (event.event === "finished" ? Effect.log(event.name, event.status) : Effect.void) }
 * )
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const run = Effect.fn("CommandGroup.run")(function* (
  requests: ReadonlyArray<CommandRequest>,
  options: CommandsOptions = {}
) {
  const { grace, onEvent = () => Effect.void, onFailure = "cancel" } = options
  const processes = yield* Processes.Processes
  const begun = yield* Clock.currentTimeNanos
  const since = (nanos: bigint) =>
    Effect.map(Clock.currentTimeNanos, (now) => Math.round(Number(now - nanos) / 1e4) / 100)
  const outcomes = new Map<string, CommandOutcome>()
  const ended = new Map(requests.map(({ name }) => [name, Deferred.unsafeMake<boolean>(FiberId.none)]))
  let exitCode: number = codes.ok

  const finish = (outcome: CommandOutcome) =>
    Effect.suspend(() => {
      outcomes.set(outcome.name, outcome)
      // Commands that wait for this one must continue even if the callback fails.
      return Effect.ensuring(
        Effect.suspend(() => onEvent({ event: "finished", ...outcome })),
        Deferred.succeed(ended.get(outcome.name)!, outcome.status === "succeeded")
      )
    })

  const run = ({ after = [], command, name, stopSignal = options.stopSignal }: CommandRequest) => {
    let started: bigint | undefined
    return Effect.gen(function* () {
      for (const other of after) {
        const deferred = ended.get(other)
        if (deferred !== undefined && !(yield* Deferred.await(deferred))) {
          return yield* finish({ name, status: "cancelled", detail: `${other} did not succeed` })
        }
      }
      started = yield* Clock.currentTimeNanos
      const lines = LineOutput.make(
        (pid) => onEvent({ event: "started", name, pid, command: CommandText.commandText(command) }),
        (stream, bytes) => onEvent({ event: "output", name, stream, bytes })
      )
      const body = Effect.gen(function* () {
        yield* Effect.addFinalizer(() => lines.end) // after the process is gone, which may write until then
        const child = yield* processes.start(command, {
          grace,
          stopSignal,
          onStarted: lines.onStarted,
          onOutput: lines.onOutput,
          until: "leader",
          onLingering: (left, pid) => onEvent({ event: "lingering", name, pid, left })
        })
        yield* lines.begin
        return yield* child.exit
      }).pipe(Effect.scoped)
      const exit = yield* Effect.either(body)
      const runtime = yield* since(started)
      const { detail, exitCode: code, failureCode, signal } = ProcessOutcome.of(exit)
      const outcome: CommandOutcome = {
        name,
        runtime,
        status: code === 0 ? "succeeded" : "failed",
        ...(detail === undefined ? {} : { detail }),
        exitCode: code,
        ...(signal === undefined ? {} : { signal })
      }
      if (code !== 0) exitCode ||= failureCode
      yield* finish(outcome)
      if (outcome.status === "failed") return yield* new CommandEnded({ outcome })
    }).pipe(
      Effect.onInterrupt((interruptors) => {
        const detail = Cancellation.fromInterruptors(interruptors)[0]?.reason ?? "cancelled"
        return Effect.flatMap(started === undefined ? Effect.succeed(undefined) : since(started), (runtime) =>
          finish({ name, status: "cancelled", detail, ...(runtime === undefined ? {} : { runtime }) })
        )
      })
    )
  }

  const all = Effect.gen(function* () {
    for (const request of requests) {
      const task = yield* TaskGroup.start(request.name, run(request))
      // A task that is cancelled before its first step runs none of its own finalizers.
      yield* task.onDone(() =>
        outcomes.has(request.name)
          ? Effect.void
          : Effect.flatMap(task.cancellation, (why) =>
              finish({
                name: request.name,
                status: "cancelled",
                detail: Option.match(why, { onNone: () => "cancelled", onSome: ({ reason }) => reason })
              })
            )
      )
    }
    yield* TaskGroup.join
  })
  const summary = Effect.gen(function* () {
    const tasks = requests.flatMap(({ name }) => outcomes.get(name) ?? [])
    const summary: CommandsSummary = { tasks, elapsed: yield* since(begun), exitCode }
    yield* onEvent({ event: "summary", ...summary })
    return summary
  })
  return yield* Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      // A command that fails is an outcome; a defect comes from a callback.
      const report = ({ cause }: TaskGroup.TaskFailed) =>
        Cause.isDie(cause) ? Effect.failCause(cause as Cause.Cause<never>) : Effect.void
      const group = TaskGroup.scoped(all, { name: "tasks", onFailure, report })
      const exit = yield* Effect.exit(restore(group))
      if (Exit.isFailure(exit) && Cause.isInterrupted(exit.cause))
        exitCode ||= cancelled(Cancellation.fromCause(exit.cause)[0]?.reason ?? "")
      const done = yield* summary
      const unexpected = Exit.isFailure(exit) && !isCommandEnded(exit.cause)
      return unexpected ? yield* Effect.failCause(exit.cause as Cause.Cause<never>) : done
    })
  )
})

const isCommandEnded = (cause: Cause.Cause<TaskGroup.TaskFailed | TaskGroup.TaskCancelled>): boolean =>
  Option.exists(
    Cause.failureOption(cause),
    (error) =>
      error instanceof TaskGroup.TaskFailed &&
      Option.exists(Cause.failureOption(error.cause), (inner) => inner instanceof CommandEnded)
  )
