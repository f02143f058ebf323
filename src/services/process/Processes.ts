import { closeSync, openSync } from "node:fs"
import type { Readable, Writable } from "node:stream"
import type * as Command from "@effect/platform/Command"
import { Clock, Context, Duration, Effect, Fiber, Layer, Option, Runtime, type Scope, Stream } from "effect"
import { refsOf } from "../task/internal/fiberRuntime.js"
import { checkedDuration, checkOptions, time } from "../text/Numbers.js"
import { commandLine } from "./CommandText.js"
import type * as Backend from "./internal/backend.js"
import * as capture from "./internal/capture.js"
import * as descendants from "./internal/descendants.js"
import * as guardian from "./internal/guardian.js"
import * as libc from "./internal/libc.js"
import * as nodeSpawn from "./internal/nodeSpawn.js"
import * as pipes from "./internal/pipes.js"
import * as posixSpawn from "./internal/posixSpawn.js"
import { cwdOf, startError, supported } from "./internal/startErrors.js"
import { graceDefault, reporting } from "./internal/stopping.js"
import * as tracker from "./internal/tracker.js"
import { CommandLost, InputFailed, type ProcessError } from "./ProcessError.js"
import { type Exited, exitCodeOf, type Result, type Usage } from "./ProcessOutcome.js"

// The model of a child process, the service that runs them, and its live layer. The layer is one state machine over
// `Child`: its next step depends on the tree, the end, the outcome and the fibers that still take output. So it stays
// whole, and this file is longer than others.

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

// make

/** How long a release waits, in milliseconds, for pipes to close when no process is left to write. */
const lastWords = 500
/** How long the tree of a first process that has ended may still write, in milliseconds, with `until: "leader"`. */
const wordsAfterLeader = 200

/** A child of the live layer. */
interface Child {
  tree: descendants.Tree | undefined
  readonly exited: (ended: Backend.Ended) => Exited
  /** How its first process has ended. */
  ended: Backend.Ended | undefined
  /** Whether it is known that no process of its tree is left. */
  alone: boolean
  /** Set once: its end, or its error. */
  outcome: Effect.Effect<Exited, ProcessError> | undefined
  onStarted: (() => void) | undefined
  readonly onEnded: Set<() => void>
  readonly onOutcome: Set<() => void>
  feeding: Fiber.RuntimeFiber<void> | undefined
  /** The fibers of `onOutput` that still take output. */
  readonly taking: Set<Fiber.RuntimeFiber<void>>
  /** This process's ends of its pipes. */
  readonly streams: Array<Readable | Writable>
  readonly spawn: () => void
  /** It is not to be started again. */
  withdrawn: boolean
}

const settle = (child: Child, outcome: Effect.Effect<Exited, ProcessError>) => {
  child.outcome ??= outcome
  child.onStarted?.()
  for (const listener of child.onOutcome) listener()
}

/** With `once`, interruption does not unregister: a stale callback is harmless and cheaper than a finalizer. */
const outcomeOf = (child: Child, once = false): Effect.Effect<Exited, ProcessError> =>
  Effect.async((resume) => {
    const listener = () => resume(child.outcome!)
    if (child.outcome !== undefined) return listener()
    child.onOutcome.add(listener)
    return once ? undefined : Effect.sync(() => child.onOutcome.delete(listener))
  })

/** Sleeps by the machine's clock. */
const pause = (ms: number) =>
  Effect.async<void>((resume) => {
    const timer = setTimeout(() => resume(Effect.void), ms)
    return Effect.sync(() => clearTimeout(timer))
  })

/** Waits at most `ms` milliseconds by the machine's clock: processes are real whatever clock the program runs on. */
const within = (ms: number, effect: Effect.Effect<unknown, unknown>): Effect.Effect<void> =>
  Effect.raceFirst(Effect.interruptible(Effect.exit(effect)), Effect.interruptible(pause(ms))).pipe(
    Effect.asVoid
  )

const feed = (child: Child, command: string, stdin: Writable, input: Stream.Stream<Uint8Array, unknown>) =>
  // A write fails once the child has closed its stdin, which ends the input.
  Stream.runForEachWhile(input, (bytes) =>
    Effect.async<boolean>((resume) => {
      stdin.write(bytes, (error) => resume(Effect.succeed(error == null)))
    })
  ).pipe(
    Effect.matchCause({
      onSuccess: () => stdin.end(),
      onFailure: (cause) => settle(child, Effect.fail(new InputFailed({ command, cause })))
    })
  )

