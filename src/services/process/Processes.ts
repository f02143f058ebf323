import { existsSync, statSync } from "node:fs"
import { constants } from "node:os"
import { resolve } from "node:path"
import * as Command from "@effect/platform/Command"
import {
  type Cause,
  Clock,
  Context,
  Data,
  Deferred,
  Duration,
  Effect,
  Fiber,
  Layer,
  Option,
  Runtime,
  type Scope,
  Stream
} from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Causes from "../task/Causes.js"
import { nextTurn } from "../task/EventLoop.js"
import { refsOf } from "../task/internal/fiberRuntime.js"
import { anyCount, checkedDuration, checkOptions, time } from "../text/Numbers.js"
import * as ShellWords from "../text/ShellWords.js"
import { formatGiven, formatSize } from "../text/Units.js"
import * as direct from "./internal/direct.js"
import * as forkServer from "./internal/forkServer.js"
import * as processTree from "./internal/processTree.js"
import * as spawner from "./internal/spawner.js"

// model

/** What a process and the children that it waited for have used. */
export interface Usage {
  /** Processor time. */
  readonly user: Duration.Duration
  readonly system: Duration.Duration
  /** Most memory of one of them at any time, in bytes. */
  readonly peakMemory: number
}

/** How a process ended. */
export interface Exited {
  /** Its exit code; 128 plus the signal's number when a signal ended it, as shells report it. */
  readonly exitCode: number
  readonly signal: NodeJS.Signals | undefined
  /** From its start until it had ended and both pipes were closed, by the monotonic clock. */
  readonly duration: Duration.Duration
  /** Where the platform tells: Linux on x64 and arm64, with Perl. */
  readonly usage: Option.Option<Usage>
}

/** How a process ended and what it wrote. */
export interface Result extends Exited {
  /** What it wrote, byte for byte; empty where the stream was inherited. */
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  /** Whether it wrote more than is here; only with `onTooLarge: "truncate"`. */
  readonly truncated: boolean
}

/** How a process is ended. */
export interface StopOptions {
  /** The signal that asks it to end; default `"SIGTERM"`. */
  readonly stopSignal?: NodeJS.Signals | undefined
  /** How long it then has until it is made to (KILL); default 5 seconds. */
  readonly grace?: Duration.DurationInput | undefined
}

/** Settings of {@link start}. */
export interface StartOptions extends StopOptions {
  /** Is told the pid once there is a process. */
  readonly onStarted?: ((pid: number) => void) | undefined
  /**
   * Is given what it writes, as it comes. An effect in return holds the pipe, and in time the process, until it has
   * ended; where that fails, so does `exit`; what it throws is a defect of `exit`. Without it what is written is read
   * and dropped. What is inherited does not come here.
   */
  readonly onOutput?:
    | ((stream: "stdout" | "stderr", bytes: Uint8Array) => Effect.Effect<void, ProcessError> | undefined)
    | undefined
  /**
   * Is told when it has been asked to end and somebody of it is still there a second later; `left` milliseconds then
   * remain until KILL. Default: nobody is told.
   */
  readonly onLingering?: ((left: number, pid: number) => Effect.Effect<void>) | undefined
}

/** Settings of {@link run}. */
export interface RunOptions extends StopOptions {
  /** How many bytes each of stdout and stderr may hold; default 8 MiB. */
  readonly maxOutput?: number | undefined
  /** What more than that does: `OutputTooLarge`, or the rest is dropped and `truncated` set; default `"fail"`. */
  readonly onTooLarge?: "fail" | "truncate" | undefined
  /** How long it may run before it is ended and `CommandTimedOut`; default unlimited. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Fail with `CommandFailed` unless the exit code is 0; default false, as in asyncio. */
  readonly check?: boolean | undefined
  /** As in {@link StartOptions}. */
  readonly onStarted?: StartOptions["onStarted"]
  /** As in {@link StartOptions}: what is taken so is not kept, and `stdout` and `stderr` are empty in the result. */
  readonly onOutput?: StartOptions["onOutput"]
  /** As in {@link StartOptions}. */
  readonly onLingering?: StartOptions["onLingering"]
}

