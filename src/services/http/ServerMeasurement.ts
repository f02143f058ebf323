import type * as Command from "@effect/platform/Command"
import { Clock, Effect, Option, type Scope } from "effect"
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
