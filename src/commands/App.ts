import type { Layer } from "effect"
import packageJson from "../../package.json" with { type: "json" }
import { type Concept, concepts, type Name } from "../manifest.js"
import * as Input from "../services/host/Input.js"
import type * as Output from "../services/host/Output.js"
import type * as Signals from "../services/host/Signals.js"
import type * as Cli from "./kernel/Cli.js"
import type * as Command from "./kernel/Command.js"

/**
 * What all commands share; each command provides what only it needs, because services that it does not use cost start-up
 * time. `Run.runMain` provides Output and Signals.
 */
export const { layer } = Input

type Main = Layer.Layer.Success<typeof layer> | Output.Output | Signals.Signals | Cli.Self

type Load = () => Promise<Command.Command<Main>>

// A subcommand's code, and the services that only it needs, are loaded when it is called.
const loaders: Record<Name, Load> = {
  run: async () => (await import("./run.js")).command,
  tasks: async () => (await import("./tasks.js")).command,
  "long-running": async () => (await import("./long-running.js")).command,
  await: async () => (await import("./await.js")).command,
  loop: async () => (await import("./loop.js")).command,
  gather: async () => (await import("./gather.js")).command,
  schedule: async () => (await import("./schedule.js")).command,
  executor: async () => (await import("./executor.js")).command,
  subprocess: async () => (await import("./subprocess.js")).command,
  server: async () => (await import("./server.js")).command,
  network: async () => (await import("./network.js")).command
}

const helpers: Command.App<Main>["entries"] = [
  {
    name: "runner",
    summary: "run the jobs that aio executor --cluster sends, on this machine",
    load: async () => (await import("./runner.js")).command
  },
  {
    name: "guide",
    summary: "read the guide, concept by concept, and run its examples",
    load: async () => (await import("./guide.js")).command
  },
  {
    name: "schema",
    summary: "print the JSON Schema of the events of --json",
    load: async () => (await import("./schema.js")).command
  },
  {
    name: "completions",
    summary: "print the completions of bash, zsh or fish",
    load: async () => (await import("./completions.js")).command
  }
]

/** `aio` and its subcommands. */
export const app: Command.App<Main> = {
  name: "aio",
  version: packageJson.version,
  summary: packageJson.description,
  entries: [
    ...concepts.map(({ first, name, summary }: Concept & { readonly name: Name }) => ({
      name,
      summary,
      first,
      load: loaders[name]
    })),
    ...helpers
  ]
}
