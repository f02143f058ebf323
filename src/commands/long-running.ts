import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Effect, Either, Option } from "effect"
import * as LongRunning from "../programs/LongRunning.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as CommandText from "../services/process/CommandText.js"
import * as Services from "../services/supervision/Services.js"
import type * as Supervisor from "../services/supervision/Supervisor.js"
import { alone, withRest } from "./kernel/Cli.js"
import * as Named from "./kernel/Named.js"
import * as Screen from "./kernel/Screen.js"
import * as Timestamps from "./kernel/Timestamps.js"
import * as Values from "./kernel/Values.js"
import { noteOf, statusTable, summary } from "./long-running/view.js"

const called = "aio long-running"

// options

const restarts = ["always", "on-failure", "never"] as const

const number = (name: string, least: number, description: string) =>
  Values.integer(name, least).pipe(Options.withDescription(description), Options.optional)
const duration = (name: string, description: string) =>
  Values.duration(name).pipe(Options.withDescription(description), Options.optional)

const options = {
  ...Named.options,
  restart: Named.scoped("restart", restarts.join("|"), "restart after which ends; default on-failure"),
  maxRestarts: number(
    "max-restarts",
    0,
    "how many restarts are allowed within --window; one more is a failure for good; default unlimited"
  ),
  window: duration("window", "the window of --max-restarts; default 1m"),
  backoff: duration("backoff", "the first pause before a restart; doubles each time; default 500ms"),
  backoffMax: duration("backoff-max", "the longest pause, jitter included; default 30s"),
  resetAfter: duration(
    "reset-after",
    "after being ready for this long, a service restarts with the first pause again; default 10s"
  ),
  readyLog: Named.scoped(
    "ready-log",
    "REGEX",
    "ready when a line of its output matches, the last one before its end included"
  ),
  readyHttp: Named.scoped("ready-http", "URL", "ready when the URL answers with a status below 400"),
  readyPort: Named.scoped(
    "ready-port",
    "N",
    "ready when the port accepts connections; HOST:N for another machine"
  ),
  readyExec: Named.scoped("ready-exec", "CMD", "ready when the command exits with 0"),
  readyTimeout: duration("ready-timeout", "fail a run that is not ready within this time; default 1m"),
  healthHttp: Named.scoped(
    "health-http",
    "URL",
    "restart when the URL stops answering with a status below 400"
  ),
  healthPort: Named.scoped("health-port", "N", "restart when the port stops accepting connections"),
  healthExec: Named.scoped("health-exec", "CMD", "restart when the command stops exiting with 0"),
  healthEvery: duration("health-every", "pause before each health check; default 10s"),
  healthTimeout: duration("health-timeout", "time limit of a health check; default 5s"),
  healthFailures: number("health-failures", 1, "failed health checks in a row before a restart; default 3"),
  after: Named.options.after.pipe(
    Options.withDescription(
      "WEB:DB,CACHE starts and restarts web only while db and cache are ready; repeatable"
    )
  ),
  onFailure: Values.choice("on-failure", ["cancel", "continue"]).pipe(
    Options.withDescription("what happens to the others when one has failed for good; default cancel"),
    Options.withDefault("cancel" as const)
  ),
  for: duration("for", "stop all after this time, in reverse order of their start; default: never"),
  logDir: Options.text("log-dir").pipe(
    Options.withPseudoName("dir"),
    Options.withDescription("write one log per command to this folder, NAME.log"),
    Options.optional
  ),
  logSize: Values.size("log-size").pipe(
    Options.withDescription("rotate a log at this size; default 10M"),
    Options.optional
  ),
  logKeep: number("log-keep", 0, "how many rotated logs to keep, NAME.log.1 the newest; default 5"),
  seed: Values.integer("seed", 0).pipe(
    Options.withDescription("example only: the same seed gives the same pauses, and so the same lines"),
    Options.optional
  ),
  virtual: Options.boolean("virtual").pipe(
    Options.withDescription(
      "example only: run in virtual time; ends at once, with the same lines in the same order"
    )
  )
}

type Config = Command.Command.ParseConfig<typeof options>

// values

const url: Values.Parse<Services.Probe> = (text) =>
  URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)
    ? Either.right({ http: text })
    : Either.left(`'${text}' is not a URL; expected http or https, like http://localhost:8080/health`)
const port: Values.Parse<Services.Probe> = (text) => {
  const [, host, digits = ""] = /^(?:(.+):)?(\d+)$/.exec(text) ?? []
  return Number(digits) > 0 && Number(digits) < 65536
    ? Either.right({ port: Number(digits), host })
    : Either.left(`'${text}' is not a port; expected 1 to 65535, or HOST:N`)
}
const exec: Values.Parse<Services.Probe> = (text) =>
  text.trim() === "" ? Either.left("the command is empty") : Either.right({ exec: CommandText.shell(text) })
