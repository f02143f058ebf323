import { codes } from "../../host/ExitCodes.js"
import type * as Database from "../../network/Database.js"

// What an error of SQLite or PostgreSQL means for a person, and whether the same may succeed later.

interface Meaning {
  /** Default: the message of the error. */
  readonly reason?: string
  readonly isTransient: boolean
  readonly exitCode: number
}

const given = (reason?: string): Meaning => ({
  ...(reason === undefined ? {} : { reason }),
  isTransient: false,
  exitCode: codes.usage
})
const broken = (reason?: string): Meaning => ({ ...given(reason), exitCode: codes.failed })
const passing = (reason?: string): Meaning => ({ ...broken(reason), isTransient: true })

const meanings: ReadonlyArray<readonly [codes: RegExp, meaning: Meaning]> = [
  [/^SQLITE_NOTADB/, given("the file is no SQLite database; expected one, or the name of a new file")],
  [/^SQLITE_CORRUPT/, broken("the file is corrupt; restore a copy, or give the name of a new file")],
  [/^SQLITE_(READONLY|PERM)/, broken("the file is read-only; make it and its folder writable")],
  [/^SQLITE_CANTOPEN/, broken("the file cannot be opened; make it and its folder readable and writable")],
  [/^SQLITE_FULL/, passing("the disk is full")],
  [/^SQLITE_(BUSY|LOCKED)/, passing("another process holds its lock")],
  [/^(28|3D|42501|0LP01)/, given()],
  [/^ECONNREFUSED/, passing("the server cannot be reached: connection refused")],
  [/^ENOTFOUND|^EAI_AGAIN/, passing("the server cannot be reached: its name has no address")]
]

/** A program's own mistake: a store that was opened without the tables of what uses it. */
const noTable = /no such table: (aio_\w+)|relation "(aio_\w+)" does not exist/

/** Of a database's error. */
export const of = ({ code = "", isTransient, reason }: Database.DatabaseError): Required<Meaning> => {
  const missing = noTable.exec(reason)
  if (missing !== null)
    return {
      ...given(),
      reason: `it has no table ${missing[1] ?? missing[2]}; open it with the tables of each service that uses it, as Schedules.tables`
    }
  const [, meaning = isTransient ? passing() : broken()] = meanings.find(([codes]) => codes.test(code)) ?? []
  return { reason, ...meaning }
}