/** A process that has been started. */
export interface Process {
  readonly pid: number
  /** Its command line, quoted. */
  readonly command: string
  /** Waits until it has ended and both of its pipes are closed. */
  readonly exit: Effect.Effect<Exited, ProcessError>
  /** Signals its whole tree; false when nobody is left. */
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<boolean>
  /** The stop signal to its tree, the grace period, KILL; waits until nobody is left. Closing its scope does the same. */
  readonly stop: (grace?: Duration.DurationInput) => Effect.Effect<void>
  /** What its group uses by now; `memory` (bytes) at this moment. None where the platform does not tell. */
  readonly usage: Effect.Effect<Option.Option<Usage & { readonly memory: number }>>
}

const maxOutputDefault = 8 * 1024 * 1024
const graceDefault = "5 seconds"
const nothing = new Uint8Array(0)
/** How long who was asked to end may take, in milliseconds, until it is told. */
const lingers = 1000
/** How long we wait, in milliseconds, for pipes to close when nobody is left who could write. */
const lastWords = 500

/** A command as a person would type it: words that a POSIX shell would take apart are quoted. */
export const commandLine = (command: Command.Command): string => {
  if (command._tag === "PipedCommand") return `${commandLine(command.left)} | ${commandLine(command.right)}`
  return [command.command, ...command.args].map(ShellWords.quote).join(" ")
}

/** In words: `exit code 3`, `ended by SIGTERM`. */
export const howEnded = ({ exitCode, signal }: Pick<Exited, "exitCode" | "signal">): string =>
  signal === undefined ? `exit code ${exitCode}` : `ended by ${signal}`

/** A command as a person wrote it: what a shell is to read is itself. */
export const commandText = (command: Command.Command): string =>
  command._tag === "StandardCommand" && command.command === "/bin/sh" && command.args[0] === "-c"
    ? command.args.slice(1).join(" ")
    : commandLine(command)

/** The program that a command starts, the first one's of a pipeline. */
export const programOf = (command: Command.Command): string =>
  command._tag === "PipedCommand" ? programOf(command.left) : command.command

// errors

/** There is no such program. */
export class CommandNotFound extends Data.TaggedError("CommandNotFound")<{ readonly command: string }> {
  readonly exitCode = codes.notFound
  override get message() {
    return `cannot run ${this.command}: command not found`
  }
}

/** The program is there and cannot be run: no permission, no program, its interpreter is missing. */
export class CommandNotExecutable extends Data.TaggedError("CommandNotExecutable")<{
  readonly command: string
  readonly detail: string
}> {
  readonly exitCode = codes.cannotRun
  override get message() {
    return `cannot run ${this.command}: ${this.detail}`
  }
}

/** No process could be made of this command here: its folder does not exist, its arguments are too long, … */
export class CommandNotStarted extends Data.TaggedError("CommandNotStarted")<{
  readonly command: string
  readonly detail: string
}> {
  readonly exitCode = codes.cannotRun
  override get message() {
    return `cannot start ${this.command}: ${this.detail}`
  }
}

/** It was running when the helper that had started it was killed; it is ended, and how it would have is not known. */
export class CommandLost extends Data.TaggedError("CommandLost")<{
  readonly command: string
  readonly detail: string
}> {
  override get message() {
    return `${this.command} was lost: ${this.detail}`
  }
}

/** It ended with an exit code other than 0, or by a signal, and `check` was asked for. */
export class CommandFailed extends Data.TaggedError("CommandFailed")<{
  readonly command: string
  readonly result: Result
}> {
  override get message() {
    const last = new TextDecoder().decode(this.result.stderr.subarray(-1000)).trimEnd().split("\n").at(-1)
    return `${this.command} failed: ${howEnded(this.result)}${last ? `: ${last}` : ""}`
  }
}

/** It wrote more than is captured; it was cancelled for that. */
export class OutputTooLarge extends Data.TaggedError("OutputTooLarge")<{
  readonly command: string
  readonly stream: "stdout" | "stderr"
  /** In bytes. */
  readonly limit: number
}> {
  override get message() {
    return `${this.command} wrote more than ${formatSize(this.limit)} to ${this.stream}; allow more or let it write to a file`
  }
}

