import type * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Either } from "effect"
import type { Ended } from "../../supervision/CommandRun.js"
import * as Backoff from "../../task/Backoff.js"
import * as DueRuns from "../../time/DueRuns.js"
import * as Schedules from "../Schedules.js"
import * as rows from "./scheduleRows.js"

// What a server writes to the record: each is one transaction, so that a server that is killed leaves the record before it
// or after it. Several servers on PostgreSQL lock the rows that they change, and skip those that another has locked.

/** Where the record of runs is kept short. */
export interface Keep {
  /** How many ended runs of a schedule. */
  readonly runs: number
}

const lock = (sql: SqlClient.SqlClient, isShared: boolean) =>
  sql.literal(isShared ? "FOR UPDATE SKIP LOCKED" : "")

const parsed = (row: rows.ScheduleRow) =>
  Either.flatMap(Schedules.specOf(row.spec), (spec) =>
    Either.map(Schedules.timesOf(spec, row.created), (found) => ({ ...found, spec }))
  )

export interface Fired {
  readonly name: string
  readonly decision: DueRuns.Decision
}

/** Decides on a schedule that is due: records the runs that it starts, queues or skips, and when the next one is due. */
export const fire = (sql: SqlClient.SqlClient, isShared: boolean, id: string, now: number) =>
  Effect.gen(function* () {
    const [row] = yield* sql<rows.ScheduleRow>`SELECT * FROM aio_schedules
      WHERE id = ${id} AND state = 'active' AND deadline <= ${now} ${lock(sql, isShared)}`
    if (row === undefined) return undefined
    const spec = parsed(row)
    if (Either.isLeft(spec))
      return yield* new Schedules.ScheduleError({ message: `schedule ${id}: ${spec.left}` })
    const runs = yield* sql<rows.RunRow>`SELECT id, number, due, moved, status FROM aio_schedule_runs
      WHERE job = ${id} AND status IN ('waiting', 'claimed', 'running', 'queued') ORDER BY number`
    const queued = runs.filter(({ status }) => status === "queued")
    const { rules, times } = spec.right
    const decision = DueRuns.fire(
      times,
      rules,
      {
        ...rows.stateOf(row),
        running: runs.length - queued.length,
        waiting: queued.map(({ due, moved, number }) => ({
          run: number,
          at: due,
          skipped: moved ?? undefined
        }))
      },
      now
    )
    const { skips, starts, state } = decision
    const tick = { job: id, work: row.work, ready: now }
    const put = (ticks: typeof starts, status: string) =>
      Effect.forEach(
        ticks,
        ({ at, run, skipped }) =>
          rows.insertRun(sql, {
            ...tick,
            id: `${id}-${run}-1`,
            number: run,
            due: at,
            moved: skipped ?? null,
            status
          }),
        { discard: true }
      )
    if (decision.cancels) yield* rows.stop(sql, id, "the next run is due", now, ["waiting"])
    if (queued.length > 0) yield* sql`DELETE FROM aio_schedule_runs WHERE job = ${id} AND status = 'queued'`
    yield* put(state.waiting, "queued")
    yield* put(starts, "waiting")
    yield* Effect.forEach(
      skips,
      ({ at, count, reason }, i) =>
        rows.insertRun(sql, {
          ...tick,
          id: `${id}-s${now.toString(36)}-${i}`,
          number: 0,
          due: at,
          status: "skipped",
          ended: now,
          reason,
          count
        }),
      { discard: true }
    )
    const skipped = row.skipped + skips.reduce((sum, { count }) => sum + count, 0)
    yield* sql`UPDATE aio_schedules SET ${sql.update({ ...rows.nextOf(state.next), accepted: state.accepted, skipped })}
      WHERE id = ${id}`
    yield* rows.settle(sql, id)
    return { name: row.name, decision } satisfies Fired
  })

/** Takes runs that are ready, and returns them with their schedules. */
export const claim = (
  sql: SqlClient.SqlClient,
  isShared: boolean,
  { limit, now, owner, works }: { limit: number; now: number; owner: string; works: ReadonlyArray<string> }
) =>
  Effect.gen(function* () {
    const taken = yield* sql<rows.RunRow>`UPDATE aio_schedule_runs SET status = 'claimed', owner = ${owner}
      WHERE id IN (SELECT id FROM aio_schedule_runs
        WHERE status = 'waiting' AND ready <= ${now} AND work IN ${sql.in(works)}
        ORDER BY ready, due LIMIT ${limit} ${lock(sql, isShared)}) RETURNING *`
    if (taken.length === 0) return []
    const found = yield* sql<rows.ScheduleRow>`SELECT * FROM aio_schedules
      WHERE id IN ${sql.in([...new Set(taken.map(({ job }) => job))])}`
    const schedules = new Map(found.map((row) => [row.id, row]))
    return [...taken]
      .sort((a, b) => a.due - b.due)
      .flatMap((run) => {
        const row = schedules.get(run.job)
        return row === undefined ? [] : [{ run, row }]
      })
  })

/** Gives back what this owner has claimed without being told: the store failed behind the claim. */
export const giveBack = (
  sql: SqlClient.SqlClient,
  { held, now, owner }: { held: ReadonlyArray<string>; now: number; owner: string }
) =>
  Effect.gen(function* () {
    const others = held.length === 0 ? sql`` : sql`AND id NOT IN ${sql.in(held)}`
    const found = yield* sql<{ job: string }>`UPDATE aio_schedule_runs SET owner = NULL, reason = stop,
        status = CASE WHEN stop IS NULL THEN 'waiting' ELSE 'cancelled' END,
        ended = CASE WHEN stop IS NOT NULL THEN CAST(${now} AS DOUBLE PRECISION) END
      WHERE status = 'claimed' AND owner = ${owner} ${others} RETURNING job`
    for (const { job } of found) yield* rows.settle(sql, job)
  })

