import { Clock, Duration, Effect } from "effect"
import type * as SystemLoad from "../../host/SystemLoad.js"
import * as Sleep from "../../task/Sleep.js"
import type { JobsWaiting } from "../JobEvents.js"

/** The conditions for the start of a job. */
export interface Settings {
  /** Least time between two starts. */
  readonly delay?: Duration.DurationInput | undefined
  /** No start while the machine's load is this or more. */
  readonly load?: number | undefined
  /** No start while fewer bytes of memory are free. */
  readonly memfree?: number | undefined
}

const busyPause = "1 second"

/**
 * An effect that jobs run before they start, one after the other: it ends when the next job may start. Undefined if
 * nothing holds a start back, so that a small job does not pay for it. `onWaiting` is run once for each wait for the
 * machine.
 */
export const make = (
  { delay, load, memfree }: Settings,
  system: SystemLoad.SystemLoad["Type"],
  onWaiting: (event: JobsWaiting) => Effect.Effect<void>
): Effect.Effect<void> | undefined => {
  if (delay === undefined && load === undefined && memfree === undefined) return undefined
  const busy = Effect.gen(function* () {
    const now = load === undefined ? 0 : yield* system.load
    if (load !== undefined && now >= load) return { event: "waiting", for: "load", value: now } as const
    const free = memfree === undefined ? 0 : yield* system.freeMemory
    if (memfree !== undefined && free < memfree)
      return { event: "waiting", for: "memory", value: free } as const
    return undefined
  })
  let lastStart: bigint | undefined
  const next = Effect.gen(function* () {
    if (delay !== undefined && lastStart !== undefined) {
      const since = Duration.nanos((yield* Clock.currentTimeNanos) - lastStart)
      yield* Sleep.sleep(Duration.subtract(delay, since))
    }
    for (let first = true, why = yield* busy; why !== undefined; first = false, why = yield* busy) {
      if (first) yield* onWaiting(why)
      yield* Effect.sleep(busyPause)
    }
    lastStart = yield* Clock.currentTimeNanos
  })
  return Effect.unsafeMakeSemaphore(1).withPermits(1)(next)
}
