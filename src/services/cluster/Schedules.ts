import { randomBytes } from "node:crypto"
import type * as SqlClient from "@effect/sql/SqlClient"
import { Clock, Data, Effect, Schema } from "effect"
import type { Status } from "../host/Events.js"
import { codes } from "../host/ExitCodes.js"
import * as DueRuns from "../time/DueRuns.js"
import * as rows from "./internal/scheduleRows.js"
import { Spec, specOf, timesOf } from "./internal/scheduleSpec.js"
import * as Store from "./Store.js"

// Schedules in a store, and the record of their runs. What runs them is ScheduleServer.

// model

export { Command, Rules, Spec, specOf, timesOf, When, Work } from "./internal/scheduleSpec.js"

/**
 * A run: one attempt of a due run, or runs that did not take place. Times are milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export interface Run {
  /** What the command receives as `AIO_RUN_ID`. */
  readonly id: string
  /** The number of the run, from 1; 0 for one that was triggered or did not take place. */
  readonly number: number
  readonly attempt: number
  readonly due: number
  /** `waiting` and `queued` have not started; `claimed` is about to start. */
  readonly status: Status | "waiting" | "queued" | "claimed" | "running"
  readonly started: number | undefined
  readonly ended: number | undefined
  readonly exitCode: number | undefined
  readonly reason: string | undefined
  /** The end of what it wrote. */
  readonly output: string | undefined
  /** How many runs did not take place. */
  readonly count: number
}

/**
 * A schedule and its state. `next` is undefined after the last run and while it is paused or cancelled.
 *
 * @since 0.1.0
 * @category models
 */
export interface Schedule {
  readonly id: string
  readonly name: string
  readonly state: "active" | "paused" | "done" | "cancelled"
  readonly created: number
  readonly spec: Spec
  readonly next: number | undefined
  /** How many of its runs did not take place, because they were missed or the previous one still ran. */
  readonly missed: number
  /** The last run that has ended, or runs now. */
  readonly last: Run | undefined
}

// errors

/**
 * There is no such schedule, or it cannot do that. Exit code 2.
 *
 * @since 0.1.0
 * @category errors
 */
export class ScheduleError extends Data.TaggedError("ScheduleError")<{ readonly message: string }> {
  readonly exitCode = codes.usage
}

// tables

/**
 * The tables of schedules, for `Store.layer`.
 *
 * @since 0.1.0
 * @category constants
 */
export const tables: Store.Tables = rows.tables

// operations

/** 40 random bits in 8 letters and digits that are not easily confused. */
const newId = () =>
  Array.from(randomBytes(8), (byte) => "0123456789abcdefghjkmnpqrstvwxyz"[byte % 32]).join("")

const toRun = (row: rows.RunRow): Run => ({
  id: row.id,
  number: row.number,
  attempt: row.attempt,
  due: row.due,
  status: row.status as Run["status"],
  started: row.started ?? undefined,
  ended: row.ended ?? undefined,
  exitCode: row.exit_code ?? undefined,
  reason: row.reason ?? undefined,
  output: row.output ?? undefined,
  count: row.count
})

const toSchedule = (row: rows.ScheduleRow, last: rows.RunRow | undefined) =>
  Effect.gen(function* () {
    const spec = yield* Effect.mapError(
      specOf(row.spec),
      (problem) => new ScheduleError({ message: `schedule ${row.id} cannot be read: ${problem}` })
    )
    return {
      id: row.id,
      name: row.name,
      state: row.state as Schedule["state"],
      created: row.created,
      spec,
      next: row.state === "active" ? (row.next_at ?? undefined) : undefined,
      missed: row.skipped,
      last: last && toRun(last)
    } satisfies Schedule
  })