/** It ran longer than it may; it was cancelled for that. */
export class CommandTimedOut extends Data.TaggedError("CommandTimedOut")<{
  readonly command: string
  readonly after: Duration.Duration
}> {
  readonly exitCode = codes.timedOut
  override get message() {
    return `${this.command} was not done in ${formatGiven(this.after)}`
  }
}

/** The stream that feeds its stdin failed; it was cancelled for that. */
export class InputFailed extends Data.TaggedError("InputFailed")<{
  readonly command: string
  readonly cause: Cause.Cause<unknown>
}> {
  override get message() {
    return `the input of ${this.command} failed: ${Causes.headline(this.cause)}`
  }
}

export type ProcessError =
  | CommandNotFound
  | CommandNotExecutable
  | CommandNotStarted
  | CommandLost
  | CommandFailed
  | CommandTimedOut
  | OutputTooLarge
  | InputFailed

// tag

/** Runs the commands that programs describe with `@effect/platform/Command`. */
export class Processes extends Context.Tag("effect-asyncio/services/Processes")<
  Processes,
  {
    /**
     * Runs the command as a process group of its own and ends when it has ended and both of its pipes are closed
     * (asyncio: `create_subprocess_exec` and `communicate`). Nobody whom it has started is left then, however this
     * ends: who is still there, in its group or out of it (`setsid`), gets the stop signal, and KILL after
     * the grace period.
     *
     * There is no shell unless the command asks for one (`Command.runInShell`, {@link shell}). Its stdin is empty
     * unless the command feeds or inherits one. Pipelines and outputs into a `Sink` are for services/CommandExecutor:
     * `CommandNotStarted`.
     */
    readonly run: (command: Command.Command, options?: RunOptions) => Effect.Effect<Result, ProcessError>
    /**
     * Starts the command in the current scope, in the same manner, and gives it while it runs. Closing the scope ends
     * it and everyone whom it has started.
     */
    readonly start: (
      command: Command.Command,
      options?: StartOptions
    ) => Effect.Effect<Process, ProcessError, Scope.Scope>
  }
>() {}

/**
 * Runs a command to its end and gives what it wrote; see the service's own `run`.
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
 */
export const start = (
  command: Command.Command,
  options?: StartOptions
): Effect.Effect<Process, ProcessError, Processes | Scope.Scope> =>
  Effect.flatMap(Processes, (processes) => processes.start(command, options))

/** One string as the command of a POSIX shell. */
export const shell = (text: string): Command.Command => Command.make("/bin/sh", "-c", text)

// make

const exitCodeOf = (code: number | null, signal: NodeJS.Signals | null): number =>
  code ?? 128 + constants.signals[signal!]

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false

const cwdOf = (command: Command.StandardCommand) => Option.getOrElse(command.cwd, () => process.cwd())

const spawnError = (
  command: Command.StandardCommand,
  code: string,
  message: string
): CommandNotFound | CommandNotExecutable | CommandNotStarted | CommandLost => {
  const line = commandLine(command)
  if (code === spawner.lost) return new CommandLost({ command: line, detail: message })
  const cwd = cwdOf(command)
  // Node says ENOENT of the folder as well, and of the interpreter in a script's first line.
  if (code !== "" && !isFolder(cwd)) {
    return new CommandNotStarted({ command: line, detail: `there is no folder ${cwd}` })
  }
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return command.command.includes("/") && existsSync(resolve(cwd, command.command))
        ? new CommandNotExecutable({
            command: line,
            detail: "the interpreter in its first line does not exist"
          })
        : new CommandNotFound({ command: line })
    case "EACCES":
      return new CommandNotExecutable({ command: line, detail: "permission denied" })
    case "ENOEXEC":
      return new CommandNotExecutable({ command: line, detail: "it is no program of this machine" })
    case "E2BIG":
      return new CommandNotStarted({ command: line, detail: "arguments and environment are too long" })
    default:
      return new CommandNotStarted({ command: line, detail: message })
  }
}

