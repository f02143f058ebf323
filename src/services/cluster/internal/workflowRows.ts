import type * as SqlClient from "@effect/sql/SqlClient"
import { Effect } from "effect"
import type * as Store from "../Store.js"

// The tables of workflows and each change of them, one transaction each, so that a process that is killed leaves the record
// before it or after it. What the owner of an execution writes is fenced by the number of its claim: after a takeover it
// changes nothing. Times are milliseconds since the epoch, flags 0 or 1.

type Service = Store.Store["Type"]

/**
 * The state of an execution: `ready` waits for a process that has registered its workflow, `running` has one, `suspended`
 * waits for an event: a clock, a `DurableDeferred`, a child, or `resume`.
 *
 * @since 0.1.0
 * @category models
 */
export type State = "ready" | "running" | "suspended" | "done"

export interface Execution {
  readonly id: string
  readonly workflow: string
  readonly execution: string
  readonly payload: string
  readonly state: State
  readonly owner: string | null
  /** How often it was claimed. */
  readonly claim: number
  readonly interrupt: number
  /** How often its process died since a step of it finished. */
  readonly cuts: number
  /** Ready: not before. Done: since when. */
  readonly due: number
  /** Of `done` and `suspended`. */
  readonly result: string | null
  readonly created: number
}

/** What the owner of an execution proves itself with. */
export interface Claim {
  readonly id: string
  readonly claim: number
}

export const tables: Store.Tables = {
  name: "workflows",
  changes: [
    (sql) =>
      Effect.all(
        [
          sql`CREATE TABLE aio_workflows (
            id TEXT PRIMARY KEY, workflow TEXT NOT NULL, execution TEXT NOT NULL, payload TEXT NOT NULL,
            state TEXT NOT NULL, owner TEXT, claim INTEGER NOT NULL, woken INTEGER NOT NULL,
            interrupt INTEGER NOT NULL, cuts INTEGER NOT NULL, due DOUBLE PRECISION NOT NULL, result TEXT,
            created DOUBLE PRECISION NOT NULL)`,
          sql`CREATE INDEX aio_workflows_due ON aio_workflows (state, due)`,
          sql`CREATE TABLE aio_workflow_steps (
            id TEXT NOT NULL, name TEXT NOT NULL, attempt INTEGER NOT NULL, starts INTEGER NOT NULL,
            begun DOUBLE PRECISION NOT NULL, result TEXT, PRIMARY KEY (id, name, attempt))`,
          // A clock is an event with a time, until it has an exit.
          sql`CREATE TABLE aio_workflow_events (
            id TEXT NOT NULL, name TEXT NOT NULL, due DOUBLE PRECISION, exit TEXT,
            created DOUBLE PRECISION NOT NULL, PRIMARY KEY (id, name))`,
          sql`CREATE INDEX aio_workflow_events_due ON aio_workflow_events (due) WHERE exit IS NULL`,
          sql`CREATE TABLE aio_workflow_parents (
            id TEXT NOT NULL, parent TEXT NOT NULL, PRIMARY KEY (id, parent))`,
          sql`CREATE TABLE aio_workflow_workers (
            id TEXT PRIMARY KEY, place TEXT NOT NULL, process TEXT NOT NULL, beat DOUBLE PRECISION NOT NULL)`
        ],
        { discard: true }
      )
  ]
}

/** The key of an execution in all tables. */
export const idOf = (workflow: string, execution: string): string => JSON.stringify([workflow, execution])

const forUpdate = ({ dialect, sql }: Service, how = "") =>
  sql.literal(dialect === "pg" ? `FOR UPDATE ${how}` : "")

/** Of an event that comes before its execution, one sees the other. */
const alone = ({ dialect, sql }: Service, id: string) =>
  dialect === "pg" ? sql`SELECT pg_advisory_xact_lock(hashtextextended(${id}, 0))` : Effect.void

