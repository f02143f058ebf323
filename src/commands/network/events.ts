import { Duration } from "effect"
import * as Network from "../../programs/Network.js"
import * as EventLine from "../../services/host/EventLine.js"
import { codes } from "../../services/host/ExitCodes.js"

/** The page as NDJSON events: one for each part, and a summary. */
export const events = (page: Network.Page): ReadonlyArray<string> => {
  const duration = (took: Duration.Duration) => EventLine.ms(Duration.toMillis(took))
  const parts = Network.names.map((name, n) => {
    const part: Network.Part<unknown> = page.parts[name]
    const failure = part.value._tag === "Left" ? part.value.left : part.stale
    return {
      event: "finished",
      index: n + 1,
      name,
      status:
        failure === undefined
          ? ("succeeded" as const)
          : failure.isLate
            ? ("timed_out" as const)
            : ("failed" as const),
      duration: duration(part.took),
      ...(failure === undefined ? {} : { reason: failure.reason }),
      text: Network.text(name, part as Network.Part<never>)
    }
  })
  const summary = {
    event: "summary",
    ...EventLine.tally(parts.map(({ status }) => status)),
    duration: duration(page.total),
    exitCode: Network.isComplete(page) ? codes.ok : codes.failed
  }
  return [...parts, summary].map(EventLine.encode)
}
