import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlError from "@effect/sql/SqlError"
import {
  Cause,
  Chunk,
  Context,
  Data,
  DefaultServices,
  Effect,
  type Fiber,
  Layer,
  Option,
  Redacted,
  type Scope,
  Tracer
} from "effect"
import { codes } from "../host/ExitCodes.js"
import { nativeImport } from "../source/NativeImport.js"
import * as libsql from "./internal/libsql.js"
import * as OneConnection from "./internal/oneConnection.js"
import { codeOf, isOfConnection, reasonOf } from "./internal/reasons.js"
import * as sqliteClient from "./internal/sqlite.js"
import * as NetworkSettings from "./NetworkSettings.js"

// errors

/**
 * The database failed to answer a query.
 *
 * @since 0.1.0
 * @category errors
 */
export class DatabaseError extends Data.TaggedError("DatabaseError")<{
  readonly reason: string
  /** The code of the driver's error: `28P01`, `SQLITE_FULL`, `ECONNREFUSED`; empty without one. */
  readonly code?: string
  /** Whether the same query may succeed later: a connection that broke, a deadlock. */
  readonly isTransient: boolean
  readonly cause?: unknown
}> {
  readonly exitCode = codes.failed
  override get message() {
    return `database: ${this.reason}`
  }
}

// tag

/**
 * The changes that make a schema, in order; the first is number 1. Each runs once, all that are due in one transaction.
 *
 * @since 0.1.0
 * @category models
 */
export type Migrations = ReadonlyArray<{
  readonly name: string
  readonly up: (sql: SqlClient.SqlClient) => Effect.Effect<unknown, SqlError.SqlError>
}>

/**
 * The SQL database of an application server. Statements are written with the `sql` template of `@effect/sql`, which passes
 * values as parameters.
 *
 * @since 0.1.0
 * @category services
 */
export class Database extends Context.Tag("effect-asyncio/services/Database")<
  Database,
  {
    readonly dialect: "sqlite" | "pg"
    /** How it was configured, without secrets. */
    readonly configured: string
    /** Whether it is in this process. */
    readonly isEmbedded: boolean
    /** Runs a query. An interruption cancels it on the server too. */
    readonly use: <A, E>(
      query: (sql: SqlClient.SqlClient) => Effect.Effect<A, E>
    ) => Effect.Effect<A, Exclude<E, SqlError.SqlError> | DatabaseError>
    /**
     * Brings the schema up to date; fails if the database has migrations that are not among these. Which have run is in a
     * table, `effect_sql_migrations` by default.
     */
    readonly migrate: (migrations: Migrations, table?: string) => Effect.Effect<void, DatabaseError>
    /** Succeeds if the database answers. */
    readonly check: Effect.Effect<void, DatabaseError>
  }
>() {}

// make

// Classes of PostgreSQL's errors after which the same statement may succeed: connection, rollback, resources, operator.
const transient = /^(08|40|53|57)[\dA-Z]{3}$/

const nativeTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

const isSqlError = (error: unknown): error is SqlError.SqlError =>
  (error as { readonly _tag?: unknown } | undefined)?._tag === "SqlError"

const failed = (error: SqlError.SqlError) =>
  new DatabaseError({
    reason: reasonOf(error),
    code: codeOf(error),
    isTransient:
      isOfConnection(error) ||
      transient.test(codeOf(error)) ||
      /SQLITE_BUSY|terminated|not queryable|timeout/i.test(`${codeOf(error)} ${reasonOf(error)}`),
    cause: error
  })

/**
 * A database over a client of `@effect/sql`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  sql: SqlClient.SqlClient,
  settings: Pick<Context.Tag.Service<Database>, "configured" | "dialect" | "isEmbedded">
): Effect.Effect<Context.Tag.Service<Database>, NetworkSettings.MissingPackage> => over(sql, settings)

/** How a query is run where no tracer is installed. */
type Untraced = <A, E>(
  query: Effect.Effect<A, E>,
  fiber: Fiber.RuntimeFiber<any, any>
) => Effect.Effect<unknown, unknown>