/** The command, unless something is asked of it that cannot be done here. */
const supported = (command: Command.Command): Command.StandardCommand | CommandNotStarted => {
  const refused = (detail: string) => new CommandNotStarted({ command: commandLine(command), detail })
  if (command._tag === "PipedCommand") {
    return refused("pipelines are for services/CommandExecutor; run its parts, or a shell by name")
  }
  if (typeof command.stdout !== "string" || typeof command.stderr !== "string") {
    return refused("output into a Sink is for services/CommandExecutor; it is captured or inherited")
  }
  return command.command.includes("\0") || command.args.some((word) => word.includes("\0"))
    ? refused("its words must be without null bytes")
    : command
}

/** What {@link run} adds to a process: it takes what that writes, within bounds, and judges its end. */
const capture = (command: Command.Command, options: RunOptions) => {
  checkOptions(options, { grace: time, maxOutput: anyCount, timeout: time })
  const { check, grace, maxOutput = maxOutputDefault, onTooLarge = "fail", stopSignal, timeout } = options
  const captured = { stdout: [] as Array<Uint8Array>, stderr: [] as Array<Uint8Array> }
  const sizes = { stdout: 0, stderr: 0 }
  const whole = (chunks: Array<Uint8Array>) =>
    chunks.length === 0 ? nothing : new Uint8Array(Buffer.concat(chunks))
  const startOptions: StartOptions = {
    grace,
    stopSignal,
    onStarted: options.onStarted,
    onLingering: options.onLingering,
    onOutput:
      options.onOutput ??
      ((stream, bytes) => {
        const room = maxOutput - sizes[stream]
        sizes[stream] += bytes.length
        if (bytes.length > room && onTooLarge === "fail") {
          return new OutputTooLarge({ command: commandLine(command), stream, limit: maxOutput })
        }
        if (room > 0) captured[stream].push(bytes.length <= room ? bytes : bytes.subarray(0, room))
        return undefined
      })
  }
  return {
    startOptions,
    /** From the start to the end of it. */
    limit: <A, R>(effect: Effect.Effect<A, ProcessError, R>): Effect.Effect<A, ProcessError, R> =>
      timeout === undefined
        ? effect
        : Effect.timeoutFail(effect, {
            duration: timeout,
            onTimeout: () =>
              new CommandTimedOut({ command: commandLine(command), after: Duration.decode(timeout) })
          }),
    result: (ended: Exited): Effect.Effect<Result, CommandFailed> => {
      const result: Result = {
        exitCode: ended.exitCode,
        signal: ended.signal,
        duration: ended.duration,
        usage: ended.usage,
        stdout: whole(captured.stdout),
        stderr: whole(captured.stderr),
        truncated: Math.max(sizes.stdout, sizes.stderr) > maxOutput
      }
      return check === true && result.exitCode !== 0
        ? new CommandFailed({ command: commandLine(command), result })
        : Effect.succeed(result)
    }
  }
}

/** A child of the live layer. */
interface Child {
  readonly exited: (ended: spawner.Ended) => Exited
  tree: processTree.Tree | undefined
  ended: spawner.Ended | undefined
  /** Set once: how it ended, or what went wrong. */
  outcome: Effect.Effect<Exited, ProcessError> | undefined
  onStarted: (() => void) | undefined
  readonly onOutcome: Set<() => void>
  feeding: Fiber.RuntimeFiber<void> | undefined
  /** Those who take what it has written. */
  readonly taking: Set<Fiber.RuntimeFiber<void>>
  handle: spawner.Handle
}

const settle = (child: Child, outcome: Effect.Effect<Exited, ProcessError>) => {
  child.outcome ??= outcome
  child.onStarted?.()
  for (const listener of child.onOutcome) listener()
}

/** Who waits once need not be forgotten when interrupted: a finalizer costs more than a call that nobody hears. */
const outcomeOf = (child: Child, once = false): Effect.Effect<Exited, ProcessError> =>
  Effect.async((resume) => {
    const listener = () => resume(child.outcome!)
    if (child.outcome !== undefined) return listener()
    child.onOutcome.add(listener)
    return once ? undefined : Effect.sync(() => child.onOutcome.delete(listener))
  })

