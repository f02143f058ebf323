import type * as Command from "@effect/platform/Command"
import {
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  type Fiber,
  Layer,
  Option,
  Runtime,
  type Scope
} from "effect"
import { refsOf } from "../task/internal/fiberRuntime.js"
import { checkedDuration, checkOptions, time } from "../text/Numbers.js"
import { commandLine } from "./CommandText.js"
import type * as Backend from "./internal/backend.js"
import * as capture from "./internal/capture.js"
import * as Child from "./internal/child.js"
import { requestOf, startError, supported } from "./internal/commands.js"
import * as descendants from "./internal/descendants.js"
import * as guardian from "./internal/guardian.js"
import * as libc from "./internal/libc.js"
import * as listening from "./internal/listening.js"
import * as nodeSpawn from "./internal/nodeSpawn.js"
import * as pipes from "./internal/pipes.js"
import * as posixSpawn from "./internal/posixSpawn.js"
import * as starts from "./internal/starts.js"
import * as stopping from "./internal/stopping.js"
import * as tracker from "./internal/tracker.js"
import type { ProcessError } from "./ProcessError.js"
import type { Exited, Result, Usage } from "./ProcessOutcome.js"

// The model of a child process, the service that runs them, and its live layer.

// model

/**
 * How a process is ended.
 *
 * @since 0.1.0
 * @category options
 */
export interface StopOptions {
  /** The signal that asks the process to end; default `"SIGTERM"`. */
  readonly stopSignal?: NodeJS.Signals | undefined
  /** The grace period: from that signal to KILL; default that of the layer, 5 seconds. */
  readonly grace?: Duration.DurationInput | undefined
}

/**
 * Settings of {@link start}.
 *
 * @since 0.1.0
 * @category options
 */
