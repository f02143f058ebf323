import type * as SqlClient from "@effect/sql/SqlClient"
import { Effect } from "effect"
import type { MissingPackage } from "../network/NetworkSettings.js"
import * as Builtins from "./internal/builtins.js"
import { located } from "./internal/location.js"
import * as Queue from "./internal/queue.js"
import * as Store from "./Store.js"

/**
 * A runner: `running` is the number of rows that it held at its last heartbeat, `workers` how many jobs run at once, `offers`
 * what it runs beside functions: `commands`, `downloads`.
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
  readonly offers: ReadonlyArray<string>
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

const query = (sql: SqlClient.SqlClient) =>
  Effect.all({
    runners: Effect.map(
      sql<Omit<RunnerRow, "offers"> & { readonly offers: string | null }>`
        SELECT id, grp, host, pid, workers, running, offers FROM aio_runners ORDER BY grp, id`,
      (rows) => rows.map((row): RunnerRow => ({ ...row, offers: Builtins.titles(row.offers) }))
    ),
    runs: sql<RunRow>`SELECT r.id, r.grp, r.module, r.name,
        CAST(COALESCE(SUM(CASE WHEN j.state = 0 THEN 1 END), 0) AS INTEGER) AS ready,
        CAST(COALESCE(SUM(CASE WHEN j.state = 1 THEN 1 END), 0) AS INTEGER) AS running,
        CAST(COALESCE(SUM(CASE WHEN j.state = 2 THEN 1 END), 0) AS INTEGER) AS done
      FROM aio_runs r LEFT JOIN aio_jobs j ON j.run = r.id GROUP BY r.id, r.grp, r.module, r.name ORDER BY r.grp, r.id`,
    poison: sql<PoisonRow>`SELECT run, idx, grp, job, attempts FROM aio_poison ORDER BY run, idx LIMIT 1000`
  })

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
      return yield* opened.use(query)
    })
  )
