import * as Command from "@effect/platform/Command"
import * as Executor from "@effect/platform/CommandExecutor"
import { type PlatformError, SystemError } from "@effect/platform/Error"
import { Chunk, Effect, Exit, Inspectable, Layer, Mailbox, Option, type Scope, Sink, Stream } from "effect"
import { formatSize } from "../text/Sizes.js"
import type * as ProcessError from "./ProcessError.js"
import * as Processes from "./Processes.js"

/** Most unread bytes of an output that are kept, before its first read and while its reader is slower. */
const keptUnread = 8 * 1024 * 1024
const readAhead = 1024 * 1024

const reasons: Readonly<Record<string, SystemError["reason"]>> = {
  CommandNotFound: "NotFound",
  CommandNotExecutable: "PermissionDenied",
  CommandTimedOut: "TimedOut"
}

const systemError = (reason: SystemError["reason"], method: string, description: string) =>
  new SystemError({ module: "Command", method, reason, description })

const platformError = (error: ProcessError.ProcessError) =>
  systemError(reasons[error._tag] ?? "Unknown", "spawn", error.message)

/** One output of a process. It is always drained, so that a process without a reader never waits. */
const makePipe = (name: string) => {
  let chunks: Array<Uint8Array> = []
  let size = 0
  let state: "unread" | "read" | "dropped" = "unread"
  let lost = false
  let ended = false
  let wakeReader: (() => void) | undefined
  let wakeWriter: (() => void) | undefined
  const room = Effect.async<void>((resume) => {
    wakeWriter = () => resume(Effect.void)
    if (size < readAhead || state !== "read") wakeWriter()
  })
  const push = (bytes: Uint8Array): Effect.Effect<void> | undefined => {
    if (state === "dropped") return undefined
    if (state === "unread" && size + bytes.length > keptUnread) {
      lost = true
      return undefined
    }
    chunks.push(bytes)
    size += bytes.length
    wakeReader?.()
    return state === "read" && size >= readAhead ? room : undefined
  }
  const end = () => {
    ended = true
    wakeReader?.()
  }
  const take = Effect.async<Chunk.Chunk<Uint8Array>, Option.Option<PlatformError>>((resume) => {
    wakeReader = () => {
      if (chunks.length === 0 && !ended) return
      wakeReader = undefined
      if (chunks.length > 0) {
        const taken = Chunk.unsafeFromArray(chunks)
        chunks = []
        size = 0
        wakeWriter?.()
        return resume(Effect.succeed(taken))
      }
      const detail = `it wrote more than ${formatSize(keptUnread)} to ${name} before that was read`
      resume(Effect.fail(lost ? Option.some(systemError("Unknown", name, detail)) : Option.none()))
    }
    wakeReader()
  })
  const stream = Stream.unwrap(
    Effect.sync(() => {
      state = "read"
      return Stream.ensuring(
        Stream.repeatEffectChunkOption(take),
        Effect.sync(() => {
          state = "dropped"
          chunks = []
          size = 0
          wakeWriter?.()
        })
      )
    })
  )
  return { push, end, stream }
}

const prototype = {
  [Executor.ProcessTypeId]: Executor.ProcessTypeId as Executor.ProcessTypeId,
  ...Inspectable.BaseProto,
  toJSON(this: { readonly pid: number }) {
    return { _id: "effect-asyncio/services/CommandExecutor/Process", pid: this.pid }
  }
}

const make = (
  { start }: Processes.Processes["Type"],
  { grace, stopSignal }: Processes.StopOptions
): Executor.CommandExecutor => {
  const startOne = (
    command: Command.StandardCommand,
    withStdin: boolean
  ): Effect.Effect<Executor.Process, PlatformError, Scope.Scope> =>
    Effect.gen(function* () {
      const pipes = { stdout: makePipe("stdout"), stderr: makePipe("stderr") }
      const input = yield* Mailbox.make<Uint8Array>(16)
      const fed =
        withStdin && command.stdin === "pipe" ? Command.stdin(command, Mailbox.toStream(input)) : command
      const plain = fed.pipe(
        Command.stdout(command.stdout === "inherit" ? "inherit" : "pipe"),
        Command.stderr(command.stderr === "inherit" ? "inherit" : "pipe")
      )
      const child = yield* start(plain, {
        grace,
        stopSignal,
        onOutput: (stream, bytes) => pipes[stream].push(bytes)
      })
      let running = true
      const over = Effect.sync(() => {
        running = false
        pipes.stdout.end()
        pipes.stderr.end()
        input.unsafeDone(Exit.void)
      })
      const exit = Effect.ensuring(child.exit, over)
      yield* Effect.forkScoped(exit)
      const through = (stream: "stdout" | "stderr") => {
        const to = command[stream]
        return typeof to === "string" ? pipes[stream].stream : Stream.transduce(pipes[stream].stream, to)
      }
      return Object.assign(Object.create(prototype), {
        pid: Executor.ProcessId(child.pid),
        exitCode: Effect.mapBoth(exit, {
          onSuccess: ({ exitCode }) => Executor.ExitCode(exitCode),
          onFailure: platformError
        }),
        isRunning: Effect.sync(() => running),
        kill: (signal: Executor.Signal = "SIGTERM") =>
          Effect.zipRight(child.signal(signal), Effect.ignore(exit)),
        stdin: Sink.forEachWhile((bytes: Uint8Array) => input.offer(bytes)).pipe(Sink.ensuring(input.end)),
        stdout: through("stdout"),
        stderr: through("stderr")
      })
    }).pipe(
      Effect.catchAll((error) => Effect.fail(error instanceof SystemError ? error : platformError(error)))
    )

  const startAll = (withStdin: boolean) => (command: Command.Command) =>
    Effect.gen(function* () {
      const [first, ...rest] = Command.flatten(command)
      let process = yield* startOne(first!, withStdin)
      for (const next of rest) {
        process = yield* startOne(Command.stdin(next, process.stdout) as Command.StandardCommand, withStdin)
      }
      return process
    })
  // Only `start` gives access to stdin; elsewhere it is empty instead of open for ever.
  return { ...Executor.makeExecutor(startAll(false)), start: startAll(true) }
}

/**
 * {@link layer} with another stop signal than TERM, or another grace period than 5 seconds.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (
  options: Processes.StopOptions
): Layer.Layer<Executor.CommandExecutor, never, Processes.Processes> =>
  Layer.effect(
    Executor.CommandExecutor,
    Effect.map(Processes.Processes, (processes) => make(processes, options))
  )

/**
 * The executor of `@effect/platform`'s commands, on {@link Processes.Processes}: for programs that call
 * `Command.string`, `Command.exitCode`, `Command.start` and the like. Unlike the stock one it ends whole process trees,
 * with KILL after the grace period; unread output does not block a process (8 MiB are kept for a later reader, more is an
 * error for that reader); a signal's exit code is 128 plus its number; `uid` and `gid` are passed on.
 *
 * @example
 * ```ts
 * import * as Command from "@effect/platform/Command"
 * import { Effect, Layer } from "effect"
 * import * as CommandExecutor from "effect-asyncio/services/CommandExecutor"
 * import * as Processes from "effect-asyncio/services/Processes"
 *
 * export const kernel = Command.string(Command.make("uname", "-r")).pipe(
 *   Effect.provide(Layer.provide(CommandExecutor.layer, Processes.layer))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Executor.CommandExecutor, never, Processes.Processes> = layerWith({})