const over = (
  sql: SqlClient.SqlClient,
  settings: Pick<Context.Tag.Service<Database>, "configured" | "dialect" | "isEmbedded">,
  untraced: Untraced = (query) => Effect.withTracerEnabled(query, false)
): Effect.Effect<Context.Tag.Service<Database>, NetworkSettings.MissingPackage> =>
  Effect.gen(function* () {
    const Migrator = yield* NetworkSettings.load(
      "@effect/sql",
      "Database",
      () => import("@effect/sql/Migrator")
    )
    const { SqlClient } = yield* NetworkSettings.load(
      "@effect/sql",
      "Database",
      () => import("@effect/sql/SqlClient")
    )
    const use: Context.Tag.Service<Database>["use"] = (query) =>
      Effect.catchAllCause(
        Effect.withFiberRuntime<unknown, unknown>((fiber) =>
          // @effect/sql makes a span for each statement: only where a tracer was installed.
          Context.get(fiber.currentDefaultServices, Tracer.Tracer) === nativeTracer
            ? untraced(query(sql), fiber)
            : query(sql)
        ),
        (cause) => {
          // Of the failures, and of the defects: @effect/sql dies where a transaction cannot be ended.
          const error = Option.orElse(Option.filter(Cause.failureOption(cause), isSqlError), () =>
            Chunk.findFirst(Cause.defects(cause), isSqlError)
          )
          return Option.isSome(error) && !Cause.isInterrupted(cause)
            ? Effect.fail(failed(error.value))
            : Effect.failCause(cause)
        }
      ) as never
    const migrate = (migrations: Migrations, table = "effect_sql_migrations") =>
      Effect.gen(function* () {
        yield* Migrator.make({})({
          table,
          loader: Effect.succeed(
            migrations.map(({ name, up }, index) => [index + 1, name, Effect.succeed(up(sql))] as const)
          )
        }).pipe(Effect.provideService(SqlClient, sql))
        const [last] = yield* sql<{ id: number }>`SELECT max(migration_id) AS id FROM ${sql(table)}`
        if (Number(last?.id ?? 0) > migrations.length) {
          return yield* new DatabaseError({
            reason: `the schema has migration ${last?.id}, this program knows ${migrations.length}; use a newer program`,
            isTransient: false
          })
        }
      }).pipe(
        // The Migrator dies where a migration fails.
        Effect.catchAllCause((cause) => {
          const error = Cause.squash(cause) as Error
          if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
          if (error instanceof DatabaseError) return error
          return isSqlError(error)
            ? failed(error)
            : new DatabaseError({ reason: `migration failed: ${reasonOf(error)}`, isTransient: false, cause })
        })
      )
    return {
      ...settings,
      use,
      migrate,
      check: Effect.asVoid(use((sql) => sql`SELECT 1`))
    }
  })

// layers

type Failure = NetworkSettings.MissingPackage | NetworkSettings.SettingError

/**
 * Opens an SQLite database in the current scope: `url` is `file:PATH`. One connection serves statements and transactions,
 * and waits for the locks of other processes without blocking the event loop. Fails if there is no database at the path and
 * none can be made.
 *
 * @since 0.1.0
 * @category constructors
 */
export const sqlite = (
  url: string,
  configured: string,
  isEmbedded = false
): Effect.Effect<
  Context.Tag.Service<Database>,
  NetworkSettings.MissingPackage | DatabaseError,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const load = <A>(name: string, imported: () => Promise<A>) =>
      NetworkSettings.load(name, "the embedded database", imported)
    const driver = yield* load("@effect/sql-libsql", async () => libsql.load())
    const reactivity = yield* load("@effect/experimental", () => import("@effect/experimental/Reactivity"))
    const modules = {
      client: yield* load("@effect/sql", () => import("@effect/sql/SqlClient")),
      error: yield* load("@effect/sql", () => import("@effect/sql/SqlError")),
      statement: yield* load("@effect/sql", () => import("@effect/sql/Statement"))
    }
    const path = decodeURIComponent(url.replace(/^file:(\/\/(localhost)?(?=\/))?/, ""))
    const connection = yield* Effect.acquireRelease(
      Effect.try({
        try: () => OneConnection.make(() => libsql.connect(driver, path)),
        catch: (cause) =>
          new DatabaseError({
            reason: `the file cannot be opened: ${reasonOf(cause)}`,
            code: codeOf(cause),
            isTransient: false,
            cause
          })
      }),
      ({ close }) => Effect.sync(close)
    )
    const { sql, untraced } = yield* Effect.provide(sqliteClient.make(modules, connection), reactivity.layer)
    return yield* over(sql, { dialect: "sqlite", configured, isEmbedded }, untraced)
  })

