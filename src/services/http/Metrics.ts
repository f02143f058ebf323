import { monitorEventLoopDelay } from "node:perf_hooks"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Context, Effect, Layer, Option } from "effect"
import * as HttpServer from "./HttpServer.js"

/**
 * One number of {@link Metrics}, or one number for each value of a label.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sample {
  /** As Prometheus wants it: `http_requests_total`. */
  readonly name: string
  readonly help: string
  readonly type: "counter" | "gauge"
  /** A number, or numbers by the value of `label`. */
  readonly value: number | Readonly<Record<string, number>>
  /** Needed for numbers by a label. */
  readonly label?: string
}

/**
 * The numbers of a running server.
 *
 * @since 0.1.0
 * @category services
 */
export class Metrics extends Context.Tag("effect-asyncio/services/Metrics")<
  Metrics,
  {
    /** All samples, at this moment. */
    readonly samples: Effect.Effect<ReadonlyArray<Sample>>
    /** Adds samples, which are read each time, until the scope closes. */
    readonly add: (read: () => ReadonlyArray<Sample>) => void
  }
>() {}

const escaped = (text: string) => text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")

/**
 * Samples in the text format of Prometheus, version 0.0.4.
 *
 * @since 0.1.0
 * @category formatting
 */
export const render = (samples: ReadonlyArray<Sample>): string =>
  samples
    .map(({ help, label = "name", name, type, value }) => {
      const lines =
        typeof value === "number"
          ? [`${name} ${value}`]
          : Object.entries(value).map(([key, one]) => `${name}{${label}="${escaped(key)}"} ${one}`)
      return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines, ""].join("\n")
    })
    .join("")

const ofServer = ({ connections, limits, requests, webSockets }: HttpServer.Snapshot): Array<Sample> => [
  { name: "http_requests_total", help: "Requests so far.", type: "counter", value: requests.total },
  {
    name: "http_requests_running",
    help: "Requests that are not answered yet, WebSockets not counted.",
    type: "gauge",
    value: requests.running
  },
  {
    name: "http_requests_cancelled_total",
    help: "Requests whose handler was interrupted, by reason.",
    type: "counter",
    label: "reason",
    value: requests.cancelled
  },
  {
    name: "http_connections_total",
    help: "Connections so far.",
    type: "counter",
    value: connections.total
  },
  { name: "http_connections_open", help: "Open connections.", type: "gauge", value: connections.open },
  { name: "http_websockets_open", help: "Open WebSockets.", type: "gauge", value: webSockets.open },
  {
    name: "http_request_fibers",
    help: "Fibers of requests and WebSockets.",
    type: "gauge",
    value: requests.running + webSockets.open
  },
  {
    name: "http_limits_hit_total",
    help: "Requests and connections that a limit has refused or closed, by limit.",
    type: "counter",
    label: "limit",
    value: limits
  }
]

/** Milliseconds between two looks at the event loop. */
const resolution = 20

/**
 * The server's `ServerStats`, the lag of the event loop and the memory of the process. The lag is how late a timer of
 * 20 ms was, in seconds, since the samples were last read.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Metrics, never, HttpServer.ServerStats> = Layer.scoped(
  Metrics,
  Effect.gen(function* () {
    const { snapshot } = yield* HttpServer.ServerStats
    const delay = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const histogram = monitorEventLoopDelay({ resolution })
        histogram.enable()
        return histogram
      }),
      (histogram) => Effect.sync(() => histogram.disable())
    )
    const more: Array<() => ReadonlyArray<Sample>> = []
    // The histogram has nanoseconds between two looks, and NaN without any.
    const lag = (nanoseconds: number) =>
      Math.round(Math.max(0, (nanoseconds || 0) / 1e9 - resolution / 1000) * 1e6) / 1e6
    const ofProcess = (): ReadonlyArray<Sample> => {
      const lags = {
        "0.5": lag(delay.percentile(50)),
        "0.99": lag(delay.percentile(99)),
        "1": lag(delay.max)
      }
      delay.reset()
      return [
        {
          name: "nodejs_eventloop_lag_seconds",
          help: "Lag of the event loop since the last reading.",
          type: "gauge",
          label: "quantile",
          value: lags
        },
        {
          name: "process_resident_memory_bytes",
          help: "Resident memory.",
          type: "gauge",
          value: process.memoryUsage.rss()
        },
        {
          name: "process_cpu_seconds_total",
          help: "Processor time of user and system.",
          type: "counter",
          value: Object.values(process.cpuUsage()).reduce((a, b) => a + b, 0) / 1e6
        }
      ]
    }
    return {
      samples: Effect.map(snapshot, (server) => [
        ...ofServer(server),
        ...more.flatMap((read) => [...read()]),
        ...ofProcess()
      ]),
      add: (read) => void more.push(read)
    }
  })
)

/**
 * Answers with the metrics as text; 503 if the context has no {@link Metrics}.
 *
 * @since 0.1.0
 * @category handlers
 */
export const answer: Effect.Effect<HttpServerResponse.HttpServerResponse> = Effect.flatMap(
  Effect.serviceOption(Metrics),
  Option.match({
    onNone: () =>
      Effect.succeed(HttpServerResponse.text("metrics are not collected here\n", { status: 503 })),
    onSome: ({ samples }) =>
      Effect.map(samples, (all) =>
        HttpServerResponse.text(render(all), { contentType: "text/plain; version=0.0.4; charset=utf-8" })
      )
  })
)

/**
 * Answers that the server is alive: `ok`.
 *
 * @since 0.1.0
 * @category handlers
 */
export const health: HttpServerResponse.HttpServerResponse = HttpServerResponse.text("ok\n", {
  headers: { "cache-control": "no-store" }
})

/**
 * Serves `/health` and `/metrics` before the app: for an app that has no such routes, or whose worker threads are busy.
 *
 * @since 0.1.0
 * @category middleware
 */
export const withRoutes: <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<E, R> = (app) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ method, url }) => {
    if (method !== "GET" && method !== "HEAD") return app
    const path = url.split("?", 1)[0]
    return path === "/health" ? Effect.succeed(health) : path === "/metrics" ? answer : app
  })
