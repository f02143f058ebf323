import { Clock, Context, Deferred, Duration, Effect, Fiber, Layer, Option } from "effect"
import { anyCount, checkOptions, time } from "../text/Numbers.js"
import { commandLine } from "./CommandText.js"
import * as capture from "./internal/capture.js"
import { supported } from "./internal/commands.js"
import { graceDefault, reporting } from "./internal/stopping.js"
import { CommandNotExecutable, CommandNotFound, type ProcessError } from "./ProcessError.js"
import { Processes } from "./Processes.js"
import { type Exited, exitCodeOf } from "./ProcessOutcome.js"

/**
 * The behaviour of {@link layerTest} for a command.
 *
 * @since 0.1.0
 * @category models
 */
export interface Script {
  /** The command lines that it applies to: one line, a pattern, or a predicate. The first script that matches is used. */
  readonly match: string | RegExp | ((line: string) => boolean)
  /** How many starts it applies to before the next matching script is used; default any number. */
  readonly times?: number | undefined
  /** The output of the process at its end. */
  readonly stdout?: string | Uint8Array | undefined
  readonly stderr?: string | Uint8Array | undefined
  /** Output before its end, with the time after its start. */
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
  /** How long it runs; default 0. */
  readonly after?: Duration.DurationInput | undefined
  /** Only KILL ends it; default false: TERM and its stop signal end it at once. */
  readonly ignoresTerm?: boolean | undefined
  /** The command cannot be started, for this reason. */
  readonly fails?: "notFound" | "notExecutable" | undefined
}

/**
 * A start, an end or a signal in {@link layerTest}; `at` is the clock's time in milliseconds.
 *
 * @since 0.1.0
 * @category events
 */
export interface RecordedEvent {
  readonly event: "started" | "exited" | NodeJS.Signals
  readonly command: string
  readonly at: number
}

/**
 * The events of {@link layerTest} so far, in order.
 *
 * @since 0.1.0
 * @category services
 */
export class Recorded extends Context.Tag("effect-asyncio/services/Processes/Recorded")<
  Recorded,
  { readonly events: Array<RecordedEvent> }
>() {}

const bytes = (content: string | Uint8Array) =>
  typeof content === "string" ? new TextEncoder().encode(content) : content

/**
 * Scripted processes: no process is started, and time is the clock's (`TestClock`). A command without a script is a
 * defect. {@link Recorded} holds what was started and signalled.
 *
 * @example
 * ```ts
 * import * as ProcessesTest from "effect-asyncio/services/ProcessesTest"
 *
 * export const layer = ProcessesTest.layerTest([
 *   { match: "sleep 1", after: "1 second" },
 *   { match: /^curl /, stderr: "could not resolve host\n", exitCode: 6, times: 2 },
 *   { match: /^curl /, output: [{ after: "100 millis", stdout: "half\n" }], after: "1 second" }
 * ])
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (scripts: ReadonlyArray<Script>): Layer.Layer<Processes | Recorded> =>
  Layer.effectContext(
    Effect.sync(() => {
      for (const script of scripts) checkOptions(script, { times: anyCount, after: time })
      const events: Array<RecordedEvent> = []
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
          const record = (event: RecordedEvent["event"]) =>
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
              // Interruptible although this is a finalizer: it must not wait for the loser of the race.
              yield* Effect.raceFirst(
                Effect.interruptible(Effect.exit(Deferred.await(ended))),
                Effect.interruptible(Effect.sleep(grace))
              )
              if (!(yield* isOver)) yield* signal("SIGKILL")
            }).pipe((ending) =>
              Effect.suspend(() => reporting(pid, { ...options, grace }, Effect.sleep, ending))
            )
          yield* Effect.addFinalizer(() => stop())
          options.onStarted?.(pid)
          return {
            pid,
            command: line,
            exit: Deferred.await(ended),
            signal,
            stop,
            usage: Effect.succeedNone,
            listens: () => Effect.succeedNone
          }
        })
      const run: Processes["Type"]["run"] = (command, options = {}) =>
        Effect.suspend(() => {
          const { limit, onOutput, result } = capture.make(command, options)
          const started = start(command, { ...options, onOutput: options.onOutput ?? onOutput })
          const exit = Effect.flatMap(started, (child) => child.exit)
          return Effect.flatMap(Effect.scoped(limit(exit)), result)
        })
      return Context.make(Recorded, { events }).pipe(Context.add(Processes, { run, start }))
    })
  )