/** Runs what ends a process, and tells of it when that takes longer than the sleep. */
const telling = (
  pid: number,
  { grace = graceDefault, onLingering }: StartOptions,
  sleep: (ms: number) => Effect.Effect<void>,
  ending: Effect.Effect<void>
): Effect.Effect<void> => {
  const left = Duration.toMillis(checkedDuration("grace", grace)) - lingers
  if (onLingering === undefined || left <= 0) return ending
  const tell = Effect.zipRight(sleep(lingers), onLingering(left, pid))
  return Effect.flatMap(Effect.fork(Effect.interruptible(tell)), (teller) =>
    Effect.zipRight(ending, Fiber.interrupt(teller))
  )
}

/** By the machine's clock. */
const pause = (ms: number) =>
  Effect.async<void>((resume) => {
    const timer = setTimeout(() => resume(Effect.void), ms)
    return Effect.sync(() => clearTimeout(timer))
  })

/** For so many milliseconds at most, by the machine's clock: the processes are real whatever clock the program runs on. */
const within = (ms: number, effect: Effect.Effect<unknown, unknown>): Effect.Effect<void> =>
  Effect.raceFirst(Effect.interruptible(Effect.exit(effect)), Effect.interruptible(pause(ms))).pipe(
    Effect.asVoid
  )

const feed = (
  child: Child,
  command: string,
  stdin: NodeJS.WritableStream,
  input: Stream.Stream<Uint8Array, unknown>
) =>
  // A write fails once the child has closed its stdin: then it has what it wants.
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

const usageOf = (used: spawner.Usage | undefined): Option.Option<Usage> =>
  Option.map(Option.fromNullable(used), ({ peakMemory, system, user }) => ({
    user: Duration.millis(user),
    system: Duration.millis(system),
    peakMemory
  }))

// layers

/** Settings of {@link layerWith}. */
export interface Options {
  /**
   * How processes are made. `"forkServer"` (default): a small helper process forks, which takes a third of the time and
   * knows what each has used; it needs Linux and Perl, else it is `"direct"`: by node:child_process. Either way a helper
   * ends all of them when this process is killed.
   */
  readonly spawner?: "forkServer" | "direct" | undefined
  /** When the fork server is started: with the first process (default), or with the layer, 5 ms sooner. */
  readonly ahead?: boolean | undefined
  /** The grace period of those who are ended because this process is gone; default 5 seconds. */
  readonly grace?: Duration.DurationInput | undefined
}

