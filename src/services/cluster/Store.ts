import { statSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlError from "@effect/sql/SqlError"
import { type Cause, Context, Data, Effect, Either, Layer, Redacted, type Scope } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Database from "../network/Database.js"
import * as NetworkSettings from "../network/NetworkSettings.js"
import * as Printable from "../text/Printable.js"
import * as failures from "./internal/failures.js"

// What outlives a process: tables in an SQLite file, for one machine, or in PostgreSQL, for many.

// model

/**
 * Where a store is: an SQLite file, or a PostgreSQL database, whose URL may hold a password.
 *
 * @since 0.1.0
 * @category models
 */
export type Location =
  | { readonly _tag: "Sqlite"; readonly file: string }
  | { readonly _tag: "Postgres"; readonly url: Redacted.Redacted<URL> }

/**
 * A set of tables and the changes that make them, in order. A store has any number of sets, each with a version of its own:
 * the number of its changes that have run. Tables are named `aio_…`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Tables {
  /** What they hold, for messages: `schedules`. */
  readonly name: string
  readonly changes: ReadonlyArray<
    (sql: SqlClient.SqlClient, dialect: "sqlite" | "pg") => Effect.Effect<unknown, SqlError.SqlError>
  >
}

// errors

/**
 * A store cannot be opened, or has failed. The exit code is 2 if the store that was given is wrong (no store, wrong
 * credentials, a newer schema), else 1.
 *
 * @since 0.1.0
 * @category errors
 */
export class StoreError extends Data.TaggedError("StoreError")<{
  /** Without secrets. */
  readonly store: string
  readonly reason: string
  readonly exitCode: number
  /** Whether the same may succeed later: no connection, a full disk, a lock. */
  readonly isTransient: boolean
  readonly cause?: unknown
}> {
  override get message() {
    return `the store ${this.store}: ${this.reason}`
  }
}

// tag

/**
 * An open store, with its tables up to date.
 *
 * @since 0.1.0
 * @category services
 */
export class Store extends Context.Tag("effect-asyncio/services/Store")<
  Store,
  {
    readonly dialect: "sqlite" | "pg"
    /** Its location without secrets. */
    readonly shown: string
    /** The client of `@effect/sql`, for layers that need one. */
    readonly sql: SqlClient.SqlClient
    /** Runs a query. */
    readonly use: <A, E, R>(
      query: (sql: SqlClient.SqlClient) => Effect.Effect<A, E, R>
    ) => Effect.Effect<A, Exclude<E, SqlError.SqlError> | StoreError, R>
    /** Runs queries in one transaction. On SQLite it holds the lock for writing from its begin. */
    readonly transaction: <A, E, R>(
      queries: (sql: SqlClient.SqlClient) => Effect.Effect<A, E, R>
    ) => Effect.Effect<A, Exclude<E, SqlError.SqlError> | StoreError, R>
  }
>() {}

// location

/**
 * Reads `FILE`, `sqlite:FILE`, or `postgres://user:password@host/database`; the left is what is wrong with the text.
 *
 * @example
 * ```ts
 * import * as Store from "effect-asyncio/services/Store"
 *
 * export const location = Store.parse("postgres://ada:secret@db.example.org/jobs")
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const parse = (text: string): Either.Either<Location, string> => {
  const [, scheme, rest = ""] = /^([a-z][\w+.-]+):(.*)$/is.exec(text) ?? [undefined, undefined, text]
  const expected = "expected FILE, sqlite:FILE or postgres://user@host/database"
  if (scheme === undefined || scheme.toLowerCase() === "sqlite") {
    return rest.trim() === "" || rest.includes("\0")
      ? Either.left(`'${Printable.line(text)}' names no file; ${expected}`)
      : Either.right({ _tag: "Sqlite", file: resolve(rest) })
  }
  // The text may hold a password: a message shows its scheme only.
  if (!/^postgres(ql)?$/i.test(scheme)) return Either.left(`'${scheme}:…' is no store; ${expected}`)
  return URL.canParse(text) && new URL(text).hostname !== ""
    ? Either.right({ _tag: "Postgres", url: Redacted.make(new URL(text)) })
    : Either.left(`'${scheme}:…' is no URL of a database; ${expected}`)
}

/**
 * The location for people, without password and query.
 *
 * @since 0.1.0
 * @category formatting
 */
export const format = (location: Location): string =>
  location._tag === "Sqlite" ? location.file : NetworkSettings.shown(location.url)

// opening

/** A query to PostgreSQL without an answer in this time, in milliseconds, fails: its connection may be dead. */
const answerLimit = 20_000

