import type * as Command from "@effect/platform/Command"
import { Cause, Clock, Data, Deferred, Effect, Exit, FiberId, Option } from "effect"
import * as EventLine from "../host/EventLine.js"
import type * as Events from "../host/Events.js"
import { ofMany } from "../host/ExitCodes.js"
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
 * An event of {@link run}: those of `aio tasks --json`, with the output as bytes.
 *
 * @since 0.1.0
 * @category events
 */
export type CommandEvent =
  | Exclude<typeof Events.Tasks.Type, { readonly event: "output" }>
  /** Whole lines, unless one is longer than 1 MiB; in the end the rest. */
  | {
      readonly event: "output"
      readonly index: number
      readonly name: string
      readonly stream: "stdout" | "stderr"
      readonly bytes: Uint8Array
    }

/**
 * How a command ended. `failed`: an exit code other than 0, a signal, or no process. `cancelled`: ended by the group.
 * `skipped`: never started, because the group ended before or a command that it waits for did not succeed.
 *
 * @since 0.1.0
 * @category models
 */
export type CommandOutcome = Extract<CommandEvent, { readonly event: "finished" }>

/**
 * The last event of {@link run}. The exit code is that of many, see `ExitCodes.ofMany`; when a signal cancelled the group,
 * 128 plus its number.
 *
 * @since 0.1.0
 * @category models
 */
export type CommandsSummary = Extract<CommandEvent, { readonly event: "summary" }>

class CommandEnded extends Data.TaggedError("CommandEnded")<{ readonly outcome: CommandOutcome }> {
  override get message() {
    return this.outcome.reason ?? "failed"
  }
}

/**
 * Runs named commands as one group, each as a task (asyncio: `TaskGroup`; the tools: foreman, concurrently). When one
 * fails the others are cancelled, with that as the reason, and it returns when no process of any is left. Never fails:
 * each outcome is a `finished` event, and the summary, which it returns, is the last event, even of an interrupted group.
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
    Effect.map(Clock.currentTimeNanos, (now) => EventLine.ms(Number(now - nanos) / 1e6))
  const outcomes = new Map<string, CommandOutcome>()
  const ended = new Map(requests.map(({ name }) => [name, Deferred.unsafeMake<boolean>(FiberId.none)]))
  const exitCodes: Array<number> = []
  let stopped: string | undefined

  const finish = (outcome: CommandOutcome) =>
    Effect.suspend(() => {
      outcomes.set(outcome.name, outcome)
      // Commands that wait for this one must continue even if the callback fails.
      return Effect.ensuring(
        Effect.suspend(() => onEvent(outcome)),
        Deferred.succeed(ended.get(outcome.name)!, outcome.status === "succeeded")
      )
    })
  const skip = (index: number, name: string, reason: string) =>
    finish({ event: "finished", index, name, status: "skipped", duration: 0, reason })

  const run = (
    index: number,
    { after = [], command, name, stopSignal = options.stopSignal }: CommandRequest
  ) => {
    const which = { index, name }
    let started: bigint | undefined
    return Effect.gen(function* () {
      for (const other of after) {
        const deferred = ended.get(other)
        if (deferred !== undefined && !(yield* Deferred.await(deferred))) {
          return yield* skip(index, name, `${other} did not succeed`)
        }
      }
      started = yield* Clock.currentTimeNanos
      const lines = LineOutput.make(
        (pid) => onEvent({ event: "started", ...which, pid, command: CommandText.commandText(command) }),
        (stream, bytes) => onEvent({ event: "output", ...which, stream, bytes })
      )
      const body = Effect.gen(function* () {
        yield* Effect.addFinalizer(() => lines.end) // after the process is gone, which may write until then
        const child = yield* processes.start(command, {
          grace,
          stopSignal,
          onStarted: lines.onStarted,
          onOutput: lines.onOutput,
          until: "leader",
          onLingering: (left, pid) =>
            Effect.zipRight(
              lines.begin,
              Effect.suspend(() => onEvent({ event: "lingering", ...which, pid, left: EventLine.ms(left) }))
            )
        })
        yield* lines.begin
        return yield* child.exit
      }).pipe(Effect.scoped)
      const exit = yield* Effect.either(body)
      const duration = yield* since(started)
      const { detail, exitCode, failureCode, signal } = ProcessOutcome.of(exit)
      const outcome: CommandOutcome = {
        event: "finished",
        ...which,
        status: exitCode === 0 ? "succeeded" : "failed",
        duration,
        ...(detail === undefined ? {} : { reason: detail }),
        exitCode,
        ...(signal === undefined ? {} : { signal })
      }
      if (exitCode !== 0) exitCodes.push(failureCode)
      yield* finish(outcome)
      if (outcome.status === "failed") return yield* new CommandEnded({ outcome })
    }).pipe(
      Effect.onInterrupt((interruptors) => {
        const reason = Cancellation.fromInterruptors(interruptors)[0]?.reason ?? "cancelled"
        if (started === undefined) return skip(index, name, reason)
        return Effect.flatMap(since(started), (duration) =>
          finish({ event: "finished", ...which, status: "cancelled", duration, reason })
        )
      })
    )
  }

  const all = Effect.gen(function* () {
    for (const [i, request] of requests.entries()) {
      const task = yield* TaskGroup.start(request.name, run(i + 1, request))
      // A task that is cancelled before its first step runs none of its own finalizers.
      yield* task.onDone(() =>
        outcomes.has(request.name)
          ? Effect.void
          : Effect.flatMap(task.cancellation, (why) => {
              const reason = Option.match(why, {
                onNone: () => "cancelled",
                onSome: ({ reason }) => reason
              })
              return skip(i + 1, request.name, reason)
            })
      )
    }
    yield* TaskGroup.join
  })
  const summary = Effect.gen(function* () {
    const summary: CommandsSummary = {
      event: "summary",
      ...EventLine.tally([...outcomes.values()].map(({ status }) => status)),
      duration: yield* since(begun),
      exitCode: ofMany(exitCodes, stopped)
    }
    yield* onEvent(summary)
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
        stopped = Cancellation.fromCause(exit.cause)[0]?.reason ?? ""
      const done = yield* summary
      const unexpected = Exit.isFailure(exit) && !Cause.isFailure(exit.cause)
      return unexpected ? yield* Effect.failCause(exit.cause as Cause.Cause<never>) : done
    })
  )
})
