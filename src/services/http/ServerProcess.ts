import { readdirSync, readFileSync } from "node:fs"
import * as Command from "@effect/platform/Command"
import { Data, Deferred, Duration, Effect, Option, type Scope } from "effect"
import { builtFile } from "../host/BuiltFile.js"
import * as EventLine from "../host/EventLine.js"
import { codes } from "../host/ExitCodes.js"
import { commandLine } from "../process/CommandText.js"
import * as Processes from "../process/Processes.js"
import { checkedDuration, someTime } from "../text/Numbers.js"

/**
 * What a server's process has used so far.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sample {
  /** Milliseconds of processor time, of all its threads and children. */
  readonly cpu: number
  /** Bytes that it holds in memory now. */
  readonly memory: number
  /** How often the system has put one of its threads on a processor or taken it off; undefined if not reported. */
  readonly switches: number | undefined
}

/**
 * A server that runs in a process of its own.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerProcess {
  readonly pid: number
  /** Its address, as it printed it: `http://127.0.0.1:8080`. */
  readonly url: string
  /** None if the platform does not report it. */
  readonly sample: Effect.Effect<Option.Option<Sample>>
}

/**
 * The server's process could not be started, or ended or was silent before it printed its address.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServerProcessError extends Data.TaggedError("ServerProcessError")<{
  readonly command: string
  readonly detail: string
}> {
  readonly exitCode = codes.failed
  override get message() {
    return `${this.command} did not start to listen: ${this.detail}`
  }
}

/**
 * Settings of {@link start}.
 *
 * @since 0.1.0
 * @category options
 */
export interface StartOptions {
  /** The longest wait for its address; default 10 s. */
  readonly timeout?: Duration.DurationInput | undefined
}

/** The sum over its threads; a thread that ends takes its count away. */
const switchesOf = (pid: number): number | undefined => {
  try {
    let sum = 0
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "latin1")
      for (const [, count] of status.matchAll(/^(?:non)?voluntary_ctxt_switches:\s+(\d+)/gm))
        sum += Number(count)
    }
    return sum
  } catch {
    return undefined
  }
}

/** The end of what a server writes to stderr that is kept for its error. */
const lastWords = 2000

const last = (text: string): string | undefined => text.trimEnd().split("\n").at(-1) || undefined

/**
 * Starts a server whose first line on stdout is `listening on URL`, and returns when it listens. Closing the scope kills
 * it and every process that it started.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Processes from "effect-asyncio/services/Processes"
 * import * as ServerProcess from "effect-asyncio/services/ServerProcess"
 *
 * export const memory = ServerProcess.start(ServerProcess.aio(["server", "--port", "0"])).pipe(
 *   Effect.flatMap((server) => server.sample),
 *   Effect.scoped,
 *   Effect.provide(Processes.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const start = Effect.fn("ServerProcess.start")(function* (
  command: Command.Command,
  options: StartOptions = {}
): Effect.fn.Return<ServerProcess, ServerProcessError, Processes.Processes | Scope.Scope> {
  const timeout = checkedDuration("timeout", options.timeout ?? "10 seconds", someTime)
  const name = commandLine(command)
  const failed = (detail: string) => new ServerProcessError({ command: name, detail })
  const first = yield* Deferred.make<string, ServerProcessError>()
  const { decode } = EventLine.texts()
  let stdout = ""
  let stderr = ""
  const server = yield* Processes.start(command, {
    stopSignal: "SIGKILL",
    until: "leader",
    onOutput: (stream, bytes) => {
      const text = decode(stream, bytes)
      if (stream === "stderr") {
        stderr = (stderr + text).slice(-lastWords)
        return undefined
      }
      if (stdout.includes("\n")) return undefined
      stdout = (stdout + text).slice(0, lastWords)
      if (!stdout.includes("\n")) return undefined
      const [line = ""] = stdout.split("\n")
      const [, url] = /^listening on (https?:\/\/\S+)$/.exec(line.trim()) ?? []
      return url === undefined
        ? Deferred.fail(first, failed(`its first line is '${line}'; expected 'listening on URL'`))
        : Deferred.succeed(first, url)
    }
  }).pipe(Effect.mapError(({ message }) => failed(message)))
  const ended = Effect.matchEffect(server.exit, {
    onFailure: ({ message }) => failed(message),
    onSuccess: ({ exitCode }) => failed(last(stderr) ?? `exit code ${exitCode}`)
  })
  const url = yield* Deferred.await(first).pipe(
    Effect.raceFirst(ended),
    Effect.timeoutFail({
      duration: timeout,
      onTimeout: () => failed(`it printed no address within ${Duration.format(timeout)}`)
    })
  )
  return {
    pid: server.pid,
    url,
    sample: Effect.map(
      server.usage,
      Option.map(({ memory, system, user }) => ({
        cpu: Duration.toMillis(user) + Duration.toMillis(system),
        memory,
        switches: switchesOf(server.pid)
      }))
    )
  }
})

/**
 * The command `aio` of this package, as it is built, with these words.
 *
 * @since 0.1.0
 * @category constructors
 */
export const aio = (words: ReadonlyArray<string>): Command.Command =>
  Command.make(process.execPath, builtFile("bin/aio.cjs"), ...words)
