import { setTimeout } from "node:timers/promises"
import { codeOf } from "./reasons.js"

// The client of libsql opens a connection for each transaction, which has none of the settings of the first one and stays
// open until it is collected; and a lock of another process blocks the thread. This one has one connection, and waits for
// locks between turns.

type Statement = string | { readonly sql: string; readonly args: ReadonlyArray<unknown> }

/** What is used of libsql's client. */
export interface Client {
  readonly execute: (statement: Statement) => Promise<unknown>
  readonly close: () => void
}

/** How long a statement waits for the lock of another process, in milliseconds. */
const patience = 10_000

const isBusy = (error: unknown): boolean => codeOf(error).startsWith("SQLITE_BUSY")

/** A client whose transactions use its one connection; other statements wait until the transaction ends. */
export const make = (connect: () => Client) => {
  let client = connect()
  let transaction: Promise<void> | undefined
  const alone = async () => {
    while (transaction !== undefined) await transaction
  }
  const patiently = async (statement: Statement): Promise<unknown> => {
    const end = performance.now() + patience
    for (;;) {
      try {
        return await client.execute(statement)
      } catch (error) {
        if (!isBusy(error)) throw error
        // The driver does not reset a statement that met a lock, and SQLite commits no transaction beside it.
        client.close()
        client = connect()
        if (performance.now() > end) throw error
        await setTimeout(10 + 20 * Math.random())
      }
    }
  }
  return {
    close: () => client.close(),
    execute: async (statement: Statement) => {
      await alone()
      return patiently(statement)
    },
    transaction: async () => {
      await alone()
      let resolve: (() => void) | undefined
      transaction = new Promise((ended) => {
        resolve = ended
      })
      const end = () => {
        transaction = undefined
        resolve?.()
      }
      try {
        await patiently("BEGIN IMMEDIATE")
      } catch (error) {
        end()
        throw error
      }
      const rollback = () => client.execute("ROLLBACK").finally(end)
      return {
        execute: (statement: Statement) => client.execute(statement),
        rollback,
        commit: async () => {
          try {
            await client.execute("COMMIT")
            end()
          } catch (error) {
            await rollback().catch(() => undefined)
            throw error
          }
        }
      }
    }
  }
}
