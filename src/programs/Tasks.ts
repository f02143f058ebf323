import type * as Command from "@effect/platform/Command"
import { Cause, Clock, Data, Deferred, Effect, Either, Exit, FiberId, Option } from "effect"
import { cancelled, codes } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as LineOutput from "../services/process/LineOutput.js"
import * as Processes from "../services/process/Processes.js"
import * as Cancellation from "../services/task/Cancellation.js"
import * as TaskGroup from "../services/task/TaskGroup.js"
import * as WaitTasks from "../services/task/WaitTasks.js"

// #region example
const hello1 = Effect.zipRight(Effect.sleep("500 millis"), Output.print("hi 1"))

const hello2 = Output.print("hi 2")

/** The guide's Basics(2): two tasks that run at the same time. Prints `hi 2`, then half a second later `hi 1`. */
export const example: Effect.Effect<void, TaskGroup.TaskCancelled | TaskGroup.TaskFailed, Output.Output> =
  Effect.gen(function* () {
    const task1 = yield* TaskGroup.start("hello1", hello1)
    const task2 = yield* TaskGroup.start("hello2", hello2)
    yield* task2.result
    yield* task1.result
  }).pipe(TaskGroup.scoped({ name: "tasks" }))
// #endregion

type AnyEffect = Effect.Effect<unknown, unknown, unknown>
type Named = readonly [name: string, effect: AnyEffect]
type Result<Eff extends AnyEffect, Mode> = Mode extends "collect"
  ? Exit.Exit<Effect.Effect.Success<Eff>, Effect.Effect.Error<Eff>>
  : Effect.Effect.Success<Eff>

/** Settings of {@link runAll}. */
export interface RunAllOptions<Mode extends TaskGroup.OnFailure = "cancel">
  extends Omit<TaskGroup.Options, "onFailure"> {
  /** Default `"cancel"`. */
  readonly onFailure?: Mode
}

/**
 * Runs named effects as one group and gives their results in input order. It returns when no task is left, clean-up
 * included.
 *
 * Fails with the first failure, `"cancel"` at once and `"continue"` when all are done, or with `TaskCancelled` when a
 * task interrupted itself; under `"collect"` it never fails and every result is an `Exit`. Further failures go to
 * `report`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Tasks from "effect-asyncio/programs/Tasks"
 *
 * export const program = Tasks.runAll(
 *   [
 *     ["lint", Effect.succeed(0)],
 *     ["test", Effect.fail("3 tests failed")]
 *   ],
 *   { onFailure: "collect", capacity: 2 }
 * )
 * ```
 */
export const runAll = Effect.fn("Tasks.runAll")(function* <
  const T extends ReadonlyArray<Named>,
  const Mode extends TaskGroup.OnFailure = "cancel"
>(tasks: T, options?: RunAllOptions<Mode>) {
  type Failure = Effect.Effect.Error<T[number][1]>
  const all = Effect.gen(function* () {
    const started = yield* Effect.forEach(tasks, ([name, effect]) => TaskGroup.start(name, effect))
    yield* TaskGroup.join
    return yield* options?.onFailure === "collect"
      ? Effect.forEach(started, (task) => task.await)
      : WaitTasks.results(started)
  })
  return yield* TaskGroup.scoped(all, options).pipe(
    // The group does not know the types of its tasks' errors; here they are known.
    Effect.catchAll((error) =>
      error instanceof TaskGroup.TaskFailed ? Effect.failCause(error.cause) : Effect.fail(error)
    )
  ) as Effect.Effect<
    { -readonly [K in keyof T]: Result<T[K][1], Mode> },
    Mode extends "collect" ? never : Failure | TaskGroup.TaskCancelled,
    Effect.Effect.Context<T[number][1]>
  >
})

// named commands

/** A command of a group. */
export interface CommandRequest {
  /** Tells it from the others; names differ. */
  readonly name: string
  readonly command: Command.Command
  /** The names of those that must have succeeded before it starts; a ring of them never starts. */
  readonly after?: Iterable<string> | undefined
  /** As in `Processes.StopOptions`; default that of all. */
  readonly stopSignal?: NodeJS.Signals | undefined
}

/** Settings of {@link commands}. */
export interface CommandsOptions extends Processes.StopOptions {
  /** What the failure of one does to the others; default `"cancel"`. */
  readonly onFailure?: "cancel" | "continue" | undefined
  /** Is told what happens, cancellation and clean-up included. A command waits while its output is taken. */
  readonly onEvent?: ((event: CommandEvent) => Effect.Effect<void>) | undefined
}