/** {@link layer} with settings. */
export const layerWith = (options: Options): Layer.Layer<Processes> =>
  Layer.scoped(
    Processes,
    Effect.gen(function* () {
      const children = new Set<Child>()
      // When this process ends without its finalizers (a second signal, process.exit), nobody else ends them at once.
      const killAll = () => {
        for (const { tree } of children) if (tree !== undefined) processTree.signalTree(tree, "SIGKILL")
      }
      process.on("exit", killAll)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.off("exit", killAll)))

      const unique = `${process.pid}-${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}.`
      const grace = Duration.toMillis(checkedDuration("grace", options.grace ?? graceDefault))
      const spawns: Array<spawner.Spawner> = []
      const theSpawner = () => {
        // Somebody may have killed the fork server: whom it had started are lost to it, and the next have another.
        let last = spawns.at(-1)
        if (last?.works() !== true) {
          last =
            (options.spawner === "direct" ? undefined : forkServer.open(grace, unique)) ??
            direct.open(grace, unique)
          spawns.push(last)
        }
        return last
      }
      yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all(spawns.map((one) => one.close()))))
      if (options.ahead === true) theSpawner()

      const outer = process.env[processTree.variable] ?? ""
      let count = 0

      const launch = (
        fiber: Fiber.RuntimeFiber<unknown, unknown>,
        command: Command.StandardCommand,
        startOptions: StartOptions
      ): Child => {
        const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
        const context = fiber.currentContext
        const fiberRefs = refsOf(fiber)
        const marker = `${unique}${++count};`
        const env: Record<string, string> = {}
        for (const [name, value] of command.env) env[name] = value
        env[processTree.variable] = outer + marker
        const begun = clock.unsafeCurrentTimeNanos()
        const exited = ({ code, signal, usage }: spawner.Ended): Exited => ({
          exitCode: exitCodeOf(code, signal),
          signal: signal ?? undefined,
          duration: Duration.nanos(clock.unsafeCurrentTimeNanos() - begun),
          usage: usageOf(usage)
        })
        const child: Child = {
          exited,
          tree: undefined,
          ended: undefined,
          outcome: undefined,
          onStarted: undefined,
          onOutcome: new Set(),
          feeding: undefined,
          taking: new Set(),
          handle: spawner.nothing
        }
        const fork = (effect: Effect.Effect<void>) =>
          Runtime.runFork(
            Runtime.make({ context, fiberRefs, runtimeFlags: Runtime.defaultRuntimeFlags }),
            effect
          )
        const { command: file, args, stdin } = command
        const inShell = command.shell !== false
        try {
          child.handle = theSpawner().spawn(
            {
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
            },
            {
              started: (pid) => {
                child.tree = { group: pid, marker }
                children.add(child)
                startOptions.onStarted?.(pid)
                child.onStarted?.()
              },
              failed: (code, message) => settle(child, Effect.fail(spawnError(command, code, message))),
              input: (pipe) => {
                if (typeof stdin !== "string")
                  child.feeding = fork(feed(child, commandLine(command), pipe, stdin))
              },
              data: (stream, chunk, from) => {
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
              },
              exited: (ended) => {
                child.ended = ended
              },
              closed: () => settle(child, Effect.succeed(exited(child.ended!)))
            }
          )
        } catch (error) {
          const { code, message } = error as NodeJS.ErrnoException
          settle(child, Effect.fail(spawnError(command, code ?? "", message)))
        }
        return child
      }

      /** Waits until there is a process, or fails. */
      const started = (child: Child) =>
        Effect.async<Child, ProcessError>((resume) => {
          child.onStarted = () => {
            child.onStarted = undefined
            resume(child.tree === undefined ? Effect.as(child.outcome!, child) : Effect.succeed(child))
          }
          if (child.tree !== undefined || child.outcome !== undefined) child.onStarted()
        })

      /** Whether it has ended, has left nobody, and all that it has written is taken: then nothing is left to do. */
      const isOver = (child: Child) =>
        child.ended?.alone === true &&
        child.outcome !== undefined &&
        child.taking.size === 0 &&
        child.feeding === undefined

      const forget = (child: Child) => {
        children.delete(child)
        child.handle.close()
      }

      const end = (tree: processTree.Tree, options: StartOptions) =>
        telling(
          tree.group,
          options,
          pause,
          processTree.endTree(tree, options.grace ?? graceDefault, options.stopSignal)
        )

      const release = (child: Child, options: StartOptions) =>
        Effect.gen(function* () {
          const { grace = graceDefault } = options
          if (isOver(child)) return forget(child)
          if (child.tree === undefined && child.outcome === undefined) {
            child.handle.withdraw()
            yield* Effect.exit(started(child))
          }
          if (child.feeding !== undefined) yield* Fiber.interrupt(child.feeding)
          if (child.tree === undefined) return
          if (child.ended?.alone !== true) {
            // Where many are interrupted at once, those that wait for descriptors are withdrawn before this one's are
            // free: the request leaves within one turn.
            yield* Effect.zipRight(nextTurn, nextTurn)
            yield* end(child.tree, options)
          }
          // What it has written to its last moment is taken; but whoever is out of reach may still hold its pipes.
          if (child.outcome === undefined) yield* within(lastWords, outcomeOf(child))
          forget(child)
          const killed = { code: null, signal: "SIGKILL", usage: undefined, alone: true } as const
          if (child.outcome === undefined) settle(child, Effect.succeed(child.exited(child.ended ?? killed)))
          if (child.taking.size > 0) yield* within(Duration.toMillis(grace), Fiber.awaitAll(child.taking))
          yield* Fiber.interruptAll(child.taking)
        })

      const start: Processes["Type"]["start"] = (command, startOptions = {}) =>
        Effect.gen(function* () {
          checkOptions(startOptions, { grace: time })
          const simple = supported(command)
          if (simple._tag === "CommandNotStarted") return yield* simple
          // Interruptible while it waits for the process: there may be no room for it yet.
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
            exit: outcomeOf(child),
            signal: (name) => Effect.sync(() => processTree.signalTree(tree, name)),
            stop: (grace = startOptions.grace) => Effect.suspend(() => end(tree, { ...startOptions, grace })),
            usage: Effect.sync(() => {
              const used = processTree.usageOf(tree)
              return Option.map(usageOf(used), (usage) => ({ ...usage, memory: used!.memory }))
            })
          }
        })

      // Not by `start`: for a small job the steps of a scope cost as much as its process.
      const run: Processes["Type"]["run"] = (command, options = {}) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.withFiberRuntime<Result, ProcessError>((fiber) => {
            const simple = supported(command)
            if (simple._tag === "CommandNotStarted") return simple
            const { limit, result, startOptions } = capture(command, options)
            const child = launch(fiber, simple, startOptions)
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

      return { run, start }
    })
  )

