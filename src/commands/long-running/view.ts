import type * as Services from "../../services/supervision/Services.js"
import { formatDuration } from "../../services/text/Durations.js"
import { plural } from "../../services/text/Plural.js"
import { formatSize } from "../../services/text/Sizes.js"
import * as Table from "../../services/text/Table.js"
import type * as Prefixed from "../kernel/Prefixed.js"
import * as Reporter from "../kernel/Reporter.js"

// The view of `aio long-running`: a table while services run, a line per event, a summary at the end.

interface Row {
  state: string
  pid?: number | undefined
  since?: number | undefined
  restarts: number
  lastExit: string
  cpu: string
  memory: string
}

const head = ["NAME", "STATE", "PID", "AGE", "RESTARTS", "LAST EXIT", "CPU", "MEMORY"]

export interface Settings {
  readonly names: ReadonlyArray<string>
  /** Those with a readiness check: the others are ready at their start, which is not worth a line. */
  readonly checked: ReadonlyMap<string, unknown>
  readonly prefixed: Prefixed.Prefixed
  /** Milliseconds since 1970. */
  readonly now: () => number
}

export const make = ({ checked, names, now, prefixed }: Settings): Reporter.View<Services.ServiceEvent> => {
  const unused = { cpu: "", memory: "" }
  const rows = new Map<string, Row>(
    names.map((name) => [name, { state: "waiting", restarts: 0, lastExit: "", ...unused }])
  )
  const set = (name: string, changes: Partial<Row>) => {
    Object.assign(rows.get(name)!, changes)
  }
  const gone = { pid: undefined, since: undefined, ...unused }
  const ends: Array<readonly [name: string, value: string]> = []
  return {
    show: (event) => {
      switch (event.event) {
        case "waiting":
          return { note: `${event.name} waits for ${event.others.join(", ")}` }
        case "started":
          prefixed.started(event)
          set(event.name, { state: "starting", pid: event.pid, since: now() })
          return undefined
        case "output":
          return prefixed.output(event)
        case "ready":
          set(event.name, { state: "ready" })
          return checked.has(event.name)
            ? { note: `${event.name} is ready after ${formatDuration(event.duration)}` }
            : undefined
        case "unhealthy":
          set(event.name, { state: "unhealthy" })
          return { note: `${event.name} is unhealthy (${event.failures}): ${event.reason}` }
        case "exited":
          set(event.name, { ...gone, state: "exited", lastExit: event.reason })
          return { note: `${event.name} exited after ${formatDuration(event.duration)}: ${event.reason}` }
        case "restarting": {
          const restarts = event.run - 1
          set(event.name, { state: "backing off", restarts })
          return { note: `${event.name} restarts in ${formatDuration(event.delay)} (restart ${restarts})` }
        }
        case "sampled":
          set(event.name, { cpu: `${event.cpu.toFixed(0)} %`, memory: formatSize(event.memory) })
          return undefined
        case "stopping":
          set(event.name, { state: "stopping" })
          return { note: `stopping ${event.name}: ${event.reason}` }
        case "lingering":
          return { note: Reporter.lingering(event) }
        case "finished": {
          const { index, name, restarts, status } = event
          set(name, { ...gone, state: status })
          ends[index] = [name, status === "skipped" ? status : `${status}, ${plural(restarts, "restart")}`]
          if (status === "failed") return { failure: Reporter.failed(event) }
          return status === "skipped" ? { note: Reporter.failed(event) } : undefined
        }
        case "summary":
          return { summary: Reporter.summary("services", event, Object.values(ends)) }
      }
    },
    live: () => {
      const at = now()
      const cells = [...rows].map(([name, { cpu, lastExit, memory, pid, restarts, since, state }]) => [
        name,
        state,
        String(pid ?? ""),
        since === undefined ? "" : formatDuration(Math.floor((at - since) / 1000) * 1000),
        String(restarts),
        Reporter.brief(lastExit),
        cpu,
        memory
      ])
      return Table.aligned([head, ...cells])
    },
    ticks: true,
    json: Reporter.asText
  }
}