const usageOf = (used: Backend.Usage | undefined): Option.Option<Usage> =>
  Option.map(Option.fromNullable(used), ({ peakMemory, system, user }) => ({
    user: Duration.millis(user),
    system: Duration.millis(system),
    peakMemory
  }))

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

/** Descriptors that a start takes, and some for what it reads of /proc. */
const reserved = 8

/** Codes of a start that the end of another process may make possible. */
const full = ["EAGAIN", "EMFILE", "ENFILE"]

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
      const layerGrace = checkedDuration("grace", options.grace ?? graceDefault)
      const unique = guardian.prefix()
      const library = () => (options.backend === "node" ? undefined : libc.load())
      let backend: Backend.Backend | undefined
      let tracking: tracker.Tracker | undefined
      const guarding = guardian.make(() => backend!, unique)
      const begin = () => {
        if (backend === undefined) {
          const loaded = library()
          if (options.backend === "posix_spawn" && loaded === undefined) {
            throw new Error("the package koffi has no binary for this system")
          }
          backend = loaded === undefined ? nodeSpawn.backend : posixSpawn.make(loaded)
          keepReserve()
          tracking = tracker.make(options.adoptOrphans === true ? loaded : undefined, () => starting > 0)
        }
      }
      const complete = () => tracking?.complete === true

      const children = new Set<Child>()
      // When this process ends without its finalizers (a second signal, process.exit), nothing else ends them at once.
      const killAll = () => {
        for (const { tree } of children)
          if (tree !== undefined) descendants.signalTree(tree, "SIGKILL", complete())
      }
      process.on("exit", killAll)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.off("exit", killAll)))
      yield* Effect.addFinalizer(() => Effect.promise(guarding.close))
      yield* Effect.addFinalizer(() =>
        Effect.suspend(() => {
          const strays = tracking?.close() ?? new Map()
          const tree = { group: 0, marker: unique, seen: new Map(strays), ended: true }
          return strays.size === 0 ? Effect.void : endTree(tree, {})
        })
      )
      // Starts wait for each other, one in a turn, so that many at once do not hold up everything else; and for the end
      // of a process where descriptors or processes are short.
      const waiting: Array<Child> = []
      let starting = 0
      let turning = false
      let short = false
      const next = () => {
        if (turning || short) return
        const child = waiting.shift()
        if (child === undefined) return
        turning = true
        setImmediate(() => {
          turning = false
          next()
        })
        child.spawn()
      }
      // Descriptors in reserve, so that one process can start where the rest of the program has taken all others.
      const reserve: Array<number> = []
      const keepReserve = () => {
        try {
          while (reserve.length < reserved) reserve.push(openSync("/dev/null", "r"))
        } catch {
          // the next process that ends frees some
        }
      }
      const dropReserve = () => {
        for (const fd of reserve.splice(0)) closeSync(fd)
      }
      yield* Effect.addFinalizer(() => Effect.sync(dropReserve))

      /** A start has succeeded, or a process has ended: descriptors are free. */
      const freed = () => {
        keepReserve()
        short = false
        next()
      }

      const outer = process.env[descendants.variable] ?? ""
      let count = 0

      const launch = (
        fiber: Fiber.RuntimeFiber<unknown, unknown>,
        command: Command.StandardCommand,
        startOptions: StartOptions
      ): Child => {
        const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
        const context = fiber.currentContext
        const fiberRefs = refsOf(fiber)
        const { grace = layerGrace, stopSignal: signal = "SIGTERM" } = startOptions
        const marker = guardian.markerOf(unique, ++count, { signal, grace: Duration.toMillis(grace) })
        const env: Record<string, string> = {}
        for (const [name, value] of command.env) env[name] = value
        env[descendants.variable] = outer + marker
        const begun = clock.unsafeCurrentTimeNanos()
        const fork = (effect: Effect.Effect<void>) =>
          Runtime.runFork(
            Runtime.make({ context, fiberRefs, runtimeFlags: Runtime.defaultRuntimeFlags }),
            effect
          )
        const { command: file, args, stdin } = command
        const inShell = command.shell !== false
        const request: Backend.Request = {
          file: inShell ? (typeof command.shell === "string" ? command.shell : "/bin/sh") : file,
          args: inShell ? ["-c", [file, ...args].join(" ")] : args,
          cwd: cwdOf(command),
          env,
          extendEnv: command.extendEnv,
          uid: Option.getOrUndefined(command.uid),
          gid: Option.getOrUndefined(command.gid),
          stdin: typeof stdin !== "string" ? "pipe" : stdin === "inherit" ? "inherit" : "ignore",
          stdout: command.stdout as "pipe" | "inherit",
          stderr: command.stderr as "pipe" | "inherit"
        }
        const take = (stream: "stdout" | "stderr", chunk: Uint8Array, from: Readable) => {
          if (child.outcome !== undefined) return
          let wait: Effect.Effect<void, ProcessError> | undefined
          try {
            wait = startOptions.onOutput?.(stream, chunk)
          } catch (error) {
            wait = Effect.die(error)
          }
          if (wait === undefined) return
          from.pause()
          const fiber = fork(
            Effect.matchCause(wait, {
              onSuccess: () => void from.resume(),
              onFailure: (cause) => settle(child, Effect.failCause(cause))
            })
          )
          child.taking.add(fiber)
          fiber.addObserver(() => void child.taking.delete(fiber))
        }
        let open = 1 // its first process and its pipes
        const closed = () => {
          if (--open === 0) settle(child, Effect.succeed(child.exited(child.ended!)))
        }
        const listener: Backend.Listener = {
          started: ({ pid, ...streams }) => {
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
              open++
              child.streams.push(from)
              pipes.drain(from, (chunk) => take(stream, chunk, from), closed)
            }
            if (streams.stdin !== undefined) {
              child.streams.push(streams.stdin)
              streams.stdin.on("error", () => undefined) // a child that closes its stdin early, or is gone
              if (typeof stdin !== "string") {
                child.feeding = fork(feed(child, commandLine(command), streams.stdin, stdin))
              }
            }
            startOptions.onStarted?.(pid)
            child.onStarted?.()
            starting--
            freed()
          },
          failed: (code, message) => {
            starting--
            const lacking = full.includes(code) && !child.withdrawn
            if (lacking && children.size + starting === 0 && reserve.length > 0) {
              dropReserve()
              child.spawn()
              return
            }
            short = children.size + starting > 0 && full.includes(code)
            if (short && lacking) waiting.unshift(child)
            else settle(child, Effect.fail(startError(command, code, message)))
            next()
          },
          exited: (ended) => {
            child.alone = tracking!.ended(child.tree!)
            child.ended = ended ?? { code: 0, signal: null, usage: undefined }
            if (ended === undefined) {
              const detail = "another part of this program has reaped it"
              settle(child, Effect.fail(new CommandLost({ command: commandLine(command), detail })))
            }
            for (const listener of child.onEnded) listener()
            closed()
          }
        }
        const child: Child = {
          tree: undefined,
          exited: ({ code, signal, usage }) => ({
            exitCode: exitCodeOf(code, signal),
            signal: signal ?? undefined,
            duration: Duration.nanos(clock.unsafeCurrentTimeNanos() - begun),
            usage: usageOf(usage)
          }),
          ended: undefined,
          alone: false,
          outcome: undefined,
          onStarted: undefined,
          onEnded: new Set(),
          onOutcome: new Set(),
          feeding: undefined,
          taking: new Set(),
          streams: [],
          withdrawn: false,
          spawn: () => {
            starting++
            const refuse = (error: unknown) => {
              starting--
              const { code, message } = error as NodeJS.ErrnoException
              settle(child, Effect.fail(startError(command, code ?? "", message)))
            }
            try {
              begin()
              guarding.begin(() => {
                try {
                  backend!.spawn(request, listener)
                } catch (error) {
                  refuse(error)
                }
              })
            } catch (error) {
              refuse(error)
            }
          }
        }
        waiting.push(child)
        next()
        return child
      }

      /** Waits until there is a process; fails if there is none. */
      const started = (child: Child) =>
        Effect.async<Child, ProcessError>((resume) => {
          child.onStarted = () => {
            child.onStarted = undefined
            resume(child.tree === undefined ? Effect.as(child.outcome!, child) : Effect.succeed(child))
          }
          if (child.tree !== undefined || child.outcome !== undefined) child.onStarted()
        })

      /** Takes a start back that waits. */
      const withdraw = (child: Child) => {
        child.withdrawn = true
        const at = waiting.indexOf(child)
        if (at < 0) return
        waiting.splice(at, 1)
        settle(child, Effect.interrupt)
      }

      /** Whether it is finished: it has ended, left no process behind, and all its output is taken. */
      const isOver = (child: Child) =>
        child.alone && child.outcome !== undefined && child.taking.size === 0 && child.feeding === undefined

      const forget = (child: Child) => {
        if (!children.delete(child)) return
        for (const stream of child.streams) stream.destroy()
        tracking!.remove(child.tree!)
        guarding.remove(child.tree!)
        freed()
      }

      const endTree = (
        tree: descendants.Tree,
        { grace = layerGrace, onLingering, stopSignal: signal = "SIGTERM" }: StartOptions
      ) =>
        reporting(
          tree.group,
          { grace, onLingering },
          pause,
          Effect.async<void>((resume) => {
            const how = { signal, grace: Duration.toMillis(grace), complete: complete() }
            return Effect.sync(descendants.end(tree, how, () => resume(Effect.void)))
          })
        )

      /** Ends what is left of the tree, and takes its output to the last byte. */
      const finish = (child: Child, options: StartOptions) =>
        Effect.gen(function* () {
          if (!child.alone) yield* endTree(child.tree!, options)
          child.alone = true
          // An unreachable process may hold the pipes for ever.
          if (child.outcome === undefined) yield* within(lastWords, outcomeOf(child))
          forget(child)
          const killed = { code: null, signal: "SIGKILL", usage: undefined } as const
          if (child.outcome === undefined) settle(child, Effect.succeed(child.exited(child.ended ?? killed)))
        })

      const release = (child: Child, options: StartOptions) =>
        Effect.gen(function* () {
          const { grace = layerGrace } = options
          if (isOver(child)) return forget(child)
          if (child.tree === undefined && child.outcome === undefined) {
            withdraw(child)
            yield* Effect.exit(started(child))
          }
          if (child.feeding !== undefined) yield* Fiber.interrupt(child.feeding)
          if (child.tree === undefined) return
          yield* finish(child, options)
          if (child.taking.size > 0) yield* within(Duration.toMillis(grace), Fiber.awaitAll(child.taking))
          yield* Fiber.interruptAll(child.taking)
        })

      /** Waits for the first process of the tree, then for the end of the rest. */
      const untilLeader = (child: Child, options: StartOptions) => {
        const leader = Effect.async<void>((resume) => {
          const listener = () => resume(Effect.void)
          if (child.ended !== undefined || child.outcome !== undefined) return listener()
          child.onEnded.add(listener)
          child.onOutcome.add(listener)
          return Effect.sync(() => {
            child.onEnded.delete(listener)
            child.onOutcome.delete(listener)
          })
        })
        return Effect.gen(function* () {
          yield* leader
          if (child.outcome === undefined) yield* within(wordsAfterLeader, outcomeOf(child))
          if (child.outcome === undefined) yield* finish(child, options)
          return yield* child.outcome!
        })
      }

      const start: Processes["Type"]["start"] = (command, startOptions = {}) =>
        Effect.gen(function* () {
          checkOptions(startOptions, { grace: time })
          const simple = supported(command)
          if (simple._tag === "CommandNotStarted") return yield* simple
          // Interruptible while it waits for the process, which may have to wait for descriptors.
          const child = yield* Effect.uninterruptibleMask((restore) =>
            Effect.withFiberRuntime<Child, ProcessError, Scope.Scope>((fiber) => {
              const child = launch(fiber, simple, startOptions)
              return Effect.zipRight(
                Effect.addFinalizer(() => release(child, startOptions)),
                restore(started(child))
              )
            })
          )
          const tree = child.tree!
          return {
            pid: tree.group,
            command: commandLine(command),
            exit: startOptions.until === "leader" ? untilLeader(child, startOptions) : outcomeOf(child),
            signal: (name) => Effect.sync(() => descendants.signalTree(tree, name, complete())),
            stop: (grace = startOptions.grace) =>
              Effect.suspend(() => endTree(tree, { ...startOptions, grace })),
            usage: Effect.sync(() => {
              const used = descendants.usageOf(tree)
              return Option.map(usageOf(used), (usage) => ({ ...usage, memory: used!.memory }))
            })
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
              if (!isOver(child)) return Effect.ensuring(effect, release(child, options))
              forget(child)
              return effect
            }
            return Effect.matchCauseEffect(restore(limit(outcomeOf(child, true))), {
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
