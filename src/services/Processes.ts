import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { constants } from "node:os"
import { resolve } from "node:path"
import type * as Command from "@effect/platform/Command"
import { type Cause, Clock, Context, Data, Duration, Effect, Layer, Option, Stream } from "effect"
import * as Causes from "./Causes.js"
import { codes } from "./Exits.js"
import { formatSize } from "./Units.js"

// model

/** How a process ended and what it wrote. */
export interface Result {
  /** Its exit code; 128 plus the signal's number when a signal ended it, as shells report it. */
  readonly exitCode: number
  readonly signal: NodeJS.Signals | undefined
  /** What it wrote, byte for byte; empty where the stream was inherited. */
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  /** From its start until it had ended and both pipes were closed, by the monotonic clock. */
  readonly duration: Duration.Duration
}

/** Settings of {@link run}. */
export interface RunOptions {
  /** How many bytes each of stdout and stderr may hold; default 8 MiB. */
  readonly maxOutput?: number | undefined
  /** How long a process that was told to end (TERM) has until it is made to (KILL); default 5 seconds. */
  readonly grace?: Duration.DurationInput | undefined
  /** Fail with `CommandFailed` unless the exit code is 0; default false, as in asyncio. */
  readonly check?: boolean | undefined
}

const maxOutputDefault = 8 * 1024 * 1024
const graceDefault = "5 seconds"

