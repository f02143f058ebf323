import type * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlError from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import { type Context, Effect } from "effect"
import type * as Backoff from "../../task/Backoff.js"
import * as Printable from "../../text/Printable.js"
import type * as Store from "../Store.js"

// The queue of jobs in a store: one set of statements for SQLite and PostgreSQL, each for a batch of rows.
//
// A run is what one submitter asks for: one function of one module, in one version, for many inputs. A job is a row of a run:
// its inputs, then its result. A runner is a process that has a row of its own, whose `beat` it raises. A job that is claimed
// belongs to that row: only while the row is there, and only for this attempt, can its result be recorded. No clock is
// compared with another machine's: a runner is dead when its beat stands still for an observer (see runner.ts).

export type Service = Context.Tag.Service<Store.Store>

/** How many of these go into one statement: at most 500 rows, and few when they are long. */
export const batchOf = <A>(all: ReadonlyArray<A>, textOf: (one: A) => string): number => {
  let characters = 0
  let length = 0
  while (length < all.length && length < 500 && characters < 4 * 1024 * 1024) {
    characters += textOf(all[length++]!).length
  }
  return length
}

export const state = { ready: 0, running: 1, done: 2 } as const

/** The tables of the queue. */
export const tables: Store.Tables = {
  name: "jobs",
  changes: [
    (sql) =>
      Effect.all([
        sql`CREATE TABLE aio_runners (id TEXT PRIMARY KEY, grp TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
          workers INTEGER NOT NULL, running INTEGER NOT NULL, beat INTEGER NOT NULL)`,
        sql`CREATE TABLE aio_runs (id TEXT PRIMARY KEY, grp TEXT NOT NULL, module TEXT NOT NULL, name TEXT NOT NULL,
          version TEXT NOT NULL, settings TEXT NOT NULL, tries INTEGER NOT NULL, kept INTEGER NOT NULL, owner TEXT NOT NULL,
          beat INTEGER NOT NULL)`,
        sql`CREATE TABLE aio_jobs (run TEXT NOT NULL, idx INTEGER NOT NULL, state INTEGER NOT NULL, attempt INTEGER NOT NULL,
          runner TEXT, args TEXT NOT NULL, result TEXT, PRIMARY KEY (run, idx))`,
        sql`CREATE INDEX aio_jobs_ready ON aio_jobs (run, idx) WHERE state = 0`,
        sql`CREATE TABLE aio_refusals (run TEXT NOT NULL, runner TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (run, runner))`,
        sql`CREATE TABLE aio_poison (run TEXT NOT NULL, idx INTEGER NOT NULL, grp TEXT NOT NULL, job TEXT NOT NULL,
          attempts INTEGER NOT NULL, PRIMARY KEY (run, idx))`
      ]),
    // The runs that may have objects in the storage: their rows outlive them until the objects are gone.
    (sql) => sql`CREATE TABLE aio_stored (run TEXT PRIMARY KEY, grp TEXT NOT NULL)`,
    // What a runner has beside its code, and the runner that a job is for while that lives.
    (sql) =>
      Effect.all([
        sql`ALTER TABLE aio_runners ADD COLUMN offers TEXT`,
        sql`ALTER TABLE aio_jobs ADD COLUMN wants TEXT`
      ])
  ]
}

/** Whether the text names a group: it is part of a channel's name. */
export const isGroup = (text: string): boolean => /^[\w.-]{1,40}$/.test(text)
export const groupProblem = (text: string): string =>
  `'${Printable.line(text)}' is no group; expected letters, digits, '.', '_' and '-', at most 40`

/** The channels of PostgreSQL on which a group's runners, and the submitter of a run, are woken. */
export const channels = {
  group: (group: string) => `aio_g_${group}`,
  run: (run: string) => `aio_r_${run}`
}

/** The payload of a notification that jobs are gone. */
export const cancelled = "cancelled"

/** How often a job that has failed runs again, as JSON: durations are numbers of milliseconds. */
export interface Settings {
  readonly retries?: number | undefined
  readonly backoff?: Backoff.Backoff | undefined
}

export interface Run {
  readonly id: string
  /** The file, relative to the folder of the code, with slashes. */
  readonly module: string
  readonly name: string
  /** The digest of the file. */
  readonly version: string
  readonly settings: Settings
  /** How many runners may die under a job. */
  readonly tries: number
}

export interface Claimed {
  readonly run: string
  readonly idx: number
  readonly attempt: number
  readonly args: string
}