const wake = (sql: SqlClient.SqlClient, ids: ReadonlyArray<string>, now: number) =>
  sql`UPDATE aio_workflows SET woken = 1, due = CASE WHEN state = 'suspended' THEN ${now} ELSE due END,
    state = CASE WHEN state = 'suspended' THEN 'ready' ELSE state END
    WHERE id IN ${sql.in(ids)} AND state <> 'done'`

const mine = (sql: SqlClient.SqlClient, { claim, id }: Claim) =>
  sql`id = ${id} AND claim = ${claim} AND state = 'running'`

const some = Effect.map(({ length }: ReadonlyArray<unknown>) => length > 0)

// executions

type Given = Pick<Execution, "execution" | "id" | "payload" | "workflow">

/** Records an execution, unless it is on record; true if it was not. In one statement, which waits as {@link alone} does. */
export const add = (
  { dialect, use }: Service,
  { execution, id, payload, workflow }: Given,
  now: number
): Effect.Effect<boolean, Store.StoreError> =>
  use((sql) => {
    const text = (value: string) => sql`CAST(${value} AS TEXT)`
    const time = sql`CAST(${now} AS DOUBLE PRECISION)`
    const lock = sql`CAST(pg_advisory_xact_lock(hashtextextended(${id}, 0)) AS TEXT)`
    const turn = dialect === "pg" ? lock : sql.literal("''")
    return some(sql`INSERT INTO aio_workflows
      (id, workflow, execution, payload, state, claim, woken, interrupt, cuts, due, created)
      SELECT ${text(id)}, ${text(workflow)}, ${text(execution)}, ${text(payload)}, 'ready', 0, 0, 0, 0, ${time}, ${time}
      FROM (SELECT ${turn} AS taken) AS turn WHERE taken IS NOT NULL ON CONFLICT DO NOTHING RETURNING id`)
  })

/** Records an execution, unless it is on record, and returns it. Its parent is woken when it is done. */
export const addChild = (
  store: Service,
  execution: Given,
  parent: string,
  now: number
): Effect.Effect<Pick<Execution, "result" | "state">, Store.StoreError> =>
  Effect.zipRight(
    add(store, execution, now),
    store.transaction((sql) =>
      Effect.gen(function* () {
        const { id } = execution
        const [found] = yield* sql<Execution>`SELECT state, result FROM aio_workflows
          WHERE id = ${id} ${forUpdate(store)}`
        if (found!.state !== "done")
          yield* sql`INSERT INTO aio_workflow_parents ${sql.insert({ id, parent })} ON CONFLICT DO NOTHING`
        return found!
      })
    )
  )

export const find = ({ use }: Service, id: string): Effect.Effect<Execution | undefined, Store.StoreError> =>
  use((sql) => Effect.map(sql<Execution>`SELECT * FROM aio_workflows WHERE id = ${id}`, ([row]) => row))

