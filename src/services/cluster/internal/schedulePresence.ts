import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import { type Cause, Clock, type Context, Effect } from "effect"
import * as OwnedBy from "../../host/OwnedBy.js"
import type * as Store from "../Store.js"
import * as claims from "./scheduleClaims.js"

// A server's own row in the store: it shows that the server lives. On SQLite one server owns the file; on PostgreSQL the others
// take back the runs of one whose row stands still.

/** How long a server on PostgreSQL may be silent until others take back its runs, in milliseconds. */
const lease = 15_000
/** How often a server reports that it runs, in milliseconds. */
const heartbeat = 3_000

interface ServerRow {
  readonly id: string
  readonly pid: number
  readonly host: string
  readonly process: string
  readonly beat: number
}

/** The runs that were taken back. */
export type Cut = Effect.Effect.Success<ReturnType<typeof claims.recover>>

export const make = <E extends Cause.YieldableError>({
  keep,
  monotonic,
  refuse,
  store
}: {
  readonly store: Context.Tag.Service<Store.Store>
  readonly keep: claims.Keep
  readonly monotonic: () => number
  /** The failure of a server whose file another one serves. */
  readonly refuse: (other: { readonly pid: number; readonly host: string }) => E
}) => {
  const isShared = store.dialect === "pg"
  let me = ""
  let beaten = monotonic()
  const seen = new Map<string, { readonly beat: number; readonly since: number }>()

  /** Enters the server anew, and takes back what servers have held that are gone. */
  const register = store.transaction((sql) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const others = yield* sql<ServerRow>`SELECT * FROM aio_schedule_servers`
      for (const { beat, host, id, pid, process } of isShared ? [] : others) {
        const isLive = host === hostname() ? OwnedBy.isLive(process) : now - beat < 4 * lease
        if (isLive) return yield* Effect.fail(refuse({ pid, host }))
        yield* sql`DELETE FROM aio_schedule_servers WHERE id = ${id}`
      }
      me = randomUUID()
      yield* sql`INSERT INTO aio_schedule_servers ${sql.insert({
        id: me,
        pid: process.pid,
        host: hostname(),
        process: OwnedBy.self,
        started: now,
        beat: now
      })}`
      yield* claims.replan(sql, now)
      return yield* claims.recover(sql, isShared, keep, now)
    })
  )

  /** When it is time, shows that the server lives and takes back the runs of others that do not; or its own were taken back. */
  const beat = Effect.gen(function* () {
    const begun = monotonic()
    const pause = begun - beaten
    if (pause < heartbeat) return []
    const now = yield* Clock.currentTimeMillis
    const found = yield* store.use(
      (sql) => sql`UPDATE aio_schedule_servers SET beat = ${now} WHERE id = ${me} RETURNING id`
    )
    beaten = begun
    if (found.length === 0) return "taken back" as const
    if (!isShared) return []
    const others = yield* store.use((sql) => sql<ServerRow>`SELECT id, beat FROM aio_schedule_servers`)
    // After a gap of this server's own, the others may not have been seen for the same reason.
    if (pause > 2 * heartbeat) seen.clear()
    const dead = others.filter(({ beat, id }) => {
      const last = seen.get(id)
      if (last?.beat !== beat) seen.set(id, { beat, since: monotonic() })
      return id !== me && last?.beat === beat && monotonic() - last.since > lease
    })
    if (dead.length === 0) return []
    return yield* store.transaction((sql) =>
      Effect.gen(function* () {
        for (const { beat, id } of dead)
          yield* sql`DELETE FROM aio_schedule_servers WHERE id = ${id} AND beat = ${beat}`
        return yield* claims.recover(sql, isShared, keep, yield* Clock.currentTimeMillis)
      })
    )
  })

  return {
    /** The id under which it claims at this moment. */
    id: () => me,
    register,
    beat,
    leave: store.use((sql) => sql`DELETE FROM aio_schedule_servers WHERE id = ${me}`)
  }
}
