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
  let last = Promise.resolve()
  /** Waits for its turn; the function ends it. */
  const turn = (): Promise<() => void> => {
    const before = last
    let end: (() => void) | undefined
    last = new Promise((resolve) => {
      end = resolve
    })
    return before.then(() => end!)
  }
  /** Runs the statement in a turn, which it keeps if `keeps`, and tries again while another process holds the lock. */
  const patiently = async (statement: Statement, keeps = false): Promise<readonly [unknown, () => void]> => {
    const limit = performance.now() + patience
    for (;;) {
      const end = await turn()
      try {
        const result = await client.execute(statement)
        if (!keeps) end()
        return [result, end]
      } catch (error) {
        // The driver does not reset a statement that met a lock, and SQLite commits nothing beside it: what the next turn
        // wrote on this connection would be lost.
        if (isBusy(error)) {
          client.close()
          client = connect()
        }
        end()
        if (!isBusy(error) || performance.now() > limit) throw error
        await setTimeout(10 + 20 * Math.random())
      }
    }
  }
  return {
    close: () => client.close(),
    execute: async (statement: Statement) => (await patiently(statement))[0],
    transaction: async () => {
      const [, end] = await patiently("BEGIN IMMEDIATE", true)
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
