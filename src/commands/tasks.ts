import { Effect } from "effect"
import * as Tasks from "../programs/Tasks.js"
import * as CommandGroup from "../services/job/CommandGroup.js"
import { formatDuration } from "../services/text/Durations.js"
import * as Command from "./kernel/Command.js"
import * as Named from "./kernel/Named.js"
import type * as Prefixed from "./kernel/Prefixed.js"
import * as ProcessServices from "./kernel/ProcessServices.js"
import * as Reporter from "./kernel/Reporter.js"

const flags = { ...Named.flags, after: Named.after("WEB:DB starts web when db has succeeded") }

const view = (prefixed: Prefixed.Prefixed): Reporter.View<CommandGroup.CommandEvent> => {
  const rows: Array<readonly [name: string, value: string]> = []
  return {
    show: (event) => {
      switch (event.event) {
        case "started":
          prefixed.started(event)
          return undefined
        case "output":
          return prefixed.output(event)
        case "lingering":
          return { note: Reporter.lingering(event) }
        case "finished": {
          const { duration, name, status } = event
          rows[event.index] = [name, status === "skipped" ? status : `${status}, ${formatDuration(duration)}`]
          if (status === "succeeded") return undefined
          return { [status === "failed" ? "failure" : "note"]: Reporter.failed(event) }
        }
        case "summary":
          return { summary: Reporter.summary("tasks", event, Object.values(rows)) }
      }
    },
    json: Reporter.asText
  }
}

export const command = Command.provide(
  Command.make(
    "tasks",
    {
      summary:
        "run named commands as one group: when one fails the others are cancelled, and no process is left behind",
      ...Named.described,
      flags,
      examples: [
        ["tasks web='echo ready' test='sleep 0.1'", "run two commands at once"],
        ["tasks --after web:build build='echo built' web='echo ready'", "start web when build has succeeded"],
        ["tasks -f Procfile", "run the commands of a Procfile"]
      ]
    },
    (config, { operands }) =>
      Effect.gen(function* () {
        const requests = yield* Named.read(config, operands)
        const prefixed = yield* Named.prefixed(
          config,
          requests.map(({ name }) => name)
        )
        const { onEvent } = yield* Named.reporter(view(prefixed), config)
        const { exitCode } = yield* CommandGroup.run(requests, {
          onEvent,
          onFailure: config.onFailure,
          grace: config.grace
        })
        yield* Command.exit(exitCode)
      }).pipe(Effect.scoped),
    { example: { run: () => Tasks.example, instead: Named.instead } }
  ),
  ProcessServices.layer
)
