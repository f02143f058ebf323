import { Either } from "effect"
import * as CommandText from "../../services/process/CommandText.js"
import type * as Services from "../../services/supervision/Services.js"
import type * as Supervisor from "../../services/supervision/Supervisor.js"
import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"
import * as Named from "../kernel/Named.js"
import * as Values from "../kernel/Values.js"

const restarts = ["always", "on-failure", "never"] as const

const restart: Flag.Parse<Supervisor.Restart> = (text) =>
  Either.fromNullable(
    restarts.find((word) => word === text),
    () => `'${text}' is not one of ${restarts.join(", ")}`
  )

const url: Flag.Parse<Services.Probe> = (text) => Either.map(Values.url(text), (http) => ({ http }))

const port: Flag.Parse<Services.Probe> = (text) => {
  const [, host, digits = ""] = /^(?:(.+):)?(\d+)$/.exec(text) ?? []
  return Either.mapBoth(Values.port(1)(digits), {
    onLeft: () => `'${text}' is not a port; expected 1 to 65535, or HOST:N`,
    onRight: (port) => ({ port, host })
  })
}

const exec: Flag.Parse<Services.Probe> = (text) =>
  text.trim() === "" ? Either.left("the command is empty") : Either.right({ exec: CommandText.shell(text) })

const log: Flag.Parse<{ readonly log: RegExp }> = (text) =>
  Either.try({
    try: () => ({ log: new RegExp(text) }),
    catch: (error) =>
      `'${text}' is not a regular expression: ${(error as Error).message.replace(/^.*\/: /, "")}`
  })

const duration = (name: string, text: string, otherwise: string) =>
  Flag.withText(Flag.value(name, { value: "DURATION", text, parse: Values.duration }), text, otherwise)
const span = (name: string, text: string, otherwise: string) =>
  Flag.withText(Flag.value(name, { value: "DURATION", text, parse: Values.span }), text, otherwise)
const count = (name: string, least: number, text: string, otherwise: string) =>
  Flag.withText(Flag.value(name, { value: "N", text, parse: Values.integer(least) }), text, otherwise)

export const flags = {
  ...Named.flags,
  after: Named.after("WEB:DB,CACHE starts and restarts web only while db and cache are ready"),
  restart: Flag.withText(
    Named.perName("restart", restarts.join("|"), "", restart),
    "after which ends a command starts again",
    "on-failure"
  ),
  maxRestarts: count(
    "max-restarts",
    0,
    "restarts within --window; one more is a failure for good",
    "no limit"
  ),
  window: span("window", "the window of --max-restarts", "1m"),
  backoff: duration("backoff", "the first pause before a restart; doubles each time", "500ms"),
  backoffMax: span("backoff-max", "the longest pause, jitter included", "30s"),
  resetAfter: duration("reset-after", "after being ready for this long, the first pause counts again", "10s"),
  readyLog: Named.perName("ready-log", "REGEX", "ready when a line of its output matches", log),
  readyHttp: Named.perName("ready-http", "URL", "ready when the URL answers with a status below 400", url),
  readyPort: Named.perName("ready-port", "[HOST:]N", "ready when the port accepts connections", port),
  readyExec: Named.perName("ready-exec", "COMMAND", "ready when the command exits with 0", exec),
  readyTimeout: span("ready-timeout", "fail a run that is not ready within this time", "1m"),
  healthHttp: Named.perName("health-http", "URL", "restart when the URL no longer answers below 400", url),
  healthPort: Named.perName("health-port", "[HOST:]N", "restart when the port accepts no connections", port),
  healthExec: Named.perName(
    "health-exec",
    "COMMAND",
    "restart when the command no longer exits with 0",
    exec
  ),
  healthEvery: span("health-every", "pause before each health check", "10s"),
  healthTimeout: span("health-timeout", "time limit of a health check", "5s"),
  healthFailures: count("health-failures", 1, "failed health checks in a row before a restart", "3"),
  for: span("for", "stop all after this time, in reverse order of their start", "never"),
  logDir: Flag.value("log-dir", {
    value: "DIR",
    text: "write one log per command to DIR, NAME.log",
    parse: Values.text("a folder")
  }),
  logSize: Flag.withText(
    Flag.value("log-size", { value: "SIZE", text: "", parse: Values.size(4096) }),
    "rotate a log at this size",
    "10M"
  ),
  logKeep: count("log-keep", 0, "how many rotated logs to keep, NAME.log.1 the newest", "5"),
  progress: Flag.withText(Flags.progress, "a table of all commands on the terminal", "on"),
  seed: Flag.withText(Flags.seed, "the example's random pauses, the same for the same seed"),
  virtual: Flag.withText(Flags.virtual, "the example in virtual time: ends at once, with the same lines")
}

/** The readiness and health checks by name. */
export const checks = (config: Flag.Values<typeof flags>, names: ReadonlyArray<string>) => ({
  policies: Named.assign(names, config.restart),
  ready: Named.assign<NonNullable<Services.ServiceRequest["ready"]>>(names, [
    ...config.readyLog,
    ...config.readyHttp,
    ...config.readyPort,
    ...config.readyExec
  ]),
  health: Named.assign(names, [...config.healthHttp, ...config.healthPort, ...config.healthExec])
})
