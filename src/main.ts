import * as Command from "@effect/cli/Command"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Effect, Layer } from "effect"
import packageJson from "../package.json" with { type: "json" }
import * as Cli from "./commands/Cli.js"
import { concepts, type Name } from "./manifest.js"
import * as Run from "./programs/Run.js"
import type * as Output from "./services/Output.js"

// Output and Signals come with runMain.
const MainLayer = NodeContext.layer

type Main = Layer.Layer.Success<typeof MainLayer> | Output.Output | Cli.Rest

// Each subcommand's code, and the layers that only it needs, are loaded when it is called.
const load: Record<Name, () => Promise<Cli.AnyCommand<Main>>> = {
  run: async () => (await import("./commands/run.js")).command,
  tasks: async () => (await import("./commands/tasks.js")).command,
  gather: async () => {
    const { command } = await import("./commands/gather.js")
    const [Downloader, GuideServer, Input] = await Promise.all([
      import("./services/Downloader.js"),
      import("./services/GuideServer.js"),
      import("./services/Input.js")
    ])
    return Command.provide(command, Layer.mergeAll(Downloader.layer, GuideServer.layer, Input.layer))
  }
}

const app = Cli.run({
  name: "aio",
  version: packageJson.version,
  summary: packageJson.description,
  entries: concepts.map(({ name, summary }) => ({ name, summary, load: load[name] }))
})

Run.runMain(app(process.argv.slice(2), process.env).pipe(Effect.provide(MainLayer)))
