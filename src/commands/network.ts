import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Effect, Layer } from "effect"
import * as Network from "../programs/Network.js"
import * as Server from "../programs/Server.js"
import { codes } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as SystemLoad from "../services/host/SystemLoad.js"
import * as HttpServerNode from "../services/http/HttpServerNode.js"
import * as Api from "../services/network/Api.js"
import * as Cache from "../services/network/Cache.js"
import * as Database from "../services/network/Database.js"
import * as Neighbours from "../services/network/Neighbours.js"
import * as NetworkDemo from "../services/network/NetworkDemo.js"
import * as OAuth from "../services/network/OAuth.js"
import * as Storage from "../services/network/Storage.js"
import * as Deadline from "../services/task/Deadline.js"
import { formatDuration } from "../services/text/Durations.js"
import * as Command from "./kernel/Command.js"
import * as Flag from "./kernel/Flag.js"
import * as Flags from "./kernel/Flags.js"
import * as Values from "./kernel/Values.js"
import { app } from "./network/app.js"
import { events } from "./network/events.js"
import { policies, policy, user } from "./network/flags.js"

const services = Layer.mergeAll(
  Layer.provide(Api.layer(NetworkDemo.answer), NodeHttpClient.layerUndici),
  Cache.layer,
  Database.layer,
  OAuth.layer,
  Storage.layer,
  SystemLoad.layer
)

const atOnce = ({ jobs }: { readonly jobs: Values.Jobs | undefined }) =>
  Effect.map(SystemLoad.SystemLoad, ({ cpus }) => jobs && Values.jobCount(jobs, cpus))

const check = Command.provide(
  Command.make(
    "check",
    {
      summary: "ask each neighbour once, and print how it is configured and whether it is reachable",
      usage: ["[OPTIONS]"],
      flags: {
        timeout: Flag.withDefault(
          Flag.withText(Flags.timeout, "time limit of each answer, like 2s"),
          5000,
          "5s"
        )
      },
      examples: [["network check", "the neighbours that the environment configures"]]
    },
    ({ timeout }) =>
      Effect.gen(function* () {
        const reason = `no answer within ${formatDuration(timeout)}`
        const neighbours = {
          database: yield* Database.Database,
          cache: yield* Cache.Cache,
          oauth: yield* OAuth.OAuth,
          storage: yield* Storage.Storage,
          api: yield* Api.Api
        }
        const states = yield* Effect.forEach(
          Object.entries(neighbours),
          ([name, neighbour]) =>
            (neighbour.check as Effect.Effect<void, { readonly reason: string }>).pipe(
              Deadline.timeout({
                limit: timeout,
                late: { reason, origin: name },
                onTimeout: () => ({ reason })
              }),
              Effect.match({
                onFailure: ({ reason }) => `unreachable: ${reason}`,
                onSuccess: () => "reachable"
              }),
              Effect.map((state) => ({ name, state, configured: neighbour.configured }))
            ),
          { concurrency: "unbounded" }
        )
        for (const { configured, name, state } of states)
          yield* Output.print(`${name.padEnd(8)}  ${state}  (${configured})`)
        yield* Command.exit(states.every(({ state }) => state === "reachable") ? codes.ok : codes.failed)
      })
  ),
  services
)

const serve = Command.provide(
  Command.make(
    "serve",
    {
      summary: "serve the page: / for people, /api/page/USER for programs, /health and /metrics",
      usage: ["[OPTIONS]"],
      examples: [["network serve --port 0", "on a free port of this machine"]],
      flags: {
        port: Flags.port,
        waitTime: Flag.withText(
          Flags.waitTime,
          "time that a request may wait for a busy thread; then it gets 503; the default is a quarter of --timeout"
        ),
        ...policy
      }
    },
    ({ port, waitTime, ...given }) =>
      Effect.gen(function* () {
        yield* NetworkDemo.prepare({ timeout: given.timeout })
        const { print } = yield* Output.Output
        return yield* Server.serve(app({ concurrency: yield* atOnce(given) }), {
          onListen: (url) => print(`listening on ${url}/`)
        })
      }).pipe(
        Effect.provide(
          Layer.merge(
            Neighbours.layer(Network.names, policies(given)),
            HttpServerNode.layer({ port, waitTime: waitTime ?? given.timeout / 4 })
          )
        )
      )
  ),
  services
)

const load = Command.make(
  "load",
  {
    summary:
      "measure pages whose parts are asked one at a time, all at once, and all at once with a client that blocks",
    usage: ["[OPTIONS]"],
    flags: {
      connections: Flag.values("connections", {
        value: "N",
        text: "connections that ask for pages, each when it has the last one; may be repeated; default 1 and 50",
        parse: Values.integer(1, 10_000)
      }),
      duration: Flag.withDefault(Flags.span("duration", "time that each load is measured"), 1000, "1s"),
      wait: Flag.withDefault(Flags.span("wait", "time that each neighbour takes to answer"), 20, "20ms"),
      out: Flags.out,
      ...Flags.reporting
    },
    examples: [["network load --connections 10 --duration 200ms", "a short look"]]
  },
  ({ connections, duration, ...config }) =>
    Effect.flatMap(
      Effect.promise(() => import("./network/load.js")),
      (Load) =>
        Effect.provide(
          Load.run({
            ...config,
            connections: connections.length === 0 ? undefined : connections,
            time: duration,
            columns: process.stdout.columns || undefined
          }),
          Load.layer
        )
    )
)

const page = Command.provide(
  Command.make(
    "network",
    {
      summary: "query database, cache, OAuth, storage and two APIs at once, and show one page",
      usage: ["[OPTIONS]", "check [OPTIONS]", "serve [OPTIONS]", "load [OPTIONS]"],
      flags: {
        user,
        ...policy,
        json: Flags.json,
        onFailure: Flags.onFailure(["cancel", "continue", "collect"], "collect"),
        seed: Flag.toggle("demo-content", "first write the content of ada to the configured services too")
      },
      examples: [
        ["network", "the page, with the time of each part and of all"],
        ["network --slow database=300ms --fail cache || true", "what a bad neighbour does to the page"]
      ]
    },
    ({ json, onFailure, seed, user, ...given }) =>
      Effect.gen(function* () {
        yield* NetworkDemo.prepare({ all: seed, timeout: given.timeout })
        const shown = yield* Network.page(user, { onFailure, concurrency: yield* atOnce(given) })
        const lines = json ? events(shown) : Network.render(shown)
        yield* Effect.forEach(lines, Output.print, { discard: true })
        yield* Command.exit(Network.isComplete(shown) ? codes.ok : codes.failed)
      }).pipe(Effect.provide(Neighbours.layer(Network.names, policies(given))))
  ),
  services
)

export const command = { ...page, children: [check, serve, load] }
