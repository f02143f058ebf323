import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Clock, Effect, Either, Option } from "effect"
import * as LongRunning from "../programs/LongRunning.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import * as Output from "../services/host/Output.js"
import * as Processes from "../services/process/Processes.js"
import type * as Supervisor from "../services/supervision/Supervisor.js"
import * as Sleep from "../services/task/Sleep.js"
import { formatDuration, formatSize } from "../services/text/Units.js"
import { alone, withRest } from "./kernel/Cli.js"
import * as Named from "./kernel/Named.js"
import * as Screen from "./kernel/Screen.js"
import * as Timestamps from "./kernel/Timestamps.js"
import * as Values from "./kernel/Values.js"

const called = "aio long-running"

// options

const restarts = ["always", "on-failure", "never"] as const

const number = (name: string, least: number, description: string) =>
  Values.integer(name, least).pipe(Options.withDescription(description), Options.optional)
const duration = (name: string, description: string) =>
  Values.duration(name).pipe(Options.withDescription(description), Options.optional)

const options = {
  ...Named.options,
  restart: Named.scoped(
    "restart",
    restarts.join("|"),
    "which ends are followed by another run; default on-failure"
  ),
  maxRestarts: number("max-restarts", 0, "restarts within the window until it has failed; default unlimited"),
  window: duration("window", "what --max-restarts counts in; default 1m"),
  backoff: duration("backoff", "the first pause before a restart, which doubles each time; default 500ms"),
  backoffMax: duration("backoff-max", "the longest pause, jitter included; default 30s"),
  resetAfter: duration(
    "reset-after",
    "a run that was ready for so long begins with the first pause; default 10s"
  ),
  readyLog: Named.scoped(
    "ready-log",
    "REGEX",
    "ready when it writes a line that fits, be it the last before its end"
  ),
  readyHttp: Named.scoped("ready-http", "URL", "ready when the URL answers with a status below 400"),
  readyPort: Named.scoped(
    "ready-port",
    "N",
    "ready when somebody listens on the port; HOST:N for another machine"
  ),
  readyExec: Named.scoped("ready-exec", "CMD", "ready when the command ends with 0"),
  readyTimeout: duration("ready-timeout", "who is not ready by then has failed; default 1m"),
  healthHttp: Named.scoped("health-http", "URL", "restart when the URL does not answer any more"),
  healthPort: Named.scoped("health-port", "N", "restart when nobody listens on the port any more"),
  healthExec: Named.scoped("health-exec", "CMD", "restart when the command does not end with 0 any more"),
  healthEvery: duration("health-every", "the pause between two health checks; default 10s"),
  healthTimeout: duration("health-timeout", "a check that takes longer has failed; default 5s"),
  healthFailures: number("health-failures", 1, "failed checks in a row until it is restarted; default 3"),
  after: Named.options.after.pipe(
    Options.withDescription(
      "WEB:DB,CACHE starts web in a moment in which db and cache are ready, at its restarts too; any number of times"
    )
  ),
  onFailure: Values.choice("on-failure", ["cancel", "continue"]).pipe(
    Options.withDescription("what one that has failed for good does to the others; default cancel"),
    Options.withDefault("cancel" as const)
  ),
  for: duration("for", "end all after so long, in reverse order of their start; default: run for ever"),
  logDir: Options.text("log-dir").pipe(
    Options.withPseudoName("dir"),
    Options.withDescription("a log of each in this folder, NAME.log"),
    Options.optional
  ),
  logSize: Values.size("log-size").pipe(
    Options.withDescription("from which on a new log is begun; default 10M"),
    Options.optional
  ),
  logKeep: number("log-keep", 0, "old logs to keep, NAME.log.1 the youngest; default 5"),
  seed: Values.integer("seed", 0).pipe(
    Options.withDescription("for the example: the same seed gives the same pauses, and so the same lines"),
    Options.optional
  ),
  virtual: Options.boolean("virtual").pipe(
    Options.withDescription(
      "for the example: in virtual time it ends at once, with the same lines in the same order"
    )
  )
}

type Config = Command.Command.ParseConfig<typeof options>

// what belongs to which

const url: Values.Parse<LongRunning.Probe> = (text) =>
  URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)
    ? Either.right({ http: text })
    : Either.left(`'${text}' is no URL; write one like http://localhost:8080/health`)
const port: Values.Parse<LongRunning.Probe> = (text) => {
  const [, host, digits = ""] = /^(?:(.+):)?(\d+)$/.exec(text) ?? []
  return Number(digits) > 0 && Number(digits) < 65536
    ? Either.right({ port: Number(digits), host })
    : Either.left(`'${text}' is no port; write a number from 1 to 65535, or HOST:N`)
}
const exec: Values.Parse<LongRunning.Probe> = (text) =>
  text.trim() === "" ? Either.left("the command is empty") : Either.right({ exec: Processes.shell(text) })
const log: Values.Parse<{ readonly log: RegExp }> = (text) =>
  Either.try({
    try: () => ({ log: new RegExp(text) }),
    catch: (error) => `'${text}' is no regular expression: ${(error as Error).message.replace(/^.*\/: /, "")}`
  })