export interface StartOptions extends StopOptions {
  /** Called with the pid once there is a process. */
  readonly onStarted?: ((pid: number) => void) | undefined
  /**
   * Takes output as it arrives. A returned effect applies backpressure to the pipe, and thereby to the process, until it
   * ends; if it fails, so does `exit`; an exception is a defect of `exit`. Without `onOutput`, output is read and dropped.
   * It does not receive inherited streams.
   */
  readonly onOutput?:
    | ((stream: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void, ProcessError> | undefined)
    | undefined
  /**
   * What ends the run: the end of its last writer (`"output"`, default: when it has ended and both of its pipes are
   * closed), or the end of its first process (`"leader"`, for supervisors). Then the rest of its tree gets the stop
   * signal, after a moment for its last output, and `exit` waits for that.
   */
  readonly until?: "output" | "leader" | undefined
  /**
   * Run when a process of the tree still runs a second after it was asked to end; `left` milliseconds remain until KILL.
   * Default: nothing.
   */
  readonly onLingering?: ((left: number, pid: number) => Effect.Effect<void>) | undefined
}

/**
 * Settings of {@link run}.
 *
 * @since 0.1.0
 * @category options
 */
export interface RunOptions extends StopOptions {
  /** How many bytes each of stdout and stderr may hold; default 8 MiB. */
  readonly maxOutput?: number | undefined
  /** The effect of more output: `OutputTooLarge`, or the rest is dropped and `truncated` set; default `"fail"`. */
  readonly onTooLarge?: "fail" | "truncate" | undefined
  /** How long the process may run before it is ended and the run fails with `CommandTimedOut`; default unlimited. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Fail with `CommandFailed` unless the exit code is 0; default false, as in asyncio. */
  readonly check?: boolean | undefined
  /** As in {@link StartOptions}. */
  readonly onStarted?: StartOptions["onStarted"]
  /** As in {@link StartOptions}; output taken here is not kept: `stdout` and `stderr` of the result are empty. */
  readonly onOutput?: StartOptions["onOutput"]
  /** As in {@link StartOptions}. */
  readonly onLingering?: StartOptions["onLingering"]
  /** For layers that record results, such as `ClusterProcesses`. Default: the next command, at its first attempt. */
  readonly place?: Place | undefined
}

/**
 * Which command of a run this is, and which attempt at it; both from 1.
 *
 * @since 0.1.0
 * @category models
 */
export interface Place {
  readonly job: number
  readonly attempt: number
}

/**
 * A process that has been started.
 *
 * @since 0.1.0
 * @category models
 */
export interface Process {
  readonly pid: number
  /** Its command line, quoted. */
  readonly command: string
  /** Waits until the process has ended and both of its pipes are closed; see {@link StartOptions.until}. */
  readonly exit: Effect.Effect<Exited, ProcessError>
  /** Signals the whole tree; false when no process of it is left. */
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<boolean>
  /**
   * Sends the stop signal to the tree, and KILL after the grace period; waits until no process of it is left. Closing the
   * scope does the same.
   */
  readonly stop: (grace?: Duration.DurationInput) => Effect.Effect<void>
  /** The usage of the group so far, with its current `memory` in bytes. None if the platform does not report it. */
  readonly usage: Effect.Effect<Option.Option<Usage & { readonly memory: number }>>
  /** Whether a process of the tree listens on the TCP port. None where the platform does not show it: only Linux does. */
  readonly listens: (port: number) => Effect.Effect<Option.Option<boolean>>
}

// tag

/**
 * Runs the commands that programs describe with `@effect/platform/Command`.
 *
 * @since 0.1.0
 * @category services
 */
export class Processes extends Context.Tag("effect-asyncio/services/Processes")<
  Processes,
  {
    /**
     * Runs the command as a process group of its own and ends when it has ended and both of its pipes are closed
     * (asyncio: `create_subprocess_exec` and `communicate`). With success, failure or interruption, no process that the
     * command started is left: those still running, in its group or out of it (`setsid`), get the stop signal, and KILL
     * after the grace period.
     *
     * There is no shell unless the command requests one (`Command.runInShell`, `CommandText.shell`). Its stdin is empty
     * unless the command feeds or inherits one. Pipelines and outputs into a `Sink` are for services/CommandExecutor:
     * `CommandNotStarted`.
     */
    readonly run: (command: Command.Command, options?: RunOptions) => Effect.Effect<Result, ProcessError>
    /**
     * Starts the command in the current scope, in the same manner, and returns while it runs. Closing the scope ends it
     * and every process that it started.
     */
    readonly start: (
      command: Command.Command,
      options?: StartOptions
    ) => Effect.Effect<Process, ProcessError, Scope.Scope>
  }
>() {}

/**
 * Runs a command to its end and returns what it wrote; see the service's own `run`.
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import { Effect } from "effect"
 * import * as Processes from "effect-asyncio/services/Processes"
 *
 * export const version = Processes.run(Command.make("git", "--version"), { check: true, grace: "1 second" }).pipe(
 *   Effect.map(({ stdout }) => new TextDecoder().decode(stdout)),
 *   Effect.provide(Processes.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const run = (
  command: Command.Command,
  options?: RunOptions
): Effect.Effect<Result, ProcessError, Processes> =>
  Effect.flatMap(Processes, (processes) => processes.run(command, options))

/**
 * Starts a command in the current scope; see the service's own `start`.
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import { Effect } from "effect"
 * import * as Processes from "effect-asyncio/services/Processes"
 *
 * export const watched = Effect.gen(function* () {
 *   const server = yield* Processes.start(Command.make("python3", "-m", "http.server"), { grace: "2 seconds" })
 *   yield* Effect.log(`pid ${server.pid}`)
 *   return yield* server.exit
 * }).pipe(Effect.scoped, Effect.timeout("1 hour"), Effect.provide(Processes.layer))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const start = (
  command: Command.Command,
  options?: StartOptions
): Effect.Effect<Process, ProcessError, Processes | Scope.Scope> =>
  Effect.flatMap(Processes, (processes) => processes.start(command, options))

// layers

/**
 * Settings of {@link layerWith}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /**
   * How processes are made: `"posix_spawn"`, in a quarter of the time and with the usage of each process, or `"node"`:
   * node:child_process. Default: posix_spawn where the optional package koffi has a binary, else node.
   */
  readonly backend?: "posix_spawn" | "node" | undefined
  /** Whether the backend is loaded with the layer, 15 ms; default false: with the first process. */
  readonly ahead?: boolean | undefined
  /** The grace period of processes that are started without one; default 5 seconds. */
  readonly grace?: Duration.DurationInput | undefined
  /**
   * Whether this process adopts the orphans of its children (Linux: `PR_SET_CHILD_SUBREAPER`), so that processes are
   * found that left their group, cleared their environment and lost their parent. For programs that own their process:
   * children of other parts of it should be of its own session. Default false.
   */
  readonly adoptOrphans?: boolean | undefined
}

