import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Queue from "../../src/services/cluster/internal/queue.js"
import * as Store from "../../src/services/cluster/Store.js"
import * as PgSchema from "./schema.js"

// The statements that runners and submitters repeat, on a queue in which most jobs belong to one run: PostgreSQL, which
// plans by such figures, reads none of them by a scan of all jobs.

const many = 30_000
const jobs = Array.from({ length: 40 }, (_, idx) => ({ run: "r", idx, attempt: 1, result: "1" }))
const indexes = jobs.map(({ idx }) => idx)

const statements: ReadonlyArray<
  [name: string, ask: (queue: ReturnType<typeof Queue.make>) => Effect.Effect<unknown, unknown>]
> = [
  ["openRuns", (queue) => queue.openRuns("g")],
  ["claim", (queue) => queue.claim("r", "me", 40)],
  ["held", (queue) => queue.held("me", jobs)],
  ["record", (queue) => queue.record("me", jobs)],
  ["giveBack", (queue) => queue.giveBack("me", jobs)],
  ["results", (queue) => queue.results("r", indexes)],
  ["inputs", (queue) => queue.inputs("r", indexes)],
  ["add", (queue) => queue.add("r", "g", "o", [{ idx: many, args: "" }])],
  ["remove", (queue) => queue.remove("r", indexes)],
  ["cancel", (queue) => queue.cancel("r", "g", indexes)]
]

describe("the queue on PostgreSQL, 30,000 jobs of one run", () => {
  it.live("no statement that is repeated reads all jobs", () =>
    Effect.gen(function* () {
      const store = yield* Store.Store
      yield* store.use((sql) =>
        Effect.all([
          sql`INSERT INTO aio_runs VALUES ('r', 'g', 'm', 'f', 'v', '{}', 3, 1, 'o', 0)`,
          sql`INSERT INTO aio_runners VALUES ('me', 'g', 'h', 1, 1, 0, 1, '[]')`,
          sql`INSERT INTO aio_jobs (run, idx, state, attempt, args) SELECT 'r', i, 0, 0, '' FROM generate_series(0, ${many - 1}::int) i`,
          sql`ANALYZE aio_jobs`
        ])
      )
      const scans = yield* store.transaction((sql) => {
        const queue = Queue.make({ ...store, use: (f) => f(sql), transaction: (f) => f(sql) } as typeof store)
        const count = Effect.map(
          sql`SELECT seq_scan FROM pg_stat_xact_user_tables
            WHERE schemaname = current_schema() AND relname = 'aio_jobs'`,
          ([found]) => Number(found!["seq_scan"])
        )
        return Effect.forEach(statements, ([name, ask]) =>
          Effect.gen(function* () {
            const before = yield* count
            yield* Effect.orDie(ask(queue))
            return { name, scans: (yield* count) - before }
          })
        )
      })
      expect(scans.filter(({ scans }) => scans > 0)).toEqual([])
    }).pipe(Effect.provide(PgSchema.fresh([Queue.tables])))
  )
})
