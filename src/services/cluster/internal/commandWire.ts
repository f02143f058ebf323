import { constants } from "node:os"
import * as Command from "@effect/platform/Command"
import { Duration, Effect, Option, Schema, Stream } from "effect"
import * as CommandText from "../../process/CommandText.js"
import * as ProcessError from "../../process/ProcessError.js"
import type * as Processes from "../../process/Processes.js"
import type * as ProcessOutcome from "../../process/ProcessOutcome.js"
import { formatSize } from "../../text/Sizes.js"

// A command line as the argument of a job, and its end as the result. Both come from the store, so both are decoded by a
// schema. Words are text as `RawText` has it: structured clone keeps the lone surrogates that stand for other bytes.

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(schema)

const text = Schema.String
const word = text.pipe(Schema.filter((value) => !value.includes("\0")))
const bytes = Schema.Uint8ArrayFromSelf
const milliseconds = Schema.NonNegative.pipe(Schema.finite())
const count = Schema.NonNegativeInt
const signal = text.pipe(Schema.filter((name) => Object.hasOwn(constants.signals, name)))

const Request = Schema.Struct({
  file: word,
  args: Schema.Array(word),
  shell: Schema.Union(Schema.Boolean, word),
  cwd: optional(word),
  env: Schema.Record({ key: word, value: word }),
  extendEnv: Schema.Boolean,
  stdin: optional(bytes),
  stopSignal: optional(signal),
  grace: optional(milliseconds),
  timeout: optional(milliseconds)
})
export type Request = typeof Request.Type

const tagged = <Tag extends string, Fields extends Schema.Struct.Fields>(tag: Tag, fields: Fields) =>
  Schema.Struct({ _tag: Schema.Literal(tag), ...fields })

/** How it ended: as a process, or by one of these errors, without the command that the submitter knows. */
const Ended = Schema.Union(
  tagged("Exited", {
    exitCode: count,
    signal: optional(signal),
    duration: milliseconds,
    usage: optional(Schema.Struct({ user: milliseconds, system: milliseconds, peakMemory: count }))
  }),
  tagged("CommandNotFound", {}),
  tagged("CommandNotExecutable", { detail: text }),
  tagged("CommandNotStarted", { detail: text }),
  tagged("CommandLost", { detail: text }),
  tagged("CommandTimedOut", { after: milliseconds }),
  tagged("OutputTooLarge", { stream: Schema.Literal("stdout", "stderr"), limit: count })
)

const Result = Schema.Struct({
  // A column of a job log.
  host: text.pipe(Schema.pattern(/^[^\s\p{Cc}]{1,255}$/u)),
  pid: count,
  stdout: bytes,
  stderr: bytes,
  ended: Ended
})
export type Result = typeof Result.Type

export const decodeRequest = Schema.decodeUnknown(Request)
export const decodeResult = Schema.decodeUnknown(Result)

/** The bytes that feed the command, as often as it runs; more than the limit if they are too many. */
const collect = (command: Command.StandardCommand, limit: number) =>
  typeof command.stdin === "string"
    ? Effect.succeed(undefined)
    : command.stdin.pipe(
        Stream.runFoldWhile(
          { size: 0, parts: [] as Array<Uint8Array> },
          ({ size }) => size <= limit,
          ({ parts, size }, part) => ({ size: size + part.length, parts: [...parts, part] })
        ),
        Effect.map(({ parts }) => Buffer.concat(parts)),
        Effect.catchAllCause(
          (cause) => new ProcessError.InputFailed({ command: CommandText.commandLine(command), cause })
        )
      )

