import { Effect, Layer } from "effect"
import * as Output from "../services/host/Output.js"
import * as SystemLoad from "../services/host/SystemLoad.js"
import * as Processes from "../services/process/Processes.js"
import * as Table from "../services/text/Table.js"
import * as Executor from "../services/thread/Executor.js"
import * as Command from "./kernel/Command.js"
import * as Flag from "./kernel/Flag.js"
import * as Flags from "./kernel/Flags.js"
import * as OwnProcess from "./kernel/OwnProcess.js"
import * as Values from "./kernel/Values.js"

const flags = {
  store: Flags.store,
  group: Flags.group,
  code: Flag.withText(
    Flags.code,
    "the folder of the code that runners share: jobs name files in it; default the working directory, or none with --commands or --downloads"
  ),
  storage: Flags.storage,
  commands: Flag.toggle(
    "commands",
    "run the command lines of aio subprocess --cluster too: write access to the store then is access to this user's shell"
  ),
  downloads: Flags.folder(
    "downloads",
    "make the downloads of aio gather --cluster too, into DIR: write access to the store then allows requests from this machine and replaces files of DIR"
  ),
  maxWorkers: Flag.kind("N|N%|+N", Values.jobs)(
    "max-workers",
    "jobs that run at once: a number, a share of the processors, or so many more; default one a processor"
  ),
  processes: Flag.toggle("processes", "child processes instead of threads, for code that may crash"),
  maxMemory: Flags.size(4 * 1024 * 1024)("max-memory", "heap of each thread; a job that needs more fails"),
  maxResult: Flags.size(1024)(
    "max-result",
    "largest result in the store; a larger one goes to --storage, or fails",
    {
      default: "1M"
    }
  ),
  grace: Flag.withText(
    Flags.grace("10s"),
    "time that running jobs have to end after a signal; then they go back"
  ),
  health: Flag.value("health", {
    value: "N",
    text: "serve /health and /metrics on this port of 127.0.0.1; 0 is a free port",
    parse: Values.port(0)
  }),
  deadAfter: Flags.span("dead-after", "exit with 1 when the store has not answered for this long", {
    default: "60s"
  }),
  list: Flag.toggle("list", "print the runners, runs and given-up jobs of the store, and run nothing"),
  json: Flag.toggle("json", "with --list: one JSON object a line")
}

type Config = Flag.Values<typeof flags>

const list = (store: string, json: boolean) =>
  Effect.gen(function* () {
    const { read } = yield* Effect.promise(() => import("../services/cluster/ClusterStatus.js"))
    const { poison, runners, runs } = yield* read(store)
    if (json) {
      const lines = Object.entries({ runner: runners, run: runs, poison }).flatMap(([kind, rows]) =>
        rows.map((row) => JSON.stringify({ kind, ...row }))
      )
      return yield* Effect.forEach(lines, Output.print, { discard: true })
    }
    const rows = [
      ...runners.map(({ grp, host, id, offers, pid, running, workers }) => [
        "runner",
        id,
        grp,
        `${host} ${pid}`,
        [`${running} held`, `${workers} workers`, ...offers].join(", ")
      ]),
      ...runs.map(({ done, grp, id, module, name, ready, running }) => [
        "run",
        id,
        grp,
        `${module}#${name}`,
        `${ready} ready, ${running} running, ${done} done`
      ]),
      ...poison.map(({ attempts, grp, idx, job, run }) => [
        "poison",
        `${run}/${idx}`,
        grp,
        job,
        `${attempts} runners died`
      ])
    ]
    if (rows.length === 0) return yield* Output.note("the store has no runners, runs and given-up jobs")
    yield* Effect.forEach(Table.aligned(rows), Output.print, { discard: true })
  })

/** The command lines of submitters; orphans are adopted unless workers of another kind are children as well. */
const commandsOf = (hasWorkers: boolean) =>
  Effect.gen(function* () {
    const { job } = yield* Effect.promise(() => import("../services/cluster/RunnerCommands.js"))
    const { layer } = yield* Effect.promise(() => import("./kernel/ProcessServices.js"))
    return yield* Effect.provide(job, yield* Layer.build(hasWorkers ? Processes.layer : layer))
  })

const downloadsOf = (directory: string) =>
  Effect.gen(function* () {
    const { job } = yield* Effect.promise(() => import("../services/cluster/RunnerDownloads.js"))
    const { layer } = yield* Effect.promise(() => import("../services/download/Downloader.js"))
    return yield* Effect.provide(job({ directory }), layer)
  })

const serve = (store: string, config: Config) =>
  Effect.gen(function* () {
    const Runner = yield* Effect.promise(() => import("../services/cluster/Runner.js"))
    const { cpus } = yield* SystemLoad.SystemLoad
    const { code, deadAfter, grace, group, health, maxMemory, maxResult, processes, storage } = config
    const maxWorkers = config.maxWorkers === undefined ? cpus : Values.jobCount(config.maxWorkers, cpus)
    const workers = { maxWorkers, maxMemory, grace: "1 second" } as const
    const executor = processes ? Executor.layerProcesses(workers) : Executor.layerThreads(workers)
    const builtins = [
      ...(config.commands ? [yield* commandsOf(processes)] : []),
      ...(config.downloads === undefined ? [] : [yield* downloadsOf(config.downloads)])
    ]
    const runner = Runner.layer({
      ...{ store, group, code, storage, builtins, maxResult, grace },
      patience: deadAfter
    })
    return yield* Effect.gen(function* () {
      const { failure, snapshot } = yield* Runner.Runner
      if (health !== undefined) {
        const { serve } = yield* Effect.promise(() => import("../services/cluster/RunnerHealth.js"))
        yield* Output.note(`health: http://127.0.0.1:${yield* serve({ port: health })}/health`)
      }
      const { group, id } = yield* snapshot
      yield* Output.note(`runner ${id} of group ${group}: ${maxWorkers} at once`)
      return yield* failure
    }).pipe(Effect.provide(Layer.provide(runner, executor)))
  }).pipe(Effect.scoped)

export const command = Command.provide(
  Command.make(
    "runner",
    {
      summary:
        "run jobs that aio executor --cluster, or ClusterExecutor, puts into a store; any number of runners share one",
      usage: ["--store STORE [OPTIONS]"],
      flags,
      examples: [
        ["runner --store jobs.sqlite --list", "what is in the store"],
        [
          "runner --store jobs.sqlite --group images --health 0",
          "run the jobs of a group until it is stopped"
        ]
      ]
    },
    (config) => {
      const { json, store } = config
      if (store === undefined)
        return Command.usage("no store is given; expected --store FILE or --store postgres://…")
      if (config.list) return list(store, json)
      return json ? Command.usage("--json applies to --list only") : serve(store, config)
    }
  ),
  Layer.mergeAll(OwnProcess.guarded, SystemLoad.layer)
)
