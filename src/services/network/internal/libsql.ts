import { createRequire } from "node:module"

// The driver of @libsql/client, without that client: it prepares each statement anew and defines each value of a row twice,
// which takes three times as long as the query of a page.

export interface Result {
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<unknown>>
  readonly rowsAffected: number
  readonly lastInsertRowid: bigint | undefined
}

/** A connection; it throws the driver's errors. */
export interface Connection {
  readonly execute: (sql: string, values?: ReadonlyArray<unknown>) => Result
  readonly close: () => void
}

interface Prepared {
  readonly reader: boolean
  readonly safeIntegers: (on: boolean) => void
  readonly raw: (on: boolean) => void
  readonly columns: () => ReadonlyArray<{ readonly name: string }>
  readonly all: (values: ReadonlyArray<unknown>) => ReadonlyArray<ReadonlyArray<unknown>>
  readonly run: (values: ReadonlyArray<unknown>) => {
    readonly changes: number
    readonly lastInsertRowid: number | bigint
  }
}

interface Query {
  readonly statement: Prepared
  /** Whether it returns rows. */
  readonly reader: boolean
  readonly isKept: boolean
}

export type Driver = new (
  path: string
) => { readonly prepare: (sql: string) => Prepared; readonly close: () => void }

/** Loads the driver; throws if it is not installed. */
export const load = (): Driver => {
  const here = createRequire(import.meta.url)
  const client = (() => {
    try {
      return here.resolve("@libsql/client")
    } catch {
      // Some package managers keep the packages of another package out of sight.
      return createRequire(here.resolve("@effect/sql-libsql")).resolve("@libsql/client")
    }
  })()
  return createRequire(client)("libsql") as Driver
}

const toSql = (value: unknown): unknown => {
  if (typeof value === "number" && !Number.isFinite(value))
    throw new RangeError(`${value} is no value of SQL; expected a finite number`)
  if (value === undefined) throw new TypeError("undefined is no value of SQL; expected null")
  if (typeof value === "boolean") return value ? 1 : 0
  if (value instanceof Date) return value.valueOf()
  return value instanceof ArrayBuffer ? Buffer.from(value) : value
}

const fromSql = (value: unknown): unknown => {
  if (typeof value === "bigint") {
    const number = Number(value)
    if (!Number.isSafeInteger(number)) throw new RangeError(`${value} is no safe integer`)
    return number
  }
  return value instanceof Buffer ? value.buffer : value
}

/** How many prepared queries a connection keeps. */
const most = 100

/** Opens a file. Queries that only read are prepared once; others each time, as what failed may not be reset. */
export const connect = (Database: Driver, path: string): Connection => {
  const database = new Database(path)
  database.prepare("SELECT 1").all([]) // a file that is no database fails here
  // In the order of use, the least recent first.
  const kept = new Map<string, Query>()
  const prepared = (sql: string): Query => {
    const known = kept.get(sql)
    if (known !== undefined) {
      kept.delete(sql)
      return known
    }
    const statement = database.prepare(sql)
    const { reader } = statement
    statement.safeIntegers(true)
    if (reader) statement.raw(true)
    return { statement, reader, isKept: reader && /^\s*select\b/i.test(sql) }
  }
  return {
    close: () => database.close(),
    execute: (sql, values = []) => {
      const given = values.map(toSql)
      const query = prepared(sql)
      const { isKept, reader, statement } = query
      if (!reader) {
        const { changes, lastInsertRowid } = statement.run(given)
        return { columns: [], rows: [], rowsAffected: changes, lastInsertRowid: BigInt(lastInsertRowid) }
      }
      const rows = statement.all(given)
      // Of this run: another process may have changed the schema.
      const columns = statement.columns().map(({ name }) => name)
      if (isKept) {
        kept.set(sql, query)
        for (const oldest of kept.keys()) {
          if (kept.size <= most) break
          kept.delete(oldest)
        }
      }
      return {
        columns,
        rows: rows.map((row) => row.map(fromSql)),
        rowsAffected: 0,
        lastInsertRowid: undefined
      }
    }
  }
}

/** The rows under the names of their columns; of columns with one name, the first. */
export const objects = ({ columns, rows }: Result): ReadonlyArray<Record<string, unknown>> =>
  rows.map((row) => {
    const made: Record<string, unknown> = {}
    for (let n = columns.length - 1; n >= 0; n--) made[columns[n]!] = row[n]
    return made
  })
