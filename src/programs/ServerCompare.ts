import type * as Command from "@effect/platform/Command"
import { Duration, Stream } from "effect"
import type * as LoadDriver from "../services/http/LoadDriver.js"
import * as ServerMeasurement from "../services/http/ServerMeasurement.js"
import * as ServerProcess from "../services/http/ServerProcess.js"
import type * as Processes from "../services/process/Processes.js"
import {
  checkedDuration,
  checkedNumber,
  checkOptions,
  count,
  countOrNone,
  someTime
} from "../services/text/Numbers.js"
import { plural } from "../services/text/Plural.js"

/**
 * How a server works on requests: `event-loop`, one thread that waits for none of them; `threads`, each request holds one
 * of so many workers for its whole life; `blocking`, an event loop whose handlers block it while they wait.
 *
 * @since 0.1.0
 * @category models
 */
export type Model = "event-loop" | "threads" | "blocking"

/**
 * All models.
 *
 * @since 0.1.0
 * @category constants
 */
export const models: ReadonlyArray<Model> = ["event-loop", "threads", "blocking"]

/**
 * Settings of {@link compare}.
 *
 * @since 0.1.0
 * @category options
 */
export interface CompareOptions {
  /** Default: all. */
  readonly models?: ReadonlyArray<Model> | undefined
  /** Numbers of connections whose requests wait; default 1, 100, 1,000 and 5,000. */
  readonly connections?: ReadonlyArray<number> | undefined
  /** Idle WebSockets; default 1,000. */
  readonly webSockets?: number | undefined
  /** Workers of the model `threads`; default 4, as of the guide's Pyramid. */
  readonly threads?: number | undefined
  /** How long a request waits, as for a database; default 100 ms. */
  readonly wait?: Duration.DurationInput | undefined
  /** Time that each load is measured; default 600 ms, with which the whole takes less than a minute. */
  readonly time?: Duration.DurationInput | undefined
  /**
   * The command that starts a server under a model: its first line on stdout is `listening on URL`, and it has the routes
   * `/`, `/wait?ms=N` and `/ws`. Default: `aio server` of this package.
   */
  readonly command?: ((model: Model, threads: number) => Command.Command) | undefined
}

/**
 * The loads: `hello` asks for an answer at once on 64 connections, `wait` for one after a wait, `sockets` is `hello` while
 * idle WebSockets are open.
 *
 * @since 0.1.0
 * @category models
 */
export type Load = "hello" | "wait" | "sockets"

/**
 * A load on a server under a model; times are milliseconds, sizes bytes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Measured extends ServerMeasurement.Measurement {
  readonly event: "measured"
  readonly index: number
  /** Model and load, for people. */
  readonly name: string
  readonly model: Model
  readonly load: Load
  /** Connections that were asked for. */
  readonly connections: number
}

/**
 * What happens in a comparison.
 *
 * @since 0.1.0
 * @category models
 */
export type Event =
  | { readonly event: "started"; readonly index: number; readonly name: string; readonly total: number }
  | { readonly event: "note"; readonly reason: string }
  | Measured
  | {
      readonly event: "finished"
      readonly index: number
      readonly name: string
      readonly status: "failed"
      readonly duration: number
      readonly reason: string
    }
  | {
      readonly event: "compared"
      readonly threads: number
      /** Milliseconds that a request waited. */
      readonly wait: number
      readonly failed: number
      readonly duration: number
      readonly exitCode: number
    }

/** Connections of `hello` and `sockets`. */
const busy = 64

const aio = (model: Model, threads: number): Command.Command =>
  ServerProcess.aio([
    ...["server", "--port", "0", "--model", model, "--connections", "unbounded"],
    ...["--connections-per-address", "unbounded", ...(model === "threads" ? ["--threads", `${threads}`] : [])]
  ])

interface Step {
  readonly model: Model
  readonly load: Load
  readonly path: string
  readonly connections: number
  readonly webSockets: number
}

const nameOf = ({ connections, model, path, webSockets }: Step): string =>
  `${model}: ${path} on ${plural(connections, "connection")}${webSockets > 0 ? ` and ${plural(webSockets, "WebSocket")}` : ""}`

/**
 * Drives each model of server, in a process of its own, with the same loads, one after another, and emits what was
 * measured. Each load meets a fresh server. A load that fails is `finished` as failed, and the others go on. Fewer
 * connections than asked for are driven, with a note, where the limit of open files is too low. Fails at once with
 * `LoadError` if the load generator is not installed.
 *
 * @example
 * ```ts
 * import { Console, Effect, Layer, Stream } from "effect"
 * import * as ServerCompare from "effect-asyncio/programs/ServerCompare"
 * import * as LoadDriver from "effect-asyncio/services/LoadDriver"
 * import * as Processes from "effect-asyncio/services/Processes"
 *
 * export const program = ServerCompare.compare({ connections: [1, 100], time: "500 millis" }).pipe(
 *   Stream.runForEach((event) => Console.log(event.event)),
 *   Effect.provide(Layer.provideMerge(LoadDriver.layer, Processes.layer))
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const compare = (
  options: CompareOptions = {}
): Stream.Stream<Event, LoadDriver.LoadError, LoadDriver.LoadDriver | Processes.Processes> =>
  Stream.suspend(() => {
    checkOptions(options, { webSockets: countOrNone, threads: count, time: someTime })
    const {
      command = aio,
      connections = [1, 100, 1000, 5000],
      threads = 4,
      time = 600,
      webSockets = 1000
    } = options
    for (const one of connections) checkedNumber("connections", one)
    const waiting = checkedDuration("wait", options.wait ?? 100, someTime)
    const wait = Math.max(1, Math.round(Duration.toMillis(waiting)))
    const run = (most: number) => {
      const allowed = [...new Set(connections.map((one) => Math.min(one, most)))]
      const sockets = Math.max(0, Math.min(webSockets, most - busy))
      return (options.models ?? models).flatMap((model): ReadonlyArray<Step> => {
        const hello = { model, path: "/", connections: Math.min(busy, most) }
        return [
          { ...hello, load: "hello", webSockets: 0 },
          ...allowed.map(
            (one) =>
              ({ model, load: "wait", path: `/wait?ms=${wait}`, connections: one, webSockets: 0 }) as const
          ),
          ...(sockets > 0 ? [{ ...hello, load: "sockets", webSockets: sockets } as const] : [])
        ]
      })
    }
    const wanted = Math.max(...connections, webSockets === 0 ? 0 : webSockets + busy)
    return ServerMeasurement.series({ threads, wait }, wanted, (most) =>
      run(most).map((step) => {
        const { connections, load, model, path, webSockets } = step
        return {
          name: nameOf(step),
          command: command(model, threads),
          path,
          load: { connections, webSockets, time },
          labels: { model, load, connections }
        }
      })
    )
  })