/**
 * Records a schedule and returns its id. It runs when a server of the store runs it. Fails with `ScheduleError` if it has no
 * run.
 *
 * @example
 * ```ts
 * import { Effect, Either } from "effect"
 * import * as Schedules from "effect-asyncio/services/Schedules"
 * import * as Store from "effect-asyncio/services/Store"
 *
 * const store = Store.layer(Either.getOrThrow(Store.parse("jobs.sqlite")), [Schedules.tables])
 *
 * export const id = Schedules.add("backup", {
 *   when: { _tag: "Cron", expression: "30 2 * * *" },
 *   zone: "Europe/Berlin",
 *   rules: { catchUp: "last", retries: 3 },
 *   work: { _tag: "Command", file: "restic", args: ["backup", "/home"] }
 * }).pipe(Effect.provide(store))
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const add = (
  name: string,
  spec: Spec
): Effect.Effect<string, ScheduleError | Store.StoreError, Store.Store> =>
  Effect.gen(function* () {
    const store = yield* Store.Store
    const now = yield* Clock.currentTimeMillis
    const wrong = (message: string) => new ScheduleError({ message })
    const { rules, times } = yield* Effect.mapError(timesOf(spec, now), wrong)
    // A single run that is past is due at once.
    const from = {
      Later: now - 1,
      At: spec.when._tag === "At" ? Math.min(now, spec.when.at) - 1 : now,
      Every: now,
      Cron: now
    }
    const state = DueRuns.begin(times, rules, from[spec.when._tag])
    const { next } = state
    if (next === undefined) return yield* wrong(`'${name}' has no run: it would end before the first one`)
    const id = newId()
    yield* store.use(
      (sql) =>
        sql`INSERT INTO aio_schedules ${sql.insert({
          id,
          name,
          work: rows.workOf(spec.work),
          spec: Schema.encodeSync(Schema.parseJson(Spec))(spec),
          state: "active",
          created: now,
          accepted: 0,
          skipped: 0,
          next_at: next.at,
          next_moved: next.skipped ?? null,
          deadline: next.deadline
        })}`
    )
    return id
  })

const lastOf = (sql: SqlClient.SqlClient) => sql<rows.RunRow>`
  SELECT id, job, number, attempt, due, status, started, ended, exit_code, reason, count FROM aio_schedule_runs
  WHERE (job, started) IN (SELECT job, max(started) FROM aio_schedule_runs GROUP BY job)`

/**
 * All schedules, in order of creation. `all` has those that are done or cancelled too.
 *
 * @since 0.1.0
 * @category effects
 */
export const list = ({
  all = false
}: {
  readonly all?: boolean
} = {}): Effect.Effect<ReadonlyArray<Schedule>, ScheduleError | Store.StoreError, Store.Store> =>
  Effect.gen(function* () {
    const store = yield* Store.Store
    const [found, runs] = yield* store.use((sql) =>
      Effect.all([sql<rows.ScheduleRow>`SELECT * FROM aio_schedules ORDER BY created, id`, lastOf(sql)])
    )
    const last = new Map(runs.map((run) => [run.job, run]))
    return yield* Effect.forEach(
      found.filter(({ state }) => all || state === "active" || state === "paused"),
      (row) => toSchedule(row, last.get(row.id))
    )
  })

/** The row of a schedule, or an error that says how to find its id. */
const find = (sql: SqlClient.SqlClient, store: string, id: string) =>
  Effect.gen(function* () {
    const [row] = yield* sql<rows.ScheduleRow>`SELECT * FROM aio_schedules WHERE id = ${id}`
    return row === undefined
      ? yield* new ScheduleError({
          message: `there is no schedule '${id}' in ${store}; aio schedule list --all shows those that there are`
        })
      : row
  })

/**
 * A schedule and the record of its runs, the newest last. Fails with `ScheduleError` if no schedule has this id.
 *
 * @since 0.1.0
 * @category effects
 */
export const show = (
  id: string
): Effect.Effect<
  Schedule & { readonly runs: ReadonlyArray<Run> },
  ScheduleError | Store.StoreError,
  Store.Store
> =>
  Effect.gen(function* () {
    const store = yield* Store.Store
    const [row, runs] = yield* store.use((sql) =>
      Effect.all([
        find(sql, store.shown, id),
        sql<rows.RunRow>`SELECT * FROM aio_schedule_runs WHERE job = ${id} ORDER BY due, attempt, number`
      ])
    )
    const last = runs.filter(({ started }) => started !== null).sort((a, b) => a.started! - b.started!)
    return { ...(yield* toSchedule(row, last.at(-1))), runs: runs.map(toRun) }
  })

