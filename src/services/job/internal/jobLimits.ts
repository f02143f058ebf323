import { Clock, Deferred, Duration, Effect, FiberId } from "effect"
import * as ProcessError from "../../process/ProcessError.js"
import * as Deadline from "../../task/Deadline.js"
import * as Race from "../../task/Race.js"
import * as Sleep from "../../task/Sleep.js"
import { notDoneIn } from "../../text/Durations.js"

/** How long a job may run: a duration, or a multiple of the median of those that succeeded. */
export type Timeout = Duration.DurationInput | { readonly median: number }

/** The limit on the time of each attempt. */
export interface JobLimits {
  /** Fails with `CommandTimedOut` when the attempt, begun at `started` (monotonic nanoseconds), takes too long. */
  readonly limit: <A, E>(
    command: string,
    attempt: Effect.Effect<A, E>,
    started: bigint
  ) => Effect.Effect<A, E | ProcessError.CommandTimedOut>
  /** An attempt has succeeded after this many milliseconds. */
  readonly succeeded: (runtime: number) => void
}

/** Least successes before the median is a limit. */
const known = 3

/** Makes limits; no limit if `timeout` is undefined. */
export const make = (timeout: Timeout | undefined): JobLimits => {
  if (timeout === undefined) return { limit: (_, attempt) => attempt, succeeded: () => undefined }
  if (typeof timeout !== "object" || !("median" in timeout)) {
    const after = Duration.decode(timeout)
    return {
      limit: (command, attempt) =>
        Deadline.timeout(attempt, {
          limit: after,
          late: { reason: notDoneIn(after), origin: "timeout" },
          onTimeout: () => new ProcessError.CommandTimedOut({ command, after })
        }),
      succeeded: () => undefined
    }
  }
  const runtimes: Array<number> = [] // sorted
  const medianKnown = Deferred.unsafeMake<void>(FiberId.none)
  const median = () => runtimes[Math.floor(runtimes.length / 2)]!
  const late = (command: string, started: bigint) =>
    Effect.gen(function* () {
      yield* Deferred.await(medianKnown)
      const after = Duration.millis(median() * timeout.median)
      const spent = Duration.nanos((yield* Clock.currentTimeNanos) - started)
      yield* Sleep.sleep(Duration.subtract(after, spent))
      return yield* new ProcessError.CommandTimedOut({ command, after })
    })
  return {
    limit: (command, attempt, started) => Race.first(attempt, late(command, started)),
    succeeded: (runtime) => {
      const at = runtimes.findIndex((other) => other > runtime)
      runtimes.splice(at < 0 ? runtimes.length : at, 0, runtime)
      if (runtimes.length === known) Deferred.unsafeDone(medianKnown, Effect.void)
    }
  }
}
