import { Effect } from "effect"
import type { MissingPackage } from "../network/NetworkSettings.js"
import { located } from "./internal/location.js"
import * as Queue from "./internal/queue.js"
import * as Store from "./Store.js"

/**
 * What is in a store of jobs: runners that live, or died within the last seconds; runs with their jobs by state; and at most
 * 1,000 jobs that were given up because too many runners died while they had them.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClusterStatus {
  readonly runners: ReadonlyArray<Queue.RunnerRow>
  readonly runs: ReadonlyArray<Queue.RunRow>
  readonly poison: ReadonlyArray<Queue.PoisonRow>
}

/**
 * Reads what is in the store: `FILE`, `sqlite:FILE` or `postgres://user@host/database`.
 *
 * @since 0.1.0
 * @category effects
 */
export const read = (store: string): Effect.Effect<ClusterStatus, Store.StoreError | MissingPackage> =>
  Effect.scoped(
    Effect.gen(function* () {
      const opened = yield* Store.open(yield* located(store), [Queue.tables])
      return yield* Queue.make(opened).status
    })
  )