/** The request for a command, or why it cannot run on another machine. */
export const requestOf = (
  command: Command.Command,
  { grace, stopSignal, timeout }: Processes.RunOptions,
  limit: number
): Effect.Effect<Request, ProcessError.ProcessError> =>
  Effect.gen(function* () {
    const refuse = (detail: string) =>
      new ProcessError.CommandNotStarted({ command: CommandText.commandLine(command), detail })
    if (command._tag === "PipedCommand") return yield* refuse("a pipeline is for one machine; name a shell")
    if (command.stdin === "inherit") return yield* refuse("its stdin is that of this process")
    if (command.stdout !== "pipe" || command.stderr !== "pipe") {
      return yield* refuse("its output goes to this process by its result only")
    }
    if (Option.isSome(command.uid) || Option.isSome(command.gid)) {
      return yield* refuse("it runs as its runner's user and group")
    }
    const stdin = yield* collect(command, limit)
    if (stdin !== undefined && stdin.length > limit) {
      const most = formatSize(limit)
      return yield* refuse(`its stdin goes through the store, at most ${most}; let it read a file`)
    }
    const millis = (duration: Duration.DurationInput | undefined) =>
      duration === undefined ? undefined : Duration.toMillis(duration)
    return {
      file: command.command,
      args: command.args,
      shell: command.shell,
      cwd: Option.getOrUndefined(command.cwd),
      env: Object.fromEntries(command.env),
      extendEnv: command.extendEnv,
      stdin,
      stopSignal,
      grace: millis(grace),
      timeout: millis(timeout)
    }
  })

/** The command of a request; `more` is set in its environment too. */
export const commandOf = (
  { args, cwd, env, extendEnv, file, shell, stdin }: Request,
  more: Readonly<Record<string, string>>
): Command.Command => {
  const command = Command.make(file, ...args).pipe(
    Command.env({ ...env, ...more }, { extendEnv }),
    Command.runInShell(shell)
  )
  const placed = cwd === undefined ? command : Command.workingDirectory(command, cwd)
  return stdin === undefined ? placed : Command.stdin(placed, Stream.succeed(stdin))
}

/** What the result says of the end. */
export const endedOf = (
  command: Command.Command,
  ended: Result["ended"],
  host: string
): Effect.Effect<ProcessOutcome.Exited, ProcessError.ProcessError> => {
  const about = { command: CommandText.commandLine(command) }
  switch (ended._tag) {
    case "CommandNotFound":
      return new ProcessError.CommandNotFound(about)
    case "CommandNotExecutable":
      return new ProcessError.CommandNotExecutable({ ...about, detail: ended.detail })
    case "CommandNotStarted":
      return new ProcessError.CommandNotStarted({ ...about, detail: ended.detail })
    case "CommandLost":
      return new ProcessError.CommandLost({ ...about, detail: ended.detail })
    case "CommandTimedOut":
      return new ProcessError.CommandTimedOut({ ...about, after: Duration.millis(ended.after) })
    case "OutputTooLarge":
      return new ProcessError.OutputTooLarge({ ...about, stream: ended.stream, limit: ended.limit })
    case "Exited":
      return Effect.succeed({
        exitCode: ended.exitCode,
        signal: ended.signal as NodeJS.Signals | undefined,
        duration: Duration.millis(ended.duration),
        usage: Option.map(Option.fromNullable(ended.usage), ({ peakMemory, system, user }) => ({
          user: Duration.millis(user),
          system: Duration.millis(system),
          peakMemory
        })),
        host
      })
  }
}

/** The end for the result. */
export const exitedOf = ({ duration, exitCode, signal, usage }: ProcessOutcome.Exited): Result["ended"] => ({
  _tag: "Exited",
  exitCode,
  signal,
  duration: Duration.toMillis(duration),
  usage: Option.getOrUndefined(
    Option.map(usage, ({ peakMemory, system, user }) => ({
      user: Duration.toMillis(user),
      system: Duration.toMillis(system),
      peakMemory
    }))
  )
})

export const failedOf = (error: ProcessError.ProcessError): Result["ended"] => {
  switch (error._tag) {
    case "CommandNotFound":
      return { _tag: error._tag }
    case "CommandNotExecutable":
    case "CommandNotStarted":
    case "CommandLost":
      return { _tag: error._tag, detail: error.detail }
    case "CommandTimedOut":
      return { _tag: error._tag, after: Duration.toMillis(error.after) }
    case "OutputTooLarge":
      return { _tag: error._tag, stream: error.stream, limit: error.limit }
    case "CommandFailed":
    case "InputFailed":
      return { _tag: "CommandLost", detail: error.message }
  }
}