const notAFile = (file: string): string | undefined => {
  const stat = statSync(file, { throwIfNoEntry: false })
  if (stat !== undefined) return stat.isFile() ? undefined : "is not a regular file; expected an SQLite file"
  const folder = dirname(file)
  return statSync(folder, { throwIfNoEntry: false })?.isDirectory()
    ? undefined
    : `there is no folder ${folder}; make it first`
}

// One lock for all sets of tables, of this number in PostgreSQL.
const schemaLock = 4_671_520

const migrate = (
  store: Context.Tag.Service<Store>,
  { changes, name }: Tables,
  wrong: (reason: string) => StoreError
) => {
  const versionIn = (sql: SqlClient.SqlClient) =>
    Effect.gen(function* () {
      const [found] =
        store.dialect === "pg"
          ? yield* sql`SELECT to_regclass('aio_schema') AS name`
          : yield* sql`SELECT max(name) AS name FROM sqlite_master WHERE name = 'aio_schema'`
      if (found?.name == null) return undefined
      const [row] = yield* sql<{ version: number }>`SELECT version FROM aio_schema WHERE name = ${name}`
      const version = Number(row?.version ?? 0)
      return version > changes.length
        ? yield* wrong(
            `its ${name} have version ${version}, and this program knows ${changes.length}; use a newer aio`
          )
        : version
    })
  return Effect.gen(function* () {
    if ((yield* store.use(versionIn)) === changes.length) return
    yield* store.transaction((sql) =>
      Effect.gen(function* () {
        if (store.dialect === "pg") yield* sql`SELECT pg_advisory_xact_lock(${schemaLock})`
        yield* sql`CREATE TABLE IF NOT EXISTS aio_schema (name TEXT PRIMARY KEY, version INTEGER NOT NULL)`
        yield* sql`INSERT INTO aio_schema (name, version) VALUES (${name}, 0) ON CONFLICT DO NOTHING`
        for (const change of changes.slice(yield* versionIn(sql))) yield* change(sql, store.dialect)
        yield* sql`UPDATE aio_schema SET version = ${changes.length} WHERE name = ${name}`
      })
    )
  })
}

/**
 * Opens a store in the current scope, and brings these of its tables up to date in one transaction. A store whose tables
 * are newer than `tables` is refused and left as it is. Needs `@effect/sql`, `@effect/experimental`, and
 * `@effect/sql-libsql` or `@effect/sql-pg`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (
  location: Location,
  tables: ReadonlyArray<Tables>
): Effect.Effect<Context.Tag.Service<Store>, StoreError | NetworkSettings.MissingPackage, Scope.Scope> =>
  Effect.gen(function* () {
    const shown = format(location)
    const wrong = (reason: string, exitCode: number = codes.usage) =>
      new StoreError({ store: shown, reason, exitCode, isTransient: false })
    const failed = (error: Database.DatabaseError) =>
      new StoreError({ store: shown, ...failures.of(error), cause: error.cause })
    const problem = location._tag === "Sqlite" ? notAFile(location.file) : undefined
    if (problem !== undefined) return yield* wrong(problem)
    const database = yield* Effect.catchTag(
      location._tag === "Sqlite"
        ? Database.sqlite(pathToFileURL(location.file).href, shown)
        : Database.postgres(location.url, { user: shown, timeout: answerLimit }),
      "DatabaseError",
      failed
    )
    const sql = yield* Effect.orDie(database.use(Effect.succeed))
    const use = ((query) =>
      Effect.mapError(database.use(query as never), (error) =>
        error instanceof Database.DatabaseError ? failed(error) : error
      )) as Context.Tag.Service<Store>["use"]
    const store: Context.Tag.Service<Store> = {
      dialect: database.dialect,
      shown,
      sql,
      use,
      transaction: (queries) =>
        use((sql) => {
          // What made the rollback, where that fails too: without a connection, or where SQLite has done it already.
          let failure: Cause.Cause<any> | undefined
          const noted = Effect.tapErrorCause(queries(sql), (cause) =>
            Effect.sync(() => {
              failure = cause
            })
          )
          return Effect.catchAllDefect(sql.withTransaction(noted), (defect) =>
            failure === undefined ? Effect.die(defect) : Effect.failCause(failure)
          )
        })
    }
    if (location._tag === "Sqlite") {
      // A reader does not block the owner. Other than the write of a page, a commit survives a power cut.
      yield* use((sql) => Effect.zipRight(sql`PRAGMA journal_mode = WAL`, sql`PRAGMA synchronous = FULL`))
    }
    yield* Effect.forEach(tables, (each) => migrate(store, each, wrong), { discard: true })
    return store
  })

/**
 * {@link open} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  location: Location,
  tables: ReadonlyArray<Tables>
): Layer.Layer<Store, StoreError | NetworkSettings.MissingPackage> =>
  Layer.scoped(Store, open(location, tables))