const temporary = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "aio-database-"))),
    (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
  )
  const database = yield* Effect.catchTag(
    sqlite(`file:${join(folder, "data.sqlite")}`, "SQLite in a temporary file", true),
    "DatabaseError",
    Effect.die
  )
  // What ends with the process needs no fsync.
  yield* Effect.orDie(database.use((sql) => sql`PRAGMA synchronous = OFF`))
  return database
})

interface Pool {
  readonly on: (event: "error", listener: (error: Error) => void) => void
  readonly end: () => Promise<void>
}

/**
 * Opens a pool of connections to PostgreSQL in the current scope; a server that is down fails the queries. `user` is what
 * needs the packages, for the message when one is missing. With `timeout` (milliseconds) a query without an answer fails.
 *
 * @since 0.1.0
 * @category constructors
 */
export const postgres = (
  url: Redacted.Redacted<URL>,
  { timeout, user = "DATABASE_URL" }: { readonly timeout?: number; readonly user?: string } = {}
): Effect.Effect<Context.Tag.Service<Database>, NetworkSettings.MissingPackage, Scope.Scope> =>
  Effect.gen(function* () {
    const client = yield* NetworkSettings.load(
      "@effect/sql-pg",
      user,
      () => import("@effect/sql-pg/PgClient")
    )
    const reactivity = yield* NetworkSettings.load(
      "@effect/experimental",
      user,
      () => import("@effect/experimental/Reactivity")
    )
    const driver: string = "pg" // comes with @effect/sql-pg; without types of its own
    const pg = yield* NetworkSettings.load("@effect/sql-pg", user, () => nativeImport(driver))
    // A pool connects when a query needs it: a server that is down now may be up later.
    const pool = Effect.acquireRelease(
      Effect.sync(() => {
        const pool: Pool = new pg.default.Pool({
          connectionString: Redacted.value(url).href,
          connectionTimeoutMillis: 5000,
          application_name: "effect-asyncio",
          keepAlive: true,
          query_timeout: timeout,
          max: 10
        })
        pool.on("error", () => undefined) // an idle connection that breaks is replaced
        return pool
      }),
      (pool) =>
        // Interruptible within its own fiber, or the time limit would wait for a connection that is cut off.
        Effect.ignore(
          Effect.timeoutOption(Effect.interruptible(Effect.tryPromise(() => pool.end())), "1 second")
        )
    )
    const sql = yield* Effect.provide(client.fromPool({ acquire: pool as never }), reactivity.layer)
    return yield* make(sql, {
      dialect: "pg",
      isEmbedded: false,
      configured: `PostgreSQL, ${NetworkSettings.shown(url)}`
    })
  }).pipe(Effect.catchTag("SqlError", Effect.die))

/**
 * The embedded database: SQLite in a temporary file, which ends with the layer. Needs `@effect/sql`, `@effect/sql-libsql`
 * and `@effect/experimental`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerEmbedded: Layer.Layer<Database, Failure> = Layer.scoped(Database, temporary)

/**
 * By the setting `DATABASE_URL`: PostgreSQL for `postgres://user:password@host/database` (needs `@effect/sql-pg`), an SQLite
 * file for `file:PATH`, {@link layerEmbedded} without it. A PostgreSQL server that is down fails the queries, not the layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Database, Failure> = Layer.scoped(
  Database,
  Effect.flatMap(
    NetworkSettings.url(
      "DATABASE_URL",
      ["postgres:", "postgresql:", "file:"],
      "postgres://user@host/database or file:data.sqlite"
    ),
    (url): Effect.Effect<Context.Tag.Service<Database>, Failure, Scope.Scope> => {
      if (Option.isNone(url)) return temporary
      if (Redacted.value(url.value).protocol !== "file:") return postgres(url.value)
      return Effect.flatMap(NetworkSettings.text("DATABASE_URL"), (text) => {
        const path = Option.getOrElse(text, () => "")
        return Effect.catchTag(
          sqlite(path, `SQLite, ${path}`),
          "DatabaseError",
          ({ reason }) => new NetworkSettings.SettingError({ setting: "DATABASE_URL", problem: reason })
        )
      })
    }
  )
)
