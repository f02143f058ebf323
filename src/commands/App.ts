import * as Command from "@effect/cli/Command"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { Layer } from "effect"
import packageJson from "../../package.json" with { type: "json" }
import { concepts, type Name } from "../manifest.js"
import type * as Input from "../services/host/Input.js"
import type * as Output from "../services/host/Output.js"
import type * as Signals from "../services/host/Signals.js"
import * as Cli from "./kernel/Cli.js"
import type * as Spec from "./kernel/Spec.js"

/**
 * The services of all commands. Not NodeContext, because services that no command uses cost start-up time; `Run.runMain`
 * provides Output and Signals.
 */
export const layer = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, Cli.noTerminal)

const input = async (standIns: StandIns) =>
  standIns.input ?? (await import("../services/host/Input.js")).layer

/** Ends what a person's code starts, where the process is the command's own. */
const guarded = async (standIns: StandIns) =>
  standIns.input === undefined ? (await import("../services/process/Guarded.js")).layer : Layer.empty

type Main = Layer.Layer.Success<typeof layer> | Output.Output | Signals.Signals | Cli.Rest | Cli.Self

/** Layers in place of the process's own, for tests. */
export interface StandIns {
  readonly input?: Layer.Layer<Input.Input> | undefined
}

/** The command owns its process, so it may adopt orphans of the commands that it runs. */
const owning = { adoptOrphans: true } as const

// Each subcommand's code, and the layers that only it needs, are loaded when it is called.
const loaders = (standIns: StandIns): Record<Name | "guide", () => Promise<Spec.AnyCommand<Main>>> => ({
  run: async () => {
    const [{ command }, guard] = await Promise.all([import("./run.js"), guarded(standIns)])
    return Command.provide(command, guard)
  },
  tasks: async () => {
    const { command } = await import("./tasks.js")
    const [stdin, Processes] = await Promise.all([
      input(standIns),
      import("../services/process/Processes.js")
    ])
    return Command.provide(command, Layer.merge(stdin, Processes.layerWith(owning)))
  },
  "long-running": async () => {
    const { command } = await import("./long-running.js")
    const [stdin, Probes, Processes] = await Promise.all([
      input(standIns),
      import("../services/supervision/Probes.js"),
      import("../services/process/Processes.js")
    ])
    return Command.provide(command, Layer.mergeAll(stdin, Probes.layer, Processes.layerWith(owning)))
  },
  await: async () => {
    const { command } = await import("./await.js")
    const Diagnostics = await import("../services/source/Diagnostics.js")
    return Command.provide(command, Diagnostics.layer)
  },
  gather: async () => {
    const { command } = await import("./gather.js")
    const [Downloader, GuideServer, stdin] = await Promise.all([
      import("../services/download/Downloader.js"),
      import("../services/http/GuideServer.js"),
      input(standIns)
    ])
    return Command.provide(command, Layer.mergeAll(Downloader.layer, GuideServer.layer, stdin))
  },
  loop: async () => {
    const { command } = await import("./loop.js")
    const [Checkpoints, Tail, stdin, Processes] = await Promise.all([
      import("../services/stream/Checkpoints.js"),
      import("../services/record/Tail.js"),
      input(standIns),
      import("../services/process/Processes.js")
    ])
    return Command.provide(
      command,
      Layer.mergeAll(Checkpoints.layer, Tail.layer, stdin, Processes.layerWith(owning))
    )
  },
  schedule: async () => {
    const { command } = await import("./schedule.js")
    const [Processes, Timers] = await Promise.all([
      import("../services/process/Processes.js"),
      import("../services/time/Timers.js")
    ])
    return Command.provide(command, Layer.merge(Processes.layerWith(owning), Timers.layer))
  },
  executor: async () => {
    const { command } = await import("./executor.js")
    const [Executor, guard, GuideServer, stdin, SystemLoad] = await Promise.all([
      import("../services/thread/Executor.js"),
      guarded(standIns),
      import("../services/http/GuideServer.js"),
      input(standIns),
      import("../services/host/SystemLoad.js")
    ])
    const services = Layer.mergeAll(GuideServer.layer, guard, stdin, SystemLoad.layer)
    return Command.provide(command, Layer.merge(Executor.layerThreads({ maxWorkers: 5 }), services))
  },
  subprocess: async () => {
    const { command } = await import("./subprocess.js")
    const [stdin, SystemLoad, Processes] = await Promise.all([
      input(standIns),
      import("../services/host/SystemLoad.js"),
      import("../services/process/Processes.js")
    ])
    return Command.provide(
      command,
      Layer.mergeAll(stdin, SystemLoad.layer, Processes.layerWith({ ...owning, ahead: true }))
    )
  },
  server: async () => {
    const { command } = await import("./server.js")
    const HttpServerNode = await import("../services/http/HttpServerNode.js")
    return Command.provide(command, HttpServerNode.layer)
  },
  network: async () => {
    const { command } = await import("./network.js")
    const [Apis, Cache, Database, OAuth, Storage] = await Promise.all([
      import("../services/network/Apis.js"),
      import("../services/network/Cache.js"),
      import("../services/network/Database.js"),
      import("../services/network/OAuth.js"),
      import("../services/network/Storage.js")
    ])
    return Command.provide(
      command,
      Layer.mergeAll(Apis.layer, Cache.layer, Database.layer, OAuth.layer, Storage.layer)
    )
  },
  guide: async () => (await import("./guide.js")).command
})

/** `aio`: its subcommands, each loaded when it is called. */
export const make = (standIns: StandIns = {}): Cli.App<Main> => {
  const load = loaders(standIns)
  return {
    name: "aio",
    version: packageJson.version,
    summary: packageJson.description,
    entries: [
      ...concepts.map(({ name, summary }) => ({ name, summary, load: load[name] })),
      { name: "guide", summary: "read the guide, concept by concept, and run its examples", load: load.guide }
    ]
  }
}
