import { Effect } from "effect"
import * as Sleep from "../../task/Sleep.js"
import type * as Store from "../Store.js"
import type * as Objects from "./objects.js"
import type * as Queue from "./queue.js"

/**
 * Removes what runs of the group have left in the storage that ended without their submitter: of a run that has ended at two
 * looks in a row, so that a runner which still stored a result has seen its end and removed it itself.
 */
export const sweep = ({
  ask,
  every,
  group,
  objects,
  queue
}: {
  readonly ask: <A>(ask: Effect.Effect<A, Store.StoreError>) => Effect.Effect<A, Store.StoreError>
  readonly queue: Queue.Queue
  readonly objects: Objects.Objects
  readonly group: string
  /** Milliseconds between two looks. */
  readonly every: number
}): Effect.Effect<never, Store.StoreError> => {
  let seen = new Set<string>()
  const look = Effect.gen(function* () {
    const ended = yield* ask(queue.endedStored(group))
    for (const run of ended.filter((run) => seen.has(run))) {
      yield* Effect.matchEffect(objects.removeRun(run), {
        onFailure: ({ message }) => Effect.logWarning(`objects of the run ${run} are left: ${message}`),
        onSuccess: () => ask(queue.forgetStored(run))
      })
    }
    seen = new Set(ended)
  })
  return objects.isThere ? Effect.forever(Effect.zipRight(look, Sleep.sleep(every))) : Effect.never
}
