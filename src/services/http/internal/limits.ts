import { Duration } from "effect"
import { checkedDuration, checkOptions, count, countOrInfinity, someTime, time } from "../../text/Numbers.js"
import { defaults, type Limits, type Options } from "../HttpServer.js"

/** {@link Limits} as plain numbers: sizes in bytes, times in milliseconds. */
export type Resolved = { readonly [Name in keyof Limits]-?: number } & { readonly grace: Duration.Duration }

const times = [
  "headerTime",
  "bodyTime",
  "idleTime",
  "writeTime",
  "pingInterval",
  "waitTime",
  "deadline"
] as const

/** Checks the options and fills in the defaults. Throws a `RangeError` that names the option. */
export const resolve = (options: Options): Resolved => {
  checkOptions(options, {
    port: { least: 0, most: 65_535 },
    connections: countOrInfinity,
    connectionsPerAddress: countOrInfinity,
    headerTime: someTime,
    headerSize: count,
    bodyTime: someTime,
    bodySize: { least: 0, infinite: true },
    idleTime: someTime,
    pipelined: count,
    messageSize: count,
    messagesWaiting: count,
    backlog: countOrInfinity,
    writeTime: someTime,
    pingInterval: someTime,
    waitTime: someTime,
    deadline: someTime,
    grace: time
  })
  const resolved: Record<keyof Limits, number> = { ...defaults }
  for (const name in defaults) {
    const given = options[name as keyof Limits]
    if (given !== undefined) resolved[name as keyof Limits] = given as number
  }
  for (const name of times) resolved[name] = Duration.toMillis(options[name] ?? defaults[name])
  return { ...resolved, grace: checkedDuration("grace", options.grace ?? "5 seconds") }
}

/** A time for Node's timers, which take no more than 2^31-1 ms, and 0 for none. */
export const timer = (millis: number): number => (millis < 2 ** 31 ? Math.max(1, Math.ceil(millis)) : 0)