/** What happens in {@link commands}. */
export type CommandEvent =
  | { readonly event: "started"; readonly name: string; readonly pid: number; readonly command: string }
  /** Whole lines, unless one is longer than 1 MiB; in the end the rest. */
  | {
      readonly event: "output"
      readonly name: string
      readonly stream: "stdout" | "stderr"
      readonly bytes: Uint8Array
    }
  /** It has been told to end and has not yet; it is killed after `left` milliseconds. */
  | { readonly event: "lingering"; readonly name: string; readonly pid: number; readonly left: number }
  | ({ readonly event: "finished" } & CommandOutcome)
  | ({ readonly event: "summary" } & CommandsSummary)

/** What has become of a command. */
export interface CommandOutcome {
  readonly name: string
  /** `failed`: by an exit code other than 0, a signal, or for want of a process. `cancelled`: ended by us, or never begun. */
  readonly status: "succeeded" | "failed" | "cancelled"
  /** Why it failed or was cancelled. */
  readonly detail?: string | undefined
  /** None where there was no process. */
  readonly exitCode?: number | undefined
  readonly signal?: NodeJS.Signals | undefined
  /** Milliseconds from its start; none when it was never begun. */
  readonly runtime?: number | undefined
}

/** What has become of all, in input order. */
export interface CommandsSummary {
  readonly tasks: ReadonlyArray<CommandOutcome>
  /** Milliseconds. */
  readonly elapsed: number
  /**
   * 0, or that of the first failure: 126 or 127 where there was no process, else 1; where all were cancelled for a
   * signal, 128 and its number.
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
 * what has become of each is in the summary, which comes as the last event too, when it is interrupted as well.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Tasks from "effect-asyncio/programs/Tasks"
 * import * as Processes from "effect-asyncio/services/Processes"
 *
 * export const program = Tasks.commands(
 *   [
 *     { name: "build", command: Processes.shell("npm run build") },
 *     { name: "test", command: Processes.shell("npm test"), after: ["build"] },
 *     { name: "lint", command: Processes.shell("npm run lint") }
 *   ],
 *   { onEvent: (event) => (event.event === "finished" ? Effect.log(event.name, event.status) : Effect.void) }
 * )
 * ```
 */
export const commands = Effect.fn("Tasks.commands")(function* (
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
      // Those that wait for it do so no longer, even where the callback fails.
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
        (pid) => onEvent({ event: "started", name, pid, command: Processes.commandText(command) }),
        (stream, bytes) => onEvent({ event: "output", name, stream, bytes })
      )
      const body = Effect.gen(function* () {
        yield* Effect.addFinalizer(() => lines.end) // when the process is gone: it may write to its last moment
        const child = yield* processes.start(command, {
          grace,
          stopSignal,
          onStarted: lines.onStarted,
          onOutput: lines.onOutput,
          onLingering: (left, pid) => onEvent({ event: "lingering", name, pid, left })
        })
        yield* lines.begin
        return yield* child.exit
      }).pipe(Effect.scoped)
      const exit = yield* Effect.either(body)
      const runtime = yield* since(started)
      const outcome = { name, runtime, ...outcomeOf(exit) }
      if (outcome.exitCode !== 0) exitCode ||= Either.isLeft(exit) ? outcome.exitCode : codes.failed
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
      // Who is cancelled before the first step has nothing of its own that could tell.
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
      // Commands that fail are outcomes; a defect is that of a callback.
      const report = ({ cause }: TaskGroup.TaskFailed) =>
        Cause.isDie(cause) ? Effect.failCause(cause as Cause.Cause<never>) : Effect.void
      const group = TaskGroup.scoped(all, { name: "tasks", onFailure, report })
      const exit = yield* Effect.exit(restore(group))
      if (Exit.isFailure(exit) && Cause.isInterrupted(exit.cause))
        exitCode ||= cancelled(Cancellation.fromCause(exit.cause)[0]?.reason ?? "")
      const told = yield* summary
      const unexpected = Exit.isFailure(exit) && !isCommandEnded(exit.cause)
      return unexpected ? yield* Effect.failCause(exit.cause as Cause.Cause<never>) : told
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

const outcomeOf = (exit: Either.Either<Processes.Exited, Processes.ProcessError>) => {
  if (Either.isRight(exit)) {
    const { exitCode, signal } = exit.right
    if (exitCode === 0) return { status: "succeeded", exitCode } as const
    const detail = Processes.howEnded(exit.right)
    return { status: "failed", detail, exitCode, ...(signal === undefined ? {} : { signal }) } as const
  }
  const exitCode = "exitCode" in exit.left ? exit.left.exitCode : codes.failed
  return { status: "failed", detail: exit.left.message, exitCode } as const
}
