import type * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type * as SqlError from "@effect/sql/SqlError"
import type * as Statement from "@effect/sql/Statement"
import { Effect, Exit, type Fiber, Scope } from "effect"
import { objects, type Result } from "./libsql.js"
import type { OneConnection } from "./oneConnection.js"

// The client of @effect/sql over one connection. A statement that need not wait is run at once, without a promise.

export interface Modules {
  readonly client: typeof SqlClient
  readonly error: typeof SqlError
  readonly statement: typeof Statement
}

type Execute = (sql: string, values: ReadonlyArray<unknown>) => Result | Promise<Result>

export const make = ({ client, error, statement }: Modules, connection: OneConnection) =>
  Effect.gen(function* () {
    const failed = (cause: unknown) =>
      new error.SqlError({ cause, message: "a statement failed in the SQLite database" })
    const asked = <A>(ask: () => A | Promise<A>): Effect.Effect<A, SqlError.SqlError> =>
      Effect.suspend(() => {
        try {
          const answer = ask()
          return answer instanceof Promise
            ? Effect.tryPromise({ try: () => answer, catch: failed })
            : Effect.succeed(answer)
        } catch (cause) {
          return failed(cause)
        }
      })
    const over = (execute: Execute): Connection => {
      const rows: Connection["execute"] = (sql, values, transform) =>
        Effect.map(
          asked(() => execute(sql, values)),
          (result) => {
            const found = objects(result)
            return transform === undefined ? found : transform(found)
          }
        )
      return {
        execute: rows,
        executeUnprepared: rows,
        executeRaw: (sql, values) => asked(() => execute(sql, values)),
        executeValues: (sql, values) =>
          Effect.map(
            asked(() => execute(sql, values)),
            (result) => result.rows
          ),
        executeStream: () => {
          throw new Error("a stream of rows is not implemented; use a query with LIMIT")
        }
      }
    }
    const plain = over(connection.execute)

    // Those that wait can be interrupted; they take their turns in the order of request.
    const turns = yield* Effect.makeSemaphore(1)
    let transactions = 0
    const acquirer = Effect.suspend(() =>
      transactions === 0 ? Effect.succeed(plain) : turns.withPermits(1)(Effect.succeed(plain))
    )
    interface Transacting extends Connection {
      readonly commit: Effect.Effect<void, SqlError.SqlError>
      readonly rollback: Effect.Effect<void, SqlError.SqlError>
    }
    const acquireConnection = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        transactions++
        yield* Scope.addFinalizer(
          scope,
          Effect.sync(() => void transactions--)
        )
        const { commit, execute, rollback } = yield* restore(turns.take(1)).pipe(
          Effect.zipRight(Scope.addFinalizer(scope, turns.release(1))),
          Effect.zipRight(asked(() => connection.transaction())),
          Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
        )
        const transacting: Transacting = {
          ...over(execute),
          commit: asked(commit),
          rollback: asked(rollback)
        }
        return [scope, transacting] as const
      })
    )
    const spanAttributes: Array<readonly [string, unknown]> = [["db.system.name", "sqlite"]]
    const withTransaction = client.makeWithTransaction({
      transactionTag: client.TransactionConnection as never,
      spanAttributes,
      acquireConnection: acquireConnection as Effect.Effect<readonly [Scope.CloseableScope, Transacting]>,
      begin: () => Effect.void, // `connection.transaction` has
      savepoint: (transacting, id) => transacting.executeRaw(`SAVEPOINT effect_sql_${id}`, []),
      commit: ({ commit }) => commit,
      rollback: ({ rollback }) => rollback,
      rollbackSavepoint: (transacting, id) =>
        transacting.executeRaw(`ROLLBACK TO SAVEPOINT effect_sql_${id}`, [])
    })
    const made = yield* client.make({
      acquirer,
      compiler: statement.makeCompilerSqlite(),
      spanAttributes
    })
    const sql: SqlClient.SqlClient = Object.assign(made, { withTransaction })
    // Not in the types: a statement without it, or of another client, takes the long way.
    const acquirerOf = (asked: unknown) => (asked as { readonly acquirer?: unknown }).acquirer
    const ours = acquirerOf(sql`SELECT 1`)
    const isOurs = (asked: unknown): asked is Statement.Statement<unknown> =>
      ours !== undefined && statement.isFragment(asked) && acquirerOf(asked) === ours
    /**
     * The query; a statement outside of a transaction by its text, as the span, the scope and the services that @effect/sql
     * looks for take longer than the statement. For fibers without a tracer.
     */
    const untraced = <A, E>(
      asked: Effect.Effect<A, E>,
      fiber: Fiber.RuntimeFiber<any, any>
    ): Effect.Effect<unknown, unknown> => {
      if (
        !isOurs(asked) ||
        transactions > 0 ||
        fiber.getFiberRef(statement.currentTransformer)._tag === "Some"
      )
        return Effect.withTracerEnabled(asked, false)
      const [text, values] = asked.compile()
      return plain.execute(text, values, undefined)
    }
    return { sql, untraced }
  })