type Sql = SqlClient.SqlClient
type Rows = ReadonlyArray<Readonly<Record<string, string | number>>>

/** Rows as a table `x`, in one parameter. */
const given = (
  sql: Sql,
  dialect: Service["dialect"],
  columns: Readonly<Record<string, "INTEGER" | "TEXT">>,
  rows: Rows
): Fragment => {
  const json = JSON.stringify(rows)
  const names = Object.entries(columns)
  return dialect === "pg"
    ? sql`json_to_recordset(${json}::json) AS x(${sql.literal(names.map(([name, type]) => `${name} ${type}`).join(", "))})`
    : sql`(SELECT ${sql.literal(
        names.map(([name]) => `json_extract(value, '$.${name}') AS ${name}`).join(", ")
      )} FROM json_each(${json})) AS x`
}

const indexes = (sql: Sql, dialect: Service["dialect"], values: ReadonlyArray<number>): Fragment =>
  dialect === "pg"
    ? sql`(SELECT value::integer FROM json_array_elements_text(${JSON.stringify(values)}::json) AS v(value))`
    : sql`(SELECT value FROM json_each(${JSON.stringify(values)}))`

export const make = (store: Service) => {
  const { dialect, transaction, use } = store
  const isPg = dialect === "pg"
  /** Wakes the processes that listen on the channel; on SQLite they poll. */
  const notify = (sql: Sql, channel: string, payload = ""): Effect.Effect<unknown, SqlError.SqlError> =>
    isPg ? sql`SELECT pg_notify(${channel}, ${payload})` : Effect.void
  const mine = (sql: Sql, run: string, owner: string) =>
    sql`EXISTS (SELECT 1 FROM aio_runs WHERE id = ${run} AND owner = ${owner})`
  const removeRun = (sql: Sql, run: string) =>
    Effect.all([
      sql`DELETE FROM aio_runs WHERE id = ${run}`,
      sql`DELETE FROM aio_refusals WHERE run = ${run}`,
      sql`DELETE FROM aio_jobs WHERE run = ${run}`
    ])

  return {
    // of submitters

    createRun: (run: Run, group: string, owner: string, kept: boolean) =>
      use(
        (sql) => sql`INSERT INTO aio_runs (id, grp, module, name, version, settings, tries, kept, owner, beat)
          VALUES (${run.id}, ${group}, ${run.module}, ${run.name}, ${run.version}, ${JSON.stringify(run.settings)}, ${run.tries},
            ${kept ? 1 : 0}, ${owner}, 0) ON CONFLICT DO NOTHING`
      ),
    /** The run of this id, if there is one. */
    run: (id: string) =>
      Effect.map(
        use(
          (sql) => sql<Omit<Run, "settings" | "tries"> & { readonly grp: string }>`
            SELECT id, grp, module, name, version FROM aio_runs WHERE id = ${id}`
        ),
        ([row]) => row
      ),
    /** The run has this owner from now on; the owner before it is refused. */
    takeRun: (id: string, owner: string) =>
      use((sql) => sql`UPDATE aio_runs SET owner = ${owner} WHERE id = ${id}`),
    /** Adds jobs, and gives the number of those that are new; -1 if the run is gone or has another owner. */
    add: (
      run: string,
      group: string,
      owner: string,
      rows: ReadonlyArray<{ readonly idx: number; readonly args: string; readonly wants?: string }>
    ) =>
      use((sql) =>
        Effect.gen(function* () {
          const x = given(sql, dialect, { idx: "INTEGER", args: "TEXT", wants: "TEXT" }, rows)
          const insert = sql`INSERT INTO aio_jobs (run, idx, state, attempt, args, wants)
            SELECT CAST(${run} AS TEXT), x.idx, 0, 0, x.args, x.wants FROM ${x} WHERE ${mine(sql, run, owner)} ON CONFLICT DO NOTHING
            RETURNING idx`
          const added = isPg
            ? Number(
                (yield* sql<{
                  n: number
                }>`WITH i AS (${insert}), n AS (SELECT CAST(count(*) AS INTEGER) AS n FROM i)
                  SELECT n, pg_notify(${channels.group(group)}, '') FROM n`)[0]!.n
              )
            : (yield* insert).length
          if (added === rows.length) return added
          const [owned] = yield* sql`SELECT 1 AS yes WHERE ${mine(sql, run, owner)}`
          return owned === undefined ? -1 : added
        })
      ),
    /** The inputs of jobs that are there. */
    inputs: (run: string, idx: ReadonlyArray<number>) =>
      use(
        (sql) => sql<{ readonly idx: number; readonly args: string }>`
          SELECT idx, args FROM aio_jobs WHERE run = ${run} AND idx IN ${indexes(sql, dialect, idx)}`
      ),
    /** The results of these jobs that are there. */
    results: (run: string, idx: ReadonlyArray<number>) =>
      use(
        (sql) => sql<{ readonly idx: number; readonly runner: string | null; readonly result: string }>`
          SELECT idx, runner, result FROM aio_jobs
          WHERE run = ${run} AND state = 2 AND idx IN ${indexes(sql, dialect, idx)} ORDER BY idx LIMIT 1000`
      ),
    /** Removes jobs whose results have been read. */
    remove: (run: string, idx: ReadonlyArray<number>) =>
      use((sql) => sql`DELETE FROM aio_jobs WHERE run = ${run} AND idx IN ${indexes(sql, dialect, idx)}`),
    /** Removes jobs: their results are not recorded any more. Gives the texts of those that have one. */
    cancel: (run: string, group: string, idx: ReadonlyArray<number>) =>
      use((sql) =>
        Effect.zipLeft(
          sql<{ readonly result: string | null }>`DELETE FROM aio_jobs
            WHERE run = ${run} AND idx IN ${indexes(sql, dialect, idx)} RETURNING result`,
          notify(sql, channels.group(group), cancelled)
        )
      ),
    /** Ends a run: nothing of it is left, and runners stop its jobs. False if it has another owner. */
    endRun: (run: string, group: string, owner: string) =>
      transaction((sql) =>
        Effect.gen(function* () {
          const [owned] = yield* sql`SELECT 1 AS yes WHERE ${mine(sql, run, owner)}`
          if (owned === undefined) return false
          yield* removeRun(sql, run)
          yield* notify(sql, channels.group(group), cancelled)
          return true
        })
      ),
    /** Shows that the owner lives; false if the run is gone or has another owner. */
    beatRun: (run: string, owner: string) =>
      Effect.map(
        use(
          (sql) =>
            sql`UPDATE aio_runs SET beat = beat + 1 WHERE id = ${run} AND owner = ${owner} RETURNING id`
        ),
        ({ length }) => length > 0
      ),
    /** How many runners the group has, and why those that refuse the run do. */
    prospects: (run: string, group: string) =>
      use((sql) =>
        Effect.map(
          Effect.all([
            sql`SELECT id FROM aio_runners WHERE grp = ${group}`,
            sql<{ readonly reason: string }>`SELECT reason FROM aio_refusals
              WHERE run = ${run} AND runner IN (SELECT id FROM aio_runners WHERE grp = ${group})`
          ]),
          ([runners, refusals]) => ({
            runners: runners.length,
            refusals: refusals.map(({ reason }) => reason)
          })
        )
      ),

    // of objects in the storage

    /** Before the first object of the run. */
    noteStored: (run: string, group: string) =>
      use((sql) => sql`INSERT INTO aio_stored (run, grp) VALUES (${run}, ${group}) ON CONFLICT DO NOTHING`),
    /** Runs of the group that have ended, and may have left objects. */
    endedStored: (group: string) =>
      Effect.map(
        use(
          (sql) => sql<{ readonly run: string }>`SELECT run FROM aio_stored s
            WHERE grp = ${group} AND NOT EXISTS (SELECT 1 FROM aio_runs r WHERE r.id = s.run) ORDER BY run LIMIT 1000`
        ),
        (rows) => rows.map(({ run }) => run)
      ),
    forgetStored: (run: string) => use((sql) => sql`DELETE FROM aio_stored WHERE run = ${run}`),
    /** The group's runners, and what each has beside its code, as JSON. */
    runners: (group: string) =>
      use(
        (sql) => sql<{ readonly id: string; readonly offers: string | null }>`
          SELECT id, offers FROM aio_runners WHERE grp = ${group} ORDER BY id`
      ),

    // of runners

    register: (
      id: string,
      group: string,
      about: {
        readonly host: string
        readonly pid: number
        readonly workers: number
        readonly offers: ReadonlyArray<string>
      }
    ) =>
      use(
        (sql) => sql`INSERT INTO aio_runners (id, grp, host, pid, workers, running, beat, offers)
          VALUES (${id}, ${group}, ${about.host}, ${about.pid}, ${about.workers}, 0, 1, ${JSON.stringify(about.offers)})`
      ),
    /** Shows that the runner lives; false if others have declared it dead. */
    beat: (id: string, running: number) =>
      Effect.map(
        use(
          (sql) =>
            sql`UPDATE aio_runners SET beat = beat + 1, running = ${running} WHERE id = ${id} RETURNING id`
        ),
        ({ length }) => length > 0
      ),
    /** What an observer compares: the beats of the group's runners, and of the submitters whose runs end with them. */
    beats: (group: string) =>
      use((sql) =>
        Effect.all({
          runners: sql<{
            readonly id: string
            readonly beat: number
          }>`SELECT id, beat FROM aio_runners WHERE grp = ${group}`,
          runs: sql<{ readonly id: string; readonly beat: number }>`
            SELECT id, beat FROM aio_runs WHERE grp = ${group} AND kept = 0`
        })
      ),
    /**
     * The group's runs with jobs that wait. PostgreSQL makes a join of EXISTS, and reads all jobs where most belong to one run;
     * with the order it takes the first one from the index.
     */
    openRuns: (group: string) =>
      Effect.map(
        use(
          (sql) => sql<Omit<Run, "settings"> & { readonly settings: string }>`
            SELECT id, module, name, version, settings, tries FROM aio_runs r
            WHERE grp = ${group} AND (
              SELECT idx FROM aio_jobs j WHERE j.run = r.id AND j.state = 0 ORDER BY idx LIMIT 1) IS NOT NULL ORDER BY id`
        ),
        (rows) => rows.map((row): Run => ({ ...row, settings: JSON.parse(row.settings) as Settings }))
      ),
    /**
     * Takes at most `most` jobs of the run for the runner, none of those for another one that lives. The runner's row is
     * locked with them: either it is declared dead first and claims none, or its death gives these back too.
     */
    claim: (run: string, runner: string, most: number) =>
      use((sql) => {
        const found = sql`SELECT idx FROM aio_jobs WHERE run = ${run} AND state = 0
          AND (wants IS NULL OR wants = ${runner} OR NOT EXISTS (SELECT 1 FROM aio_runners w WHERE w.id = wants))
          ORDER BY idx LIMIT ${most}`
        return isPg
          ? sql<Claimed>`WITH me AS MATERIALIZED (SELECT id FROM aio_runners WHERE id = ${runner} FOR SHARE),
              f AS MATERIALIZED (${found} FOR UPDATE SKIP LOCKED)
              UPDATE aio_jobs j SET state = 1, runner = me.id, attempt = j.attempt + 1 FROM f, me
              WHERE j.run = ${run} AND j.idx = f.idx RETURNING j.run, j.idx, j.attempt, j.args`
          : sql<Claimed>`UPDATE aio_jobs SET state = 1, runner = ${runner}, attempt = attempt + 1
              WHERE run = ${run} AND idx IN (${found}) AND EXISTS (SELECT 1 FROM aio_runners WHERE id = ${runner})
              RETURNING run, idx, attempt, args`
      }),
    /** Records results of attempts that are still the runner's, wakes their submitters, and gives the number recorded. */
    record: (
      runner: string,
      rows: ReadonlyArray<{
        readonly run: string
        readonly idx: number
        readonly attempt: number
        readonly result: string
      }>
    ) =>
      use((sql) => {
        const x = given(
          sql,
          dialect,
          { run: "TEXT", idx: "INTEGER", attempt: "INTEGER", result: "TEXT" },
          rows
        )
        const update = sql`UPDATE aio_jobs SET state = 2, result = x.result FROM ${x}
          WHERE aio_jobs.run = x.run AND aio_jobs.idx = x.idx AND aio_jobs.attempt = x.attempt AND aio_jobs.state = 1
            AND aio_jobs.runner = ${runner} RETURNING aio_jobs.run`
        return isPg
          ? Effect.map(
              sql<{
                n: number
              }>`WITH d AS (${update}) SELECT CAST(count(*) AS INTEGER) AS n, pg_notify('aio_r_' || run, '')
                FROM d GROUP BY run`,
              (counts) => counts.reduce((sum, { n }) => sum + n, 0)
            )
          : Effect.map(update, ({ length }) => length)
      }),
    /** Of these claims those that are still the runner's. */
    held: (
      runner: string,
      claims: ReadonlyArray<{ readonly run: string; readonly idx: number; readonly attempt: number }>
    ) =>
      use(
        (sql) => sql<{ readonly run: string; readonly idx: number }>`
          SELECT j.run, j.idx FROM ${given(sql, dialect, { run: "TEXT", idx: "INTEGER", attempt: "INTEGER" }, claims)}
          JOIN aio_jobs j ON j.run = x.run AND j.idx = x.idx
          WHERE j.attempt = x.attempt AND j.state = 1 AND j.runner = ${runner}`
      ),
    /** All claims of the runner, by a scan of the table. */
    owned: (runner: string) =>
      use(
        (sql) => sql<{ readonly run: string; readonly idx: number; readonly attempt: number }>`
          SELECT run, idx, attempt FROM aio_jobs WHERE state = 1 AND runner = ${runner}`
      ),
    /** Gives claims back that have not run, or will run again; they do not count as attempts. */
    giveBack: (
      runner: string,
      claims: ReadonlyArray<{ readonly run: string; readonly idx: number; readonly attempt: number }>
    ) =>
      use(
        (sql) => sql`UPDATE aio_jobs SET state = 0, runner = NULL, attempt = aio_jobs.attempt - 1
          FROM ${given(sql, dialect, { run: "TEXT", idx: "INTEGER", attempt: "INTEGER" }, claims)}
          WHERE aio_jobs.run = x.run AND aio_jobs.idx = x.idx AND aio_jobs.attempt = x.attempt AND aio_jobs.state = 1
            AND aio_jobs.runner = ${runner}`
      ),
    refuse: (run: string, runner: string, reason: string) =>
      use(
        (
          sql
        ) => sql`INSERT INTO aio_refusals (run, runner, reason) SELECT CAST(${run} AS TEXT), CAST(${runner} AS TEXT), CAST(${reason} AS TEXT)
          WHERE EXISTS (SELECT 1 FROM aio_runs WHERE id = ${run}) ON CONFLICT DO NOTHING`
      ),
    /**
     * Declares the runner dead, unless its beat has moved on: its jobs are ready again, and those under which too many
     * runners have died get the result `poison`. True if it was there.
     */
    bury: (runner: string, beat: number, group: string, poison: (tries: number) => string) =>
      transaction((sql) =>
        Effect.gen(function* () {
          const dead =
            yield* sql`DELETE FROM aio_runners WHERE id = ${runner} AND beat = ${beat} RETURNING id`
          if (dead.length === 0) return false
          const lost = sql`j.state = 1 AND j.runner = ${runner}`
          const poisoned = yield* sql<{ run: string; idx: number; attempt: number; job: string }>`
            SELECT j.run, j.idx, j.attempt, r.module || '#' || r.name AS job FROM aio_jobs j JOIN aio_runs r ON r.id = j.run
            WHERE ${lost} AND j.attempt >= r.tries`
          for (const { attempt, idx, job, run } of poisoned) {
            yield* sql`UPDATE aio_jobs SET state = 2, result = ${poison(attempt)} WHERE run = ${run} AND idx = ${idx}`
            yield* sql`INSERT INTO aio_poison (run, idx, grp, job, attempts) VALUES (${run}, ${idx}, ${group}, ${job}, ${attempt})
              ON CONFLICT DO NOTHING`
          }
          yield* sql`UPDATE aio_jobs AS j SET state = 0, runner = NULL WHERE ${lost}`
          yield* sql`DELETE FROM aio_refusals WHERE runner = ${runner}`
          for (const run of new Set(poisoned.map(({ run }) => run))) yield* notify(sql, channels.run(run))
          yield* notify(sql, channels.group(group))
          return true
        })
      ),
    /** Ends a run whose submitter is gone, unless its beat has moved on. */
    abandon: (run: string, beat: number) =>
      transaction((sql) =>
        Effect.gen(function* () {
          const [gone] = yield* sql`SELECT id FROM aio_runs WHERE id = ${run} AND beat = ${beat}`
          if (gone !== undefined) yield* removeRun(sql, run)
        })
      ),
    /** The runner ends: what it still holds is ready again. */
    leave: (runner: string, group: string) =>
      transaction((sql) =>
        Effect.gen(function* () {
          yield* sql`DELETE FROM aio_runners WHERE id = ${runner}`
          yield* sql`DELETE FROM aio_refusals WHERE runner = ${runner}`
          yield* sql`UPDATE aio_jobs SET state = 0, runner = NULL, attempt = attempt - 1 WHERE state = 1 AND runner = ${runner}`
          yield* notify(sql, channels.group(group))
        })
      )
  }
}

export type Queue = ReturnType<typeof make>
