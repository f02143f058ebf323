import { Effect } from "effect"
import type { MissingPackage } from "../network/NetworkSettings.js"
import { located } from "./internal/location.js"
import * as Queue from "./internal/queue.js"
import * as Store from "./Store.js"

/**
 * A runner: `running` is the number of rows that it held at its last heartbeat, `workers` how many jobs run at once.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunnerRow {
  readonly id: string
  readonly grp: string
  readonly host: string
  readonly pid: number
  readonly workers: number
  readonly running: number
}

/**
 * A run, and its rows by state.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunRow {
  readonly id: string
  readonly grp: string
  /** The function: a file in the folder of the code, and its export. */
  readonly module: string
  readonly name: string
  readonly ready: number
  readonly running: number
  readonly done: number
}

/**
 * A job that was given up: `attempts` runners died while they had it.
 *
 * @since 0.1.0
 * @category models
 */
export interface PoisonRow {
  readonly run: string
  readonly idx: number
  readonly grp: string
  /** `MODULE#EXPORT` */
  readonly job: string
  readonly attempts: number
}

/**
 * What is in a store of jobs: runners that live, or died within the last seconds; runs with their jobs by state; and at most
 * 1,000 jobs that were given up because too many runners died while they had them.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClusterStatus {
  readonly runners: ReadonlyArray<RunnerRow>
  readonly runs: ReadonlyArray<RunRow>
  readonly poison: ReadonlyArray<PoisonRow>
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
