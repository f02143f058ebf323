import { Either } from "effect"
import * as CommandText from "../../services/process/CommandText.js"
import type * as Services from "../../services/supervision/Services.js"
import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"
import * as Named from "../kernel/Named.js"
import * as Values from "../kernel/Values.js"

const policies = ["always", "on-failure", "never"] as const

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

/** `web=2,worker=3`. */
const scale: Flag.Parse<ReadonlyArray<readonly [name: string, count: number]>> = (text) =>
  Either.all(
    text.split(",").map((part) => {
      const [, name, digits = ""] = /^([^=]+)=(\d{1,4})$/.exec(part) ?? []
      return name === undefined || Number(digits) > mostInstances
        ? Either.left(`'${part}' is not a scale; expected NAME=N, N from 0 to ${mostInstances}, like web=2`)
        : Either.right([name, Number(digits)] as const)
    })
  )

/** The ports of the instances of two commands are 100 apart. */
const mostInstances = 100

const scaled = Flag.values("scale", {
  value: "NAME=N[,NAME=N]",
  text: "run N instances of a command, NAME.1 to NAME.N; 0 leaves it out",
  parse: scale
})

export const flags = {
  ...Named.flags,
  scale: {
    ...scaled,
    read: (given: ReadonlyArray<string>) => Either.map(scaled.read(given), (found) => new Map(found.flat()))
  } satisfies Flag.Flag<ReadonlyMap<string, number>>,
  portBase: Flag.value("port-base", {
    value: "N",
    text: "set PORT: N for the first command, 100 more for each further one, 1 more for each instance",
    parse: Values.port(1)
  }),
  after: Named.after("WEB:DB,CACHE starts and restarts web only while db and cache are ready"),
  restart: Flag.withText(
    Named.perName("restart", policies.join("|"), "", Flag.oneOf(policies)),
    "after which ends a command starts again",
    "on-failure"
  ),
  retries: Flag.withDefault(
    Flag.kind("N[,FIRST[,MAX]]", Values.restarts)(
      "retries",
      "most restarts within --window, or unlimited; the pause before one is FIRST (500ms) and doubles up to MAX (30s)"
    ),
    { retries: Number.POSITIVE_INFINITY, backoff: {} } as Values.Retries,
    "unlimited"
  ),
  window: Flags.span("window", "the window of --retries", { default: "1m" }),
  resetAfter: Flags.pause("reset-after", "after being ready for this long, the first pause counts again", {
    default: "10s"
  }),
  readyLog: Named.perName("ready-log", "REGEX", "ready when a line of its output matches", log),
  readyHttp: Named.perName("ready-http", "URL", "ready when the URL answers with a status below 400", url),
  readyPort: Named.perName(
    "ready-port",
    "[HOST:]N",
    "ready when a process of the command listens on port N, or HOST:N accepts connections",
    port
  ),
  readyExec: Named.perName("ready-exec", "COMMAND", "ready when the command exits with 0", exec),
  readyTimeout: Flags.span("ready-timeout", "fail a run that is not ready within this time", {
    default: "1m"
  }),
  healthHttp: Named.perName("health-http", "URL", "restart when the URL no longer answers below 400", url),
  healthPort: Named.perName("health-port", "[HOST:]N", "restart when the port accepts no connections", port),
  healthExec: Named.perName(
    "health-exec",
    "COMMAND",
    "restart when the command no longer exits with 0",
    exec
  ),
  healthEvery: Flags.span("health-every", "pause before each health check", { default: "10s" }),
  healthTimeout: Flags.span("health-timeout", "time limit of a health check", { default: "5s" }),
  healthFailures: Flags.count(1)("health-failures", "failed health checks in a row before a restart", {
    default: "3"
  }),
  watch: Named.perName(
    "watch",
    "PATH",
    "restart when a file, or a file below a folder, has changed",
    Values.text("a file or a folder")
  ),
  for: Flags.span("for", "stop all after this time, in reverse order of their start", { default: "never" }),
  ...Flags.logs,
  progress: Flag.withText(Flags.progress, "a table of all commands on the terminal", "on"),
  seed: Flag.withText(Flags.seed, "the example's random pauses, the same for the same seed"),
  virtual: Flag.withText(Flags.virtual, "the example in virtual time: ends at once, with the same lines")
}

/** The readiness and health checks by name. */
export const checks = (config: Flag.Values<typeof flags>, names: Named.Names) => ({
  policies: Named.assign(names, config.restart),
  ready: Named.assign<NonNullable<Services.ServiceRequest["ready"]>>(names, [
    ...config.readyLog,
    ...config.readyHttp,
    ...config.readyPort,
    ...config.readyExec
  ]),
  health: Named.assign(names, [...config.healthHttp, ...config.healthPort, ...config.healthExec])
})
