import type * as Command from "@effect/platform/Command"
import { Cause, Clock, Data, Deferred, type Duration, Effect, Exit, FiberId, Option } from "effect"
import * as EventLine from "../host/EventLine.js"
import type * as Events from "../host/Events.js"
import { codes, ofMany } from "../host/ExitCodes.js"
import * as CommandText from "../process/CommandText.js"
import * as LineOutput from "../process/LineOutput.js"
import * as Processes from "../process/Processes.js"
import * as ProcessOutcome from "../process/ProcessOutcome.js"
import * as Backoff from "../task/Backoff.js"
import * as Cancellation from "../task/Cancellation.js"
import * as Sleep from "../task/Sleep.js"
import * as TaskGroup from "../task/TaskGroup.js"
import { anyCount, checkOptions, countOrInfinity, time } from "../text/Numbers.js"
import { statusOf } from "./internal/jobAttempts.js"
import * as jobLimits from "./internal/jobLimits.js"
import * as spool from "./internal/spool.js"

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
  /** Whether the end of any command cancels the others, a successful one too; default false. */
  readonly untilFirst?: boolean | undefined
  /** Most commands that run at once; default unlimited. One that waits for others to succeed does not count. */
  readonly concurrency?: number | undefined
  /** Time limit of each attempt of a command; default unlimited. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Further attempts of a command that failed; default 0. */
  readonly retries?: number | undefined
  /** The pauses before further attempts; default as in `Backoff.make`. */
  readonly backoff?: Backoff.Backoff | undefined
  /** Which commands decide the exit code: all, the first or the last one that ended by itself, or one by name; default all. */
  readonly success?: "all" | "first" | "last" | { readonly name: string } | undefined
  /** When output is reported: whole lines as they come, or all of a command when it has ended; default `"line"`. */
  readonly output?: "line" | "group" | undefined
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
 * How a command ended. `failed`: an exit code other than 0, a signal, or no process. `timed_out`: ended by its time limit.
 * `cancelled`: ended by the group.
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
  checkOptions(options, { concurrency: countOrInfinity, retries: anyCount, timeout: time, grace: time })
  const { concurrency = Number.POSITIVE_INFINITY, grace, onFailure = "cancel", retries = 0 } = options
  const { onEvent = () => Effect.void, success = "all", untilFirst = false } = options
  const limits = jobLimits.make(options.timeout)
  const pauseBefore = Backoff.make(options.backoff)
  const places = yield* Effect.makeSemaphore(Math.min(concurrency, requests.length + 1))
  const makeSpool = yield* spool.make()
  const processes = yield* Processes.Processes
  const begun = yield* Clock.currentTimeNanos
  const since = (nanos: bigint) =>
    Effect.map(Clock.currentTimeNanos, (now) => EventLine.ms(Number(now - nanos) / 1e6))
  const outcomes = new Map<string, CommandOutcome>()
  const ended = new Map(requests.map(({ name }) => [name, Deferred.unsafeMake<boolean>(FiberId.none)]))
  // Of the commands that ended by themselves, in the order of their ends.
  const ends: Array<{ readonly name: string; readonly code: number }> = []
  const tasks = new Map<string, TaskGroup.Task<void, CommandEnded>>()
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
    const report = (stream: "stdout" | "stderr", bytes: Uint8Array) =>
      onEvent({ event: "output", ...which, stream, bytes })
    const attempt = Effect.gen(function* () {
      const held = options.output === "group" ? { stdout: makeSpool(), stderr: makeSpool() } : undefined
      const lines = LineOutput.make(
        (pid) => onEvent({ event: "started", ...which, pid, command: CommandText.commandText(command) }),
        (stream, bytes) =>
          held === undefined ? report(stream, bytes) : Effect.sync(() => held[stream].write(bytes))
      )
      // After the process is gone, which may write until then.
      yield* Effect.addFinalizer(() =>
        Effect.zipRight(
          lines.end,
          Effect.forEach(["stdout", "stderr"] as const, (stream) =>
            held === undefined ? Effect.void : held[stream].drain((bytes) => report(stream, bytes))
          )
        )
      )
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
    const attempts = (nth: number): Effect.Effect<ProcessOutcome.ProcessOutcome> =>
      Effect.gen(function* () {
        const began = yield* Clock.currentTimeNanos
        started ??= began
        const limited = limits.limit(CommandText.commandText(command), attempt, began)
        const outcome = ProcessOutcome.of(yield* Effect.either(limited))
        if (outcome.exitCode === 0 || nth > retries) return outcome
        const pause = yield* pauseBefore(nth - 1)
        const reason = outcome.detail ?? ""
        yield* onEvent({ event: "retrying", ...which, attempt: nth + 1, delay: EventLine.ms(pause), reason })
        yield* Sleep.sleep(pause)
        return yield* attempts(nth + 1)
      })
    return Effect.gen(function* () {
      for (const other of after) {
        const deferred = ended.get(other)
        if (deferred !== undefined && !(yield* Deferred.await(deferred))) {
          return yield* skip(index, name, `${other} did not succeed`)
        }
      }
      const found = yield* places.withPermits(1)(attempts(1))
      const { detail, exitCode, failureCode, signal } = found
      const outcome: CommandOutcome = {
        event: "finished",
        ...which,
        status: statusOf(found),
        duration: yield* since(started!),
        ...(detail === undefined ? {} : { reason: detail }),
        exitCode,
        ...(signal === undefined ? {} : { signal })
      }
      ends.push({ name, code: exitCode === 0 ? 0 : failureCode })
      yield* finish(outcome)
      if (outcome.status !== "succeeded") return yield* new CommandEnded({ outcome })
      if (!untilFirst) return
      yield* Effect.forEach(
        tasks,
        ([other, task]) =>
          other === name ? Effect.void : task.cancel(`${name} has ended`, { origin: name }),
        { concurrency: "unbounded", discard: true }
      )
    }).pipe(
      Effect.onInterrupt((interruptors) => {
        const reason = Cancellation.fromInterruptors(interruptors)[0]?.reason ?? "cancelled"
        if (outcomes.has(name)) return Effect.void
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
      tasks.set(request.name, task)
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
  const decisive = () => {
    if (success === "all") return ends
    if (typeof success === "string") return ends.slice(...(success === "first" ? [0, 1] : [-1]))
    const found = ends.filter(({ name }) => name === success.name)
    return found.length > 0 ? found : [{ name: success.name, code: codes.failed }]
  }
  const summary = Effect.gen(function* () {
    const summary: CommandsSummary = {
      event: "summary",
      ...EventLine.tally([...outcomes.values()].map(({ status }) => status)),
      duration: yield* since(begun),
      exitCode: ofMany(
        decisive().flatMap(({ code }) => (code === 0 ? [] : [code])),
        stopped
      )
    }
    yield* onEvent(summary)
    return summary
  })
  return yield* Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      // A command that fails is an outcome; a defect comes from a callback.
      const report = ({ cause }: TaskGroup.TaskFailed) =>
        Cause.isDie(cause) ? Effect.failCause(cause as Cause.Cause<never>) : Effect.void
      const group = TaskGroup.scoped(all, {
        name: "tasks",
        onFailure: untilFirst ? "cancel" : onFailure,
        report
      })
      const exit = yield* Effect.exit(restore(group))
      if (Exit.isFailure(exit) && Cause.isInterrupted(exit.cause))
        stopped = Cancellation.fromCause(exit.cause)[0]?.reason ?? ""
      const done = yield* summary
      const unexpected = Exit.isFailure(exit) && !Cause.isFailure(exit.cause)
      return unexpected ? yield* Effect.failCause(exit.cause as Cause.Cause<never>) : done
    })
  )
}, Effect.scoped)
