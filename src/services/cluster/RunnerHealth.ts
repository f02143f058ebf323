import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Context, Effect, Layer, type Scope } from "effect"
import type * as Http from "../http/HttpServer.js"
import * as HttpServerNode from "../http/HttpServerNode.js"
import * as Metrics from "../http/Metrics.js"
import * as Runner from "./Runner.js"

const samples = (snapshot: Runner.Snapshot): ReadonlyArray<Metrics.Sample> => {
  const sample = (type: "counter" | "gauge") => (name: string, help: string, value: number) => ({
    type,
    name: `aio_runner_${name}`,
    help,
    value
  })
  const counter = sample("counter")
  const gauge = sample("gauge")
  return [
    gauge("workers", "Jobs that run at once.", snapshot.maxWorkers),
    gauge("rows_held", "Rows that are claimed and not recorded.", snapshot.held),
    counter("rows_recorded_total", "Rows whose results are recorded.", snapshot.recorded),
    counter("rows_dropped_total", "Rows that were cancelled, or that another runner has.", snapshot.dropped),
    counter("runs_refused_total", "Runs whose code this runner does not have.", snapshot.refused),
    counter("evicted_total", "Times that others have declared this runner dead.", snapshot.evicted),
    counter("buried_total", "Runners that this one has declared dead.", snapshot.buried),
    counter("store_failures_total", "Failures of the store.", snapshot.storeFailures),
    gauge("store_silence_seconds", "Time since the store has answered.", snapshot.silence / 1000)
  ]
}

/**
 * Serves `/health` (200, or 503 when the runner's loops stand still or it drains; JSON, without addresses and secrets) and
 * `/metrics` (for Prometheus) until the scope closes, and returns the port. Fails with `ListenError`.
 *
 * @param options port (default 0: a free one) and host (default 127.0.0.1)
 * @since 0.1.0
 * @category effects
 */
export const serve = (
  options: Pick<Http.Options, "host" | "port">
): Effect.Effect<number, Http.ListenError, Runner.Runner | Scope.Scope> =>
  Effect.gen(function* () {
    const { isHealthy, snapshot } = yield* Runner.Runner
    const health = Effect.gen(function* () {
      const now = yield* snapshot
      const isUp = (yield* isHealthy) && !now.isDraining
      const status = isUp ? "ok" : now.isDraining ? "draining" : "dead"
      return HttpServerResponse.unsafeJson({ status, ...now }, { status: isUp ? 200 : 503 })
    })
    const metrics = Effect.map(snapshot, (now) =>
      HttpServerResponse.text(Metrics.render(samples(now)), { contentType: "text/plain; version=0.0.4" })
    )
    const app = HttpRouter.empty.pipe(HttpRouter.get("/health", health), HttpRouter.get("/metrics", metrics))
    const server = yield* Layer.build(HttpServerNode.layer({ ...options, grace: 0 }))
    yield* Effect.provide(HttpServer.serveEffect(app), server)
    const { address } = Context.get(server, HttpServer.HttpServer)
    return address._tag === "TcpAddress" ? address.port : 0
  })