const change = <A>(
  id: string,
  step: (
    sql: SqlClient.SqlClient,
    row: rows.ScheduleRow,
    now: number
  ) => Effect.Effect<A, ScheduleError | rows.Failure>
): Effect.Effect<A, ScheduleError | Store.StoreError, Store.Store> =>
  Effect.gen(function* () {
    const store = yield* Store.Store
    const now = yield* Clock.currentTimeMillis
    return yield* store.transaction((sql) =>
      Effect.gen(function* () {
        if (store.dialect === "pg") yield* sql`SELECT id FROM aio_schedules WHERE id = ${id} FOR UPDATE`
        return yield* step(sql, yield* find(sql, store.shown, id), now)
      })
    )
  })

/**
 * Cancels a schedule: no further run starts, and those that run are cancelled by their server. False if it was over already.
 *
 * @since 0.1.0
 * @category effects
 */
export const cancel = (id: string): Effect.Effect<boolean, ScheduleError | Store.StoreError, Store.Store> =>
  change(id, (sql, row, now) =>
    Effect.gen(function* () {
      if (row.state === "done" || row.state === "cancelled") return false
      const reason = "the schedule was cancelled"
      yield* rows.stop(sql, id, reason, now, ["waiting", "queued"])
      yield* sql`UPDATE aio_schedules SET state = 'cancelled', next_at = NULL, deadline = NULL WHERE id = ${id}`
      return true
    })
  )

/**
 * Pauses a schedule: until {@link resume} no run is due. Runs that have started continue. False if it was paused already.
 *
 * @since 0.1.0
 * @category effects
 */
export const pause = (id: string): Effect.Effect<boolean, ScheduleError | Store.StoreError, Store.Store> =>
  change(id, (sql, row) =>
    Effect.gen(function* () {
      if (row.state === "paused") return false
      if (row.state !== "active")
        return yield* new ScheduleError({
          message: `schedule ${id} is ${row.state}; only an active one can pause`
        })
      yield* sql`UPDATE aio_schedules SET state = 'paused' WHERE id = ${id}`
      return true
    })
  )

/**
 * Continues a paused schedule. What was due during the pause does not run, except for a single run, which is due at once.
 * False if it was active already.
 *
 * @since 0.1.0
 * @category effects
 */
export const resume = (id: string): Effect.Effect<boolean, ScheduleError | Store.StoreError, Store.Store> =>
  change(id, (sql, row, now) =>
    Effect.gen(function* () {
      if (row.state === "active") return false
      if (row.state !== "paused")
        return yield* new ScheduleError({
          message: `schedule ${id} is ${row.state}; only a paused one can resume`
        })
      const { spec } = yield* toSchedule(row, undefined)
      const { rules, times } = yield* Effect.mapError(
        timesOf(spec, row.created),
        (message) => new ScheduleError({ message })
      )
      const isSingle = spec.when._tag === "Later" || spec.when._tag === "At"
      const state = rows.stateOf(row)
      const { next } = isSingle ? state : DueRuns.resume(times, rules, state, now)
      yield* sql`UPDATE aio_schedules SET state = 'active', ${sql.update(rows.nextOf(next))} WHERE id = ${id}`
      yield* rows.settle(sql, id)
      return true
    })
  )

/**
 * Makes a run due now, beside those of the schedule, and returns its id.
 *
 * @since 0.1.0
 * @category effects
 */
export const trigger = (id: string): Effect.Effect<string, ScheduleError | Store.StoreError, Store.Store> =>
  change(id, (sql, row, now) =>
    Effect.gen(function* () {
      if (row.state === "cancelled")
        return yield* new ScheduleError({ message: `schedule ${id} is cancelled; add it again to run it` })
      const run = `${id}-${now.toString(36)}${newId().slice(0, 3)}`
      yield* rows.insertRun(sql, { id: `${run}-1`, job: id, work: row.work, number: 0, due: now, ready: now })
      return `${run}-1`
    })
  )
