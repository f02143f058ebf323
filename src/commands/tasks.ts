import * as Platform from "@effect/platform/Command"
import { Effect, Layer, Stream } from "effect"
import * as Tasks from "../programs/Tasks.js"
import * as Input from "../services/host/Input.js"
import * as SystemLoad from "../services/host/SystemLoad.js"
import * as CommandGroup from "../services/job/CommandGroup.js"
import { formatDuration } from "../services/text/Durations.js"
import * as Command from "./kernel/Command.js"
import * as Flag from "./kernel/Flag.js"
import * as Flags from "./kernel/Flags.js"
import * as Named from "./kernel/Named.js"
import type * as Prefixed from "./kernel/Prefixed.js"
import * as ProcessServices from "./kernel/ProcessServices.js"
import * as Reporter from "./kernel/Reporter.js"
import * as Values from "./kernel/Values.js"

const flags = {
  ...Named.flags,
  after: Named.after("WEB:DB starts web when db has succeeded"),
  jobs: Flag.withText(Flags.jobs, Flags.jobs.text, "all"),
  timeout: Flag.withText(Flags.timeout, "time limit of each command, with each of its attempts"),
  retries: Flags.retries(0),
  killOthers: Flag.toggle("kill-others", "cancel the others when any command ends, a successful one too"),
  success: Flag.withDefault(
    Flag.value("success", {
      value: "all|first|last|NAME",
      text: "which commands decide the exit code: all, the first or the last to end, or one",
      parse: Values.text("all, first, last or a name")
    }),
    "all"
  ),
  stdin: Flag.value("stdin", {
    value: "NAME",
    text: "the command that reads standard input; the others have none",
    parse: Values.text("a name")
  }),
  group: Flag.toggle("group", "all output of a command when it has ended, instead of lines as they come")
}

/** A name that an option was given, if there is a command of that name. */
const known = (option: string, name: string, names: ReadonlyArray<string>) =>
  names.includes(name)
    ? Effect.succeed(name)
    : Command.usage(
        `option --${option}: '${name}' is not a name; expected ${option === "success" ? "all, first, last or " : ""}one of ${names.join(", ")}`
      )

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
        case "retrying":
          return { note: Reporter.retrying(event) }
        case "lingering":
          return { note: Reporter.lingering(event) }
        case "finished": {
          const { duration, name, status } = event
          rows[event.index] = [name, status === "skipped" ? status : `${status}, ${formatDuration(duration)}`]
          if (status === "succeeded") return undefined
          return {
            [status === "failed" || status === "timed_out" ? "failure" : "note"]: Reporter.failed(event)
          }
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
        ["tasks -f Procfile", "run the commands of a Procfile"],
        ["tasks --kill-others --success first 'sleep 0.2' 'sleep 60'", "until the first has ended"]
      ]
    },
    (config, { operands }) =>
      Effect.gen(function* () {
        const { requests } = yield* Named.read(config, yield* Named.entries(config, operands))
        const names = requests.map(({ name }) => name)
        const { killOthers, stdin, success } = config
        const decides =
          success === "all" || success === "first" || success === "last"
            ? success
            : { name: yield* known("success", success, names) }
        const reads = stdin === undefined ? undefined : yield* known("stdin", stdin, names)
        const input = yield* Input.Input
        const prefixed = yield* Named.prefixed(config, names)
        const { onEvent } = yield* Named.reporter(view(prefixed), config)
        const { exitCode } = yield* CommandGroup.run(
          requests.map((request) =>
            request.name === reads
              ? { ...request, command: Platform.stdin(request.command, Stream.orDie(input.stdin)) }
              : request
          ),
          {
            ...config.retries,
            onEvent,
            onFailure: config.onFailure,
            untilFirst: killOthers,
            success: decides,
            output: config.group ? "group" : "line",
            concurrency: config.jobs && Values.jobCount(config.jobs, (yield* SystemLoad.SystemLoad).cpus),
            timeout: config.timeout,
            grace: config.grace
          }
        )
        yield* Command.exit(exitCode)
      }).pipe(Effect.scoped),
    { example: { run: () => Tasks.example, instead: Named.instead } }
  ),
  Layer.merge(SystemLoad.layer, ProcessServices.layer)
)
