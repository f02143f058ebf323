import * as NodeContext from "@effect/platform-node/NodeContext"
import { Effect, Layer } from "effect"
import packageJson from "../package.json" with { type: "json" }
import * as Cli from "./commands/Cli.js"
import { concepts, type Name } from "./manifest.js"
import * as Run from "./programs/Run.js"
import * as Output from "./services/Output.js"

const MainLayer = Layer.merge(NodeContext.layer, Output.layer)

// Each subcommand's code, and the layers that only it needs, are loaded when it is called.
const load: Record<Name, () => Promise<Cli.AnyCommand<Layer.Layer.Success<typeof MainLayer> | Cli.Rest>>> = {
  run: async () => (await import("./commands/run.js")).command as never,
  tasks: async () => (await import("./commands/run.js")).command as never,
  gather: async () => (await import("./commands/run.js")).command as never
}

const app = Cli.run({
  name: "aio",
  version: packageJson.version,
  summary: packageJson.description,
  entries: concepts.map(({ name, summary }) => ({ name, summary, load: load[name] }))
})

Run.runMain(app(process.argv.slice(2), process.env).pipe(Effect.provide(MainLayer)))
