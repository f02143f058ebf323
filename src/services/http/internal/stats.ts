import { Effect } from "effect"
import {
  defaults,
  type Limits,
  type Reason,
  reasons,
  type ServerStats,
  type Snapshot
} from "../HttpServer.js"

/** The counters of one server, changed in place. */
export class Stats {
  requests = 0
  running = 0
  failed = 0
  malformed = 0
  connections = 0
  open = 0
  sockets = 0
  openSockets = 0
  readonly cancelled: Record<Reason, number> = {
    [reasons.disconnected]: 0,
    [reasons.closing]: 0,
    [reasons.deadline]: 0
  }
  readonly limits = Object.fromEntries(Object.keys(defaults).map((name) => [name, 0])) as Record<
    keyof Limits,
    number
  >

  get snapshot(): Snapshot {
    return {
      requests: {
        total: this.requests,
        running: this.running,
        failed: this.failed,
        cancelled: { ...this.cancelled },
        malformed: this.malformed
      },
      connections: { total: this.connections, open: this.open },
      webSockets: { total: this.sockets, open: this.openSockets },
      limits: { ...this.limits }
    }
  }
}

export const service = (stats: Stats): typeof ServerStats.Service => ({
  snapshot: Effect.sync(() => stats.snapshot)
})
