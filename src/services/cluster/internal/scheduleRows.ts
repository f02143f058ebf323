import type * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlError from "@effect/sql/SqlError"
import { Effect } from "effect"
import type * as DueRuns from "../../time/DueRuns.js"
import type * as Store from "../Store.js"

// The tables of schedules, and the changes of them that operations and servers share. Each is part of a transaction. Times
// are milliseconds since the epoch.

export type Failure = SqlError.SqlError

export interface ScheduleRow {
  readonly id: string
  readonly name: string
  /** `command`, or `timer:NAME`: which servers run it. */
  readonly work: string
  readonly spec: string
  readonly state: string
  readonly created: number
  /** The number of the last run. */
  readonly accepted: number
  readonly skipped: number
  readonly next_at: number | null
  readonly next_moved: string | null
  readonly deadline: number | null
}

export interface RunRow {
  readonly id: string
  readonly job: string
  readonly work: string
  readonly number: number
  readonly attempt: number
  readonly due: number
  readonly moved: string | null
  readonly status: string
  /** It does not start before. */
  readonly ready: number
  readonly started: number | null
  readonly ended: number | null
  readonly exit_code: number | null
  readonly signal: string | null
  readonly reason: string | null
  readonly output: string | null
  readonly owner: string | null
  /** Why it is to be cancelled. */
  readonly stop: string | null
  readonly count: number
}

export const tables: Store.Tables = {
  name: "schedules",
  changes: [
    (sql) =>
      Effect.all(
        [
          sql`CREATE TABLE aio_schedules (
            id TEXT PRIMARY KEY, name TEXT NOT NULL, work TEXT NOT NULL, spec TEXT NOT NULL, state TEXT NOT NULL,
            created DOUBLE PRECISION NOT NULL, accepted INTEGER NOT NULL, skipped INTEGER NOT NULL,
            next_at DOUBLE PRECISION, next_moved TEXT, deadline DOUBLE PRECISION)`,
          sql`CREATE INDEX aio_schedules_due ON aio_schedules (state, deadline)`,
          sql`CREATE TABLE aio_schedule_runs (
            id TEXT PRIMARY KEY, job TEXT NOT NULL, work TEXT NOT NULL, number INTEGER NOT NULL,
            attempt INTEGER NOT NULL, due DOUBLE PRECISION NOT NULL, moved TEXT, status TEXT NOT NULL,
            ready DOUBLE PRECISION NOT NULL, started DOUBLE PRECISION, ended DOUBLE PRECISION, exit_code INTEGER,
            signal TEXT, reason TEXT, output TEXT, owner TEXT, stop TEXT, count INTEGER NOT NULL)`,
          sql`CREATE INDEX aio_schedule_runs_job ON aio_schedule_runs (job, due)`,
          sql`CREATE INDEX aio_schedule_runs_status ON aio_schedule_runs (status, ready)`,
          sql`CREATE TABLE aio_schedule_servers (
            id TEXT PRIMARY KEY, pid INTEGER NOT NULL, host TEXT NOT NULL, process TEXT NOT NULL,
            started DOUBLE PRECISION NOT NULL, beat DOUBLE PRECISION NOT NULL)`
        ],
        { discard: true }
      )
  ]
}

export const workOf = (
  work: { readonly _tag: "Command" } | { readonly _tag: "Timer"; readonly timer: string }
): string => (work._tag === "Command" ? "command" : `timer:${work.timer}`)

export const nextOf = (next: DueRuns.Due | undefined) => ({
  next_at: next?.at ?? null,
  next_moved: next?.skipped ?? null,
  deadline: next?.deadline ?? null
})

/** The state of the series, without its runs. */
export const stateOf = ({ accepted, deadline, next_at, next_moved }: ScheduleRow): DueRuns.State => ({
  accepted,
  next:
    next_at === null
      ? undefined
      : { at: next_at, skipped: next_moved ?? undefined, deadline: deadline ?? next_at },
  running: 0,
  waiting: []
})

export const insertRun = (
  sql: SqlClient.SqlClient,
  run: Pick<RunRow, "due" | "id" | "job" | "number" | "ready" | "work"> & Partial<RunRow>
) =>
  sql`INSERT INTO aio_schedule_runs ${sql.insert({
    attempt: 1,
    status: "waiting",
    count: 1,
    ...run
  })}`

/** Asks the servers to cancel the runs that have started, and cancels those with these statuses, which have not. */
export const stop = (
  sql: SqlClient.SqlClient,
  job: string,
  reason: string,
  now: number,
  unstarted: ReadonlyArray<string>
) =>
  Effect.zipRight(
    sql`UPDATE aio_schedule_runs SET stop = ${reason} WHERE job = ${job} AND status IN ('claimed', 'running')`,
    sql`UPDATE aio_schedule_runs SET status = 'cancelled', ended = ${now}, reason = ${reason}
      WHERE job = ${job} AND status IN ${sql.in(unstarted)}`
  )

/** Starts the next run in the queue when none is active, and ends a schedule that has no further run. */
export const settle = (sql: SqlClient.SqlClient, job: string) =>
  Effect.gen(function* () {
    const active = sql`SELECT 1 FROM aio_schedule_runs
      WHERE job = ${job} AND status IN ('waiting', 'claimed', 'running')`
    yield* sql`UPDATE aio_schedule_runs SET status = 'waiting' WHERE NOT EXISTS (${active}) AND id IN (
      SELECT id FROM aio_schedule_runs WHERE job = ${job} AND status = 'queued' ORDER BY number LIMIT 1)`
    yield* sql`UPDATE aio_schedules SET state = 'done'
      WHERE id = ${job} AND state = 'active' AND next_at IS NULL AND NOT EXISTS (${active})`
  })
