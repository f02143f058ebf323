import { Clock, Effect } from "effect"
import type * as Services from "../../services/supervision/Services.js"
import * as Sleep from "../../services/task/Sleep.js"
import { formatDuration } from "../../services/text/Durations.js"
import { formatSize } from "../../services/text/Sizes.js"
import * as Table from "../../services/text/Table.js"
import * as Named from "../kernel/Named.js"
import type * as Screen from "../kernel/Screen.js"

// The view of `aio long-running`: a table while services run, a line per event, a summary at the end.

interface Row {
  state: string
  pid?: number | undefined
  since?: number | undefined
  restarts: number
  lastExit: string
  use: string
}

const head = ["NAME", "STATE", "PID", "AGE", "RESTARTS", "LAST EXIT", "CPU", "MEMORY"]

/** Shows a table of all services at the bottom of the screen; the returned function takes the events. */
export const statusTable = Effect.fn(function* (names: ReadonlyArray<string>, screen: Screen.Screen) {
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
    screen.show(Table.aligned([head, ...cells]))
  })
  yield* Effect.forkScoped(Effect.forever(Effect.zipRight(draw, Sleep.sleep("1 second"))))
  return (event: Services.ServiceEvent) =>
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

/** The line on stderr for an event, if it has one. */
export const noteOf = (event: Services.ServiceEvent): string | undefined => {
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

export const summary = (outcomes: ReadonlyArray<Services.ServiceOutcome>): string =>
  Table.aligned([
    ["name", "status", "restarts", "why"],
    ...outcomes.map(({ detail = "", name, restarts, status }) => [name, status, String(restarts), detail])
  ]).join("\n")