const restart: Values.Parse<Supervisor.Restart> = (text) => {
  const found = restarts.find((word) => word === text)
  return found === undefined
    ? Either.left(`'${text}' is none of ${restarts.join(", ")}`)
    : Either.right(found)
}

// what is shown

interface Row {
  state: string
  pid?: number | undefined
  since?: number | undefined
  restarts: number
  lastExit: string
  use: string
}

const head = ["NAME", "STATE", "PID", "AGE", "RESTARTS", "LAST EXIT", "CPU", "MEMORY"]

const aligned = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join("  ")
      .trimEnd()
  )
}

/** A table of all on a terminal's stderr, below what is written. */
const statusTable = Effect.fn(function* (names: ReadonlyArray<string>, screen: Screen.Screen) {
  const rows = new Map<string, Row>(
    names.map((name) => [name, { state: "waiting", restarts: 0, lastExit: "", use: "" }])
  )
  const draw = Effect.map(Clock.currentTimeMillis, (now) => {
    const cells = [...rows].map(([name, { lastExit, pid, restarts, since, state, use }]) => [
      name,
      state,
      String(pid ?? ""),
      since === undefined ? "" : formatDuration(Math.floor((now - since) / 1000) * 1000),
      String(restarts),
      lastExit,
      ...(use === "" ? ["", ""] : use.split(" / "))
    ])
    screen.show(aligned([head, ...cells]))
  })
  yield* Effect.forkScoped(Effect.forever(Effect.zipRight(draw, Sleep.sleep("1 second"))))
  return (event: LongRunning.ServiceEvent) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const row = rows.get(event.name)!
      const gone = { pid: undefined, since: undefined, use: "" }
      switch (event.event) {
        case "started":
          Object.assign(row, { state: "starting", pid: event.pid, since: now })
          break
        case "ready":
          row.state = "ready"
          break
        case "unhealthy":
          row.state = "unhealthy"
          break
        case "ended":
          Object.assign(row, gone, { state: "ended", lastExit: event.detail })
          break
        case "restarting":
          Object.assign(row, { state: "backing off", restarts: event.run - 1 })
          break
        case "sampled":
          row.use = `${event.cpu.toFixed(0)} % / ${formatSize(event.memory)}`
          break
        case "stopping":
          row.state = "stopping"
          break
        case "finished":
          Object.assign(row, gone, { state: event.status })
          break
        default:
          return Effect.void
      }
      return draw
    })
})

const told = (event: LongRunning.ServiceEvent): string | undefined => {
  const { name } = event
  switch (event.event) {
    case "waiting":
      return `${name} waits for ${event.others.join(", ")}`
    case "ready":
      return `${name} is ready after ${formatDuration(event.after)}`
    case "unhealthy":
      return `${name} is unhealthy (${event.failures}): ${event.detail}`
    case "ended":
      return `${name} ended after ${formatDuration(event.runtime)}: ${event.detail}`
    case "restarting":
      return `${name} starts again in ${formatDuration(event.pause)} (restart ${event.run - 1})`
    case "stopping":
      return `stopping ${name}: ${event.reason}`
    case "lingering":
      return Named.lingering(event)
    case "finished":
      return event.status === "failed" ? `${name} failed: ${event.detail}` : undefined
    default:
      return undefined
  }
}

const summary = (outcomes: ReadonlyArray<LongRunning.ServiceOutcome>): string =>
  aligned([
    ["name", "status", "restarts", "why"],
    ...outcomes.map(({ detail = "", name, restarts, status }) => [name, status, String(restarts), detail])
  ]).join("\n")

// the command

const supervised = Effect.fn(function* (config: Config & { readonly words: ReadonlyArray<string> }) {
  if (config.virtual || Option.isSome(config.seed)) {
    return yield* new UsageError({
      message: `${called}: --virtual and --seed are for the example; commands run in real time`
    })
  }
  const { after, entries, names, stopSignals } = yield* Named.read(called, config)
  const policies = yield* Named.assign(called, names, [["restart", config.restart, restart]])
  const ready = yield* Named.assign<NonNullable<LongRunning.ServiceRequest["ready"]>>(called, names, [
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
  const outcomes: Array<LongRunning.ServiceOutcome> = []
  const onEvent = (event: LongRunning.ServiceEvent): Effect.Effect<void> => {
    if (event.event === "started") printer.started(event.name, event.pid)
    if (event.event === "finished") outcomes.push(event)
    if (config.json) return Effect.zipRight(output.print(Named.eventLine(event)), output.drained)
    if (event.event === "output") return printer.lines(event.name, event.stream, event.bytes)
    // Who is ready as soon as it is started need not say so.
    const line = event.event === "ready" && !ready.has(event.name) ? undefined : told(event)
    return Effect.zipRight(show(event), line === undefined ? Effect.void : note(line))
  }
  const get = Option.getOrUndefined
  const result = yield* LongRunning.services(
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
    "keep named commands running: restart, readiness, health, logs; at the end nothing is left behind. Alone: the guide's task that never ends, cancelled after ten seconds."
  )
)
