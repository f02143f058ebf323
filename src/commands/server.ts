import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpServer from "@effect/platform/HttpServer"
import { Duration, Effect, Layer } from "effect"
import * as Server from "../programs/Server.js"
import type { ServerEvent } from "../services/host/Events.js"
import * as AccessLog from "../services/http/AccessLog.js"
import type * as Http from "../services/http/HttpServer.js"
import * as HttpServerNode from "../services/http/HttpServerNode.js"
import * as Metrics from "../services/http/Metrics.js"
import * as ServerProcesses from "../services/http/ServerProcesses.js"
import * as Causes from "../services/task/Causes.js"
import * as Command from "./kernel/Command.js"
import * as Reporter from "./kernel/Reporter.js"
import * as WatchLoop from "./kernel/WatchLoop.js"
import * as App from "./server/app.js"
import { type Config, flags, limitNames } from "./server/flags.js"
import * as Tls from "./server/tls.js"
import { view } from "./server/view.js"

const nodeServices = Effect.map(
  Effect.promise(() => import("./kernel/NodeServices.js")),
  ({ layer }) => layer
)

type Report = (event: ServerEvent) => Effect.Effect<void>

const serve = (
  config: Config,
  word: string | undefined,
  report: Report,
  onListen: (url: string) => Effect.Effect<void>
) =>
  Effect.gen(function* () {
    const { accessLog, cert, grace, host, key, port, uds } = config
    const tls = yield* Tls.load(cert, key)
    const options: Http.Options = {
      ...Object.fromEntries(limitNames.map((name) => [name, config[name]])),
      port,
      host,
      path: uds,
      tls,
      grace,
      onDrain: (running, grace) => report({ event: "closing", running, grace: Duration.toMillis(grace) }),
      report: ({ cause, request: { method, originalUrl } }) =>
        report({ event: "failed", method, url: originalUrl, reason: Causes.headline(cause) })
    }
    const serving = Effect.gen(function* () {
      const app = yield* App.make(config, word, ({ method, originalUrl }, reason) =>
        report({ event: "failed", method, url: originalUrl, reason })
      )
      const logged = accessLog ? AccessLog.middleware(report)(app) : app
      return yield* Server.serve(logged, { isTls: tls !== undefined, onListen })
    })
    return yield* serving.pipe(
      Effect.provide(
        Layer.provideMerge(Metrics.layer, Layer.merge(HttpServerNode.layer(options), yield* nodeServices))
      )
    )
  }).pipe(Effect.scoped)

const explain = Server.example.pipe(
  Effect.provide(
    HttpServer.layerTestClient.pipe(
      Layer.provide(FetchHttpClient.layer),
      // All connections are this process's own, and may wait for their turn on a slow machine.
      Layer.provideMerge(HttpServerNode.layer({ connectionsPerAddress: 10_000, idleTime: "1 minute" }))
    )
  )
)

const compare = ({ json, model, out, quiet, threads }: Config) =>
  Effect.gen(function* () {
    const Compare = yield* Effect.promise(() => import("./server/compare.js"))
    const columns = process.stdout.columns || undefined
    const models = model === undefined ? undefined : [model]
    yield* Effect.provide(Compare.run({ json, quiet, out, columns, threads, models }), Compare.layer)
  })

export const command = Command.make(
  "server",
  {
    summary:
      "serve HTTP and WebSocket, a fiber per request: the demo app, an app of yours, or files, also on worker threads to compare",
    usage: ["[OPTIONS] [FILE[#EXPORT]]", "[OPTIONS] --dir DIR", "--compare [--out FILE]"],
    operands: "mixed",
    arguments: [
      ["FILE", "a .ts or .js file with an HttpApp or HttpRouter; without one, the demo app"],
      ["EXPORT", "the export to serve; default: default, then app"]
    ],
    flags,
    examples: [
      ["server --dir . --access-log", "serve the files of this folder, with a line for each request"],
      ["server --explain", "what waiting and what blocking does to other requests"]
    ]
  },
  (config, words) =>
    Effect.gen(function* () {
      const all = Command.everyWord(words)
      yield* App.check(config, all)
      if (config.explain) return yield* explain
      if (config.compare) return yield* compare(config)
      const reporter = yield* Reporter.make(view, config)
      const report = (event: ServerEvent) => reporter.report([event])
      const { grace = 5000, processes = 1 } = config
      const [word] = all
      const watched = (onListen: (url: string) => Effect.Effect<void>) =>
        WatchLoop.watched("aio server", serve(config, word, report, onListen), config, report)
      if (ServerProcesses.isWorker) {
        return yield* ServerProcesses.serving(watched)
      }
      if (processes > 1) {
        return yield* ServerProcesses.run({ processes, grace: grace + 2000, report })
      }
      return yield* watched((url) => report({ event: "listening", url, processes: 1 }))
    }).pipe(Effect.scoped)
)