/** A command as a person would type it: words that a POSIX shell would take apart are quoted. */
export const commandLine = (command: Command.Command): string => {
  if (command._tag === "PipedCommand") return `${commandLine(command.left)} | ${commandLine(command.right)}`
  return [command.command, ...command.args]
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`))
    .join(" ")
}

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

/** It ended with an exit code other than 0, or by a signal, and `check` was asked for. */
export class CommandFailed extends Data.TaggedError("CommandFailed")<{
  readonly command: string
  readonly result: Result
}> {
  override get message() {
    const { exitCode, signal, stderr } = this.result
    const how = signal === undefined ? `exit code ${exitCode}` : `ended by ${signal}`
    const last = new TextDecoder().decode(stderr.subarray(-1000)).trimEnd().split("\n").at(-1)
    return `${this.command} failed: ${how}${last ? `: ${last}` : ""}`
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
  | CommandFailed
  | OutputTooLarge
  | InputFailed

// tag

/** Runs the commands that programs describe with `@effect/platform/Command`. */
export class Processes extends Context.Tag("effect-asyncio/services/Processes")<
  Processes,
  {
    /**
     * Runs the command as a process group of its own and ends when it has ended and both of its pipes are closed
     * (asyncio: `create_subprocess_exec` and `communicate`). Nothing of the group is left then, however this ends:
     * who is still there gets TERM, and KILL after the grace period. (Processes that have left the group by `setsid`,
     * or that have become another user's, are not of it.)
     *
     * There is no shell unless the command asks for one (`Command.runInShell`). Its stdin is empty unless the
     * command feeds or inherits one. Pipelines and outputs into a `Sink` are not supported yet: `CommandNotStarted`.
     */
    readonly run: (command: Command.Command, options?: RunOptions) => Effect.Effect<Result, ProcessError>
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

// make

const exitCodeOf = (code: number | null, signal: NodeJS.Signals | null): number =>
  code ?? 128 + constants.signals[signal!]

const checked = (command: Command.Command, options: RunOptions | undefined, result: Result) =>
  options?.check === true && result.exitCode !== 0
    ? new CommandFailed({ command: commandLine(command), result })
    : Effect.succeed(result)

// Zombies count as members of their group until somebody reaps them; where process 1 of a container does not, the
// group of an ended process would stand for ever.
const onlyZombies = (group: number): boolean => {
  if (process.platform !== "linux") return false
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue
    try {
      // pid (name) state ppid pgrp …; the name may hold blanks and brackets
      const stat = readFileSync(`/proc/${entry}/stat`, "latin1")
      const [state, , pgrp] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      if (Number(pgrp) === group && state !== "Z" && state !== "X") return false
    } catch {
      // gone meanwhile
    }
  }
  return true
}

/** Signals the whole group. `"denied"`: those who are left run as another user by now and are not ours to signal. */
const signalGroup = (group: number, signal: NodeJS.Signals | 0): "sent" | "gone" | "denied" => {
  try {
    process.kill(-group, signal)
    return "sent"
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? "denied" : "gone"
  }
}

// Polled, because only children tell of their end, and a group has grandchildren in it. Timers of Node's own: the
// process is real whatever clock the program runs on.
const groupGone = (group: number, within: number): Effect.Effect<boolean> =>
  Effect.async((resume) => {
    const deadline = performance.now() + within
    let timer: NodeJS.Timeout | undefined
    const poll = (pause: number) => {
      if (signalGroup(group, 0) !== "sent" || (pause > 8 && onlyZombies(group))) {
        return resume(Effect.succeed(true))
      }
      const left = deadline - performance.now()
      if (left <= 0) return resume(Effect.succeed(false))
      timer = setTimeout(() => poll(Math.min(50, pause * 2)), Math.min(pause, left))
    }
    poll(1)
    return Effect.sync(() => clearTimeout(timer))
  })

const endGroup = (group: number, grace: Duration.DurationInput): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (signalGroup(group, "SIGTERM") === "gone") return
    // What is stopped ends only when it goes on.
    signalGroup(group, "SIGCONT")
    if (yield* groupGone(group, Duration.toMillis(grace))) return
    signalGroup(group, "SIGKILL")
    yield* groupGone(group, Number.POSITIVE_INFINITY)
  })

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false

const spawnError = (
  command: Command.StandardCommand,
  error: NodeJS.ErrnoException
): CommandNotFound | CommandNotExecutable | CommandNotStarted => {
  const line = commandLine(command)
  const cwd = Option.getOrElse(command.cwd, () => process.cwd())
  switch (error.code) {
    case "ENOENT":
    case "ENOTDIR": {
      // Node says so of the folder as well, and of the interpreter in a script's first line.
      if (!isFolder(cwd)) return new CommandNotStarted({ command: line, detail: `there is no folder ${cwd}` })
      return command.command.includes("/") && existsSync(resolve(cwd, command.command))
        ? new CommandNotExecutable({
            command: line,
            detail: "the interpreter in its first line does not exist"
          })
        : new CommandNotFound({ command: line })
    }
    case "EACCES":
      return new CommandNotExecutable({ command: line, detail: "permission denied" })
    case "ENOEXEC":
      return new CommandNotExecutable({ command: line, detail: "it is no program of this machine" })
    case "E2BIG":
      return new CommandNotStarted({ command: line, detail: "arguments and environment are too long" })
    default:
      return new CommandNotStarted({ command: line, detail: error.message })
  }
}

const unsupported = (command: Command.Command): string | undefined => {
  if (command._tag === "PipedCommand") return "pipelines are not supported; run its parts, or a shell by name"
  return typeof command.stdout !== "string" || typeof command.stderr !== "string"
    ? "output into a Sink is not supported; it is captured or inherited"
    : undefined
}

/** What has come through a pipe. */
interface Capture {
  readonly chunks: Array<Buffer>
  size: number
}

type Ended = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

interface Child {
  readonly process: ChildProcess
  readonly stdout: Capture
  readonly stderr: Capture
  /** Set once: how it ended, or what went wrong. */
  outcome: Effect.Effect<Ended, ProcessError> | undefined
  onOutcome: (() => void) | undefined
}

const settle = (child: Child, outcome: Effect.Effect<Ended, ProcessError>) => {
  child.outcome ??= outcome
  child.onOutcome?.()
}

const start = (command: Command.StandardCommand, maxOutput: number): Child => {
  const stdin =
    typeof command.stdin !== "string" ? "pipe" : command.stdin === "inherit" ? "inherit" : "ignore"
  const options: SpawnOptions = {
    detached: true,
    shell: command.shell,
    env: { ...(command.extendEnv ? process.env : {}), ...Object.fromEntries(command.env) },
    stdio: [stdin, command.stdout as "pipe" | "inherit", command.stderr as "pipe" | "inherit"],
    ...Option.match(command.cwd, { onNone: () => ({}), onSome: (cwd) => ({ cwd }) }),
    ...Option.match(command.uid, { onNone: () => ({}), onSome: (uid) => ({ uid }) }),
    ...Option.match(command.gid, { onNone: () => ({}), onSome: (gid) => ({ gid }) })
  }
  const child: Child = {
    process: spawn(command.command, command.args, options),
    stdout: { chunks: [], size: 0 },
    stderr: { chunks: [], size: 0 },
    outcome: undefined,
    onOutcome: undefined
  }
  child.process.once("error", (error) => settle(child, spawnError(command, error)))
  child.process.once("close", (code, signal) => settle(child, Effect.succeed({ code, signal })))
  // A child that closes its stdin early, or is gone, is no error.
  child.process.stdin?.on("error", () => undefined)
  for (const stream of ["stdout", "stderr"] as const) {
    const capture = child[stream]
    child.process[stream]?.on("data", (chunk: Buffer) => {
      capture.size += chunk.length
      if (capture.size <= maxOutput) capture.chunks.push(chunk)
      else settle(child, new OutputTooLarge({ command: commandLine(command), stream, limit: maxOutput }))
    })
  }
  return child
}

const feed = (child: Child, command: string, input: Stream.Stream<Uint8Array, unknown>) => {
  const stdin = child.process.stdin!
  // A write fails once the child has closed its stdin: then it has what it wants.
  return Stream.runForEachWhile(input, (bytes) =>
    Effect.async<boolean>((resume) => {
      stdin.write(bytes, (error) => resume(Effect.succeed(error == null)))
    })
  ).pipe(
    Effect.matchCause({
      onSuccess: () => stdin.end(),
      onFailure: (cause) => settle(child, new InputFailed({ command, cause }))
    })
  )
}

// layers

/** The machine's own processes, by node:child_process. POSIX only: there are no process groups on Windows. */
export const layer: Layer.Layer<Processes> = Layer.scoped(
  Processes,
  Effect.gen(function* () {
    const groups = new Set<number>()
    // When this process ends without its finalizers (a second signal, process.exit), nobody else ends the groups.
    const killAll = () => {
      for (const group of groups) signalGroup(group, "SIGKILL")
    }
    process.on("exit", killAll)
    yield* Effect.addFinalizer(() => Effect.sync(() => process.off("exit", killAll)))

    const release = (child: Child, grace: Duration.DurationInput) =>
      Effect.suspend(() => {
        const { pid, stderr, stdin, stdout } = child.process
        if (pid === undefined) return Effect.void
        return endGroup(pid, grace).pipe(
          Effect.tap(() =>
            Effect.sync(() => {
              groups.delete(pid)
              // Whoever has left the group may still hold the pipes.
              for (const stream of [stdin, stdout, stderr]) stream?.destroy()
            })
          )
        )
      })

    return Processes.of({
      run: (command, options) =>
        Effect.gen(function* () {
          const detail = unsupported(command)
          if (detail !== undefined || command._tag === "PipedCommand") {
            return yield* new CommandNotStarted({ command: commandLine(command), detail: detail! })
          }
          const begin = yield* Clock.currentTimeNanos
          const child = yield* Effect.acquireRelease(
            Effect.try({
              try: () => {
                const child = start(command, options?.maxOutput ?? maxOutputDefault)
                if (child.process.pid !== undefined) groups.add(child.process.pid)
                return child
              },
              catch: (error) => spawnError(command, error as NodeJS.ErrnoException)
            }),
            (child) => release(child, options?.grace ?? graceDefault)
          )
          if (typeof command.stdin !== "string" && child.process.pid !== undefined) {
            yield* Effect.forkScoped(feed(child, commandLine(command), command.stdin))
          }
          const { code, signal } = yield* Effect.async<Ended, ProcessError>((resume) => {
            child.onOutcome = () => resume(child.outcome!)
            if (child.outcome !== undefined) child.onOutcome()
          })
          return {
            exitCode: exitCodeOf(code, signal),
            signal: signal ?? undefined,
            stdout: new Uint8Array(Buffer.concat(child.stdout.chunks)),
            stderr: new Uint8Array(Buffer.concat(child.stderr.chunks)),
            duration: Duration.nanos((yield* Clock.currentTimeNanos) - begin)
          }
        }).pipe(
          Effect.scoped,
          Effect.flatMap((result) => checked(command, options, result))
        )
    })
  })
)

// test layer

/** What {@link layerTest} does when a command is run. */
export interface Script {
  /** The command line: itself, a pattern of it, or a function that knows. The first script that fits is taken. */
  readonly match: string | RegExp | ((line: string) => boolean)
  readonly stdout?: string | Uint8Array | undefined
  readonly stderr?: string | Uint8Array | undefined
  /** Default 0. */
  readonly exitCode?: number | undefined
  /** The signal that ends it, instead of an exit code. */
  readonly signal?: NodeJS.Signals | undefined
  /** How long it runs; default no time. */
  readonly after?: Duration.DurationInput | undefined
  /** It ends by KILL only; default false: at once by TERM. */
  readonly ignoresTerm?: boolean | undefined
  /** It cannot be started. */
  readonly fails?: "notFound" | "notExecutable" | undefined
}

/** What {@link layerTest} has seen, in order; `at` is the clock's time in milliseconds. */
export interface Event {
  readonly event: "started" | "exited" | "SIGTERM" | "SIGKILL"
  readonly command: string
  readonly at: number
}

export class Recorded extends Context.Tag("effect-asyncio/services/Processes/Recorded")<
  Recorded,
  { readonly events: Array<Event> }
>() {}

const bytes = (content: string | Uint8Array = "") =>
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
 *   { match: /^curl /, stderr: "could not resolve host\n", exitCode: 6 }
 * ])
 * ```
 */
export const layerTest = (scripts: ReadonlyArray<Script>): Layer.Layer<Processes | Recorded> =>
  Layer.effectContext(
    Effect.sync(() => {
      const events: Array<Event> = []
      const record = (event: Event["event"], command: string) =>
        Effect.map(Clock.currentTimeMillis, (at) => void events.push({ event, command, at }))
      const processes = Processes.of({
        run: (command, options) =>
          Effect.gen(function* () {
            const line = commandLine(command)
            const detail = unsupported(command)
            if (detail !== undefined) return yield* new CommandNotStarted({ command: line, detail })
            const script = scripts.find(({ match }) =>
              typeof match === "string"
                ? match === line
                : typeof match === "function"
                  ? match(line)
                  : line.search(match) >= 0
            )
            if (script === undefined) return yield* Effect.dieMessage(`layerTest has no script for: ${line}`)
            if (script.fails === "notFound") return yield* new CommandNotFound({ command: line })
            if (script.fails === "notExecutable") {
              return yield* new CommandNotExecutable({ command: line, detail: "permission denied" })
            }
            const limit = options?.maxOutput ?? maxOutputDefault
            const begin = yield* Clock.currentTimeNanos
            const kill = Effect.gen(function* () {
              yield* record("SIGTERM", line)
              if (script.ignoresTerm !== true) return
              const grace = Duration.decode(options?.grace ?? graceDefault)
              const spent = Duration.nanos((yield* Clock.currentTimeNanos) - begin)
              const left = Duration.subtract(script.after ?? Duration.zero, spent)
              yield* Effect.sleep(Duration.min(grace, left))
              yield* record(Duration.lessThan(grace, left) ? "SIGKILL" : "exited", line)
            })
            yield* record("started", line)
            yield* Effect.onInterrupt(Effect.sleep(script.after ?? Duration.zero), () => kill)
            for (const stream of ["stdout", "stderr"] as const) {
              if (bytes(script[stream]).length > limit) {
                yield* kill
                return yield* new OutputTooLarge({ command: line, stream, limit })
              }
            }
            yield* record("exited", line)
            const result: Result = {
              exitCode:
                script.signal === undefined ? (script.exitCode ?? 0) : exitCodeOf(null, script.signal),
              signal: script.signal,
              stdout: bytes(script.stdout),
              stderr: bytes(script.stderr),
              duration: Duration.nanos((yield* Clock.currentTimeNanos) - begin)
            }
            return yield* checked(command, options, result)
          })
      })
      return Context.make(Recorded, { events }).pipe(Context.add(Processes, processes))
    })
  )