/** Records that it runs. False if it is not this owner's any more. */
export const started = (sql: SqlClient.SqlClient, run: string, owner: string, now: number) =>
  Effect.map(
    sql`UPDATE aio_schedule_runs SET status = 'running', started = ${now}
      WHERE id = ${run} AND owner = ${owner} AND status = 'claimed' RETURNING id`,
    ({ length }) => length > 0
  )

/** The next attempt of a run, if one follows. */
export interface Retry {
  readonly attempt: number
  readonly delay: number
}

/**
 * Records the end of a run, and what follows from it: its next attempt, or the next run in the queue. Undefined if it is not
 * this owner's any more.
 */
export const end = (
  sql: SqlClient.SqlClient,
  isShared: boolean,
  {
    ended,
    job,
    keep,
    now,
    output,
    owner,
    run: id
  }: {
    ended: Ended
    job: string
    keep: Keep
    now: number
    output: string | null
    owner: string
    run: string
  }
) =>
  Effect.gen(function* () {
    // Of two runs that end at once, one sees that the other has ended.
    if (isShared) yield* sql`SELECT id FROM aio_schedules WHERE id = ${job} FOR UPDATE`
    const [run] = yield* sql<rows.RunRow>`UPDATE aio_schedule_runs SET ${sql.update({
      status: ended.status,
      ended: now,
      exit_code: ended.exitCode ?? null,
      signal: ended.signal ?? null,
      reason: ended.reason ?? null,
      output
    })}, started = COALESCE(started, ${now}) WHERE id = ${id} AND owner = ${owner} AND status IN ('claimed', 'running') RETURNING *`
    if (run === undefined) return undefined
    const [row] = yield* sql<rows.ScheduleRow>`SELECT * FROM aio_schedules WHERE id = ${run.job}`
    if (row === undefined) return { retry: undefined, run }
    const rules = Either.getOrUndefined(Schedules.specOf(row.spec))?.rules
    const retries = rules?.retries ?? 0
    // A run that was stopped by its schedule is over; another one that did not succeed is tried again.
    const fails = ended.status !== "succeeded" && run.stop === null && row.state !== "cancelled"
    let retry: Retry | undefined
    if (fails && run.attempt <= retries) {
      const delay = yield* Backoff.make(rules?.backoff)(run.attempt - 1)
      retry = { attempt: run.attempt + 1, delay }
      yield* rows.insertRun(sql, {
        id: `${run.id.slice(0, run.id.lastIndexOf("-"))}-${retry.attempt}`,
        job: run.job,
        work: run.work,
        number: run.number,
        attempt: retry.attempt,
        due: run.due,
        moved: run.moved,
        ready: now + delay
      })
    }
    yield* rows.settle(sql, run.job)
    yield* sql`DELETE FROM aio_schedule_runs WHERE job = ${run.job} AND ended IS NOT NULL AND id NOT IN (
      SELECT id FROM aio_schedule_runs WHERE job = ${run.job} AND ended IS NOT NULL
      ORDER BY ended DESC, due DESC LIMIT ${keep.runs})`
    return { retry, run, name: row.name }
  })

/**
 * Takes back what servers held that are not in the table any more: a run that had not started waits again, and one that had
 * was cut off.
 */
export const recover = (sql: SqlClient.SqlClient, isShared: boolean, keep: Keep, now: number) =>
  Effect.gen(function* () {
    const held = yield* sql<rows.RunRow>`SELECT * FROM aio_schedule_runs
      WHERE status IN ('claimed', 'running') AND owner NOT IN (SELECT id FROM aio_schedule_servers)
      ${lock(sql, isShared)}`
    const cut = []
    for (const run of held) {
      if (run.status === "claimed" && run.stop === null) {
        yield* sql`UPDATE aio_schedule_runs SET status = 'waiting', owner = NULL WHERE id = ${run.id}`
        continue
      }
      const ended: Ended =
        run.stop === null
          ? { status: "failed", reason: `cut off: the process that ran it has ended` }
          : { status: "cancelled", reason: run.stop }
      const found = yield* end(sql, isShared, {
        run: run.id,
        job: run.job,
        owner: run.owner!,
        ended,
        keep,
        now,
        output: null
      })
      if (found !== undefined) cut.push({ ...found, ended })
    }
    return cut
  })

/** Moves the schedules that follow real time to the new time, after the wall clock was set back. */
export const replan = (sql: SqlClient.SqlClient, now: number) =>
  Effect.gen(function* () {
    const found =
      yield* sql<rows.ScheduleRow>`SELECT * FROM aio_schedules WHERE state = 'active' AND deadline > ${now}`
    for (const row of found) {
      const spec = parsed(row)
      if (Either.isLeft(spec)) continue
      const state = rows.stateOf(row)
      const { next } = DueRuns.replan(spec.right.times, spec.right.rules, state, now)
      if (next !== state.next)
        yield* sql`UPDATE aio_schedules SET ${sql.update(rows.nextOf(next))} WHERE id = ${row.id}`
    }
  })