/** The machine's own processes. POSIX only: there are no process groups on Windows. */
export const layer: Layer.Layer<Processes> = layerWith({})

// test layer

/** What {@link layerTest} does when a command is started. */
export interface Script {
  /** The command line: itself, a pattern of it, or a function that knows. The first script that fits is taken. */
  readonly match: string | RegExp | ((line: string) => boolean)
  /** For how many starts it is good, then the next one that fits is taken; default any number. */
  readonly times?: number | undefined
  /** What it writes at its end. */
  readonly stdout?: string | Uint8Array | undefined
  readonly stderr?: string | Uint8Array | undefined
  /** What it writes before, and how long after its start. */
  readonly output?:
    | ReadonlyArray<{
        readonly after: Duration.DurationInput
        readonly stdout?: string | Uint8Array | undefined
        readonly stderr?: string | Uint8Array | undefined
      }>
    | undefined
  /** Default 0. */
  readonly exitCode?: number | undefined
  /** The signal that ends it, instead of an exit code. */
  readonly signal?: NodeJS.Signals | undefined
  /** How long it runs; default no time. */
  readonly after?: Duration.DurationInput | undefined
  /** It ends by KILL only; default false: at once by TERM, and by its stop signal. */
  readonly ignoresTerm?: boolean | undefined
  /** It cannot be started. */
  readonly fails?: "notFound" | "notExecutable" | undefined
}

/** What {@link layerTest} has seen, in order; `at` is the clock's time in milliseconds. */
export interface Event {
  readonly event: "started" | "exited" | NodeJS.Signals
  readonly command: string
  readonly at: number
}

export class Recorded extends Context.Tag("effect-asyncio/services/Processes/Recorded")<
  Recorded,
  { readonly events: Array<Event> }
>() {}

const bytes = (content: string | Uint8Array) =>
  typeof content === "string" ? new TextEncoder().encode(content) : content

/**
 * Scripted processes: no process is started, time is the clock's (`TestClock`). A command without a script is a
 * defect. Read what was started and signalled through {@link Recorded}.
 *
 * @example
 * ```ts
 * import * as Processes from "effect-asyncio/services/Processes"
 *
 * export const layer = Processes.layerTest([
 *   { match: "sleep 1", after: "1 second" },
 *   { match: /^curl /, stderr: "could not resolve host\n", exitCode: 6, times: 2 },
 *   { match: /^curl /, output: [{ after: "100 millis", stdout: "half\n" }], after: "1 second" }
 * ])
 * ```
 */
