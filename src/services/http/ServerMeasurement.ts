import type * as Command from "@effect/platform/Command"
import { Clock, Duration, Effect, Either, Option, Ref, type Scope, Stream } from "effect"
import * as EventLine from "../host/EventLine.js"
import { codes } from "../host/ExitCodes.js"
import type * as Processes from "../process/Processes.js"
import * as LoadDriver from "./LoadDriver.js"
import * as ServerProcess from "./ServerProcess.js"

/**
 * A server under a load, measured from outside: by the clients, and by what its process used. Times are milliseconds, sizes
 * bytes; what is undefined was not measured.
 *
 * @since 0.1.0
 * @category models
 */
export interface Measurement {
  /** Connections and idle WebSockets that were open in the end. */
  readonly connected: number
  readonly webSockets: number
  /** Requests that were answered with a status from 200 to 299, and with another one. */
  readonly requests: number
  readonly refused: number
  /** Answers a second. */
  readonly throughput: number
  readonly p50?: LoadDriver.Quantile
  readonly p99?: LoadDriver.Quantile
  /** Connections that failed; `failures` has the codes, each once. */
  readonly errors: number
  readonly failures: ReadonlyArray<string>
  /** Connections in the state TIME_WAIT after the end. */
  readonly timeWait?: number
  /** Processors that the server used: 0.5 is half of one. */
  readonly cpu?: number
  /** Processor time for each answer. */
  readonly cpuPerRequest?: number
  /** Context switches for each answer. */
  readonly switches?: number
  /** Memory of the server after the warm-up, without connections. */
  readonly memory?: number
  /** More memory for each idle WebSocket, or for each connection if there are none, from 100 of them on. */
  readonly memoryPerConnection?: number
}

/** Fewer connections are too few to tell their memory from what else the server does. */
const fewest = 100

type Phases = Partial<Record<LoadDriver.Phase, ServerProcess.Sample & { readonly at: number }>>

const known = <K extends string, V>(key: K, value: V | undefined) =>
  (value === undefined ? {} : { [key]: value }) as { readonly [Key in K]?: V }

const of = (result: LoadDriver.LoadResult, withSockets: boolean, at: Phases): Measurement => {
  const { begun, ended, open, warm } = at
  const { time, ...counted } = result
  const cpu = begun && ended && Math.max(0, ended.cpu - begun.cpu)
  const switches =
    begun?.switches === undefined || ended?.switches === undefined
      ? undefined
      : Math.max(0, ended.switches - begun.switches)
  const each = (amount: number | undefined) =>
    amount === undefined || result.requests === 0 ? undefined : amount / result.requests
  const [later, opened] = withSockets ? [open, result.webSockets] : [ended, result.connected]
  return {
    ...counted,
    throughput: time > 0 ? (result.requests * 1000) / time : 0,
    ...known("cpu", cpu && cpu / Math.max(1, ended!.at - begun!.at)),
    ...known("cpuPerRequest", each(cpu)),
    ...known("switches", each(switches)),
    ...known("memory", warm?.memory),
    ...known(
      "memoryPerConnection",
      warm && later && opened >= fewest ? Math.max(0, later.memory - warm.memory) / opened : undefined
    )
  }
}

/** Milliseconds between two looks at a server that starts, and its longest start. */
const lookTime = 50
const longestStart = 10_000

/** Waits until the server rests: one that listens may still start its threads. */
const settled = (server: ServerProcess.ServerProcess) =>
  Effect.gen(function* () {
    let before = yield* server.sample
    for (let waited = 0; waited < longestStart; waited += lookTime) {
      yield* Effect.sleep(lookTime)
      const now = yield* server.sample
      // The clock of processor time ticks each 10 ms.
      if (Option.isNone(before) || Option.isNone(now) || now.value.cpu - before.value.cpu <= 10) return
      before = now
    }
  })

/**
 * Starts a server (see `ServerProcess`), waits until it has started its threads, drives the load on this path, and ends the server with the scope.
 *
 * @since 0.1.0
 * @category effects
 */