/**
 * {@link layer} with settings.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (options: Options): Layer.Layer<Processes> =>
  Layer.scoped(
    Processes,
    Effect.gen(function* () {
      const grace = checkedDuration("grace", options.grace ?? stopping.graceDefault)
      const unique = guardian.prefix()
      const outer = process.env[descendants.variable] ?? ""
      let count = 0
      const children = new Set<Child.Child>()
      const queue = starts.make(() => children.size)

      let backend: Backend.Backend | undefined
      let tracking: tracker.Tracker | undefined
      const guarding = guardian.make(() => backend!, unique)
      const begin = () => {
        if (backend !== undefined) return
        const library = options.backend === "node" ? undefined : libc.load()
        if (options.backend === "posix_spawn" && library === undefined) {
          throw new Error("the package koffi has no binary for this system")
        }
        backend = library === undefined ? nodeSpawn.backend : posixSpawn.make(library)
        queue.open()
        const adopting = options.adoptOrphans === true ? library : undefined
        tracking = tracker.make(adopting, unique, () => queue.starting > 0)
      }
      const adopt = () => tracking?.adopt

      const forget = (child: Child.Child) => {
        if (!children.delete(child)) return
        for (const stream of child.streams) stream.destroy()
        tracking!.remove(child.tree!)
        guarding.remove(child.tree!)
        queue.freed()
      }
      const withdraw = (child: Child.Child) => {
        if (queue.withdraw(child)) Child.settle(child, Effect.interrupt)
      }
      const stopper = stopping.make({ grace, adopt, withdraw, forget })
      const release = (child: Child.Child, options: StopOptions) =>
        Effect.suspend(() =>
          Child.isOver(child) ? Effect.sync(() => forget(child)) : stopper.release(child, options)
        )

      yield* stopping.atExit(() => {
        for (const { tree } of children)
          if (tree !== undefined) descendants.signalTree(tree, "SIGKILL", adopt())
      })
      yield* Effect.addFinalizer(() => Effect.promise(guarding.close))
      yield* Effect.addFinalizer(() =>
        Effect.suspend(() => {
          const seen = tracking?.close() ?? new Map()
          const tree = { group: 0, marker: unique, seen, ended: true }
          return seen.size === 0 ? Effect.void : stopper.endTree(tree, {})
        })
      )
      yield* Effect.addFinalizer(() => Effect.sync(queue.close))

      const launch = (
        fiber: Fiber.RuntimeFiber<unknown, unknown>,
        command: Command.StandardCommand,
        { onOutput, onStarted, ...stop }: StartOptions
      ): Child.Child => {
        const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
        const runtime = Runtime.make({
          context: fiber.currentContext,
          fiberRefs: refsOf(fiber),
          runtimeFlags: Runtime.defaultRuntimeFlags
        })
        const fork = Runtime.runFork(runtime)
        const marker = guardian.markerOf(unique, ++count, {
          signal: stop.stopSignal ?? "SIGTERM",
          grace: Duration.toMillis(stop.grace ?? grace)
        })
        const request = requestOf(command, descendants.variable, outer + marker)
        const { stdin } = command
        const startedAs = ({ pid, ...streams }: Backend.Spawned) => {
          const tree: descendants.Tree = {
            group: pid,
            marker,
            seen: new Map(),
            ended: false,
            onStray: (pid, start) => guarding.stray(tree, pid, start)
          }
          child.tree = tree
          children.add(child)
          tracking!.add(tree)
          guarding.add(tree)
          for (const stream of ["stdout", "stderr"] as const) {
            const from = streams[stream]
            if (from === undefined) continue
            child.open++
            child.streams.push(from)
            const take = (bytes: Uint8Array) => Child.take(child, from, () => onOutput?.(stream, bytes), fork)
            pipes.drain(from, take, () => Child.closed(child))
          }
          if (streams.stdin !== undefined) {
            child.streams.push(streams.stdin)
            streams.stdin.on("error", () => undefined) // a child that closes its stdin early, or is gone
            if (typeof stdin !== "string") {
              child.feeding = fork(Child.feed(child, commandLine(command), streams.stdin, stdin))
            }
          }
          onStarted?.(pid)
          Deferred.unsafeDone(child.started, Effect.void)
          queue.succeeded()
        }
        const failed = (code: string, message: string) => {
          if (queue.failed(child, code)) return
          Child.settle(child, Effect.fail(startError(command, code, message)))
        }
        const exited = (how: Backend.Ended | undefined) => {
          child.alone = tracking!.ended(child.tree!)
          Child.ended(child, how, () => commandLine(command))
        }
        const attempt = (step: () => void) => () => {
          try {
            step()
          } catch (error) {
            const { code, message } = error as NodeJS.ErrnoException
            failed(code ?? "", message)
          }
        }
        const spawn = attempt(() => {
          begin()
          guarding.begin(attempt(() => backend!.spawn(request, { started: startedAs, failed, exited })))
        })
        const begun = clock.unsafeCurrentTimeNanos()
        const child = Child.make(spawn, () => clock.unsafeCurrentTimeNanos() - begun)
        queue.add(child)
        return child
      }

      const start: Processes["Type"]["start"] = (command, startOptions = {}) =>
        Effect.gen(function* () {
          checkOptions(startOptions, { grace: time })
          const simple = supported(command)
          if (simple._tag === "CommandNotStarted") return yield* simple
          // Interruptible while it waits for the process, which may have to wait for descriptors.
          const child = yield* Effect.uninterruptibleMask((restore) =>
            Effect.withFiberRuntime<Child.Child, ProcessError, Scope.Scope>((fiber) => {
              const child = launch(fiber, simple, startOptions)
              return Effect.zipRight(
                Effect.addFinalizer(() => release(child, startOptions)),
                Effect.as(restore(Deferred.await(child.started)), child)
              )
            })
          )
          const tree = child.tree!
          return {
            pid: tree.group,
            command: commandLine(command),
            exit:
              startOptions.until === "leader"
                ? stopper.untilLeader(child, startOptions)
                : Deferred.await(child.exit),
            signal: (name) => Effect.sync(() => descendants.signalTree(tree, name, adopt())),
            stop: (grace = startOptions.grace) =>
              Effect.suspend(() => stopper.endTree(tree, { ...startOptions, grace })),
            usage: Effect.sync(() => {
              const used = descendants.usageOf(tree)
              return Option.map(Child.usageOf(used), (usage) => ({ ...usage, memory: used!.memory }))
            }),
            listens: (port) => Effect.sync(() => Option.fromNullable(listening.listens(tree, port, adopt())))
          }
        })

      // Does not use `start`: for a small job the steps of a scope cost as much as its process.
      const run: Processes["Type"]["run"] = (command, options = {}) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.withFiberRuntime<Result, ProcessError>((fiber) => {
            const simple = supported(command)
            if (simple._tag === "CommandNotStarted") return simple
            const { limit, onOutput, result } = capture.make(command, options)
            const child = launch(fiber, simple, { ...options, onOutput: options.onOutput ?? onOutput })
            const released = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> => {
              if (!Child.isOver(child)) return Effect.ensuring(effect, release(child, options))
              forget(child)
              return effect
            }
            return Effect.matchCauseEffect(restore(limit(Deferred.await(child.exit))), {
              onFailure: (cause) => released(Effect.failCause(cause)),
              onSuccess: (ended) => released(result(ended))
            })
          })
        )

      if (options.ahead === true) {
        begin()
        guarding.begin()
      }
      return { run, start }
    })
  )

/**
 * Runs processes of this machine. POSIX only: Windows has no process groups.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Processes> = layerWith({})
