import * as Command from "@effect/cli/Command"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { Effect, Layer } from "effect"
import packageJson from "../package.json" with { type: "json" }
import * as Cli from "./commands/kernel/Cli.js"
import type * as Spec from "./commands/kernel/Spec.js"
import { concepts, type Name } from "./manifest.js"
import * as Run from "./programs/Run.js"
import type * as Output from "./services/host/Output.js"
import type * as Signals from "./services/host/Signals.js"

// Not NodeContext: what no command needs of it takes its time at every start. Output and Signals come with runMain.
const MainLayer = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, Cli.noTerminal)

type Main = Layer.Layer.Success<typeof MainLayer> | Output.Output | Signals.Signals | Cli.Rest | Cli.Self

// Each subcommand's code, and the layers that only it needs, are loaded when it is called.
const load: Record<Name | "guide", () => Promise<Spec.AnyCommand<Main>>> = {
  run: async () => (await import("./commands/run.js")).command,
  tasks: async () => {
    const { command } = await import("./commands/tasks.js")
    const [Input, Processes] = await Promise.all([
      import("./services/host/Input.js"),
      import("./services/process/Processes.js")
    ])
    return Command.provide(command, Layer.merge(Input.layer, Processes.layer))
  },
  "long-running": async () => {
    const { command } = await import("./commands/long-running.js")
    const [Input, Probes, Processes] = await Promise.all([
      import("./services/host/Input.js"),
      import("./services/supervision/Probes.js"),
      import("./services/process/Processes.js")
    ])
    return Command.provide(command, Layer.mergeAll(Input.layer, Probes.layer, Processes.layer))
  },
  await: async () => {
    const { command } = await import("./commands/await.js")
    const Diagnostics = await import("./services/source/Diagnostics.js")
    return Command.provide(command, Diagnostics.layer)
  },
  gather: async () => {
    const { command } = await import("./commands/gather.js")
    const [Downloader, GuideServer, Input] = await Promise.all([
      import("./services/download/Downloader.js"),
      import("./services/http/GuideServer.js"),
      import("./services/host/Input.js")
    ])
    return Command.provide(command, Layer.mergeAll(Downloader.layer, GuideServer.layer, Input.layer))
  },
  loop: async () => {
    const { command } = await import("./commands/loop.js")
    const [Checkpoints, Tail, Input, Processes] = await Promise.all([
      import("./services/record/Checkpoints.js"),
      import("./services/record/Tail.js"),
      import("./services/host/Input.js"),
      import("./services/process/Processes.js")
    ])
    return Command.provide(
      command,
      Layer.mergeAll(Checkpoints.layer, Tail.layer, Input.layer, Processes.layer)
    )
  },
  schedule: async () => {
    const { command } = await import("./commands/schedule.js")
    const [Processes, Timers] = await Promise.all([
      import("./services/process/Processes.js"),
      import("./services/time/Timers.js")
    ])
    return Command.provide(command, Layer.merge(Processes.layer, Timers.layer))
  },
  executor: async () => {
    const { command } = await import("./commands/executor.js")
    const [Executor, GuideServer, Input, SystemLoad] = await Promise.all([
      import("./services/thread/Executor.js"),
      import("./services/http/GuideServer.js"),
      import("./services/host/Input.js"),
      import("./services/host/SystemLoad.js")
    ])
    const services = Layer.mergeAll(GuideServer.layer, Input.layer, SystemLoad.layer)
    return Command.provide(command, Layer.merge(Executor.layerThreads({ maxWorkers: 5 }), services))
  },
  subprocess: async () => {
    const { command } = await import("./commands/subprocess.js")
    const [Input, SystemLoad, Processes] = await Promise.all([
      import("./services/host/Input.js"),
      import("./services/host/SystemLoad.js"),
      import("./services/process/Processes.js")
    ])
    return Command.provide(
      command,
      Layer.mergeAll(Input.layer, SystemLoad.layer, Processes.layerWith({ ahead: true }))
    )
  },
  server: async () => {
    const { command } = await import("./commands/server.js")
    const HttpServerNode = await import("./services/http/HttpServerNode.js")
    return Command.provide(command, HttpServerNode.layer)
  },
  network: async () => {
    const { command } = await import("./commands/network.js")
    const [Apis, Cache, Database, OAuth, Storage] = await Promise.all([
      import("./services/network/Apis.js"),
      import("./services/network/Cache.js"),
      import("./services/network/Database.js"),
      import("./services/network/OAuth.js"),
      import("./services/network/Storage.js")
    ])
    return Command.provide(
      command,
      Layer.mergeAll(Apis.layer, Cache.layer, Database.layer, OAuth.layer, Storage.layer)
    )
  },
  guide: async () => (await import("./commands/guide.js")).command
}

const app = {
  name: "aio",
  version: packageJson.version,
  summary: packageJson.description,
  entries: [
    ...concepts.map(({ name, summary }) => ({ name, summary, load: load[name] })),
    { name: "guide", summary: "read the guide, concept by concept, and run its examples", load: load.guide }
  ]
}

Run.runMain(Cli.run(app, process.argv.slice(2), process.env).pipe(Effect.provide(MainLayer)))
