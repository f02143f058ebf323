import type * as Services from "../../services/supervision/Services.js"
import { formatDuration } from "../../services/text/Durations.js"
import { plural } from "../../services/text/Plural.js"
import * as Table from "../../services/text/Table.js"
import type * as Prefixed from "../kernel/Prefixed.js"
import * as Reporter from "../kernel/Reporter.js"
import type * as States from "./states.js"

// The view of `aio long-running`: a table while services run, a line per event, a summary at the end.

const head = ["NAME", "STATE", "PID", "AGE", "RESTARTS", "LAST EXIT", "CPU", "MEMORY"]

/** A line per service, and a head. */
export const table = (states: ReadonlyArray<Readonly<States.State>>, at: number): ReadonlyArray<string> =>
  Table.aligned([
    head,
    ...states.map(({ cpu, lastExit, memory, name, pid, restarts, since, state }) => [
      name,
      state,
      String(pid ?? ""),
      since === undefined ? "" : formatDuration(Math.floor((at - since) / 1000) * 1000),
      String(restarts),
      Reporter.brief(lastExit),
      cpu,
      memory
    ])
  ])

export interface Settings {
  /** The caller keeps them up to date. */
  readonly states: States.States
  /** Those with a readiness check: the others are ready at their start, which is not worth a line. */
  readonly checked: ReadonlyMap<string, unknown>
  readonly prefixed: Prefixed.Prefixed
  /** Milliseconds since 1970. */
  readonly now: () => number
}

export const make = ({ checked, states, now, prefixed }: Settings): Reporter.View<Services.ServiceEvent> => {
  const ends: Array<readonly [name: string, value: string]> = []
  return {
    show: (event) => {
      switch (event.event) {
        case "waiting":
          return { note: `${event.name} waits for ${event.others.join(", ")}` }
        case "started":
          prefixed.started(event)
          return undefined
        case "output":
          return prefixed.output(event)
        case "ready":
          return checked.has(event.name)
            ? { note: `${event.name} is ready after ${formatDuration(event.duration)}` }
            : undefined
        case "unhealthy":
          return { note: `${event.name} is unhealthy (${event.failures}): ${event.reason}` }
        case "exited":
          return { note: `${event.name} exited after ${formatDuration(event.duration)}: ${event.reason}` }
        case "restarting":
          return {
            note: `${event.name} restarts in ${formatDuration(event.delay)} (restart ${event.run - 1})`
          }
        case "sampled":
          return undefined
        case "stopping":
          return { note: `stopping ${event.name}: ${event.reason}` }
        case "lingering":
          return { note: Reporter.lingering(event) }
        case "finished": {
          const { index, name, restarts, status } = event
          ends[index] = [name, status === "skipped" ? status : `${status}, ${plural(restarts, "restart")}`]
          if (status === "failed") return { failure: Reporter.failed(event) }
          return status === "skipped" ? { note: Reporter.failed(event) } : undefined
        }
        case "summary":
          return { summary: Reporter.summary("services", event, Object.values(ends)) }
      }
    },
    live: () => table(states.all, now()),
    ticks: true,
    json: Reporter.asText
  }
}
