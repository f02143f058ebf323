import type * as Services from "../../services/supervision/Services.js"
import { formatSize } from "../../services/text/Sizes.js"

// The state of each service, by its events: for the table on the terminal and for `aio long-running status`.

export interface State {
  readonly index: number
  readonly name: string
  state: string
  pid?: number | undefined
  /** When its run started, in milliseconds since 1970. */
  since?: number | undefined
  restarts: number
  lastExit: string
  cpu: string
  memory: string
}

const unused = { cpu: "", memory: "" }
const gone = { pid: undefined, since: undefined, ...unused }

export const make = (names: ReadonlyArray<string>, now: () => number) => {
  const states = new Map<string, State>(
    names.map((name, i) => [
      name,
      { index: i + 1, name, state: "waiting", restarts: 0, lastExit: "", ...unused }
    ])
  )
  return {
    all: [...states.values()] as ReadonlyArray<Readonly<State>>,
    take: (event: Services.ServiceEvent): void => {
      if (event.event === "summary") return
      const state = states.get(event.name)!
      switch (event.event) {
        case "started":
          Object.assign(state, { state: "starting", pid: event.pid, since: now() })
          break
        case "ready":
        case "unhealthy":
        case "stopping":
          state.state = event.event
          break
        case "exited":
          Object.assign(state, {
            ...gone,
            state: state.state === "stopping" ? "stopped" : "exited",
            lastExit: event.reason
          })
          break
        case "restarting":
          Object.assign(state, { state: "backing off", restarts: event.run - 1 })
          break
        case "sampled":
          Object.assign(state, { cpu: `${event.cpu.toFixed(0)} %`, memory: formatSize(event.memory) })
          break
        case "finished":
          Object.assign(state, { ...gone, state: event.status })
          break
      }
    }
  }
}

export type States = ReturnType<typeof make>
