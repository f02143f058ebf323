import { setTimeout } from "node:timers/promises"
import type { Connection, Result } from "./libsql.js"
import { codeOf } from "./reasons.js"

// One connection for statements and transactions. A lock of another process would block the thread: this waits for locks
// between turns.

/** How long a statement waits for the lock of another process, in milliseconds. */
const patience = 10_000

const isBusy = (error: unknown): boolean => codeOf(error).startsWith("SQLITE_BUSY")

export interface Transaction {
  readonly execute: (sql: string, values?: ReadonlyArray<unknown>) => Result
  readonly commit: () => void
  readonly rollback: () => void
}

export interface OneConnection {
  readonly close: () => void
  /** The result, or a promise of it if the statement has to wait: for a transaction, or for another process. */
  readonly execute: (sql: string, values?: ReadonlyArray<unknown>) => Result | Promise<Result>
  readonly transaction: () => Promise<Transaction>
}

/** A client whose transactions use its one connection; other statements wait until the transaction ends. */
export const make = (connect: () => Connection): OneConnection => {
  let connection = connect()
  let turns = 0 // that have not ended
  let last = Promise.resolve()
  /** Waits for its turn; the function ends it. */
  const turn = (): Promise<() => void> => {
    const before = last
    let end: (() => void) | undefined
    turns++
    last = new Promise((resolve) => {
      end = () => {
        turns--
        resolve()
      }
    })
    return before.then(() => end!)
  }
  // The driver does not reset a statement that met a lock, and SQLite commits nothing beside it: what the next turn wrote on
  // this connection would be lost.
  const reconnect = () => {
    connection.close()
    connection = connect()
  }
  /** Runs the statement in a turn, which it keeps if `keeps`, and tries again while another process holds the lock. */
  const patiently = async (
    sql: string,
    values?: ReadonlyArray<unknown>,
    keeps = false
  ): Promise<readonly [Result, () => void]> => {
    const limit = performance.now() + patience
    for (;;) {
      const end = await turn()
      try {
        const result = connection.execute(sql, values)
        if (!keeps) end()
        return [result, end]
      } catch (error) {
        if (isBusy(error)) reconnect()
        end()
        if (!isBusy(error) || performance.now() > limit) throw error
        await setTimeout(10 + 20 * Math.random())
      }
    }
  }
  return {
    close: () => connection.close(),
    execute: (sql, values) => {
      if (turns > 0) return patiently(sql, values).then(([result]) => result)
      try {
        return connection.execute(sql, values)
      } catch (error) {
        if (!isBusy(error)) throw error
        reconnect()
        return setTimeout(10 + 20 * Math.random()).then(async () => (await patiently(sql, values))[0])
      }
    },
    transaction: async () => {
      const [, end] = await patiently("BEGIN IMMEDIATE", [], true)
      const rollback = () => {
        try {
          connection.execute("ROLLBACK")
        } finally {
          end()
        }
      }
      return {
        execute: (sql, values) => connection.execute(sql, values),
        rollback,
        commit: () => {
          try {
            connection.execute("COMMIT")
          } catch (error) {
            try {
              rollback()
            } catch {
              // The failure of the commit says more.
            }
            throw error
          }
          end()
        }
      }
    }
  }
}
