import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Effect, Option } from "effect"
import * as Tasks from "../programs/Tasks.js"
import { ExitError } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as CommandGroup from "../services/job/CommandGroup.js"
import { formatDuration } from "../services/text/Durations.js"
import { plural } from "../services/text/Plural.js"
import * as Table from "../services/text/Table.js"
import { alone, withRest } from "./kernel/Cli.js"
import * as Named from "./kernel/Named.js"
import * as Values from "./kernel/Values.js"

const options = {
  ...Named.options,
  after: Named.options.after.pipe(
    Options.withDescription("WEB:DB starts web when db has succeeded; any number of times")
  ),
  onFailure: Values.choice("on-failure", ["cancel", "continue"]).pipe(
    Options.withDescription("what the failure of one command does to the others; default cancel"),
    Options.withDefault("cancel" as const)
  )
}

const table = ({ elapsed, tasks }: CommandGroup.CommandsSummary): string => {
  const rows = tasks.map(({ detail = "", name, runtime, status }) => [
    name,
    status,
    runtime === undefined ? "" : formatDuration(runtime),
    detail
  ])
  const lines = Table.aligned([["task", "status", "time", "why"], ...rows])
  return [...lines, `${plural(tasks.length, "task")} in ${formatDuration(elapsed)}`].join("\n")
}

export const command = Command.make("tasks", { words: Named.words, ...options }, (config) =>
  Effect.gen(function* () {
    const words = yield* withRest(config.words)
    if (words.length === 0 && Option.isNone(config.file)) {
      return yield* Effect.zipRight(alone("aio tasks", Named.missing), Tasks.example)
    }
    const { after, entries, names, stopSignals } = yield* Named.read("aio tasks", { ...config, words })
    const output = yield* Output.Output
    const printer = yield* Named.printer(names, config)
    const note = (line: string) => (config.quiet ? Effect.void : output.note(line))
    const onEvent = (event: CommandGroup.CommandEvent): Effect.Effect<void> => {
      if (event.event === "started") printer.started(event.name, event.pid)
      if (config.json) return Effect.zipRight(output.print(Named.eventLine(event)), output.drained)
      switch (event.event) {
        case "started":
          return Effect.void
        case "output":
          return printer.lines(event.name, event.stream, event.bytes)
        case "lingering":
          return note(Named.lingering(event))
        case "finished":
          return event.status === "succeeded"
            ? Effect.void
            : note(`${event.name} ${event.status === "failed" ? "failed" : "was cancelled"}: ${event.detail}`)
        case "summary":
          return note(table(event))
      }
    }
    const summary = yield* CommandGroup.run(
      entries.map(({ command, name }) => ({
        name,
        command: Named.shell(command, output.stdout.colors),
        after: after.get(name),
        stopSignal: stopSignals.get(name)
      })),
      { onEvent, onFailure: config.onFailure, grace: Option.getOrUndefined(config.grace) }
    )
    if (summary.exitCode !== 0) return yield* new ExitError({ exitCode: summary.exitCode, message: "" })
  })
).pipe(
  Command.withDescription(
    "run named commands as one group: when one fails the others are cancelled, and no process is left behind. Alone: the guide's two tasks."
  )
)