/** Those of the executions that are suspended or done: a wait for one of these is over. */
export const settled = (
  { use }: Service,
  ids: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Pick<Execution, "id" | "state">>, Store.StoreError> =>
  use(
    (sql) => sql<Execution>`SELECT id, state FROM aio_workflows
      WHERE id IN ${sql.in(ids)} AND state IN ('suspended', 'done')`
  )

/** Lets a suspended execution run again. */
export const resume = ({ use }: Service, id: string, now: number): Effect.Effect<void, Store.StoreError> =>
  use((sql) => Effect.asVoid(wake(sql, [id], now)))

/** Lets an execution end at the first step that it has not finished. */
export const interrupt = (store: Service, id: string, now: number): Effect.Effect<void, Store.StoreError> =>
  store.transaction((sql) =>
    Effect.zipRight(
      sql`UPDATE aio_workflows SET interrupt = 1 WHERE id = ${id} AND state <> 'done'`,
      Effect.asVoid(wake(sql, [id], now))
    )
  )

/** From so many on, it may be what its process died of. */
export const suspectCuts = 3

const ofKind = (sql: SqlClient.SqlClient, isSuspect: boolean) =>
  isSuspect ? sql`cuts >= ${suspectCuts}` : sql`cuts < ${suspectCuts}`

/** When the next clock is due, and the next execution of these workflows is ready, a suspect or not. */
export const next = (
  { use }: Service,
  workflows: ReadonlyArray<string>,
  withSuspects: boolean
): Effect.Effect<{ readonly clock: number | null; readonly ready: number | null }, Store.StoreError> =>
  use((sql) =>
    Effect.map(
      sql<{ clock: number | null; ready: number | null }>`SELECT
        (SELECT min(due) FROM aio_workflow_events WHERE exit IS NULL) AS clock,
        (SELECT min(due) FROM aio_workflows WHERE state = 'ready' AND workflow IN ${sql.in(["", ...workflows])}
          AND (${withSuspects ? 1 : 0} = 1 OR ${ofKind(sql, false)})) AS ready`,
      ([row]) => row!
    )
  )

/** Takes executions that are ready, suspects or others. */
export const claim = (
  store: Service,
  {
    isSuspect,
    limit,
    now,
    owner,
    workflows
  }: Readonly<Record<"limit" | "now", number>> & {
    readonly isSuspect: boolean
    readonly owner: string
    readonly workflows: ReadonlyArray<string>
  }
): Effect.Effect<ReadonlyArray<Execution>, Store.StoreError> =>
  store.use(
    (sql) => sql<Execution>`UPDATE aio_workflows
      SET state = 'running', owner = ${owner}, claim = claim + 1, woken = 0, result = NULL
      WHERE id IN (SELECT id FROM aio_workflows
        WHERE state = 'ready' AND due <= ${now} AND workflow IN ${sql.in(workflows)} AND ${ofKind(sql, isSuspect)}
        ORDER BY due LIMIT ${limit} ${forUpdate(store, "SKIP LOCKED")}) RETURNING *`
  )

/** Ends a run of an execution that waits for an event; true if one has come meanwhile. */
export const suspend = (
  { use }: Service,
  { claim, id, now, result }: Claim & { readonly result: string; readonly now: number }
): Effect.Effect<boolean, Store.StoreError> =>
  use((sql) =>
    Effect.map(
      sql<Execution>`UPDATE aio_workflows SET owner = NULL, result = ${result}, due = ${now}, cuts = 0,
        state = CASE WHEN woken = 1 THEN 'ready' ELSE 'suspended' END
        WHERE ${mine(sql, { id, claim })} RETURNING state`,
      ([row]) => row?.state === "ready"
    )
  )

/** Gives an execution back, for any process to continue. */
export const release = ({ use }: Service, claim: Claim, due: number): Effect.Effect<void, Store.StoreError> =>
  use((sql) =>
    Effect.asVoid(
      sql`UPDATE aio_workflows SET state = 'ready', owner = NULL, due = ${due} WHERE ${mine(sql, claim)}`
    )
  )

/** Records the result of an execution, and wakes those that wait for it. False if it has another owner. */
export const complete = (
  store: Service,
  { claim, id, now, result }: Claim & { readonly result: string; readonly now: number }
): Effect.Effect<boolean, Store.StoreError> =>
  store.transaction((sql) =>
    Effect.gen(function* () {
      const done =
        yield* sql`UPDATE aio_workflows SET state = 'done', owner = NULL, result = ${result}, due = ${now}
        WHERE ${mine(sql, { id, claim })} RETURNING id`
      if (done.length === 0) return false
      const parents = yield* sql<{
        parent: string
      }>`DELETE FROM aio_workflow_parents WHERE id = ${id} RETURNING parent`
      if (parents.length > 0)
        yield* wake(
          sql,
          parents.map(({ parent }) => parent),
          now
        )
      return true
    })
  )

/** Removes executions that were done before, and events whose execution is not on record; true if there may be more. */
export const prune = (store: Service, before: number): Effect.Effect<boolean, Store.StoreError> =>
  store.transaction((sql) =>
    Effect.gen(function* () {
      const most = 100
      const old = yield* sql<Execution>`SELECT id FROM aio_workflows WHERE state = 'done' AND due < ${before}
        ORDER BY due LIMIT ${most} ${forUpdate(store, "SKIP LOCKED")}`
      const lost = yield* sql<Execution>`SELECT DISTINCT id FROM aio_workflow_events WHERE created < ${before}
        AND NOT EXISTS (SELECT 1 FROM aio_workflows WHERE aio_workflows.id = aio_workflow_events.id) LIMIT ${most}`
      const ids = [...old, ...lost].map(({ id }) => id)
      if (ids.length === 0) return false
      for (const table of ["steps", "events", "parents"])
        yield* sql`DELETE FROM ${sql(`aio_workflow_${table}`)} WHERE id IN ${sql.in(ids)}`
      yield* sql`DELETE FROM aio_workflows WHERE id IN ${sql.in(ids)} AND state = 'done'`
      return old.length === most || lost.length === most
    })
  )

// steps

/** The result of a step that has finished. */
export const stepResult = (
  { use }: Service,
  id: string,
  name: string,
  attempt: number
): Effect.Effect<string | undefined, Store.StoreError> =>
  use((sql) =>
    Effect.map(
      sql<{ result: string | null }>`SELECT result FROM aio_workflow_steps
        WHERE id = ${id} AND name = ${name} AND attempt = ${attempt}`,
      ([row]) => row?.result ?? undefined
    )
  )

export interface Start {
  /** How often the step has started, from 1. */
  readonly starts: number
  /** When it started first. */
  readonly begun: number
  /** It has finished before, and does not start. */
  readonly result: string | null
}

/**
 * Records that a step starts, unless it has finished. Undefined if the execution has another owner, or is to be interrupted and `last` is false.
 */
export const beginStep = (
  { use }: Service,
  {
    attempt,
    claim,
    id,
    last,
    name,
    now
  }: Claim & {
    readonly name: string
    readonly attempt: number
    readonly last: boolean
    readonly now: number
  }
): Effect.Effect<Start | undefined, Store.StoreError> =>
  use((sql) =>
    Effect.map(
      sql<Start>`INSERT INTO aio_workflow_steps (id, name, attempt, starts, begun)
        SELECT id, CAST(${name} AS TEXT), CAST(${attempt} AS INTEGER), 1, CAST(${now} AS DOUBLE PRECISION)
        FROM aio_workflows WHERE ${mine(sql, { id, claim })} AND interrupt <= ${last ? 1 : 0}
        ON CONFLICT (id, name, attempt) DO UPDATE SET starts = aio_workflow_steps.starts
          + CASE WHEN aio_workflow_steps.result IS NULL THEN 1 ELSE 0 END
        RETURNING starts, begun, result`,
      ([row]) => row
    )
  )

/** Records the result of a step. False if the execution has another owner. */
export const finishStep = (
  { dialect, use }: Service,
  {
    attempt,
    claim,
    id,
    name,
    result
  }: Claim & {
    readonly name: string
    readonly attempt: number
    readonly result: string
  }
): Effect.Effect<boolean, Store.StoreError> =>
  use((sql) =>
    // A takeover waits, or is seen.
    some(sql`WITH held AS (SELECT id FROM aio_workflows
        WHERE ${mine(sql, { id, claim })} ${sql.literal(dialect === "pg" ? "FOR SHARE" : "")})
      UPDATE aio_workflow_steps SET result = ${result} FROM held
      WHERE aio_workflow_steps.id = held.id AND name = ${name} AND attempt = ${attempt} RETURNING name`)
  )

/** An execution goes on: its process has not died of it. */
export const forgive = ({ use }: Service, claim: Claim): Effect.Effect<void, Store.StoreError> =>
  use((sql) => Effect.asVoid(sql`UPDATE aio_workflows SET cuts = 0 WHERE ${mine(sql, claim)}`))

// events

/** The exit of an event that has come. */
export const eventExit = (
  { use }: Service,
  id: string,
  name: string
): Effect.Effect<string | undefined, Store.StoreError> =>
  use((sql) =>
    Effect.map(
      sql<{ exit: string | null }>`SELECT exit FROM aio_workflow_events WHERE id = ${id} AND name = ${name}`,
      ([row]) => row?.exit ?? undefined
    )
  )

/** Records the exit of an event, the first one only, and wakes its execution. With `by`: only as its owner. */
export const finishEvent = (
  store: Service,
  { exit, id, name, now }: Readonly<Record<"exit" | "id" | "name", string>> & { readonly now: number },
  by: Claim | undefined
): Effect.Effect<void, Store.StoreError> =>
  store.transaction((sql) =>
    Effect.gen(function* () {
      yield* alone(store, id)
      if (by !== undefined) {
        const held = yield* sql`SELECT id FROM aio_workflows WHERE ${mine(sql, by)} ${forUpdate(store)}`
        if (held.length === 0) return
      }
      const first = yield* sql`INSERT INTO aio_workflow_events ${sql.insert({ id, name, exit, created: now })}
        ON CONFLICT (id, name) DO UPDATE SET exit = excluded.exit WHERE aio_workflow_events.exit IS NULL
        RETURNING id`
      if (first.length > 0) yield* wake(sql, [id], now)
    })
  )

/** Records when an event comes by itself, once. */
export const addClock = (
  { use }: Service,
  clock: { readonly id: string; readonly name: string; readonly due: number; readonly created: number }
): Effect.Effect<void, Store.StoreError> =>
  use((sql) =>
    Effect.asVoid(sql`INSERT INTO aio_workflow_events ${sql.insert(clock)} ON CONFLICT DO NOTHING`)
  )

/** Lets the clocks that are due come, some of them. */
export const fireClocks = (
  store: Service,
  exit: string,
  now: number
): Effect.Effect<void, Store.StoreError> =>
  store.transaction((sql) =>
    Effect.gen(function* () {
      const due = yield* sql<{ id: string; name: string }>`SELECT id, name FROM aio_workflow_events
        WHERE exit IS NULL AND due <= ${now} ORDER BY due LIMIT 100 ${forUpdate(store, "SKIP LOCKED")}`
      for (const { id, name } of due)
        yield* sql`UPDATE aio_workflow_events SET exit = ${exit} WHERE id = ${id} AND name = ${name}`
      const ids = [...new Set(due.map(({ id }) => id))].sort()
      if (ids.length > 0) yield* wake(sql, ids, now)
    })
  )

// inspection

/** The newest executions, with the number of their steps that have finished. */
export const list = (
  { use }: Service,
  {
    limit,
    state,
    workflow
  }: {
    readonly limit: number
    readonly state: State | undefined
    readonly workflow: string | undefined
  }
): Effect.Effect<ReadonlyArray<Execution & { readonly steps: number }>, Store.StoreError> =>
  use((sql) => {
    const steps = sql`(SELECT count(*) FROM aio_workflow_steps AS step
      WHERE step.id = aio_workflows.id AND step.result IS NOT NULL) AS steps`
    const all = [
      ...(state === undefined ? [] : [sql`state = ${state}`]),
      ...(workflow === undefined ? [] : [sql`workflow = ${workflow}`])
    ]
    return sql<Execution & { steps: number }>`SELECT workflow, execution, state, interrupt, created, ${steps}
      FROM aio_workflows WHERE ${sql.and(all.length === 0 ? ["1 = 1"] : all)}
      ORDER BY created DESC, id LIMIT ${limit}`
  })