export const measure = Effect.fn("ServerMeasurement.measure")(function* (
  command: Command.Command,
  path: string,
  load: LoadDriver.LoadOptions = {}
): Effect.fn.Return<
  Measurement,
  LoadDriver.LoadError | ServerProcess.ServerProcessError,
  LoadDriver.LoadDriver | Processes.Processes | Scope.Scope
> {
  const server = yield* ServerProcess.start(command)
  yield* settled(server)
  const at: Phases = {}
  const look = (phase: LoadDriver.Phase) =>
    Effect.map(Effect.zip(server.sample, Clock.currentTimeMillis), ([sample, now]) => {
      if (Option.isSome(sample)) at[phase] = { ...sample.value, at: now }
    })
  const result = yield* LoadDriver.run(server.url + path, load, look)
  return of(result, (load.webSockets ?? 0) > 0, at)
})

/**
 * One load of a series: the server that it meets, and `labels` by which its measurement is known.
 *
 * @since 0.1.0
 * @category models
 */
export interface Step<out Labels> {
  /** For people. */
  readonly name: string
  readonly command: Command.Command
  readonly path: string
  readonly load: LoadDriver.LoadOptions
  readonly labels: Labels
}

/**
 * What happens in a series of loads; `compared` has the settings of all. Durations are milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export type SeriesEvent<Labels, Settings> =
  | { readonly event: "note"; readonly reason: string }
  | { readonly event: "started"; readonly index: number; readonly name: string; readonly total: number }
  | (Measurement & Labels & { readonly event: "measured"; readonly index: number; readonly name: string })
  | {
      readonly event: "finished"
      readonly index: number
      readonly name: string
      readonly status: "failed"
      readonly duration: number
      readonly reason: string
    }
  | (Settings & {
      readonly event: "compared"
      readonly failed: number
      readonly duration: number
      readonly exitCode: number
    })

/**
 * Drives the loads one after another, each on a fresh server, and emits what was measured. A load that fails is `finished`
 * as failed, and the others go on. `steps` gets the most connections that the limit of open files allows; where `wanted` is
 * more, a note says so. Fails at once with `LoadError` if the load generator is not installed.
 *
 * @since 0.1.0
 * @category streams
 */
export const series = <Labels extends object, Settings extends object>(
  settings: Settings,
  wanted: number,
  steps: (most: number) => ReadonlyArray<Step<Labels>>
): Stream.Stream<
  SeriesEvent<Labels, Settings>,
  LoadDriver.LoadError,
  LoadDriver.LoadDriver | Processes.Processes
> =>
  Stream.unwrap(
    Effect.gen(function* () {
      type Event = SeriesEvent<Labels, Settings>
      const driver = yield* LoadDriver.LoadDriver
      yield* driver.check
      const begun = yield* Clock.currentTimeMillis
      const most = yield* driver.mostConnections
      const all = steps(most)
      const failed = yield* Ref.make(0)
      const one = ({ command, labels, load, name, path }: Step<Labels>, at: number) => {
        const index = at + 1
        const tried = measure(command, path, load).pipe(
          Effect.scoped,
          Effect.either,
          Effect.timed,
          Effect.flatMap(([took, measured]): Effect.Effect<Event> => {
            if (Either.isRight(measured)) {
              return Effect.succeed({ event: "measured", index, name, ...labels, ...measured.right })
            }
            const reason = measured.left.message
            const duration = EventLine.ms(Duration.toMillis(took))
            return Effect.as(
              Ref.update(failed, (n) => n + 1),
              { event: "finished", index, name, status: "failed", duration, reason }
            )
          })
        )
        const started: Event = { event: "started", index, name, total: all.length }
        return Stream.concat(Stream.make(started), Stream.fromEffect(tried))
      }
      const note: Event = {
        event: "note",
        reason: `connections are at most ${most}: the limit of open files is too low for more (ulimit -n)`
      }
      const end = Effect.map(Effect.zip(Ref.get(failed), Clock.currentTimeMillis), ([failed, now]): Event => {
        const exitCode = failed > 0 ? codes.failed : codes.ok
        return { event: "compared", ...settings, failed, duration: now - begun, exitCode }
      })
      return Stream.fromIterable(wanted > most ? [note] : []).pipe(
        Stream.concat(Stream.flatMap(Stream.fromIterable(all.entries()), ([at, step]) => one(step, at))),
        Stream.concat(Stream.fromEffect(end))
      )
    })
  )
