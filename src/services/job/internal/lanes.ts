import { Cause, Effect, Mailbox, Stream } from "effect"
import type { Input } from "../../stream/OwnScope.js"
import * as Cancellation from "../../task/Cancellation.js"

/** A lane runs one job at a time. */
export interface Lane {
  /** From 1 to the number of lanes. */
  readonly slot: number
  /** Set while an attempt runs: reports that it was cancelled, and why. */
  cancelled: ((reason: string) => void) | undefined
}

/**
 * One effect for each lane, which runs one request after the other with `run` and ends when there are no more; over a
 * stream also the effect that reads it. Requests are numbered from 1 in the order of the input. When a lane is
 * interrupted, its running attempt is reported as cancelled, with `reason` if the interruption has none.
 */
export const over = <A, E, E2>(
  requests: Input<A, E>,
  concurrency: number,
  run: (request: A, index: number, lane: Lane) => Effect.Effect<void, E2>,
  reason: () => string
): Effect.Effect<ReadonlyArray<Effect.Effect<void, E | E2>>> => {
  let count = 0
  const lanes = (take: (lane: Lane) => Effect.Effect<void, E2>) =>
    Array.from({ length: concurrency }, (_, i) => {
      const lane: Lane = { slot: i + 1, cancelled: undefined }
      return Effect.onInterrupt(take(lane), (interruptors) =>
        Effect.sync(() =>
          lane.cancelled?.(Cancellation.fromInterruptors(interruptors)[0]?.reason ?? reason())
        )
      )
    })
  if (Stream.StreamTypeId in requests) {
    // A stream runs on its own, no further ahead than there are lanes.
    return Effect.map(Mailbox.make<A>(concurrency), (queue) => {
      const read = Effect.ensuring(
        Stream.runForEach(requests, (request) => queue.offer(request)),
        queue.end
      )
      const take = (lane: Lane) =>
        Effect.forever(Effect.flatMap(queue.take, (request) => run(request, ++count, lane))).pipe(
          Effect.catchAll((error) =>
            Cause.isNoSuchElementException(error) ? Effect.void : Effect.fail(error as E2)
          )
        )
      return [read, ...lanes(take)]
    })
  }
  // Each free lane reads an iterable itself.
  return Effect.sync(() => {
    const iterator = requests[Symbol.iterator]()
    return lanes((lane) =>
      Effect.suspend(() => {
        let found = iterator.next()
        return Effect.whileLoop({
          while: () => found.done !== true,
          body: () => run(found.value, ++count, lane),
          step: () => {
            found = iterator.next()
          }
        })
      })
    )
  })
}
