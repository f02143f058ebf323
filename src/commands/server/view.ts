import type { ServerEvent } from "../../services/host/Events.js"
import * as AccessLog from "../../services/http/AccessLog.js"
import * as Durations from "../../services/text/Durations.js"
import { plural } from "../../services/text/Plural.js"
import type * as Reporter from "../kernel/Reporter.js"

/** What the events of a server show. */
export const view: Reporter.View<ServerEvent> = {
  show: (event) => {
    switch (event.event) {
      case "listening":
        return {
          line: `listening on ${event.url}${event.processes > 1 ? ` (${event.processes} processes)` : ""}`
        }
      case "request":
        return { line: AccessLog.combined(event) }
      case "failed":
        return { failure: `${event.method} ${event.url} failed: ${event.reason}` }
      case "closing":
        return {
          note: `closing: waiting up to ${Durations.formatDuration(event.grace)} for ${plural(event.running, "running request")}`
        }
      case "exited":
        return { failure: `process ${event.pid} ${event.reason}` }
      case "restarting":
        return { note: `another process starts in ${Durations.formatDuration(event.delay)}` }
      // Without --json the whole reports are on stderr, with places relative to the folder.
      case "blocked":
      case "starved":
      case "hanging":
        return undefined
    }
  }
}