const log: Values.Parse<{ readonly log: RegExp }> = (text) =>
  Either.try({
    try: () => ({ log: new RegExp(text) }),
    catch: (error) =>
      `'${text}' is not a regular expression: ${(error as Error).message.replace(/^.*\/: /, "")}`
  })
const restart: Values.Parse<Supervisor.Restart> = (text) => {
  const found = restarts.find((word) => word === text)
  return found === undefined
    ? Either.left(`'${text}' is not one of ${restarts.join(", ")}`)
    : Either.right(found)
}

// the command

const supervised = Effect.fn(function* (config: Config & { readonly words: ReadonlyArray<string> }) {
  if (config.virtual || Option.isSome(config.seed)) {
    return yield* new UsageError({
      message: `${called}: --virtual and --seed apply to the guide's example only; commands run in real time`
    })
  }
  const { after, entries, names, stopSignals } = yield* Named.read(called, config)
  const policies = yield* Named.assign(called, names, [["restart", config.restart, restart]])
  const ready = yield* Named.assign<NonNullable<Services.ServiceRequest["ready"]>>(called, names, [
    ["ready-log", config.readyLog, log],
    ["ready-http", config.readyHttp, url],
    ["ready-port", config.readyPort, port],
    ["ready-exec", config.readyExec, exec]
  ])
  const health = yield* Named.assign(called, names, [
    ["health-http", config.healthHttp, url],
    ["health-port", config.healthPort, port],
    ["health-exec", config.healthExec, exec]
  ])
  const output = yield* Output.Output
  const watched = output.stderr.interactive && !config.json && !config.quiet
  const screen = watched ? yield* Screen.make : undefined
  const show = screen === undefined ? () => Effect.void : yield* statusTable(names, screen)
  const printer = yield* Named.printer(names, config, screen)
  const note = (line: string) =>
    config.quiet || config.json
      ? Effect.void
      : screen === undefined
        ? output.note(line)
        : Effect.sync(() => screen.log(line))
  const outcomes: Array<Services.ServiceOutcome> = []
  const onEvent = (event: Services.ServiceEvent): Effect.Effect<void> => {
    if (event.event === "started") printer.started(event.name, event.pid)
    if (event.event === "finished") outcomes.push(event)
    if (config.json) return Effect.zipRight(output.print(Named.eventLine(event)), output.drained)
    if (event.event === "output") return printer.lines(event.name, event.stream, event.bytes)
    // Without a readiness option a command is ready at its start, which is not worth a line.
    const line = event.event === "ready" && !ready.has(event.name) ? undefined : noteOf(event)
    return Effect.zipRight(show(event), line === undefined ? Effect.void : note(line))
  }
  const get = Option.getOrUndefined
  const result = yield* Services.run(
    entries.map(({ command, name }) => ({
      name,
      command: Named.shell(command, output.stdout.colors),
      after: after.get(name),
      restart: policies.get(name),
      ready: ready.get(name),
      health: health.get(name),
      stopSignal: stopSignals.get(name)
    })),
    {
      onEvent,
      onFailure: config.onFailure,
      duration: get(config.for),
      grace: get(config.grace),
      maxRestarts: get(config.maxRestarts),
      window: get(config.window),
      resetAfter: get(config.resetAfter),
      readyTimeout: get(config.readyTimeout),
      backoff: { first: get(config.backoff), max: get(config.backoffMax) },
      health: {
        every: get(config.healthEvery),
        timeout: get(config.healthTimeout),
        failures: get(config.healthFailures)
      },
      sample: watched || config.json ? "1 second" : undefined,
      logs: get(
        Option.map(config.logDir, (directory) => ({
          directory,
          maxSize: get(config.logSize),
          keep: get(config.logKeep)
        }))
      )
    }
  ).pipe(
    Effect.mapError(
      (error) => new ExitError({ exitCode: error.exitCode, message: `${called}: ${error.message}` })
    ),
    Effect.ensuring(
      Effect.suspend(() => {
        if (outcomes.length === 0) return Effect.void
        return config.json
          ? output.print(Output.eventLine("summary", { services: outcomes }))
          : note(summary(outcomes))
      })
    )
  )
  if (result.some(({ status }) => status === "failed")) {
    return yield* new ExitError({ exitCode: codes.failed, message: "" })
  }
}, Effect.scoped)

export const command = Command.make("long-running", { words: Named.words, ...options }, (config) =>
  Effect.gen(function* () {
    const words = yield* withRest(config.words)
    if (words.length > 0 || Option.isSome(config.file)) return yield* supervised({ ...config, words })
    yield* alone(called, Named.missing, ["--seed", "--virtual", "--timestamps"])
    const example = LongRunning.example({ seed: Option.getOrUndefined(config.seed) })
    return yield* Timestamps.timed(example, config)
  })
).pipe(
  Command.withDescription(
    "keep named commands running: restart, readiness, health, logs; leaves no process behind. Without arguments: the guide's task that never ends, cancelled after ten seconds."
  )
)
