import cluster, { type Worker } from "node:cluster"
import { constants } from "node:os"
import { Clock, Data, Deferred, Duration, Effect, Queue } from "effect"
import { isFailureCode } from "../host/ExitCodes.js"
import * as Backoff from "../task/Backoff.js"
import * as Cancellation from "../task/Cancellation.js"
import { checkOptions, count, time } from "../text/Numbers.js"

/**
 * What happens to the processes of a server.
 *
 * @since 0.1.0
 * @category events
 */
export type Event =
  /** All processes listen. */
  | { readonly event: "listening"; readonly url: string; readonly processes: number }
  /** A process has ended by itself. */
  | { readonly event: "exited"; readonly pid: number; readonly reason: string }
  /** Another one starts in its place after `delay` milliseconds. */
  | { readonly event: "restarting"; readonly delay: number }

/**
 * Settings of {@link run}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** How many share the port. */
  readonly processes: number
  /** Time that processes have to end when the server closes, before they are killed. Default 10 s. */
  readonly grace?: Duration.DurationInput | undefined
  /** The pause before a process that has ended is replaced; it starts over once one has listened for as long as `max`. */
  readonly backoff?: Backoff.Backoff | undefined
  readonly report: (event: Event) => Effect.Effect<void>
}

/**
 * A process could not start to serve: its message, and its exit code.
 *
 * @since 0.1.0
 * @category errors
 */
export class ProcessRefused extends Data.TaggedError("ProcessRefused")<{
  readonly message: string
  readonly exitCode: number
}> {}

type FromWorker =
  | { readonly type: "listening"; readonly url: string }
  | { readonly type: "refused"; readonly message: string; readonly exitCode: number }

interface Stop {
  readonly type: "stop"
  readonly reason: string
}

type Heard =
  | (FromWorker & { readonly worker: Worker })
  | { readonly type: "exit"; readonly worker: Worker; readonly reason: string }

const ended = (code: number | null, signal: string | null) =>
  signal === null ? `ended with exit code ${code}` : `was killed by ${signal}`

/** Milliseconds within which a signal to all processes has reached this one. */
const signalTime = 100

/**
 * Whether this process is one of {@link run}'s.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isWorker: boolean = cluster.isWorker

/**
 * Runs this program so many times, as processes that share what they listen on; each has to call {@link serving}. Reports
 * when all listen. A process that ends by itself is reported and replaced, after a pause that grows. Interrupted, it asks
 * all to close and waits for them. Fails with {@link ProcessRefused} if one of the first cannot serve. Dies on an option out
 * of range.
 *
 * @since 0.1.0
 * @category effects
 */
export const run = (options: Options): Effect.Effect<never, ProcessRefused> =>
  Effect.gen(function* () {
    checkOptions(options, { processes: count, grace: time })
    const { backoff = {}, grace = "10 seconds", processes, report } = options
    const pause = Backoff.make(backoff)
    const steady = Duration.toMillis(backoff.max ?? "30 seconds")
    const heard = yield* Queue.unbounded<Heard>()
    const alive = new Map<Worker, number | undefined>()
    const start = Effect.map(Clock.currentTimeMillis, () => {
      const worker = cluster.fork()
      alive.set(worker, undefined)
      worker.on("message", (message: FromWorker) => void heard.unsafeOffer({ ...message, worker }))
      worker.on("error", () => undefined) // `exit` follows
      worker.on("exit", (code, signal) =>
        heard.unsafeOffer({ type: "exit", worker, reason: ended(code, signal) })
      )
    })
    const stop = (reason: string) =>
      Effect.gen(function* () {
        for (const worker of alive.keys())
          worker.send({ type: "stop", reason } satisfies Stop, () => undefined)
        const gone = Effect.iterate(alive.size, {
          while: (left) => left > 0,
          body: () =>
            Effect.map(Queue.take(heard), (message) => {
              if (message.type === "exit") alive.delete(message.worker)
              return alive.size
            })
        })
        // Interruptible in its own fiber: within a finalizer the time limit would otherwise wait for it.
        const last = yield* Effect.timeoutOption(Effect.interruptible(gone), grace)
        if (last._tag === "None") for (const worker of alive.keys()) worker.process.kill("SIGKILL")
      })
    let listening = false
    let inRow = 0
    const serve = Effect.gen(function* () {
      for (let i = 0; i < processes; i++) yield* start
      for (;;) {
        const message = yield* Queue.take(heard)
        if (message.type === "listening") {
          alive.set(message.worker, yield* Clock.currentTimeMillis)
          if (listening || [...alive.values()].includes(undefined)) continue
          listening = true
          yield* report({ event: "listening", url: message.url, processes })
        } else if (message.type === "refused") {
          if (!listening) {
            const { exitCode, message: text } = message
            return yield* new ProcessRefused({ message: text, exitCode })
          }
        } else {
          const since = alive.get(message.worker)
          alive.delete(message.worker)
          // A terminal's signal reaches all processes: this one is interrupted before it reports their end.
          yield* Effect.sleep(signalTime)
          const now = yield* Clock.currentTimeMillis
          inRow = since !== undefined && now - since >= steady ? 0 : inRow + 1
          yield* report({ event: "exited", pid: message.worker.process.pid ?? 0, reason: message.reason })
          const delay = yield* pause(Math.max(0, inRow - 1))
          yield* report({ event: "restarting", delay: Math.round(delay) })
          yield* Effect.fork(Effect.delay(start, delay))
        }
      }
    })
    return yield* serve.pipe(
      Effect.onInterrupt((ids) => stop(Cancellation.fromInterruptors(ids)[0]?.reason ?? "cancelled")),
      Effect.tapError(() => stop("another process could not serve"))
    )
  })

const tell = (message: FromWorker) =>
  Effect.async<void>((resume) => {
    process.send?.(message, undefined, undefined, () => resume(Effect.void)) ?? resume(Effect.void)
  })

/**
 * Runs the server of a process that {@link run} has started: `server` calls its argument when it listens. Ends when the
 * first process asks for it, with the exit code of the signal there. A server that fails is reported there, and this one
 * ends without a word.
 *
 * @since 0.1.0
 * @category effects
 */
export const serving = <E, R>(
  server: (listening: (url: string) => Effect.Effect<void>) => Effect.Effect<unknown, E, R>
): Effect.Effect<never, ProcessRefused, R> =>
  Effect.gen(function* () {
    const stopped = yield* Deferred.make<string>()
    process.on("message", (message: Stop) => {
      if (message.type === "stop") Deferred.unsafeDone(stopped, Effect.succeed(message.reason))
    })
    let isServing = false
    const running = server((url) =>
      Effect.suspend(() => {
        isServing = true
        return tell({ type: "listening", url })
      })
    ).pipe(
      Effect.tapError((error) => {
        const { exitCode, message } = error as { readonly message?: unknown; readonly exitCode?: unknown }
        return isServing
          ? Effect.void
          : tell({
              type: "refused",
              message: String(message),
              exitCode: isFailureCode(exitCode) ? exitCode : 1
            })
      }),
      Effect.mapError(() => new ProcessRefused({ message: "", exitCode: 1 }))
    )
    const reason = yield* Effect.raceFirst(running, Deferred.await(stopped))
    const signal = constants.signals[String(reason) as NodeJS.Signals] as number | undefined
    return yield* new ProcessRefused({ message: "", exitCode: signal === undefined ? 1 : 128 + signal })
  })
