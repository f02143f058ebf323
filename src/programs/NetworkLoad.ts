import type * as Command from "@effect/platform/Command"
import { Duration, Stream } from "effect"
import type * as LoadDriver from "../services/http/LoadDriver.js"
import * as ServerMeasurement from "../services/http/ServerMeasurement.js"
import * as ServerProcess from "../services/http/ServerProcess.js"
import type * as Processes from "../services/process/Processes.js"
import { checkedDuration, checkedNumber, checkOptions, someTime } from "../services/text/Numbers.js"
import { plural } from "../services/text/Plural.js"
import { names } from "./Network.js"

/**
 * How a page asks its neighbours: one after the other; all at once; all at once, but the client of the database blocks the
 * thread while it waits.
 *
 * @since 0.1.0
 * @category models
 */
export type Model = "one-at-a-time" | "at-once" | "blocking"

/**
 * All models.
 *
 * @since 0.1.0
 * @category constants
 */
export const models: ReadonlyArray<Model> = ["one-at-a-time", "at-once", "blocking"]

/**
 * Settings of {@link compare}.
 *
 * @since 0.1.0
 * @category options
 */
export interface LoadOptions {
  /** Default: all. */
  readonly models?: ReadonlyArray<Model> | undefined
  /** Numbers of connections that ask for pages; default 1 and 50. */
  readonly connections?: ReadonlyArray<number> | undefined
  /** How long each neighbour takes to answer, as one over a network; default 20 ms. */
  readonly wait?: Duration.DurationInput | undefined
  /** Time that each load is measured; default 1 s, with which the whole takes less than 20 s. */
  readonly time?: Duration.DurationInput | undefined
  /**
   * The command that starts a server under a model, for so many connections: its first line on stdout is `listening on URL`,
   * and it has the routes `/` and `/api/page/ada`. Default: `aio network serve` of this package.
   */
  readonly command?: ((model: Model, wait: number, connections: number) => Command.Command) | undefined
}

/**
 * A load on a server under a model; times are milliseconds, sizes bytes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Measured extends ServerMeasurement.Measurement {
  readonly model: Model
  /** Connections that were asked for. */
  readonly connections: number
}

/**
 * What all loads of a comparison have in common.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /** Milliseconds that each neighbour took to answer. */
  readonly wait: number
}

/**
 * The path of the page that is asked for.
 *
 * @since 0.1.0
 * @category constants
 */
export const path = "/api/page/ada"

const aio = (model: Model, wait: number, connections: number): Command.Command => {
  const waits = (name: string) => (model === "blocking" && name === "database" ? "--block" : "--slow")
  return ServerProcess.aio([
    ...["network", "serve", "--port", "0", "--timeout", "30s", "--bulkhead", `${connections}`],
    ...names.flatMap((name) => [waits(name), `${name}=${wait}ms`]),
    ...(model === "one-at-a-time" ? ["--jobs", "1"] : [])
  ])
}

/**
 * Drives the server of the page with the same loads under each {@link Model}, and emits what was measured: the events of
 * `ServerMeasurement.series`. Every neighbour takes `wait` to answer. Fails at once with `LoadError` if the load generator is
 * not installed.
 *
 * @example
 * ```ts
 * import { Console, Effect, Layer, Stream } from "effect"
 * import * as NetworkLoad from "effect-asyncio/programs/NetworkLoad"
 * import * as LoadDriver from "effect-asyncio/services/LoadDriver"
 * import * as Processes from "effect-asyncio/services/Processes"
 *
 * export const program = NetworkLoad.compare({ connections: [10], time: "500 millis" }).pipe(
 *   Stream.runForEach((event) => Console.log(event.event)),
 *   Effect.provide(Layer.provideMerge(LoadDriver.layer, Processes.layer))
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const compare = (
  options: LoadOptions = {}
): Stream.Stream<
  ServerMeasurement.SeriesEvent<{ readonly model: Model; readonly connections: number }, Settings>,
  LoadDriver.LoadError,
  LoadDriver.LoadDriver | Processes.Processes
> =>
  Stream.suspend(() => {
    checkOptions(options, { time: someTime })
    const { command = aio, connections = [1, 50], time = 1000 } = options
    for (const one of connections) checkedNumber("connections", one)
    const wait = Math.max(
      1,
      Math.round(Duration.toMillis(checkedDuration("wait", options.wait ?? 20, someTime)))
    )
    return ServerMeasurement.series({ wait }, Math.max(...connections), (most) => {
      const allowed = [...new Set(connections.map((one) => Math.min(one, most)))]
      return (options.models ?? models).flatMap((model) =>
        allowed.map((connections) => ({
          name: `${model}: ${path} on ${plural(connections, "connection")}`,
          command: command(model, wait, connections),
          path,
          load: { connections, time },
          labels: { model, connections }
        }))
      )
    })
  })
