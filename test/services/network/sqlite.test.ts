import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import * as Database from "../../../src/services/network/Database.js"

// What the driver, the prepared queries and the one connection of an SQLite file must not change.

const file = Effect.map(
  Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "a b-"))),
    (folder) => Effect.promise(() => rm(folder, { recursive: true }))
  ),
  (folder) => pathToFileURL(join(folder, "é.sqlite")).href
)
const open = (url: string) => Database.sqlite(url, "SQLite")
const opened = Effect.flatMap(file, open)

describe("SQLite", () => {
  it.scopedLive("a query that was prepared follows a schema that another connection changes", () =>
    Effect.gen(function* () {
      const url = yield* file
      const [one, other] = [yield* open(url), yield* open(url)]
      yield* one.use((sql) => sql`CREATE TABLE t (a)`)
      yield* one.use((sql) => sql`INSERT INTO t VALUES (1)`)
      const all = one.use((sql) => sql`SELECT * FROM t`)
      expect(yield* all).toEqual([{ a: 1 }])
      yield* other.use((sql) => sql`ALTER TABLE t RENAME COLUMN a TO b`)
      yield* other.use((sql) => sql`ALTER TABLE t ADD COLUMN c DEFAULT 'x'`)
      expect(yield* all).toEqual([{ b: 1, c: "x" }])
      yield* other.use((sql) => sql`DROP TABLE t`)
      expect((yield* Effect.flip(all)).message).toMatch(/no such table: t/)
    })
  )

  it.scopedLive("values come back as they went in; an integer that would be rounded is an error", () =>
    Effect.gen(function* () {
      const { use } = yield* opened
      const bytes = new Uint8Array([0, 255])
      const [row] = yield* use(
        (sql) =>
          sql<any>`SELECT ${null} AS empty, ${true} AS yes, ${1.5} AS number, ${"é"} AS text, ${bytes} AS bytes,
            ${new Date(7)} AS date, 1 AS twice, 2 AS twice`
      )
      expect({ ...row, bytes: [...new Uint8Array(row.bytes)] }).toEqual({
        ...{ empty: null, yes: 1, number: 1.5, text: "é", bytes: [0, 255], date: 7, twice: 1 }
      })
      const large = yield* Effect.flip(use((sql) => sql`SELECT 9007199254740993 AS large`))
      expect(large.message).toBe("database: 9007199254740993 is no safe integer")
      const bad = yield* Effect.flip(use((sql) => sql`SELECT ${Number.NaN} AS bad`))
      expect(bad.message).toBe("database: NaN is no value of SQL; expected a finite number")
    })
  )

  it.scopedLive(
    "a statement of another fiber waits for a transaction; one that is interrupted is not run",
    () =>
      Effect.gen(function* () {
        const { use } = yield* opened
        yield* use((sql) => sql`CREATE TABLE t (a)`)
        const begun = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const transaction = yield* Effect.fork(
          use((sql) =>
            sql.withTransaction(
              Effect.gen(function* () {
                yield* sql`INSERT INTO t VALUES (1)`
                yield* Deferred.succeed(begun, undefined)
                yield* Deferred.await(go)
                yield* sql`INSERT INTO t VALUES (2)`
                return yield* Effect.fail("no" as const)
              })
            )
          )
        )
        yield* Deferred.await(begun)
        const waiting = yield* Effect.fork(use((sql) => sql`INSERT INTO t VALUES (3)`))
        const left = yield* Effect.fork(use((sql) => sql`INSERT INTO t VALUES (4)`))
        const second = yield* Effect.fork(
          use((sql) => sql.withTransaction(Effect.zipRight(sql`INSERT INTO t VALUES (5)`, sql`SELECT 1`)))
        )
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(left)
        yield* Deferred.succeed(go, undefined)
        expect(yield* Effect.flip(Fiber.join(transaction))).toBe("no")
        yield* Fiber.join(waiting)
        yield* Fiber.join(second)
        expect(yield* use((sql) => sql`SELECT a FROM t ORDER BY a`)).toEqual([{ a: 3 }, { a: 5 }])
      })
  )

  it.scopedLive("a statement waits for the lock of another connection without blocking the thread", () =>
    Effect.gen(function* () {
      const url = yield* file
      const [one, other] = [yield* open(url), yield* open(url)]
      yield* one.use((sql) => sql`CREATE TABLE t (a)`)
      const begun = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const transaction = yield* Effect.fork(
        other.use((sql) =>
          sql.withTransaction(
            Effect.zipRight(
              sql`INSERT INTO t VALUES (1)`,
              Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(go))
            )
          )
        )
      )
      yield* Deferred.await(begun)
      const waiting = yield* Effect.fork(one.use((sql) => sql`INSERT INTO t VALUES (2)`))
      yield* Effect.sleep(50)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(transaction)
      yield* Fiber.join(waiting)
      expect(yield* one.use((sql) => sql`SELECT a FROM t ORDER BY a`)).toEqual([{ a: 1 }, { a: 2 }])
    })
  )
})