export const layerTest = (scripts: ReadonlyArray<Script>): Layer.Layer<Processes | Recorded> =>
  Layer.effectContext(
    Effect.sync(() => {
      for (const script of scripts) checkOptions(script, { times: anyCount, after: time })
      const events: Array<Event> = []
      const used = new Map<Script, number>()
      let pids = 0
      const scriptFor = (line: string) => {
        const script = scripts.find(
          (script) =>
            (used.get(script) ?? 0) < (script.times ?? Number.POSITIVE_INFINITY) &&
            (typeof script.match === "string"
              ? script.match === line
              : typeof script.match === "function"
                ? script.match(line)
                : line.search(script.match) >= 0)
        )
        if (script !== undefined) used.set(script, (used.get(script) ?? 0) + 1)
        return script
      }
      const start: Processes["Type"]["start"] = (command, options = {}) =>
        Effect.gen(function* () {
          checkOptions(options, { grace: time })
          const simple = supported(command)
          if (simple._tag === "CommandNotStarted") return yield* simple
          const line = commandLine(command)
          const script = scriptFor(line)
          if (script === undefined) return yield* Effect.dieMessage(`layerTest has no script for: ${line}`)
          if (script.fails === "notFound") return yield* new CommandNotFound({ command: line })
          if (script.fails === "notExecutable") {
            return yield* new CommandNotExecutable({ command: line, detail: "permission denied" })
          }
          const record = (event: Event["event"]) =>
            Effect.map(Clock.currentTimeMillis, (at) => void events.push({ event, command: line, at }))
          const begin = yield* Clock.currentTimeNanos
          const ended = yield* Deferred.make<Exited, ProcessError>()
          const end = (exitCode: number, signal: NodeJS.Signals | undefined) =>
            Effect.flatMap(Clock.currentTimeNanos, (now) =>
              Deferred.succeed(ended, {
                exitCode: signal === undefined ? exitCode : exitCodeOf(null, signal),
                signal,
                duration: Duration.nanos(now - begin),
                usage: Option.none()
              })
            )
          const isOver = Deferred.isDone(ended)
          const write = (from: {
            readonly stdout?: string | Uint8Array | undefined
            readonly stderr?: string | Uint8Array | undefined
          }) =>
            Effect.forEach(
              ["stdout", "stderr"] as const,
              (stream) =>
                (from[stream] === undefined ? undefined : options.onOutput?.(stream, bytes(from[stream]))) ??
                Effect.void,
              { discard: true }
            )
          const after = Duration.decode(script.after ?? Duration.zero)
          const play = Effect.gen(function* () {
            let at = Duration.zero
            for (const step of script.output ?? []) {
              yield* Effect.sleep(Duration.subtract(step.after, at))
              at = Duration.decode(step.after)
              yield* write(step)
            }
            yield* Effect.sleep(Duration.subtract(after, at))
            yield* write(script)
            yield* record("exited")
            yield* end(script.exitCode ?? 0, script.signal)
          }).pipe(Effect.catchAllCause((cause) => Deferred.failCause(ended, cause)))
          yield* record("started")
          const player = yield* Effect.forkScoped(Effect.interruptible(play))
          const { stopSignal = "SIGTERM" } = options
          const signal = (name: NodeJS.Signals) =>
            Effect.gen(function* () {
              if (yield* isOver) return false
              yield* record(name)
              const ends = name === "SIGTERM" || name === stopSignal
              if (name === "SIGKILL" || (ends && script.ignoresTerm !== true)) {
                yield* Fiber.interruptFork(player)
                yield* end(0, name)
              }
              return true
            })
          const pid = ++pids
          const stop = (grace: Duration.DurationInput = options.grace ?? graceDefault) =>
            Effect.gen(function* () {
              if (!(yield* signal(stopSignal))) return
              // Each interruptible, although this is a finalizer, so that the loser does not hold it up.
              yield* Effect.raceFirst(
                Effect.interruptible(Effect.exit(Deferred.await(ended))),
                Effect.interruptible(Effect.sleep(grace))
              )
              if (!(yield* isOver)) yield* signal("SIGKILL")
            }).pipe((ending) =>
              Effect.suspend(() => telling(pid, { ...options, grace }, Effect.sleep, ending))
            )
          yield* Effect.addFinalizer(() => stop())
          options.onStarted?.(pid)
          return {
            pid,
            command: line,
            exit: Deferred.await(ended),
            signal,
            stop,
            usage: Effect.succeedNone
          }
        })
      const run: Processes["Type"]["run"] = (command, options = {}) =>
        Effect.suspend(() => {
          const { limit, result, startOptions } = capture(command, options)
          const exit = Effect.flatMap(start(command, startOptions), (child) => child.exit)
          return Effect.flatMap(Effect.scoped(limit(exit)), result)
        })
      return Context.make(Recorded, { events }).pipe(Context.add(Processes, { run, start }))
    })
  )
